"""Pair plots of tables: axes of each kind of column, rows with gaps, and columns by name."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib import dates

from pushforward.plotting import plot_pair
from pushforward.plotting.axes import circle_axis, duration_axis, number_axis
from pushforward.plotting.columns import axis_of, numbers_in, pictured, strongest
from pushforward.tables import read_cells
from pushforward.tables.detect import detect_schema
from pushforward.tables.schema import Column

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


def ticks(part: Any) -> list[str]:
    """The words at the ticks that are within the axis."""
    part.figure.canvas.draw()
    low, high = sorted(part.get_view_interval())
    return [
        label.get_text()
        for label, place in zip(part.get_ticklabels(), part.get_ticklocs(), strict=True)
        if low <= place <= high
    ]


def only(column: Any, name: str = "c", **others: Any) -> Any:
    """The axes of a figure of one column."""
    return plot_pair(pd.DataFrame({name: column, **others}), columns=[name])[1][0, 0]


@pytest.mark.parametrize("text", [False, True])
def test_dates_are_years(text: bool) -> None:
    """A film's year was "0.8 in 10^4 days"."""
    days = pd.date_range("1950-01-01", "2020-01-01", freq="7D")
    axis = only(days.strftime("%Y/%m/%d") if text else days, "released")
    assert ticks(axis.xaxis) == ["1960", "2000"]
    assert axis.get_xlabel() == "released"
    assert isinstance(axis.xaxis.get_major_locator(), dates.AutoDateLocator)


def test_times_are_those_of_their_zone() -> None:
    times = pd.date_range("2023-06-10 00:00", "2023-06-10 18:00", freq="min", tz="Asia/Tokyo")
    axis = only(times, "start")
    words = ticks(axis.xaxis)
    at = dates.num2date(axis.get_xticks()[0], tz=times.tz)
    assert words[:1] == [at.strftime("%H:%M").replace("00:00", "Jun-10")]
    assert axis.get_xlabel() == "start\n(2023-Jun-10, Asia/Tokyo)"
    low, high = (dates.num2date(end, tz=times.tz) for end in axis.get_xlim())
    assert (low.day, high.day, high.hour) in {(9, 10, 18), (10, 10, 18)}


