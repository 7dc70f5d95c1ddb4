"""Tables of any kind are read, described and encoded, or refused with a coded sentence: nothing else happens."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import io
import json
import os
import pickle
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushforward.cli import main
from pushforward.tables import DataError
from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Layout, decode, encode
from pushforward.tables.modelling.preparation import prepare
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import TableSchema

RNG = np.random.default_rng(0)
X = RNG.normal(size=200)
CAP = 2**27
Build = Callable[[Path], Any]


def text(content: str | bytes, name: str = "t.csv") -> Build:
    def build(folder: Path) -> Path:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return folder / name

    return build


def parquet(table: pa.Table) -> Build:
    def build(folder: Path) -> Path:
        pq.write_table(table, folder / "t.parquet")
        return folder / "t.parquet"

    return build


def npy(array: np.ndarray, **options: Any) -> Build:
    def build(folder: Path) -> Path:
        np.save(folder / "t.npy", array, **options)
        return folder / "t.npy"

    return build


def obj(source: Any) -> Build:
    return lambda folder: source


def coded(indices: list, words: list) -> Build:
    return obj(pa.table({"a": pa.DictionaryArray.from_arrays(pa.array(indices), pa.array(words))}))


def shards(first: str, second: str) -> Build:
    def build(folder: Path) -> str:
        (folder / "p1.csv").write_text(first)
        (folder / "p2.csv").write_text(second)
        return f"{folder}/p*.csv"

    return build


def fifo(folder: Path) -> Path:
    os.mkfifo(folder / "f.csv")
    return folder / "f.csv"


# What is read: how, and the kinds of its columns.
READ: dict[str, tuple[Build, str]] = {
    "constant column": (obj({"a": [1.0] * 50, "b": X[:50]}), "constant real"),
    "two rows": (text("a,b\n1.5,x\n3.25,y\n"), "positive category"),
    "all-missing column": (text("a,b\n" + "1.5,\n2.5,\n" * 10), "ordinal constant"),
    "null column": (obj(pa.table({"a": pa.nulls(5), "b": [1.5, 2, 3, 4, 5]})), "constant positive"),
    "negative zeros": (obj({"a": np.r_[-0.0, 0.0, X]}), "real"),
    "few denormals": (obj({"a": np.repeat([5e-324, 1e-323, 1.5e-323], 20)}), "ordinal"),
    "numbers as text": (obj({"a": ["1", "2.5", " 3 ", "+4", ".5", "5.", "1e3"] * 3}), "positive"),
    "codes with zeros": (obj({"a": ["007", "012", "100"] * 10}), "category"),
    "long numbers as text": (obj({"a": [f"1234567890123456789{i % 3}" for i in range(50)]}), "category"),
    "byte-order mark": (text(b"\xef\xbb\xbfa,b\n1,2\n3,4.5\n"), "count positive"),
    "CRLF": (text(b"a,b\r\n1,2\r\n3,4.5\r\n"), "count positive"),
    "lone CR": (text(b"a,b\r1,2\r3,4.5\r"), "count positive"),
    "quoted newlines": (text('a,b\n1,"x\ny"\n2,"x\ny"\n3,z\n'), "count category"),
    "quoted newlines over blocks": (text("a,b\n" + '1,"x\ny"\n2,"x\n\ny"\n' * 60_000), "ordinal category"),
    "very long cell": (text("a,b\n1," + "x" * 2**21 + "\n2,y\n3,z\n"), "count identifier"),
    "many rare levels": (obj({"a": [f"w{int(v)}" for v in RNG.pareto(1, 3000) * 3]}), "category"),
    "as many levels as rows": (obj({"a": np.arange(5000).astype(str), "b": RNG.normal(size=5000)}), "identifier real"),
    "int64 at its limit": (obj({"a": [2**63 - 1, -(2**63), 5], "b": [1.5, 2, 3]}), "identifier positive"),
    "uint64": (obj({"a": pa.array([2**64 - 1, 3], pa.uint64()), "b": [1.5, 2]}), "identifier positive"),
    "flags": (obj({"a": RNG.random(50) < 0.5}), "boolean"),
    "flags and words": (obj(pd.DataFrame({"a": [True, "x"] * 10}, dtype=object)), "category"),
    "decimals": (obj({"a": [decimal.Decimal("1.25"), decimal.Decimal("3.5")] * 15}), "ordinal"),
    "long decimals": (obj({"a": [decimal.Decimal(10**30 + i) for i in range(9)], "b": X[:9]}), "identifier real"),
    "unused levels": (coded([0, 1] * 10, ["u", "v", "w"]), "category"),
    "coded dates": (coded([0, 1] * 10, [dt.date(2020, 1, 1), dt.date(2021, 1, 1)]), "datetime"),
    "coded flags": (coded([0, 1] * 10, [True, False]), "boolean"),
    "half precision": (obj(np.c_[X, X**2].astype(np.float16)), "real positive"),
    "extended precision": (obj({"a": X.astype(np.longdouble)}), "real"),
    "foreign byte order": (obj({"a": X.astype(">f8"), "b": (X * 10).astype(">i4")}), "real integer"),
    "column vector": (obj({"a": X[:, None]}), "real"),
    "ISO dates": (obj({"a": [f"2020-01-{i:02d}" for i in range(1, 29)]}), "datetime"),
    "dates with blanks": (obj({"a": ["2020-01-01", "2021-01-01"] * 9}), "datetime"),
    "time zone": (obj({"a": pa.array([1, 10**6], pa.timestamp("us", tz="Europe/Berlin"))}), "datetime"),
    "offset": (obj({"a": pa.array([1, 10**6], pa.timestamp("us", tz="+05:30"))}), "datetime"),
    "milliseconds in CSV": (text("t\n2020-01-01 12:30:00.123\n2021-01-01T12:30:00\n"), "datetime"),
    "time of day": (obj({"a": [dt.time(i % 24, i) for i in range(50)]}), "circular"),
    "durations": (obj({"a": [dt.timedelta(seconds=i, microseconds=3) for i in range(50)]}), "duration"),
    "far dates": (obj({"a": [dt.date(1, 1, 1), dt.date(1800, 5, 5), dt.date(9999, 12, 31)] * 5}), "datetime"),
    "far dates as text": (obj({"a": ["1800-01-01", "9999-12-31", "0001-01-01"] * 5}), "datetime"),
    "far times": (obj({"a": [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59)] * 5}), "datetime"),
    "months of NumPy": (obj(np.array([["2020-01"], ["2020-02"]], "M8[M]")), "datetime"),
    "records": (obj(np.array([(1.5, 2), (2.5, 3)], dtype=[("a", "f8"), ("b", "i4")])), "positive count"),
    "records in a file": (npy(np.array([(1.5, 2), (2.5, 3)], dtype=[("a", "f8"), ("b", "i4")])), "positive count"),
    "identifiers": (
        obj(
            {
                "uuid": [str(uuid.UUID(int=int(i))) for i in RNG.integers(0, 2**60, 99)],
                "row": np.arange(99),
                "mail": [f"u{i}@x.org" for i in range(99)],
                "x": X[:99],
            }
        ),
        "identifier identifier identifier real",
    ),
    "rows repeated": (obj({"a": np.repeat(X[:50], 4), "b": np.repeat(X[50:100], 4)}), "real real"),
    "exact bounds": (obj({"a": np.r_[0, 1, RNG.random(200)]}), "bounded"),
    "percentages": (obj({"a": RNG.uniform(0, 100, 300)}), "bounded"),
    "degrees": (obj({"heading": RNG.integers(0, 360, 4000)}), "circular"),
    "censored": (obj({"a": np.minimum(RNG.exponential(1, 300), 2.0)}), "positive"),
    "zero-inflated": (obj({"a": np.where(RNG.random(500) < 0.6, 0, RNG.poisson(300, 500))}), "count"),
    "many atoms": (
        obj({"a": np.r_[np.repeat(np.arange(1, 18) * 1.37, 300), 0.0, RNG.uniform(0, 30, 900)]}),
        "positive",
    ),
    "string views": (obj(pa.table({"a": pa.array(["a", "b"] * 9, pa.string_view())})), "category"),
    "polars enum": (obj(pl.DataFrame({"a": pl.Series(["a", "b"] * 9, dtype=pl.Enum(["a", "b"]))})), "category"),
    "any script": (obj({"ü😀": ["é", "e\u0301", "日本"] * 5}), "category"),
    "levels in pandas": (obj(pd.DataFrame({"a": pd.Categorical(["u", "v"] * 9, ["u", "v", "w"])})), "category"),
    "names of two parts": (
        obj(pd.DataFrame(X.reshape(-1, 2), columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))),
        "real real",
    ),
    "shards of two types": (shards("a\n1\n2\n", "a\n1.5\n2.5\n"), "positive"),
}
# What is refused: how, with which code, and in which words.
REFUSED: dict[str, tuple[Build, str, str]] = {
    "all columns constant": (obj({"a": [1.0] * 50}), "nothing", "'a' are constant"),
    "empty file": (text(""), "empty", "file is empty"),
    "header alone": (text("a,b\n"), "empty", "no rows"),
    "one row": (text("a,b\n1,2\n"), "one-row", "only 1"),
    "nothing but blanks": (text("a,b\n" + ",\n" * 10), "nothing", "nothing to model"),
    "infinite": (obj({"a": [1.0, np.inf, 2]}), "infinite", "'a': 1 of 3 rows, the first is row 2"),
    "minus infinity": (text("a\n1\n-inf\n2\n"), "infinite", "the first is row 2"),
    "not a number": (obj({"a": [1.0, np.nan, 2.5]}), "missing", "'a' (1)"),
    "masked": (obj(np.ma.masked_array(np.c_[X, X], np.c_[X > 1, X > 5])), "missing", "'x0' (35)"),
    "denormals": (obj({"a": RNG.integers(1, 2**40, 100) * 5e-324}), "infinite", "overflows or underflows"),
    "1e308": (obj({"a": RNG.uniform(-1, 1, 100) * 1.5e308}), "infinite", "variance of 'a'"),
    "1e308, positive": (obj({"a": RNG.uniform(0, 1, 100) * 1.7e308}), "infinite", "variance of 'a'"),
    "1e308, repeated": (obj({"a": np.repeat(RNG.uniform(-1, 1, 30) * 1.7e308, 3)}), "infinite", "variance of 'a'"),
    "1e-200": (obj({"a": X * 1e-200}), "infinite", "Change its units"),
    "a word among numbers": (text("a\n1\n2\nx\n3\n"), "non-numeric", "'x' in row 3 (25.0%"),
    "question marks": (text("a\n1\n2\n?\n3\nNA\n"), "missing", "'a' (2)"),
    "thousands": (text('a\n"1,234"\n"2,345,678"\n'), "non-numeric", "writes numbers as '1,234'"),
    "decimal commas": (text("a;b\n1,5;2\n3,5;4\n"), "non-numeric", "writes numbers as '1,5'"),
    "percent signs": (obj({"a": ["5%", "7.5 %"] * 9}), "non-numeric", "writes numbers as '5%'"),
    "prices": (obj({"a": ["$5", "$1,234.50"] * 9}), "non-numeric", "writes numbers as '$5'"),
    "ragged": (text("a,b\n1,2\n3\n"), "ragged", "line 3"),
    "open quote": (text('a,b\n1,"x\n2,y\n3,z\n'), "ragged", "never closed"),
    "UTF-16": (text("a,b\n1,2\n".encode("utf-16")), "encoding", "UTF-16"),
    "Latin-1": (text("a,b\n1,é\n2,è\n".encode("latin-1")), "non-numeric", "not UTF-8"),
    "zero bytes": (text(b"a,b\n1,\x00\n2,3\n"), "encoding", "binary zeros"),
    "very long header": (text("a" * 300 + ",b\n1,2\n3,4\n"), "names", "longer than 256"),
    "endless header": (text("a" * 2**18 + "\n1\n2\n"), "format", "first line"),
    "duplicate names": (text("a,a\n1,2\n"), "names", "several columns are called 'a'"),
    "blank name": (text("a,\n1,2\n"), "names", "column number 2 has no name"),
    "control characters": (text("a\x07,b\n1,2\n"), "names", "control characters"),
    "objects": (obj(pd.DataFrame({"a": [object()] * 3})), "non-numeric", "'a' holds Python objects (object)"),
    "objects of polars": (
        obj(pl.DataFrame({"a": pl.Series([object()] * 2, dtype=pl.Object)})),
        "non-numeric",
        "objects",
    ),
    "lists": (obj({"a": [[1], [2, 3]] * 10}), "non-numeric", "nested"),
    "structs": (obj(pa.table({"a": [{"x": 1}, {"x": 2}]})), "non-numeric", "nested"),
    "maps": (
        obj(pa.table({"a": pa.array([[("k", 1)]] * 2, pa.map_(pa.string(), pa.int64()))})),
        "non-numeric",
        "nested",
    ),
    "bytes": (obj(pa.table({"a": [b"x", b"y"]})), "non-numeric", "bytes"),
    "coded bytes": (coded([0, 1], [b"x", b"y"]), "non-numeric", "bytes"),
    "null levels": (coded([0, 1, None, 3] * 9, ["u", "v", "w", None]), "missing", "'a' (18)"),
    "complex": (obj({"a": X * 1j}), "non-numeric", "complex"),
    "complex in pandas": (obj(pd.DataFrame({"a": [1j, 2j]})), "non-numeric", "complex"),
    "periods": (obj(pd.DataFrame({"a": pd.period_range("2020", periods=5, freq="M")})), "non-numeric", "extension"),
    "dates in three formats": (
        obj({"a": ["2020-01-01", "05/06/2020", "7 Mar 2020"] * 10}),
        "dates",
        "'2020-01-01', '05/06/2020', '7 Mar 2020'",
    ),
    "30 February": (obj({"a": ["2020-02-30", "2020-01-01", "2020-03-02"] * 5}), "dates", "no dates"),
    "29 February 2100": (
        obj({"a": ["2100-02-29", *(f"2100-03-{i:02d}" for i in range(1, 30))]}),
        "dates",
        "2100-02-29",
    ),
    "no such zone": (obj({"a": pa.array([1, 10**6], pa.timestamp("us", tz="No where!"))}), "schema", "No where!"),
    "16385 columns": (obj(np.zeros((2, 16385))), "too-large", "16385 columns"),
    "pickled array": (npy(np.array([{}], object), allow_pickle=True), "format", "can run code"),
    "pickle called CSV": (text(pickle.dumps({"a": 1})), "encoding", "binary zeros"),
    "fields of two axes": (obj(np.array([((1, 2),)], dtype=[("a", "f8", 2)])), "format", "shape (1, 2)"),
    "extension type": (parquet(pa.table({"a": pa.array([b"x" * 16] * 2, pa.uuid())})), "non-numeric", "arrow.uuid"),
    "encrypted footer": (text(b"PAR1" + b"x" * 100 + b"PARE", "t.parquet"), "unreadable", "damaged"),
    "Parquet without columns": (parquet(pa.table({})), "empty", "no columns"),
    "columns differ": (shards("a\n1\n", "b\n1\n"), "columns", "differ in columns 'a', 'b'"),
    "types differ": (shards("a\n1\n", "a\nx\n"), "columns", "different types"),
    "folder": (obj("."), "format", "folder"),
    "fifo": (fifo, "format", "not a regular file"),
    "endless device": (obj("/dev/zero"), "format", "not a regular file"),
    "zero in the path": (obj("a\0b.csv"), "unreadable", "null byte"),
    "path of bytes": (obj(b"a.csv"), "format", "got bytes"),
    "ragged list": (obj([[1], [2, 3]]), "ragged", "differ in length"),
    "dict of numbers": (obj({"a": 1}), "format", "dict of columns"),
    "dict of a word": (obj({"a": "xyz"}), "format", "'a' is no column"),
    "dict of matrices": (obj({"a": np.ones((4, 2))}), "format", "shape (4, 2)"),
    "generator": (obj({"a": (i for i in range(5))}), "format", "without a length"),
    "no table": (obj(None), "format", "NoneType"),
}


def through(source: Any) -> TableSchema:
    """Read, describe, prepare, encode, decode; what comes back is what went in."""
    cells = read_cells(source, max_bytes=CAP)
    prepared = prepare(cells, None, names=None, schema=None, given=None, missing="error")
    assert TableSchema.from_json(prepared.schema.to_json()) == prepared.schema
    schema, tidy, _ = detect_schema(cells)
    layout = Layout(schema.modelled)
    rows = encode(layout, tidy).rows
    assert np.isfinite(rows).all()
    np.testing.assert_array_equal(rows, encode(layout, cells).rows)
    back = decode(layout, rows)
    for column in layout.columns:
        if column.rare:
            continue
        expected = tidy.table.column(column.name)
        expected = expected.cast(expected.type.value_type) if pa.types.is_dictionary(expected.type) else expected
        if pa.types.is_decimal(expected.type) or pa.types.is_string_view(expected.type):
            expected = expected.cast(back[column.name].type)
        assert back[column.name].equals(expected.cast(back[column.name].type).combine_chunks()), column.name
    return schema


@pytest.mark.parametrize("name", READ)
def test_read(tmp_path: Path, name: str) -> None:
    build, kinds = READ[name]
    assert " ".join(column.kind for column in through(build(tmp_path)).columns) == kinds


@pytest.mark.parametrize("name", REFUSED)
def test_refused(tmp_path: Path, name: str) -> None:
    build, code, words = REFUSED[name]
    with pytest.raises(DataError) as caught:
        through(build(tmp_path))
    assert caught.value.code == code, caught.value
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


ON_THE_COMMAND_LINE = (
    *("header alone", "one row", "infinite", "minus infinity", "thousands", "open quote", "UTF-16", "Latin-1"),
    *("pickled array", "encrypted footer", "30 February", "fifo", "types differ", "extension type"),
)


@pytest.mark.parametrize("name", ON_THE_COMMAND_LINE)
def test_the_command_line_says_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    build, code, words = REFUSED[name]
    source = build(tmp_path)
    if isinstance(source, dict):
        source = tmp_path / "t.parquet"
        pq.write_table(pa.table(build(tmp_path)), source)
    status = main(["schema", str(source)])
    found = capsys.readouterr()
    if status == 0:  # `schema` describes a row too; a fit does not learn from it
        assert (name, json.loads(found.out)["format"]) == ("one row", "pushforward-schema")
        return
    assert (status, found.out) == (3, ""), code
    assert words in found.err
    assert found.err.startswith("error: ")


def test_blanks_are_missing_whenever_they_are_read(tmp_path: Path) -> None:
    cells = read_cells(text("a,b\n1.5,2020-01-01\n?,2020-01-02\n2.25,unknown\n3.5,2020-01-03\n")(tmp_path))
    schema, tidy, notes = detect_schema(cells, missing=True)
    assert [column.kind for column in schema.columns] == ["positive", "datetime"]
    assert "'?' among its numbers" in notes[0]
    assert "'unknown' among its dates" in notes[1]
    layout = Layout(schema.modelled)
    rows = encode(layout, tidy).rows
    assert rows[:, 0].tolist() == [0, 1, 0, 0]
    assert rows[:, 1].tolist() == [0, 0, 1, 0]
    np.testing.assert_array_equal(encode(layout, cells).rows, rows)  # as scoring sees them
    assert prepare(cells, None, names=None, schema=None, given=None, missing="drop").rows.shape == (2, 2)


def test_missing_words_among_objects_are_missing() -> None:
    cells = read_cells(pd.DataFrame({"a": ["x", float("nan"), 1, pd.NaT, pd.NA, None] * 9}, dtype=object))
    assert cells.table.column("a").null_count == 36
    assert detect_schema(cells)[0].columns[0].levels == ("1", "x")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for content, code in ((b"a,b\n1.5,x\n2.5,y\n", None), (b"", "empty"), (b"a\n" + b"1\n" * 99, "too-large")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        try:
            found = None if len(read_cells("-", max_bytes=64)) else "none"
        except DataError as error:
            found = error.code
        assert found == code


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = text("a\n1\n2\n")(tmp_path)

    def refuse(*_: Any, **__: Any) -> Any:  # the tests may run as root, whom no permission stops
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(DataError, match="permission denied") as caught:
        read_cells(path)
    assert caught.value.code == "unreadable"


def test_a_header_of_more_than_a_megabyte(tmp_path: Path) -> None:
    names = ["c" * 250 + str(i) for i in range(4500)]
    path = text("\n".join([",".join(names), ("7," * 4500)[:-1], ("8," * 4500)[:-1]]))(tmp_path)
    assert read_cells(path).names == tuple(names)


def test_gzip_is_read_piece_by_piece(tmp_path: Path) -> None:
    path = text(gzip.compress(b"a\n" + b"1.5\n2.5\n" * 1000), "t.csv.gz")(tmp_path)
    assert len(read_cells(path)) == 2000
    with pytest.raises(DataError, match="limit"):
        read_cells(path, max_bytes=2**10)
