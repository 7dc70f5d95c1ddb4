"""Any table is refused with a code, or comes back from its numbers cell by cell."""

from __future__ import annotations

import datetime as dt
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pushforward.tables import DataError
from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Layout, decode, encode, places_of, within_bounds
from pushforward.tables.given import check_schema
from pushforward.tables.kinds.steps import snapped
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.writing import write_arrow
from pushforward.tables.schema import Column, TableSchema

FLOATS = st.floats(allow_nan=True, allow_infinity=True, allow_subnormal=True)
CELLS: dict[str, st.SearchStrategy[Any]] = {
    "any floats": FLOATS,
    "floats": st.floats(-1e6, 1e6, allow_nan=False),
    "single": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "tenths": st.integers(-500, 500).map(lambda i: i / 10),
    "cents": st.integers(0, 10**7).map(lambda i: i / 100),
    "integers": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(-5, 5),
    "large": st.integers(2**31, 2**52),
    "fives": st.integers(0, 50).map(lambda i: 5 * i),
    "words": st.text(alphabet="abc ?-.1٣é\n\x00", max_size=4),
    "any words": st.text(max_size=6).filter(lambda word: word.isprintable()),
    "flags": st.booleans(),
    "days": st.dates(),
    "times": st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2100, 1, 1)),
    "clock": st.times(),
    "spans": st.timedeltas(dt.timedelta(-1000), dt.timedelta(1000)),
    "written days": st.dates(dt.date(1000, 1, 1)).map(str),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Mixed columns with missing cells; few rows are drawn, and repeated, so that levels, ties and atoms arise."""
    few, repeated = draw(st.integers(1, 12)), draw(st.sampled_from([1, 1, 2, 9, 30]))
    columns = {}
    for i in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(sorted(CELLS)))
        cell = st.one_of(st.none(), CELLS[kind]) if draw(st.integers(0, 3)) == 0 else CELLS[kind]
        cells = draw(st.lists(cell, min_size=few, max_size=few))
        if draw(st.booleans()) and kind in ("tenths", "cents", "floats"):
            cells[0] = 0.0
        columns[f"{kind} {i}"] = pa.array(cells * repeated, pa.float32() if kind == "single" else None)
    return pa.table(columns)


def same(found: pa.Array, expected: Any, column: Column) -> bool:
    """Whether cells agree: exactly, or to a unit in the last place on a circle and beyond 64 bits of nanoseconds."""
    expected = expected.combine_chunks()
    if pa.types.is_floating(expected.type):
        a, b = (np.asarray(x.to_numpy(zero_copy_only=False), np.float64) for x in (found, expected))
        if column.step is not None and column.type == "double":
            on = b == [float(f"{k * column.step:.12g}") for k in np.rint(b / column.step)]
            near = np.isnan(b) & np.isnan(a) | (np.abs(a - b) <= column.step)  # the rest stands for the step below it
            return bool(np.array_equal(a[on], b[on]) and near[~on].all())
        if column.step is not None:  # a rounded float32 may be the multiple below
            return bool(np.all(np.isnan(b) | (np.abs(a - b) <= column.step + 1e-6 * np.abs(b))))
        return bool(np.array_equal(a, b, equal_nan=True))
    if column.kind == "circular" and column.step is None:
        a, b = (x.cast(pa.int64()).to_numpy(zero_copy_only=False) for x in (found, expected))
        return bool(np.array_equal(a, b, equal_nan=True))
    return found.equals(expected.cast(found.type))


@settings(max_examples=120)
@given(table=tables(), data=st.data())
def test_what_is_encoded_comes_back(table: pa.Table, data: st.DataObject) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            cells = read_cells(table)
            schema, tidy, _ = detect_schema(cells, missing=True)
        except DataError as error:
            event(error.code)
            if error.code not in ("infinite", "non-numeric", "dates"):
                raise
            return
        assert TableSchema.from_json(schema.to_json()) == schema
        layout = Layout(schema.modelled)
        if not layout.columns:
            return
        encoded = encode(layout, tidy)
        assert np.isfinite(encoded.rows).all()
        back = decode(layout, encoded.rows)
    for column in layout.columns:
        assert not encoded.unseen.get(column.name)
        if not column.rare:
            assert same(back[column.name], tidy.table.column(column.name), column), column
    # Each row is encoded on its own: the cells as they were read, some of them, in any order.
    np.testing.assert_array_equal(encode(layout, cells).rows, encoded.rows)
    places = np.array(data.draw(st.lists(st.integers(0, len(cells) - 1), min_size=1, max_size=5)))
    part = encode(layout, cells.take(places))
    np.testing.assert_array_equal(part.rows, encoded.rows[places])
    np.testing.assert_array_equal(part.within, encoded.within[places])


@settings(max_examples=60)
@given(
    first=st.integers(-(10**12), 10**12),
    step=st.sampled_from([1e-3, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.4, 1e3]),
)
def test_multiples_of_a_step_stay(first: int, step: float) -> None:
    column = Column(name="x", kind="real", step=step)
    values = np.array([float(f"{k * step:.12g}") for k in (0, 1, 3, 7, first % 1000)])
    on = snapped(values, step)
    np.testing.assert_allclose(on, values, rtol=1e-12)
    np.testing.assert_array_equal(within_bounds(on.copy(), column), values)
    # Between two multiples, the lower one; and never another multiple, however large the number.
    large = np.array([first * step, (first + 0.5) * step])
    np.testing.assert_allclose(np.rint(snapped(large, step) / step), [first, first])


def test_the_tolerance_does_not_grow_with_the_number() -> None:
    """The broken twin: a relative tolerance alone takes 1.7e9 seconds for 1.7e9 + 170."""
    value = np.array([1.7e9])
    assert snapped(value, 1.0) == value
    assert np.floor(value + 1e-7 * value) == value + 170


def test_places_of_states_and_values() -> None:
    columns = (
        Column(name="a", kind="real"),
        Column(name="b", kind="category", type="string", levels=("u",)),
        Column(name="c", kind="positive", atoms=(0.0,)),
    )
    layout = Layout(columns)
    assert places_of(layout) == ({1: 0, 2: 1}, {0: 2, 2: 3})
    assert layout.state_of_value == (-1, 1)
    assert layout.sizes == (2, 2)
    assert layout.drawable.tolist() == [True, False, True, True]


def test_samples_stay_in_their_types() -> None:
    columns = (
        Column(name="i", kind="integer", type="int64", step=1.0),
        Column(name="t", kind="datetime", type="timestamp[ns]"),
        Column(name="d", kind="datetime", type="date32[day]", step=1.0),
        Column(name="w", kind="datetime", type="string", format="%d.%m.%Y", step=1.0),
        Column(name="s", kind="real", type="duration[us]"),
        Column(name="f", kind="real", type="float"),
    )
    layout = Layout(columns)
    back = decode(layout, np.outer([1e300, -1e300, 3.0], np.ones(len(columns))))
    assert back["i"].to_pylist()[1:] == [-(2**63), 3]
    assert back["i"].to_pylist()[0] > 2**62
    assert back["d"].to_pylist() == [dt.date(9999, 12, 31), dt.date(1, 1, 1), dt.date(1970, 1, 4)]
    assert back["w"].to_pylist() == ["31.12.9999", "01.01.0001", "04.01.1970"]
    assert back["t"].cast(pa.int64()).to_pylist()[2] == 3 * 10**9
    assert abs(back["t"].cast(pa.int64()).to_pylist()[0]) > 9e18
    assert np.isinf(back["f"].to_numpy()[:2]).all()


CELLS_OF_LEVELS: dict[str, tuple[tuple, Any, list[float]]] = {
    "words": (("u", "v"), ["v", "u", None, "w"], [1, 0, 3, 2]),
    "blanks at the ends": (("u", "v"), [" v", "u\t", "", "V"], [1, 0, 3, 2]),
    "numbers as words": ((1.0, 2.5), ["2.5", "1", "?", "x"], [1, 0, 3, 2]),
    "numbers": ((1, 2), [2.0, 1.0, None, 1.5], [1, 0, 3, 2]),
    "flags for numbers": ((0, 1), [True, False, None, True], [1, 0, 3, 1]),
    "numbers for flags": ((False, True), [1.0, 0.0, float("nan"), 2.0], [1, 0, 3, 2]),
    "words for flags": ((False, True), ["true", "False", "", "yes"], [1, 0, 3, 2]),
}


@pytest.mark.parametrize("name", CELLS_OF_LEVELS)
def test_levels_meet_whatever_their_type(name: str) -> None:
    levels, source, states = CELLS_OF_LEVELS[name]
    kind = {str: "string", bool: "bool", int: "int64", float: "double"}[type(levels[0])]
    layout = Layout((Column(name="a", kind="category", type=kind, levels=levels, missing=True),))
    assert encode(layout, Cells(pa.table({"a": source}))).rows[:, 0].tolist() == states


def test_the_highest_number_stays_within_reach() -> None:
    """1.025 - 0.025 is not 1."""
    column = Column(name="x", kind="bounded", low=0.0, high=1.0, step=0.025)
    assert within_bounds(np.array([1.0, 1.01, 3.0, -1.0]), column).tolist() == [1.0, 1.0, 1.0, 0.0]


def test_categoricals_come_back_as_such(tmp_path: Path) -> None:
    """As dictionaries, which are the categoricals of pandas and polars; as words where a format has none."""
    table = pa.table({"a": pa.array(["u", "v", "v"] * 20).dictionary_encode(), "b": ["x", "y", "x"] * 20})
    schema, tidy, _ = detect_schema(Cells(table))
    assert [column.type for column in schema.columns] == ["dictionary", "string"]
    check_schema(schema)
    layout = Layout(schema.columns)
    back = pa.table(decode(layout, encode(layout, tidy).rows))
    assert pa.types.is_dictionary(back["a"].type)
    assert pa.types.is_string(back["b"].type)
    assert back.to_pydict() == table.to_pydict()
    write_arrow(tmp_path / "a.csv", back)
    assert (tmp_path / "a.csv").read_text().splitlines()[:2] == ['"a","b"', '"u","x"']