def test_times_of_day_are_hours_and_minutes() -> None:
    clock = [datetime.time(int(minute) // 60, int(minute) % 60) for minute in RNG.integers(0, 1440, 300)]
    axis = only(clock)
    assert axis.get_xlim() == (0, 86400)
    assert ticks(axis.xaxis) == ["00:00", "06:00", "12:00", "18:00", "24:00"]


@pytest.mark.parametrize(
    ("seconds", "unit"), [(0.02, "ms"), (40, "s"), (900, "min"), (20_000, "h"), (1_000_000, "days")]
)
def test_durations_have_a_unit(seconds: float, unit: str) -> None:
    values = RNG.uniform(0, seconds, 300)
    axis = duration_axis("wait", values)
    assert axis.label == f"wait ({unit})"
    assert axis.span[0] <= 0 < axis.span[1] < 300
    assert axis.edges[0] == 0, "a duration of less than nothing had a bin"


def test_numbers_over_decades_have_logarithms() -> None:
    money = np.exp(RNG.normal(12, 2.5, 500))
    axis = only(money)
    assert axis.get_xscale() == "log"
    assert any("10^" in word for word in ticks(axis.xaxis))
    assert only(RNG.exponential(size=500)).get_xscale() == "linear"
    assert only(RNG.normal(size=500)).get_xscale() == "linear"


def test_zeros_have_a_place_before_the_logarithms() -> None:
    """A logarithm of 0 would leave them out of the figure."""
    fare = np.where(RNG.random(1000) < 0.25, 0, np.exp(RNG.normal(2, 1.5, 1000)))
    axis = only(fare)
    assert axis.get_xscale() == "symlog"
    assert ticks(axis.xaxis)[0] == "0"
    made = number_axis("fare", fare)
    assert made.heights(fare)[0] * made.widths[0] == pytest.approx((fare == 0).mean())


def test_bins_hold_whole_steps_and_start_at_bounds() -> None:
    """Forty bins over 0 to 49 held one number or two by turns; a bin across 0 halved the peak of a half-line."""
    whole = np.repeat(np.arange(50.0), 100)
    axis = number_axis("n", whole, low=0, step=1)
    assert np.diff(axis.edges) == pytest.approx(np.full(len(axis.edges) - 1, np.diff(axis.edges)[0]))
    assert axis.edges[0] == -0.5
    heights = axis.heights(whole)
    assert heights == pytest.approx(np.full(50, 0.02))
    assert number_axis("n", RNG.exponential(size=5000), low=0).edges[0] == 0
    assert number_axis("n", RNG.uniform(0, 1, 5000), low=0, high=1).edges[[0, -1]].tolist() == [0, 1]


def test_circles_have_their_quarters() -> None:
    axis = circle_axis("direction", 500, low=-180, period=360)
    assert axis.span == (-180, 180)
    _, drawn = plt.subplots()
    axis.dress(drawn.xaxis, 5)
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["−180", "−90", "0", "90", "180"]
    circle_axis("angle", 500, low=0, period=2 * np.pi).dress(drawn.xaxis, 5)
    assert [text.get_text() for text in drawn.get_xticklabels()] == ["0", "π/2", "π", "3π/2", "2π"]
    assert len(circle_axis("hour", 500, low=0, period=24, step=1).edges) == 13, "bins share the hours evenly"


def test_levels_have_words_in_their_order() -> None:
    """Numbers are in their order, not the commonest first; what is rare shares a place."""
    stars = RNG.choice([3, 1, 2, 5, 4], 300, p=[0.4, 0.3, 0.1, 0.1, 0.1])
    assert ticks(only(stars, "stars").xaxis) == ["1", "2", "3", "4", "5"]
    assert ticks(only(RNG.random(50) < 0.5).xaxis) == ["False", "True"]
    words = np.array([f"w{i:02d}" for i in range(20)])[RNG.integers(0, 20, 500)]
    axis = only(words)
    assert len(ticks(axis.xaxis)) == 12
    assert ticks(axis.xaxis)[-1] == "9 others"
    masses = [bar.get_height() for bar in axis.patches]
    assert sum(masses) == pytest.approx(1)
    assert len(masses) == 12


def test_levels_of_dates_are_written_as_dates() -> None:
    """They are numbers of days in the schema."""
    days = pd.to_datetime(["2020-01-01", "2020-02-01", "2020-03-01"])[RNG.integers(0, 3, 300)]
    seconds = tuple(float(day.value // 10**9) for day in sorted(set(days)))
    column = Column(name="month", kind="ordinal", type="timestamp[us]", levels=seconds)
    words = axis_of("month", column, np.arange(3.0)).words
    assert [word[:10] for word in words] == ["2020-01-01", "2020-02-01", "2020-03-01"]


def test_many_levels_of_numbers_are_numbers() -> None:
    column = Column(name="age", kind="ordinal", levels=tuple(float(i) for i in range(17, 90)))
    values = numbers_in([column], read_cells({"age": [20.0, 45.0, 89.0]}))
    assert values[:, 0].tolist() == [20, 45, 89]
    assert axis_of("age", column, values[:, 0]).words == ()


def test_a_gap_leaves_a_row_out_of_its_own_panels_alone() -> None:
    """Of 4000 films 354 were drawn: those without a gap in any column."""
    frame = pd.DataFrame(RNG.standard_normal((400, 3)), columns=["a", "b", "c"])
    frame.loc[:99, "b"] = np.nan
    frame.loc[100:299, "c"] = np.nan
    figure, axes = plot_pair(frame)
    assert [len(axes[i, j].collections[0].get_offsets()) for i, j in ((1, 0), (2, 0), (2, 1))] == [300, 200, 100]
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["data (400 rows)", "gaps in b: 25 % of the data", "gaps in c: 50 % of the data"]


def test_columns_are_chosen_by_name() -> None:
    frame = pd.DataFrame({name: RNG.standard_normal(60) for name in "abcdefghijkl"})
    _, axes = plot_pair(frame, columns=["l", "a"])
    assert [axis.get_xlabel() for axis in axes[1]] == ["l", "a"]
    for columns, words in ((["z"], "got 'z'"), (["a", "a"], "different"), (list("abcdefghijk"), "1 to 10")):
        with pytest.raises(ValueError, match=words):
            plot_pair(frame, columns=columns)


def test_levels_have_histograms_and_pairs_of_levels_shades() -> None:
    frame = pd.DataFrame(
        {"word": RNG.choice(["x", "y", "z"], 200), "number": RNG.standard_normal(200), "flag": RNG.random(200) < 0.3}
    )
    schema = detect_schema(read_cells(frame))[0]
    _, axes = plot_pair(frame, samples=frame[:150], schema=schema)
    assert len(axes[1, 0].patches) == 6, "a histogram for each level and set"
    shades = axes[2, 0].collections[0].get_array()
    assert shades.shape[:2] == (2, 6), "a half for each set"
    own = pictured("test", frame, None, names=None, schema=schema, columns=None, most=10)
    assert [axis.measure for axis in own.axes] == ["share of rows", "density", "share of rows"]


def test_the_strongest_dependence_is_no_correlation() -> None:
    x = RNG.standard_normal((800, 30))
    x[:, 20] = np.cos(3 * x[:, 7])
    x[:, 25] = RNG.integers(0, 3, 800)
    x[:, 12] = 5 * x[:, 25] + 0.1 * x[:, 12]
    levelled = [i == 25 for i in range(30)]
    assert strongest(x, levelled, 4) == [7, 12, 20, 25]
    x[RNG.random((800, 30)) < 0.1] = np.nan
    assert strongest(x, levelled, 4) == [7, 12, 20, 25]


def test_a_gap_that_is_modelled_has_a_place_among_the_levels() -> None:
    table = pd.DataFrame({"word": ["a", "b", None, "a"] * 20})
    schema, cells, _ = detect_schema(read_cells(table), missing=True)
    shown = pictured("test", cells, None, names=None, schema=schema, columns=None, most=5)
    (axis,) = shown.axes
    assert axis.words == ("a", "b", "missing")
    assert shown.data is not None
    assert axis.heights(shown.data[:, 0]).tolist() == [0.5, 0.25, 0.25]
