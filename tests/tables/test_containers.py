"""What is read comes back as what it was: the type of the frame and of each column, names, categories, gaps, values."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import pushforward as pf
from pushforward.tables.encoding import Layout, decode, encode
from pushforward.tables.estimators.frames import frame_kind, to_frame
from pushforward.tables.modelling.preparation import prepare
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.reading.containers import Container, containers_of
from pushforward.tables.reading.tables import read_table
from pushforward.tables.schema import TableSchema

WORDS = ["S", "M", "L", "M", "S", "S", "L", "M"]
DAYS = pd.date_range("2024-03-28 10:00:01", periods=8, freq="35h")


def gap(values: list) -> list:
    return [*values[:-1], None]


PANDAS: dict[str, Any] = {
    "Int64": lambda: pd.array(gap([3, 1, 2, 5, 3, 1, 4, 1]), dtype="Int64"),
    "UInt8": lambda: pd.array(gap([3, 1, 2, 5, 3, 1, 4, 1]), dtype="UInt8"),
    "Float64": lambda: pd.array(gap([0.5, 1.25, -2.0, 8.0, 0.5, 1.0, 4.0, 1.0]), dtype="Float64"),
    "Float32": lambda: pd.array(gap([0.5, 1.25, -2.0, 8.0, 0.5, 1.0, 4.0, 1.0]), dtype="Float32"),
    "boolean": lambda: pd.array(gap([True, False] * 4), dtype="boolean"),
    "string": lambda: pd.array(gap(WORDS), dtype="string"),
    "string[pyarrow]": lambda: pd.array(gap(WORDS), dtype="string[pyarrow]"),
    "string[python]": lambda: pd.array(gap(WORDS), dtype="string[python]"),
    "str": lambda: pd.array(gap(WORDS), dtype="str"),
    "object words": lambda: np.array(gap(WORDS), dtype=object),
    "object whole numbers": lambda: np.array(gap([3, 1, 2, 5, 3, 1, 4, 1]), dtype=object),
    "object flags": lambda: np.array(gap([True, False] * 4), dtype=object),
    "ordered": lambda: pd.Categorical(gap(WORDS), categories=["S", "M", "L", "XL"], ordered=True),
    "categories that no row has": lambda: pd.Categorical(WORDS, categories=["XXL", "M", "L", "XL", "S"]),
    "numbers as categories": lambda: pd.Categorical(gap([3, 1, 2, 5, 3, 1, 4, 1]), categories=[5, 4, 3, 2, 1, 0]),
    "fractions as categories": lambda: pd.Categorical([0.5, 1.5] * 4, categories=[2.5, 1.5, 0.5], ordered=True),
    "flags as categories": lambda: pd.Categorical([True, False] * 4, categories=[True, False]),
    "dates as categories": lambda: pd.Categorical(DAYS[[0, 1] * 4], categories=list(DAYS[::-1])),
    "int8": lambda: np.array([3, 1, 2, 5, 3, 1, 4, 1], np.int8),
    "uint16": lambda: np.array([3, 1, 2, 5, 3, 1, 4, 1], np.uint16),
    "float32": lambda: np.array([0.5, 1.25, -2.0, 8.0, 0.5, 1.0, 4.0, 1.0], np.float32),
    "float16": lambda: np.array([0.5, 1.25, -2.0, 8.0, 0.5, 1.0, 4.0, 1.0], np.float16),
    "int64[pyarrow]": lambda: pd.array(gap([3, 1, 2, 5, 3, 1, 4, 1]), dtype="int64[pyarrow]"),
    "text[pyarrow]": lambda: pd.array(gap(WORDS), dtype=pd.ArrowDtype(pa.large_string())),
    "dates[pyarrow]": lambda: pd.array(list(DAYS.date), dtype=pd.ArrowDtype(pa.date32())),
    "durations": lambda: (DAYS - DAYS[0]).floor("h"),
    "dates": lambda: np.array(gap(list(DAYS.date)), dtype=object),
    "times": lambda: np.array(gap(list(DAYS.time)), dtype=object),
    "decimals": lambda: np.array(gap([Decimal("1.50"), Decimal("2.25"), Decimal("-7.00"), Decimal("0.10")] * 2)),
    "moments": lambda: DAYS,
    "moments in a zone": lambda: DAYS.tz_localize("Europe/Berlin"),
    "moments to the nanosecond": lambda: DAYS.astype("datetime64[ns]"),
    "moments to the second": lambda: DAYS.astype("datetime64[s]"),
    "one value": lambda: pd.array([7] * 8, dtype="Int32"),
    "one word": lambda: pd.Categorical(["M"] * 8, categories=["S", "M"], ordered=True),
}
POLARS: dict[str, Any] = {
    "Enum": lambda: pl.Series(gap(WORDS), dtype=pl.Enum(["S", "M", "L", "XL"])),
    "Categorical": lambda: pl.Series(gap(WORDS), dtype=pl.Categorical),
    "String": lambda: pl.Series(gap(WORDS)),
    "Int8": lambda: pl.Series(gap([3, 1, 2, 5, 3, 1, 4, 1]), dtype=pl.Int8),
    "Decimal": lambda: pl.Series([Decimal("1.50"), Decimal("2.25"), Decimal("-7.00"), None] * 2),
    "Time": lambda: pl.Series(gap(list(DAYS.time))),
    "Date": lambda: pl.Series(gap(list(DAYS.date))),
    "Duration": lambda: pl.Series([dt.timedelta(hours=i * i) for i in range(8)]),
    "zone": lambda: pl.Series(list(DAYS.to_pydatetime())).dt.replace_time_zone("Europe/Berlin"),
    "Boolean": lambda: pl.Series(gap([True, False] * 4)),
    "Float32": lambda: pl.Series([0.5, 1.25, -2.0, 8.0, 0.5, 1.0, 4.0, 1.0], dtype=pl.Float32),
}
ARROW: dict[str, Any] = {
    "large_string": lambda: pa.array(gap(WORDS), pa.large_string()),
    "string_view": lambda: pa.array(gap(WORDS), pa.string_view()),
    "dictionary": lambda: pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, 0, 1, 2, 0, None], pa.int8()), ["a", "b", "c", "unused"], ordered=True
    ),
    "dictionary of numbers": lambda: pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 2, 0, 1, 2, 0, None], pa.int16()), pa.array([30, 10, 20, 40], pa.int16())
    ),
    "large dictionary": lambda: pa.array(gap(WORDS), pa.large_string()).dictionary_encode(),
    "decimal128": lambda: pa.array([Decimal("1.50"), Decimal("2.25"), None, Decimal("-7.00")] * 2, pa.decimal128(6, 2)),
    "time32": lambda: pa.array([0, 60, 120, 3600, 7200, 60, 0, 120], pa.int32()).cast(pa.time32("s")),
    "date64": lambda: pa.array(gap(list(DAYS.date)), pa.date64()),
    "timestamp": lambda: pa.array(list(DAYS.to_pydatetime()), pa.timestamp("ms", "America/New_York")),
    "uint8": lambda: pa.array([3, 1, 2, 5, 3, 1, 4, None], pa.uint8()),
}
FRAMES = {
    **{f"pandas {name}": lambda make=make: pd.DataFrame({"c": make()}) for name, make in PANDAS.items()},
    **{f"polars {name}": lambda make=make: pl.DataFrame({"c": make()}) for name, make in POLARS.items()},
    **{f"Arrow {name}": lambda make=make: pa.table({"c": make()}) for name, make in ARROW.items()},
}


def round_trip(frame: Any) -> Any:
    """The frame, decoded again from what a model would see of it."""
    missing = "model" if read_cells(frame).table.column(0).null_count else "error"
    cells = read_cells(frame)
    extra = pa.array(np.arange(len(cells)) ** 2 % 7 * 0.5)  # a column that is modelled whatever the other is
    cells = type(cells)(cells.table.append_column(pa.field("extra", extra.type), extra), cells.source)
    prepared = prepare(cells, None, names=None, schema=None, given=None, missing=missing)
    schema = TableSchema.from_json(prepared.schema.to_json())  # as a model folder keeps it
    layout = Layout(schema.modelled)
    aside = [column for column in schema.columns if column.kind == "constant"]
    made = decode(layout, encode(layout, cells).rows, aside)
    kind = frame_kind(frame) or "dict"
    held = {column.name: column.container for column in schema.columns if column.container is not None}
    table = pa.table({name: made[name] for name in schema.names if name in made and name != "extra"})
    return to_frame(table, kind, held)


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, pd.DataFrame):
        pd.testing.assert_frame_equal(found, expected, check_column_type=False)
        for name in expected.columns:
            cells = [cell for cell in expected[name] if not pd.isna(cell)]
            assert {type(cell) for cell in found[name] if not pd.isna(cell)} == {type(cell) for cell in cells}
    elif isinstance(expected, pl.DataFrame):
        assert found.schema == expected.schema
        assert found.equals(expected)
    else:
        assert found.schema == expected.schema
        assert found.to_pydict() == expected.to_pydict()
        for one, other in zip(found.columns, expected.columns, strict=True):
            if pa.types.is_dictionary(other.type):
                assert one.chunk(0).dictionary.equals(other.chunk(0).dictionary)


@pytest.mark.parametrize("name", FRAMES)
def test_columns_come_back_as_what_they_were(name: str) -> None:
    frame = FRAMES[name]()
    assert_same(round_trip(frame), frame)


@pytest.mark.parametrize(
    "labels", [[0, 1], [7, 3], [0.5, 1.5], [("a", 1), ("a", 2)], ["x", 3], [True, False]], ids=str
)  # fmt: skip
def test_names_that_are_no_text(labels: list) -> None:
    frame = pd.DataFrame({"a": WORDS, "b": [1.5, 2.5] * 4})
    frame.columns = pd.Index(labels)
    found = round_trip(frame)
    assert list(found.columns) == labels
    assert found.columns.nlevels == frame.columns.nlevels
    assert list(found.iloc[:, 0]) == WORDS


def test_bins_come_back_as_ordered_words() -> None:
    frame = pd.DataFrame({"c": pd.cut(np.arange(8.0), [0, 2, 4, 8], right=False)})
    found = round_trip(frame)["c"]
    assert found.cat.ordered
    assert list(found.cat.categories) == ["[0, 2)", "[2, 4)", "[4, 8)"]
    assert list(found) == [str(item) for item in frame["c"]]


def test_sparse_columns_are_numbers() -> None:
    frame = pd.DataFrame({"c": pd.arrays.SparseArray([0, 2, 3, 0, 5, 1, 4, 1])})
    assert list(round_trip(frame)["c"]) == [0, 2, 3, 0, 5, 1, 4, 1]


KINDS: dict[str, st.SearchStrategy] = {
    "words": st.sampled_from(["red", "green", "blue", "Ünïcode", "007"]),
    "whole": st.integers(-50, 50),
    "quarters": st.integers(-40, 40).map(lambda i: i / 4),
    "flags": st.booleans(),
    "dates": st.dates(dt.date(1990, 1, 1), dt.date(2030, 1, 1)),
    "moments": st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2030, 1, 1)).map(lambda t: t.replace(microsecond=0)),
    "durations": st.integers(0, 10_000).map(lambda i: dt.timedelta(seconds=i)),
    "decimals": st.integers(-500, 500).map(lambda i: Decimal(i).scaleb(-2)),
}
CONTAINERS = {
    "pandas": lambda values: pd.DataFrame({"c": pd.Series(values)}),
    "objects": lambda values: pd.DataFrame({"c": pd.Series(values, dtype=object)}),
    "pandas over Arrow": lambda values: pa.table({"c": pa.array(values)}).to_pandas(types_mapper=pd.ArrowDtype),
    "categorical": lambda values: pd.DataFrame({"c": pd.Categorical(values)}),
    "polars": lambda values: pl.DataFrame({"c": pl.Series(values, strict=False)}),
    "Arrow": lambda values: pa.table({"c": pa.array(values)}),
    "Arrow dictionary": lambda values: pa.table({"c": pa.array(values).dictionary_encode()}),
}  # fmt: skip


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_kind_in_any_container(data: st.DataObject) -> None:
    """What goes in comes out, equal in type and value, with and without gaps."""
    kind, held = data.draw(st.sampled_from(sorted(KINDS))), data.draw(st.sampled_from(sorted(CONTAINERS)))
    values = data.draw(st.lists(KINDS[kind], min_size=2, max_size=30))
    if data.draw(st.booleans()):
        values[data.draw(st.integers(0, len(values) - 1))] = None
    if kind == "decimals" and held in ("categorical", "Arrow dictionary"):
        return  # categories of decimals are numbers
    if len(set(values) - {None}) < 2:
        return  # constants are tested above
    frame = CONTAINERS[held](values)
    assert_same(round_trip(frame), frame)


@pytest.mark.parametrize("make", [lambda: pd, lambda: pl], ids=["pandas", "polars"])
def test_samples_have_the_types_of_the_table_also_after_loading(make: Any, tmp_path: Path) -> None:
    library = make()
    rng = np.random.default_rng(0)
    columns = {"size": rng.choice(["S", "M", "L"], 60), "n": rng.integers(0, 200, 60), "x": rng.normal(size=60)}
    frame = library.DataFrame(columns)
    if library is pd:
        frame["size"] = pd.Categorical(frame["size"], categories=["S", "M", "L", "XL"], ordered=True)
        frame["n"] = frame["n"].astype("Int64")
        frame.columns = pd.Index(["size", 5, ("a", 1)], tupleize_cols=False)
        frame.columns = [0, 1, 2]
    else:
        frame = frame.with_columns(pl.col("size").cast(pl.Enum(["S", "M", "L", "XL"])), pl.col("n").cast(pl.UInt8))
    density = pf.FlowDensity(n_layers=2, width=8, max_epochs=1, verify=False, random_state=0).fit(frame)
    density.save(tmp_path / "model")
    for model in (density, pf.FlowDensity.load(tmp_path / "model")):
        samples = model.sample(5, random_state=0)
        assert type(samples) is type(frame)
        assert list(samples.columns) == list(frame.columns)
        assert list(samples.dtypes) == list(frame.dtypes)


def test_a_dict_comes_back_as_a_dict() -> None:
    rng = np.random.default_rng(0)
    table = {"x": rng.normal(size=40), 3: rng.integers(0, 3, 40).astype(np.int16)}
    density = pf.FlowDensity(n_layers=2, width=8, max_epochs=1, verify=False, random_state=0).fit(table)
    samples = density.sample(5, random_state=0)
    assert list(samples) == ["x", 3]
    assert {name: column.dtype for name, column in samples.items()} == {"x": np.float64, 3: np.int16}


def test_foreign_metadata_is_no_container() -> None:
    field = pa.field("a", pa.int64(), metadata={b"pushforward.container": b'{"dtype": "os.system"}'})
    table = pa.Table.from_arrays([pa.array([1, 2])], schema=pa.schema([field]))
    assert containers_of(table) == {}
    assert Container(dtype="Int8", label=(1, "a")) == Container.model_validate_json('{"dtype":"Int8","label":[1,"a"]}')


def test_the_library_reads_its_own_tables() -> None:
    numbers = read_table({"a": [1.5, 2.5], "b": [0.25, 4.0]})
    words = read_cells({"size": [1.5, 2.5], "colour": ["red", "blue"]})
    assert read_table(numbers, columns=["b"]).values.tolist() == [[0.25], [4.0]]
    assert read_cells(numbers).names == ("a", "b")
    assert pa.table(words).to_pydict() == {"size": [1.5, 2.5], "colour": ["red", "blue"]}
    assert len(numbers) == len(pa.table(numbers)) == 2
