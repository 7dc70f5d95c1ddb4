"""Kinds of columns: what a column is taken for, that its cells come back, and that samples could not be otherwise."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import pushforward as pf
from pushforward.tables import DataError
from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Layout, as_asked, decode, encode
from pushforward.tables.kinds.registry import KINDS
from pushforward.tables.kinds.steps import find_remainders, find_step
from pushforward.tables.modelling.preparation import prepare
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import Column, TableSchema

RNG = np.random.default_rng(3)
N = 600


def found(name: str, cells: Any, **how: Any) -> Column:
    return detect_schema(read_cells(cells if isinstance(cells, pa.Table) else {name: cells}), **how)[0].columns[0]


def notes_of(name: str, cells: Any) -> str:
    return " ".join(detect_schema(read_cells({name: cells}))[2])


def back(cells: Any, **how: Any) -> tuple[Column, pa.Array, Any]:
    """The column, its cells encoded and decoded, and as they were."""
    schema, tidy, _ = detect_schema(read_cells(cells), **how)
    layout = Layout(schema.modelled)
    made = decode(layout, encode(layout, tidy).rows)
    (name,) = made
    return schema.columns[0], made[name], tidy.table.column(name).combine_chunks()


def clock(minutes: np.ndarray) -> list[dt.time]:
    return [dt.time(int(m) // 60, int(m) % 60) for m in minutes]


MINUTES = RNG.integers(0, 1440, N)
CIRCLES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "minutes of the day": ("t", clock(MINUTES), {"low": 0.0, "period": 86400.0, "step": 60.0}),
    "half-hours": ("t", clock(MINUTES // 30 * 30), {"step": 1800.0}),
    "whole hours": ("t", clock(MINUTES // 60 * 60), {"step": 3600.0}),
    "milliseconds": (
        "t",
        pa.array(RNG.integers(0, 86_400_000, N).astype("int32")).cast(pa.time32("ms")),
        {"step": None},
    ),
    "hours": ("hour", RNG.integers(0, 24, N), {"low": 0.0, "period": 24.0, "step": 1.0}),
    "half hours": ("hour", RNG.integers(0, 48, N) / 2, {"period": 24.0, "step": 0.5}),
    "weekdays from 0": ("dow", RNG.integers(0, 7, N), {"low": 0.0, "period": 7.0, "step": 1.0}),
    "weekdays from 1": ("day_of_week", RNG.integers(1, 8, N), {"low": 1.0, "period": 7.0}),
    "months": ("month", RNG.integers(1, 13, N), {"low": 1.0, "period": 12.0, "step": 1.0}),
    "days of the year": ("day_of_year", RNG.integers(1, 367, 3000), {"low": 1.0, "period": 366.0}),
    "compass points": ("wind_direction", RNG.integers(0, 16, N) * 22.5, {"period": 360.0, "step": 22.5}),
    "whole degrees": ("bearing", RNG.integers(-180, 180, 3000), {"low": -180.0, "step": 1.0}),
    "rounded radians do not close": ("phase", RNG.uniform(-np.pi, np.pi, 3000).round(2), {"step": None}),
}


@pytest.mark.parametrize("title", CIRCLES)
def test_what_comes_round(title: str) -> None:
    name, cells, expected = CIRCLES[title]
    column, again, before = back({name: cells})
    assert (column.kind, column.space, column.axis) == ("circular", "circle", "circle")
    for key, value in expected.items():
        assert getattr(column, key) == value, key
    if column.step is not None:
        assert again.equals(before.cast(again.type))


def test_half_a_year_of_months_is_no_circle() -> None:
    assert found("month", RNG.integers(1, 7, N)).kind != "circular"


def test_a_circle_is_not_cut_open() -> None:
    """The model sees how far a number lies from the low end; a step that does not close the circle is refused."""
    column = Column(name="a", kind="circular", low=-180.0, period=360.0)
    rows = encode(Layout((column,)), read_cells({"a": [-180.0, 180.0, -179.5, 540.25]})).rows
    np.testing.assert_allclose(rows[:, 0], [0.0, 0.0, 0.5, 0.25])
    with pytest.raises(ValueError, match="no multiple of the step"):
        Column(name="a", kind="circular", low=0.0, period=360.0, step=7.0)


STEPS: dict[str, tuple[Any, float | None]] = {
    "cents that never repeat": (RNG.uniform(0, 50_000, 800).round(2), 0.01),
    "quarters": (RNG.integers(0, 900, N) * 25, 25.0),
    "hundreds": (RNG.integers(3, 900, N) * 100, 100.0),
    "halves": (RNG.integers(-90, 90, N) / 2, 0.5),
    "inches": (0.0254 * RNG.integers(1, 3000, N), 0.0254),
    "twelfths": (RNG.integers(0, 500, N) / 12, 1 / 12),
    "wholes with large numbers": (RNG.integers(10**9, 10**10, N), 1.0),
    "twenty prices": (RNG.uniform(0, 900, 20).round(2), 0.01),
    "few even numbers may be chance": (np.array([2, 4, 8, 10, 12, 2, 4]), 1.0),
    "none": (RNG.normal(size=N), None),
    "all but one on a step": (np.r_[RNG.integers(0, 900, N), np.pi], None),
    "tiny": (1e-9 * RNG.integers(1, 5000, N), 1e-9),
}


@pytest.mark.parametrize("title", STEPS)
def test_a_step_holds_for_all(title: str) -> None:
    values, step = STEPS[title]
    assert find_step(np.unique(np.asarray(values, float))) == (step if step is None else pytest.approx(step, rel=1e-9))


def test_decimals_in_float32() -> None:
    assert find_step(np.unique(RNG.normal(0, 30, N).round(2).astype(np.float32)).astype(float), single=True) == 0.01
    assert find_step(np.unique(RNG.normal(size=N).astype(np.float32)).astype(float), single=True) is None


MOSTLY_WHOLE = np.where(RNG.random(4000) < 0.01, RNG.integers(1, 500, 4000) + 0.99, RNG.integers(1, 500, 4000))


def test_cents_among_whole_amounts_have_a_state() -> None:
    column, again, before = back({"amount": MOSTLY_WHOLE})
    assert (column.step, column.fine, column.remainders) == (1.0, 0.01, (0.0, 0.99))
    assert again.equals(before)
    layout = Layout((column,))
    assert (layout.sizes, layout.state_of_value, layout.dim) == ((3,), (-1,), 2)
    assert layout.drawable.tolist() == [True, True, False]
    encoded = encode(layout, read_cells({"amount": [12.0, 12.01, 12.99]}))
    np.testing.assert_array_equal(encoded.rows, [[0, 12], [2, 12], [1, 12]])
    # A density is per unit of the fine step, and a remainder never seen is one of the 98 others.
    np.testing.assert_allclose(encoded.within, np.log(100) - np.array([0, np.log(98), 0]))
    assert TableSchema.from_json(TableSchema(columns=(column,)).to_json()).columns == (column,)


def test_remainders_have_states_only_where_they_tell() -> None:
    """The broken twin: prices in cents, whose remainders are uniform, or follow from the shape of the density."""
    for values in (RNG.uniform(0, 900, 4000).round(2), RNG.normal(0.5, 0.1, 4000).round(2)):
        distinct, counts = np.unique(values, return_counts=True)
        assert find_remainders(distinct, counts, 0.01) is None
    prices = RNG.integers(1, 400, 2000) + RNG.choice([0.99, 0.95, 0.0], 2000, p=[0.7, 0.2, 0.1])
    column, again, before = back({"price": prices})
    assert column.remainders == (0.99, 0.95, 0.0)
    assert again.equals(before)


def test_remainders_with_gaps_atoms_and_negative_numbers() -> None:
    values = np.where(RNG.random(4000) < 0.02, RNG.integers(-900, 900, 4000) + 0.5, RNG.integers(-900, 900, 4000))
    values = np.where(RNG.random(4000) < 0.3, 0.0, np.where(RNG.random(4000) < 0.1, np.nan, values))
    column, again, before = back({"a": values}, missing=True)
    assert (column.step, column.fine, column.atoms, column.missing) == (
        1.0,
        0.5,
        (0.0,),
        True,
    )
    assert np.array_equal(np.asarray(again), np.asarray(before.to_numpy(zero_copy_only=False)), equal_nan=True)


BOUNDS: dict[str, tuple[str, Any, tuple[float | None, float | None]]] = {
    "day of month": ("day_of_month", RNG.integers(2, 29, 300), (1.0, 31.0)),
    "age": ("age", RNG.integers(18, 91, 300), (18.0, 90.0)),
    "per cent": ("pct_urban", RNG.uniform(3, 40, 300), (0.0, 100.0)),
    "share": ("share", RNG.uniform(0.1, 0.4, 300), (0.0, 1.0)),
    "rating": ("rating", RNG.integers(10, 101, 300) / 10, (1.0, 10.0)),
    "year": ("year", RNG.integers(1960, 2024, 300), (1960.0, 2023.0)),
    "latitude": ("latitude", RNG.uniform(-40, 60, 300), (-90.0, 90.0)),
    "counts": ("n", RNG.poisson(60, 300), (0.0, None)),
    "normal": ("x", RNG.normal(size=300), (None, None)),
    "rounded normal": ("x", RNG.normal(0, 30, 3000).round(1), (None, None)),
}


@pytest.mark.parametrize("title", BOUNDS)
def test_natural_bounds(title: str) -> None:
    name, cells, bounds = BOUNDS[title]
    column = found(name, cells)
    assert (column.low, column.high) == bounds
    none = found(name, cells, bounds="none")
    assert (none.low, none.high) == (None, None)
    assert none.kind in ("real", "integer", "ordinal")
    observed = found(name, cells, bounds="observed")
    assert (observed.low, observed.high) == (np.min(cells), np.max(cells))


def test_money_does_not_reach_for_zero() -> None:
    for money in (238 + 100 * RNG.pareto(1.5, 800), (238 + 100 * RNG.pareto(1.5, 800)).round(2)):
        column = found("income", money)
        assert column.low is not None
        assert 200 < column.low <= money.min()
    assert found("income", np.r_[RNG.normal(5, 1, 800) ** 2, 0.001]).low == 0.0


def test_low_and_high_of_any_kind() -> None:
    for kind in ("real", "integer", "count", "positive", "bounded", "datetime", "duration"):
        step = 1.0 if kind in ("integer", "count") else None
        column = Column(name="a", kind=kind, low=2.0, high=7.0, step=step)
        assert column.space == "interval"
        assert KINDS[kind].support(column) == (2.0, 7.0 + (step or 0.0))
    with pytest.raises(ValueError, match="no high bound"):
        Column(name="a", kind="circular", low=0.0, period=1.0, high=1.0)


SECONDS = np.where(RNG.random(500) < 0.4, 0, RNG.exponential(600, 500).round())


@pytest.mark.parametrize(
    "make",
    [
        lambda: pd.DataFrame({"d": pd.to_timedelta(SECONDS, unit="s")}),
        lambda: pl.DataFrame({"d": [dt.timedelta(seconds=s) for s in SECONDS]}),
        lambda: pa.table({"d": pa.array(SECONDS.astype("int64")).cast(pa.duration("s"))}),
    ],
)
def test_durations(make: Any) -> None:
    column, again, before = back(make())
    assert (column.kind, column.low, column.step, column.atoms) == ("duration", 0.0, 1.0, (0.0,))
    assert again.equals(before.cast(again.type))
    assert found("d", [dt.timedelta(seconds=float(s)) for s in RNG.normal(0, 60, 300)]).low is None


ONE_AND_GAPS: dict[str, pa.Array] = {
    "flags": pa.array([True, None] * 100),
    "times": pa.array([dt.datetime(2024, 1, 1), None] * 100),
    "zoned": pa.array([dt.datetime(2024, 1, 1), None] * 100, pa.timestamp("us", "Europe/Berlin")),
    "dates": pa.array([dt.date(2024, 1, 1), None] * 100),
    "clock": pa.array([dt.time(3), None] * 100),
    "spans": pa.array([dt.timedelta(3), None] * 100),
    "words": pa.array(["u", None] * 100),
    "categorical": pa.array(["u", None] * 100).dictionary_encode(),
    "written dates": pa.array(["2024-01-01", None] * 100),
    "numbers": pa.array([3.5, None] * 100),
    "NaN": pa.array(np.array([3.5, np.nan] * 100)),
    "whole numbers": pa.array([3, None] * 100),
}


@pytest.mark.parametrize("title", ONE_AND_GAPS)
def test_one_value_and_gaps(title: str) -> None:
    cells = read_cells(pa.table({"b": ONE_AND_GAPS[title], "x": RNG.normal(size=200)}))
    with pytest.raises(DataError, match="missing values in 'b' \\(100\\)"):
        prepare(cells, None, names=None, schema=None, given=None, missing="error")
    assert len(prepare(cells, None, names=None, schema=None, given=None, missing="drop").rows) == 100
    prepared = prepare(cells, None, names=None, schema=None, given=None, missing="model")
    made = decode(Layout(prepared.schema.modelled), prepared.rows)["b"]
    assert made.null_count == 100
    assert made.drop_null().to_pylist() == [ONE_AND_GAPS[title].drop_null().to_pylist()[0]] * 100


def test_local_midnights() -> None:
    days: Any = pd.Timestamp("2023-01-01") + pd.to_timedelta(RNG.integers(0, 365, 500), unit="D")
    for zone in ("Europe/Berlin", "America/New_York", "Asia/Kolkata", "UTC"):
        column, again, before = back(pd.DataFrame({"day": days.tz_localize(zone)}))
        assert (column.step, column.local) == (86_400.0, zone != "UTC")
        assert again.equals(before)
        rows = 86_400.0 * RNG.integers(19_000, 20_000, (500, 1)) + 86_399.0
        shown = decode(Layout((column.model_copy(update={"low": None, "high": None}),)), rows)["day"].to_pandas()
        assert (shown == shown.dt.normalize()).all()
    hours: Any = pd.Timestamp("2023-04-01") + pd.to_timedelta(RNG.integers(0, 4000, 500), unit="h")
    hours = hours.tz_localize("Asia/Kolkata")
    column, again, before = back(pd.DataFrame({"hour_at": hours}))
    assert (column.step, column.local) == (3600.0, True)
    assert again.equals(before)


MONTHS = RNG.integers(0, 90, 400)
FREQUENCIES = {"MS": ("month", 1.0), "ME": ("month-end", 1.0), "QS": ("month", 3.0), "YS": ("month", 12.0)}


@pytest.mark.parametrize("frequency", FREQUENCIES)
def test_months(frequency: str) -> None:
    days = pd.date_range("2000-01-01", periods=90, freq=frequency)[MONTHS]
    for cells in (days, days.date, days.tz_localize("America/New_York")):
        column, again, before = back({"a": pa.array(cells)})
        assert (column.unit, column.step) == FREQUENCIES[frequency]
        assert again.equals(before)
    assert found("a", pa.array(days + pd.Timedelta(days=3))).unit is None


def test_new_values_of_constants_are_strange() -> None:
    table = {"c": [5.0] * 3, "w": ["u"] * 3, "f": [True] * 3, "d": [dt.date(2024, 1, 1)] * 3, "x": [1.0, 2.5, 3.0]}
    schema = detect_schema(read_cells(table))[0]
    constants = [column for column in schema.columns if column.kind == "constant"]
    assert len(constants) == 4
    layout = Layout(schema.modelled)
    strange: Any = encode(layout, read_cells(table), others=constants).strange
    assert not strange.any()
    for name, other in {"c": 7.0, "w": "v", "f": False, "d": dt.date(2024, 1, 2)}.items():
        changed = {**table, name: [table[name][0], other, None]}
        strange = encode(layout, read_cells(changed), others=constants).strange
        assert strange.tolist() == [False, True, True]
    assert encode(layout, read_cells({"x": [1.0]}), others=constants).strange is None


def test_codes_are_words() -> None:
    zips = [f"0213{i % 5}" for i in range(300)]
    assert found("zip", zips).levels == ("02130", "02131", "02132", "02133", "02134")
    codes = RNG.integers(100, 999, 400)
    column, again, _ = back(pd.DataFrame({"code": codes.astype(str)}))
    assert (column.kind, column.type) == ("category", "string")
    assert set(again.to_pylist()) <= set(codes.astype(str))
    column = found("postcode", codes)
    assert (column.kind, column.type) == ("category", "int64")
    drawn = decode(Layout((column,)), np.full((2000, 1), len(column.levels)))["postcode"]
    assert set(drawn.to_pylist()) <= set(codes.tolist())
    assert found("a", [f"k{i}" for i in range(300)]).kind == "identifier"


def test_numbers_of_rows_and_numbers_that_are_none() -> None:
    assert found("a", np.arange(60)).kind == "identifier"
    assert found("id", np.arange(60) * 3).kind == "identifier"
    column = found("year", np.arange(1960, 2020))
    assert (column.kind, column.low, column.high) == ("count", 1960.0, 2019.0)
    assert found("when", np.arange(1960, 2020)).kind == "count"
    assert found("house_price_index", RNG.permutation(60) * 7 + 100).kind == "count"


def test_codes_of_missing_answers_are_told() -> None:
    ages = RNG.integers(1, 80, 500)
    for code in (-999, 999, -99, -1):
        cells = np.where(np.arange(500) % 40 == 0, code, ages)
        assert f"--na {code}" in notes_of("age", cells)
        assert found("age", cells).atoms == (code,)
    assert "--na" not in notes_of("age", ages)
    assert "--na" not in notes_of("temperature", RNG.integers(-30, 40, 500))
    assert "--na 99" in notes_of("answer", np.where(np.arange(500) % 40 == 0, 99, RNG.integers(1, 6, 500)))


def test_conditions_come_back_as_they_were_asked() -> None:
    words = ["a"] * 150 + ["b"] * 140 + [f"r{i}" for i in range(60)]
    column = found("c", words)
    layout = Layout((column,))
    assert as_asked(layout, read_cells({"c": ["r3", "a"]}), 2)["c"].to_pylist() == ["r3", "r3", "a", "a"]
    with pytest.raises(DataError, match=r"'r999' is none of its 62 levels.*Did you mean 'r") as caught:
        encode(layout, read_cells({"c": ["a", "r999"]}), unseen="error")
    assert caught.value.code == "unseen"
    encode(layout, read_cells({"c": ["r3"]}), unseen="error")
    encoded = encode(layout, read_cells({"c": ["r999"]}), unseen="other")
    assert encoded.rows.tolist() == [[len(column.levels)]]
    count = Column(name="n", kind="count", type="int64", step=10.0)
    numbers = Layout((count, Column(name="f", kind="boolean", levels=(False, True), type="bool")))
    asked = as_asked(numbers, read_cells({"n": [12, 7], "f": [True, False]}), 1)
    assert (asked["n"].to_pylist(), asked["f"].to_pylist()) == ([12, 7], [True, False])


def test_ordered_categoricals() -> None:
    sizes = pd.Categorical(RNG.choice(["M", "S", "L"], 300), categories=["S", "M", "L", "XL"], ordered=True)
    column, again, _ = back(pd.DataFrame({"size": sizes}))
    assert (column.levels, column.unused, column.ordered) == (("S", "M", "L", "XL"), ("XL",), True)
    assert again.type.ordered
    assert again.to_pandas().dtype == sizes.dtype
    assert again.to_pylist() == list(sizes)
    assert Layout((column,)).drawable.tolist() == [True, True, True, False, False]
    assert encode(Layout((column,)), read_cells({"size": ["XL"]})).unseen == {}
    plain = back(pd.DataFrame({"size": pd.Categorical(list(sizes))}))[0]
    assert (plain.ordered, plain.unused) == (False, ())


def test_every_kind_has_words_and_an_axis() -> None:
    for name, kind in KINDS.items():
        assert kind.name == name
        assert kind.meaning


def test_the_observed_ends_are_within() -> None:
    """The smallest and the largest number lie at observed bounds; a positive number at 0 needs an atom."""
    cells = read_cells({"x": RNG.normal(size=300), "u": -RNG.integers(0, 50, 300)})
    how: dict[str, Any] = {"names": None, "given": None, "missing": "error"}
    prepared = prepare(cells, None, schema=None, bounds="observed", **how)
    x, u = prepared.schema.columns
    assert (x.space, u.space, u.high) == ("interval", "interval", 0.0)
    with pytest.raises(ValueError, match="expected bounds one of observed, natural, none"):
        prepare(cells, None, schema=None, bounds="tight", **how)
    positive = {"columns": [{"name": "x", "kind": "positive"}, {"name": "u", "kind": "integer", "step": 1.0}]}
    with pytest.raises(DataError, match="above 0"):
        prepare(read_cells({"x": [0.0, 1.5, 2.5], "u": [1, 2, 3]}), None, schema=positive, **how)


def test_points_in_time_at_regular_distances_are_on_a_step_with_one_remainder() -> None:
    weeks = np.random.default_rng(0).integers(0, 200, 300)
    monday = pd.Timestamp("2020-01-06")
    frame = pd.DataFrame({"monday": monday + pd.to_timedelta(7 * weeks, unit="D")})
    frame["thursday"] = frame["monday"] + pd.Timedelta(days=3)
    frame["text"] = frame["monday"].dt.strftime("%d.%m.%Y")
    frame["six"] = monday + pd.to_timedelta(weeks * 24 + 6, unit="h")
    frame["any_day"] = monday + pd.to_timedelta(weeks, unit="D")
    schema, cells, _ = detect_schema(read_cells(frame))
    found = {c.name: (c.step, c.fine, c.remainders) for c in schema.columns}
    day, week = 86400.0, 604800.0
    assert found["monday"] == (week, day, (4 * day,))  # 1970 began on a Thursday
    assert found["thursday"] == (week, None, ())
    assert found["text"] == (7.0, 1.0, (4.0,))
    assert found["six"] == (day, day / 4, (day / 4,))
    assert found["any_day"] == (day, None, ())
    layout = Layout(schema.columns)
    encoded = encode(layout, cells)
    back = decode(layout, encoded.rows)
    assert all(back[name].to_pylist() == cells.table.column(name).to_pylist() for name in frame)
    tuesday = encode(Layout(schema.columns[:1]), read_cells({"monday": [monday + pd.Timedelta(days=1)]}))
    assert tuesday.rows[0, 0] == 1  # the state of remainders that nobody saw


def test_a_fraction_among_whole_numbers_is_strange() -> None:
    layout = Layout((Column(name="n", kind="count", type="int64", step=1.0), Column(name="x", kind="real", step=0.1)))
    cells = read_cells({"n": [12.0, 12.01, 3e6], "x": [0.1, 0.15, 0.2]})
    strange = encode(layout, cells).strange
    assert strange is not None
    assert strange.tolist() == [False, True, False]
    assert encode(layout, cells.take(np.array([0, 2]))).strange is None


@pytest.mark.thorough
def test_the_density_of_weekly_dates_is_that_of_the_weeks() -> None:
    weeks = np.random.default_rng(0).integers(0, 50, 5000)
    days: Any = pd.Timestamp("2020-01-06") + pd.to_timedelta(7 * weeks, unit="D")
    frame = pd.DataFrame({"day": days.date})
    density = pf.FlowDensity(max_epochs=10, n_members=1, verify=False, random_state=0).fit(frame)
    mondays = frame[:200]
    np.testing.assert_allclose(density.score_samples(mondays).mean(), -np.log(50), atol=0.1)
    tuesdays = pd.DataFrame({"day": [pd.Timestamp("2020-03-03").date()]})
    assert density.score_samples(tuesdays)[0] < -9
    assert density.row_status(tuesdays)[0] == "extrapolated"
    assert set(pd.to_datetime(density.sample(200, random_state=0)["day"]).dt.day_of_week) == {0}
