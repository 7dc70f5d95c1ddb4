"""Tables in: every format gives the same numbers, and every hostile input a coded error, never a traceback."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from pushforward.tables import DataError, read_cells, read_table, write_table
from pushforward.tables.checks import remarks
from pushforward.tables.encoding import Layout, encode
from pushforward.tables.reading.writing import WRITERS
from pushforward.tables.schema import Column

NAMES = ["a", "b b", "ü"]
VALUES = np.array([[1.5, -2.0, 1e-300], [0.1, 3.0, 12345.678], [7.0, 4.0, -1e300]])


@pytest.mark.parametrize("suffix", sorted(set(WRITERS) - {".npy"}))
def test_written_tables_read_back_exactly(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    write_table(path, NAMES, VALUES)
    table = read_table(path)
    assert table.names == tuple(NAMES)
    assert table.values.dtype == np.float64
    np.testing.assert_array_equal(table.values, VALUES)
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "a temporary file was left behind"


def test_npy_has_no_names(tmp_path: Path) -> None:
    write_table(tmp_path / "t.npy", NAMES, VALUES)
    table = read_table(tmp_path / "t.npy")
    assert table.names == ("x0", "x1", "x2")
    np.testing.assert_array_equal(table.values, VALUES)


OBJECTS: dict[str, Callable[[], object]] = {
    "numpy": lambda: VALUES,
    "pandas": lambda: pd.DataFrame(VALUES, columns=["x0", "x1", "x2"]),
    "polars": lambda: pl.DataFrame(VALUES, schema=["x0", "x1", "x2"]),
    "pyarrow": lambda: pa.table({f"x{i}": VALUES[:, i] for i in range(3)}),
    "narwhals": lambda: nw.from_native(pd.DataFrame(VALUES, columns=["x0", "x1", "x2"])),
    "dict": lambda: {f"x{i}": VALUES[:, i] for i in range(3)},
    "lists": lambda: VALUES.tolist(),
    "structured": lambda: np.array([tuple(row) for row in VALUES], dtype=[(f"x{i}", "f8") for i in range(3)]),
    "objects": lambda: VALUES.astype(object),
    "fortran": lambda: np.asfortranarray(VALUES),
    "pandas of objects": lambda: pd.DataFrame(VALUES.astype(object), columns=["x0", "x1", "x2"]),
}


@pytest.mark.parametrize("name", OBJECTS)
def test_objects(name: str) -> None:
    table = read_table(OBJECTS[name]())
    assert table.names == ("x0", "x1", "x2")
    np.testing.assert_array_equal(table.values, VALUES)
    assert table.values.flags["C_CONTIGUOUS"]


def test_kinds_of_numbers() -> None:
    frame = pa.table(
        {
            "flag": [True, False],
            "small": pa.array([1, -2], pa.int8()),
            "half": pa.array(np.array([0.5, 1.5], np.float16)),
            "single": pa.array([0.25, 4.0], pa.float32()),
            "whole": pa.array([2**53, -(2**53)]),
            "decimal": pa.array(["1.25", "3.50"]).cast(pa.decimal128(5, 2)),
            "coded": pa.array([3, 5]).dictionary_encode(),
        }
    )
    expected = [[1, 1, 0.5, 0.25, 2.0**53, 1.25, 3], [0, -2, 1.5, 4, -(2.0**53), 3.5, 5]]
    assert read_table(frame).values.tolist() == expected
    assert read_table(pd.DataFrame({"a": pd.array([1, 2], "Int64"), "b": [True, False]})).values.tolist() == [
        [1, 1],
        [2, 0],
    ]


CSV: dict[str, bytes] = {
    "plain": b"a,b\n1,2\n3,4.5\n",
    "byte-order mark": b"\xef\xbb\xbfa,b\n1,2\n3,4.5\n",
    "windows lines": b"a,b\r\n1,2\r\n3,4.5\r\n",
    "no last newline": b"a,b\n1,2\n3,4.5",
    "spaces": b"a, b\n1, 2\n 3 ,4.5\n",
    "semicolons": b"a;b\n1;2\n3;4.5\n",
    "tabs": b"a\tb\n1\t2\n3\t4.5\n",
    "quotes": b'"a","b"\n"1","2"\n3,4.5\n',
    "blank lines": b"\na,b\n1,2\n\n3,4.5\n\n",
    "gzip": gzip.compress(b"a,b\n1,2\n3,4.5\n"),
    "exponents": b"a,b\n1e0,+2\n.3e1,450E-2\n",
}


@pytest.mark.parametrize("name", CSV)
def test_csv_dialects(tmp_path: Path, name: str) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(CSV[name])
    table = read_table(path)
    assert table.names == ("a", "b")
    assert table.values.tolist() == [[1, 2], [3, 4.5]]


def test_csv_without_header_keeps_every_row(tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text("1,2.5\n3,4\n")
    table = read_table(tmp_path / "bare.csv")
    assert table.names == ("x0", "x1")
    assert len(table.values) == 2
    assert "no header line" in table.notes[0]
    (tmp_path / "pandas.csv").write_text("0,1\n3,4\n5,6\n")
    table = read_table(tmp_path / "pandas.csv")
    assert table.names == ("0", "1")
    assert len(table.values) == 2
    assert table.notes == ()


def test_tables_without_names_take_those_wanted(tmp_path: Path) -> None:
    (tmp_path / "bare.csv").write_text("1,2.5\n3,4\n")
    for source in (tmp_path / "bare.csv", np.array([[1, 2.5], [3, 4]])):
        assert read_table(source, columns=["u", "v"]).values.tolist() == [[1, 2.5], [3, 4]]
        assert read_table(source, columns=["x1", "x0"]).values.tolist() == [[2.5, 1], [4, 3]]
        with pytest.raises(DataError, match="no column 'u'"):
            read_table(source, columns=["u"])


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a,b\n1,2\n")))
    assert read_table("-").values.tolist() == [[1, 2]]


def test_shards_are_joined_by_name(tmp_path: Path) -> None:
    write_table(tmp_path / "part-1.parquet", ["a", "b"], np.array([[1.0, 2.0]]))
    write_table(tmp_path / "part-2.parquet", ["b", "a"], np.array([[4.0, 3.0]]))
    table = read_table(str(tmp_path / "part-*.parquet"))
    assert table.names == ("a", "b")
    assert table.values.tolist() == [[1, 2], [3, 4]]
    write_table(tmp_path / "part-3.parquet", ["c", "a"], np.array([[4.0, 3.0]]))
    with pytest.raises(DataError, match="'b', 'c'") as caught:
        read_table(str(tmp_path / "part-*.parquet"))
    assert caught.value.code == "columns"
    assert read_table(str(tmp_path / "part-*.parquet"), columns=["a"]).values.tolist() == [[1], [3], [3]]


def test_columns_are_chosen_and_ordered(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,name,b\n1,x,2\n3,y,4\n")
    assert read_table(tmp_path / "t.csv", columns=["b", "a"]).values.tolist() == [[2, 1], [4, 3]]
    frame = pd.DataFrame({"a": [1, 3], "name": ["x", "y"], "b": [2, 4]})
    assert read_table(frame, columns=["b", "a"]).values.tolist() == [[2, 1], [4, 3]]


def test_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "columns.npz", a=np.arange(3), b=np.ones(3))
    assert read_table(tmp_path / "columns.npz").names == ("a", "b")
    np.savez(tmp_path / "labelled.npz", X=np.ones((3, 2)), y=np.zeros(3))
    table = read_table(tmp_path / "labelled.npz")
    assert table.values.shape == (3, 2)
    assert table.notes == ("labelled.npz: its array 'X' is read; y left out.",)
    np.savez(tmp_path / "many.npz", train=np.ones((3, 2)), test=np.zeros((2, 2)))
    assert read_table(f"{tmp_path}/many.npz::test").values.tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match=r"train \(3, 2\).*many.npz::name"):
        read_table(tmp_path / "many.npz")
    with pytest.raises(DataError, match="no array 'valid'"):
        read_table(f"{tmp_path}/many.npz::valid")


def test_pandas_index_of_parquet_and_feather_is_left_out(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0]})[lambda f: f.a > 1]
    frame.to_parquet(tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").names == ("a",)


def _npy_with_shape(shape: str) -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + b"\x00" * 64


def _saved(save: Callable, *arguments: object, **keywords: object) -> bytes:
    buffer = io.BytesIO()
    save(buffer, *arguments, **keywords)
    return buffer.getvalue()


def _zip(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def _bomb() -> bytes:
    zeros = _npy_with_shape("(200000000, 8)") + b"\x00" * 2**24
    return _zip(bomb=zeros)


PARQUET = _saved(lambda sink: pyarrow.parquet.write_table(pa.table({"a": [1.0, 2.0]}), sink))
HOSTILE: dict[str, tuple[str, bytes, str, str]] = {
    "empty file": ("t.csv", b"", "empty", "file is empty"),
    "blank file": ("t.csv", b"\n\n", "empty", "empty"),
    "header alone": ("t.csv", b"a,b\n", "empty", "no rows under the header 'a', 'b'"),
    "ragged": ("t.csv", b"a,b\n1,2\n3\n5,6\n", "ragged", "line 3 has 1 fields where the others have 2"),
    "too many fields": ("t.csv", b"a,b\n1,2\n3,4,5\n", "ragged", "line 3 has 3 fields"),
    "utf-16": ("t.csv", "a,b\n1,2\n".encode("utf-16"), "encoding", "UTF-16"),
    "utf-16 without mark": ("t.csv", "a,b\n1,2\n".encode("utf-16-le"), "encoding", "binary zeros"),
    "latin-1 header": ("t.csv", "größe,b\n1,2\n".encode("latin-1"), "encoding", "UTF-8"),
    "text among numbers": ("t.csv", b"a,b\n1,2\n3,4\noops,6\n", "non-numeric", "'oops' in row 3 (1 of 3 rows)"),
    "text column": ("t.csv", b"a,b\n1,x\n3,y\n", "non-numeric", "--columns a"),
    "only text": ("t.csv", b"a,b\nu,x\nv,y\n", "non-numeric", "No column is numeric"),
    "decimal commas": ("t.csv", b"a;b\n1,5;2\n3,5;4\n", "non-numeric", "'1,5'"),
    "dates": ("t.csv", b"a,day\n1,2020-01-01\n3,2020-01-02\n", "non-numeric", "'day' holds dates or times"),
    "bytes": ("t.csv", b"a,b\n1,\xff\n3,\xfe\n", "non-numeric", "not UTF-8"),
    "missing": ("t.csv", b"a,b,c\n1,,3\n,,6\n7,8,9\n", "missing", "'a' (1), 'b' (2): 2 of 3 rows, the first is row 1"),
    "empty column": ("t.csv", b"a,b\n1,\n3,\n", "missing", "'b' (2)"),
    "not a number": ("t.csv", b"a,b\n1,NaN\n3,NA\n", "missing", "'b' (2)"),
    "infinite": ("t.csv", b"a,b\n1,inf\n3,-inf\n", "infinite", "'b' (2)"),
    "beyond float64": ("t.csv", b"a,b\n1,1e999\n3,2\n", "infinite", "'b' (1)"),
    "long integers": ("t.csv", b"a,b\n1,9007199254740993\n3,4\n", "precision", "'b' holds whole numbers"),
    "integers beyond int64": ("t.csv", b"a, b\n1,9223372036854775809\n3,4\n", "precision", "'b'"),
    "duplicate names": ("t.csv", b"a,b,a\n1,2,3\n3,4,5\n", "names", "several columns are called 'a'"),
    "unnamed column": ("t.csv", b",a\n0,2\n1,4\n", "names", "column number 1 has no name"),
    "control characters": ("t.csv", b"a\x1b[31m,b\n1,2\n3,4\n", "names", "control characters"),
    "parquet cut short": ("t.parquet", PARQUET[:-20], "unreadable", "damaged"),
    "parquet bytes flipped": ("t.parquet", PARQUET[:100] + b"\x7f" * 40 + PARQUET[140:], "unreadable", "damaged"),
    "text called parquet": ("t.parquet", b"a,b\n1,2\n", "format", "not a parquet file"),
    "arrow cut short": ("t.arrow", b"ARROW1\x00\x00\xff\xff\xff\xff\x10", "unreadable", "damaged"),
    "pickled array": ("t.npy", _saved(np.save, np.array([{}], object), allow_pickle=True), "format", "can run code"),
    "pickled member": ("t.npz", _zip(a=_saved(np.save, np.array([{}]), allow_pickle=True)), "format", "can run code"),
    "pickle": ("t.pkl", b"\x80\x04K\x01.", "format", "never read"),
    "huge npy header": ("t.npy", _npy_with_shape("(1000000000000, 8)"), "too-large", "limit"),
    "lying npy header": ("t.npy", _npy_with_shape("(1000000, 8)"), "unreadable", "promises 64000000 bytes"),
    "negative npy shape": ("t.npy", _npy_with_shape("(-1, 8)"), "unreadable", "damaged"),
    "code in npy header": ("t.npy", _npy_with_shape("__import__('os')"), "unreadable", "damaged"),
    "npz bomb": ("t.npz", _bomb(), "too-large", "limit"),
    "zip cut short": ("t.npz", _zip(a=_saved(np.save, np.ones((50, 2))))[:90], "unreadable", "damaged"),
    "spreadsheet": ("t.xlsx", b"PK\x03\x04", "format", "spreadsheets"),
    "archive called csv": ("t.csv", _zip(a=b""), "format", "zip archive"),
    "cube": ("t.npy", _saved(np.save, np.ones((2, 2, 2))), "format", "(2, 2, 2)"),
    "complex": ("t.npy", _saved(np.save, np.ones((2, 2), complex)), "non-numeric", "complex"),
    "unknown binary": ("t.bin", b"\x00\x01\x02", "format", "unknown binary format"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_give_coded_errors(tmp_path: Path, name: str) -> None:
    file, content, code, words = HOSTILE[name]
    (tmp_path / file).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / file, max_bytes=2**27)
    assert caught.value.code == code
    assert words in str(caught.value)
    assert str(caught.value).startswith(file)
    assert "\n" not in str(caught.value)


def test_gzip_bomb_stops_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n" + b"1\n" * 2**20))
    with pytest.raises(DataError, match="limit") as caught:
        read_table(tmp_path / "t.csv.gz", max_bytes=2**16)
    assert caught.value.code == "too-large"


def test_parquet_bomb_is_refused_from_its_footer(tmp_path: Path) -> None:
    table = pa.table({"a": pa.array(np.zeros(2**20)).dictionary_encode()})
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 2**14
    with pytest.raises(DataError, match="limit"):
        read_table(tmp_path / "t.parquet", max_bytes=2**20)


def test_compressed_arrow_bomb_is_refused(tmp_path: Path) -> None:
    pyarrow.feather.write_feather(pa.table({"a": np.zeros(2**20)}), tmp_path / "t.feather", compression="zstd")
    with pytest.raises(DataError, match="limit"):
        read_table(tmp_path / "t.feather", max_bytes=2**20)


def test_unregistered_extension_types_are_data_not_code(tmp_path: Path) -> None:
    field = pa.field("a", pa.float64(), metadata={"ARROW:extension:name": "arrow.py_extension_type"})
    table = pa.Table.from_arrays([pa.array([1.0, 2.0])], schema=pa.schema([field]))
    pyarrow.parquet.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").values.tolist() == [[1], [2]]


def test_where_files_are_not(tmp_path: Path) -> None:
    for path, code in (
        (tmp_path / "none.csv", "not-found"),
        (str(tmp_path / "*.csv"), "not-found"),
        (tmp_path, "format"),
        ("/dev/null", "format"),
    ):
        with pytest.raises(DataError) as caught:
            read_table(path)
        assert caught.value.code == code, path


BAD_OBJECTS: dict[str, tuple[Callable[[], object], str, str]] = {
    "lazy frame": (lambda: pl.LazyFrame({"a": [1]}), "format", "collect"),
    "no table": (lambda: object(), "format", "builtins.object"),
    "duplicate pandas names": (lambda: pd.DataFrame(np.ones((2, 2)), columns=["a", "a"]), "names", "a"),
    "strings": (lambda: np.array([["1", "2"]]), "non-numeric", "text"),
    "mixed objects": (lambda: np.array([[1, "x"], [2, "y"]], object), "non-numeric", "'x1' holds text such as 'x'"),
    "mixed pandas": (lambda: pd.DataFrame({"a": [1.0, "x", 2]}, dtype=object), "non-numeric", "'x' in row 2"),
    "mixed bool and text": (lambda: pd.DataFrame({"a": [True, "x"]}, dtype=object), "non-numeric", "'a'"),
    "categories": (lambda: pd.DataFrame({"a": pd.Categorical(["u", "v"])}), "non-numeric", "text such as 'u'"),
    "numbers as text": (lambda: pl.DataFrame({"a": ["1", "2"]}), "non-numeric", "numbers written as text"),
    "nested": (lambda: pl.DataFrame({"a": [[1], [2]]}), "non-numeric", "nested"),
    "null integers": (lambda: pd.DataFrame({"a": pd.array([1, None], "Int64")}), "missing", "'a' (1)"),
    "null objects": (lambda: np.array([[1, None]], object), "missing", "'x1' (1)"),
    "null flags": (lambda: pa.table({"a": [True, None]}), "missing", "'a' (1)"),
    "long integers": (lambda: np.array([[2**63 - 1, 1]]), "precision", "'x0'"),
    "long unsigned": (lambda: np.array([[1, 2**64 - 1]], np.uint64), "precision", "'x1'"),
    "long Python integers": (lambda: np.array([[1, 2**70]], object), "precision", "'x1'"),
    "long in frame": (lambda: pd.DataFrame({"id": [2**60, 1]}), "precision", "'id'"),
    "no rows": (lambda: np.ones((0, 3)), "empty", "no rows"),
    "no columns": (lambda: pd.DataFrame(index=[1, 2]), "empty", "no columns"),
    "a number": (lambda: 3.0, "format", "shape ()"),
    "uneven dict": (lambda: {"a": [1], "b": [1, 2]}, "ragged", "differ in length"),
}


@pytest.mark.parametrize("name", BAD_OBJECTS)
def test_hostile_objects_give_coded_errors(name: str) -> None:
    build, code, words = BAD_OBJECTS[name]
    with pytest.raises(DataError) as caught:
        read_table(build())
    assert caught.value.code == code
    assert words in str(caught.value)


def test_choosing_columns_wrongly(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("temperature,b,b\n1,2,3\n")
    for columns, words in (
        (["temprature"], "Did you mean 'temperature'?"),
        (["temperature", "temperature"], "more than once"),
        ([], "no columns were chosen"),
        (["b"], "several columns are called 'b'"),
    ):
        with pytest.raises(DataError, match=words.replace("?", r"\?")):
            read_table(tmp_path / "t.csv", columns=columns)
    assert read_table(tmp_path / "t.csv", columns=["temperature"]).values.tolist() == [[1]]


def remarked(values: np.ndarray) -> list[str]:
    cells, names = read_cells(values), [f"x{i}" for i in range(values.shape[1])]
    layout = Layout(tuple(Column(name=name, kind="real") for name in names))
    return remarks("t", layout, encode(layout, cells).rows)


def test_ties_are_reported() -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((500, 3))
    values[:100, 0] = 0.0
    values[:, 1] = np.arange(500) % 40
    (warning,) = remarked(values)
    assert "x0 (20% of its numbers are 0" in warning
    assert "x1 (40 distinct" in warning
    assert "x2" not in warning


def test_repeated_rows_are_reported() -> None:
    values = np.random.default_rng(0).standard_normal((100, 3))
    assert remarked(values) == []
    (warning,) = remarked(values[np.r_[:90, :10]])
    assert "10 of 100 rows repeat an earlier row" in warning


def test_dependent_columns_are_reported() -> None:
    x = np.random.default_rng(0).standard_normal((100, 3))
    (warning,) = remarked(np.c_[x, 2 * x[:, :1] - x[:, 1:2] + 5])
    assert "'x0', 'x1', 'x3' are linear combinations" in warning
    assert remarked(np.c_[x, x[:, :1] + 1e-3 * x[:, 1:2] ** 2]) == []
    (warning,) = remarked(x[:3])
    assert "only 3 rows for 3 columns" in warning


def test_writing_refuses_to_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(path, ["a"], np.ones((1, 1)))
    with pytest.raises(FileExistsError, match="--force"):
        write_table(path, ["a"], np.zeros((1, 1)))
    assert read_table(path).values.tolist() == [[1]]
    write_table(path, ["a"], np.zeros((1, 1)), force=True)
    assert read_table(path).values.tolist() == [[0]]
    with pytest.raises(ValueError, match=r"\.parquet"):
        write_table(tmp_path / "t.xyz", ["a"], np.ones((1, 1)))
    with pytest.raises(FileNotFoundError, match="Make it first"):
        write_table(tmp_path / "none" / "t.csv", ["a"], np.ones((1, 1)))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        write_table(tmp_path / "folder.csv", ["a"], np.ones((1, 1)), force=True)


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError, pa.ArrowException)):
        write_table(tmp_path / "t.parquet", ["a"], np.array([[object()]], dtype=object))
    assert list(tmp_path.iterdir()) == []


def test_standard_output(capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    write_table("-", ["a", "b"], np.array([[1.0, 0.1]]))
    assert capsysbinary.readouterr().out == b'"a","b"\n1,0.1\n'
