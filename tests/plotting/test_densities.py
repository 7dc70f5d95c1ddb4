"""Marginal and conditional figures of models whose density is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pyarrow as pa
import pytest
from scipy import stats as _stats

from pushforward.plotting import plot_conditional, plot_marginal, plot_predictive
from pushforward.plotting.axes import number_axis
from pushforward.plotting.conditional import quantiles
from pushforward.plotting.fitted import Conditionals, densities
from pushforward.tables.encoding import Layout
from pushforward.tables.schema import Column, TableSchema

stats: Any = _stats  # its frozen distributions have no types
RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    plt.close("all")


class Known:
    """Stands for a fitted model with a known density; it counts how often it is asked."""

    def __init__(
        self,
        columns: Sequence[Column],
        log_prob: Callable[[dict[str, np.ndarray]], np.ndarray],
        given: Sequence[str] = (),
    ):
        self.schema_, self.given_, self._log_prob, self.calls = (
            TableSchema(columns=tuple(columns)),
            tuple(given),
            log_prob,
            0,
        )
        self.columns_ = self.schema_.names
        own = Layout(tuple(column for column in columns if column.name not in given))
        self.model_ = SimpleNamespace(layout=own, needed=self.columns_)

    def score_samples(self, cells: Any) -> np.ndarray:
        self.calls += 1
        return self._log_prob({name: np.asarray(cells.table.column(name)) for name in cells.names})

    def set_output(self, *, transform: str) -> Known:
        assert transform == "pyarrow"
        return self

    def sample(self, n: int, *, given: Any = None, random_state: int) -> pa.Table:
        rows = n if given is None else n * len(given)
        rng = np.random.default_rng(random_state)
        made: dict[str, Any] = {column.name: rng.exponential(size=rows) for column in self.model_.layout.columns}
        conditions = {} if given is None else {name: given.table.column(name) for name in self.given_}
        return pa.table(made | {name: np.repeat(np.asarray(of), n) for name, of in conditions.items()})


def curve(axis: Any) -> tuple[np.ndarray, np.ndarray]:
    """The line of the model."""
    line = max(axis.get_lines(), key=lambda line: len(line.get_xdata()))
    return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)


def test_the_marginal_of_one_column_is_its_density_with_the_edge_of_its_support() -> None:
    """A smoothed curve would reach below 0 and halve the height there."""
    x = RNG.exponential(size=2000)
    column = Column(name="x", kind="positive", seen=(float(x.min()), float(x.max())))
    known: Any = Known([column], lambda cells: stats.expon.logpdf(cells["x"]))
    figure, axes = plot_marginal(known, {"x": x})
    at, height = curve(axes[0])
    assert at[0] == at[1] == pytest.approx(0, abs=1e-4)
    assert height[:2] == pytest.approx([0, 1], abs=1e-4)
    assert np.trapezoid(height, at) == pytest.approx(1, abs=5e-3)
    assert height[1:-1] == pytest.approx(stats.expon.pdf(at[1:-1]), rel=1e-9)
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["data (2,000 rows)", "model (exact density)"]
    bars = axes[0].patches[0].get_data()
    assert bars.edges[0] == 0
    assert np.sum(bars.values * np.diff(bars.edges)) == pytest.approx(1, abs=0.02)


def test_a_density_is_that_of_the_unit_of_its_axis() -> None:
    """Seconds are drawn in hours, and money in decades: the density is the one per hour or decade."""
    seconds = RNG.exponential(7200, size=500)
    column = Column(name="t", kind="positive", type="duration[us]", seen=(0.0, 40_000.0))
    law = stats.expon(scale=7200)
    known: Any = Known([column], lambda cells: law.logpdf(cells["t"].astype("timedelta64[us]").astype(float) / 1e6))
    table = {"t": pa.array(np.round(seconds * 1e6).astype("timedelta64[us]"))}
    at, height = curve(plot_marginal(known, table)[1][0])
    assert np.trapezoid(height, at) == pytest.approx(1, abs=0.02)
    money = np.exp(RNG.normal(10, 2.5, 500))
    column = Column(name="m", kind="positive", scale="log", seen=(float(money.min()), float(money.max())))
    known = Known([column], lambda cells: stats.lognorm(2.5, scale=np.exp(10)).logpdf(cells["m"]))
    _, axes = plot_marginal(known, {"m": money})
    at, height = curve(axes[0])
    assert axes[0].get_ylabel() == "density per decade"
    assert np.trapezoid(height, np.log10(at)) == pytest.approx(1, abs=0.01)


def test_whole_numbers_and_numbers_apart_have_masses() -> None:
    count = Column(name="n", kind="count", step=1.0, low=0.0, atoms=(0.0,), seen=(1.0, 30.0))

    def log_prob(cells: dict[str, np.ndarray]) -> np.ndarray:
        return np.where(cells["n"] == 0, np.log(0.4), np.log(0.6) + stats.poisson(8).logpmf(cells["n"]))

    n = np.where(RNG.random(3000) < 0.4, 0, RNG.poisson(8, 3000))
    known: Any = Known([count], log_prob)
    _, axes = plot_marginal(known, {"n": n})
    at, height = curve(axes[0])
    assert height[1:-1][at[1:-1] == 8] == pytest.approx(0.6 * stats.poisson(8).pmf(8))
    stem = min(
        (line for line in axes[0].get_lines() if len(line.get_xdata()) == 2), key=lambda line: line.get_xdata()[0]
    )
    assert list(stem.get_xdata()) == [0, 0]
    assert stem.get_ydata()[1] == pytest.approx(0.4), "its bin is one number wide"


def test_one_column_of_many_is_drawn_by_samples_and_says_so() -> None:
    columns = [Column(name=name, kind="positive") for name in "ab"]
    known: Any = Known(columns, lambda cells: np.zeros(len(cells["a"])))
    data = {name: RNG.exponential(size=300) for name in "ab"}
    _, axes = plot_marginal(known, data, columns=["b"])
    assert known.calls == 0
    assert [axis.get_xlabel() for axis in axes] == ["b"]
    assert axes[0].figure.legends[0].get_texts()[1].get_text() == "model (20,000 samples)"


def test_with_conditions_the_marginal_is_a_mean_over_the_data() -> None:
    """Given x, y is near x: the density at one x, or at the mean one, would be far too narrow."""
    x = RNG.normal(0, 2, 400)
    data = {"x": x, "y": x + RNG.normal(0, 0.5, 400)}
    columns = [Column(name="x", kind="real"), Column(name="y", kind="real", seen=(-6.0, 6.0))]
    known: Any = Known(columns, lambda cells: stats.norm.logpdf(cells["y"], cells["x"], 0.5), given=["x"])
    _, axes = plot_marginal(known, data)
    assert known.calls == 1
    at, height = curve(axes[0])
    assert np.interp(0, at, height) == pytest.approx(stats.norm(0, np.hypot(2, 0.5)).pdf(0), rel=0.1)
    with pytest.raises(ValueError, match="averaged over"):
        plot_marginal(known)


def test_quantiles_of_a_grid_with_a_leap() -> None:
    """Without the leap the median of rain would lie between 0 and the first drop."""
    at = np.linspace(0, 20, 4001)
    found = Conditionals(at, 0.6 * stats.expon.pdf(at)[None], np.zeros(1), np.array([[0.4]]))
    axis = number_axis("x", at)
    got = quantiles(found, axis, [0.1, 0.39, 0.7, 0.95])
    assert got == pytest.approx([0, 0, stats.expon.ppf(0.5), stats.expon.ppf(0.55 / 0.6)], abs=2e-3)


def normal_given_x(given: Sequence[str] = ("x",)) -> Any:
    columns = [Column(name=name, kind="real") for name in given]
    columns.append(Column(name="y", kind="real", seen=(-12.0, 12.0)))
    return Known(columns, lambda cells: stats.norm.logpdf(cells["y"], 2 * cells["x"], 0.5), given=given)


def test_the_fan_has_the_quantiles_of_the_density() -> None:
    x = RNG.normal(0, 1.5, 500)
    known = normal_given_x()
    _, axis = plot_conditional(known, {"x": x, "y": 2 * x})
    assert known.calls == 1, "one batched call"
    at, median = curve(axis)
    assert median == pytest.approx(2 * at, abs=0.02)
    wide = axis.collections[0].get_paths()[0].vertices
    for place in (-1.0, 0.0, 1.0):
        near = np.abs(wide[:, 0] - place) == np.abs(wide[:, 0] - place).min()
        low, high = wide[near, 1].min(), wide[near, 1].max()
        assert high - low == pytest.approx(2 * 0.5 * stats.norm.ppf(0.95), rel=0.05)


def test_other_conditions_are_as_in_the_data() -> None:
    """Here the other condition is what counts, and follows the one that is drawn: held at its mean the fan was flat."""
    x = RNG.normal(0, 1.5, 1000)
    known = normal_given_x(("w", "x"))
    _, axis = plot_conditional(known, {"w": x + 0.01 * RNG.normal(size=1000), "x": x, "y": 2 * x}, along="w")
    at, median = curve(axis)
    assert median == pytest.approx(2 * at, abs=0.5)
    assert axis.get_title(loc="left") == "1 other condition as in the data there"
    with pytest.raises(ValueError, match="Did you mean 'w'"):
        plot_conditional(known, {"w": x, "x": x, "y": x}, along="ww")


def test_levels_are_stacked_to_one() -> None:
    colour = Column(name="c", kind="category", type="string", levels=("red", "blue"))

    def log_prob(cells: dict[str, np.ndarray]) -> np.ndarray:
        red = 1 / (1 + np.exp(-cells["x"]))
        return np.log(np.where(cells["c"] == "red", red, 1 - red))

    known: Any = Known([Column(name="x", kind="real"), colour], log_prob, given=["x"])
    x = RNG.normal(size=200)
    table = {"x": x, "c": RNG.choice(["red", "blue"], 200)}
    figure, axis = plot_conditional(known, table)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["red", "blue"]
    red, blue = (bands.get_paths()[0].vertices for bands in axis.collections)
    assert red[:, 1].max() == pytest.approx(1 / (1 + np.exp(-red[:, 0].max())), rel=1e-6)
    assert blue[:, 1].max() == pytest.approx(1)
    assert "probability" in axis.get_ylabel()


def test_the_density_of_single_rows_marks_the_value() -> None:
    known = normal_given_x()
    figure, axes = plot_predictive(known, {"x": [0.0, 1.0, 2.0], "y": [0.1, None, 4.0]})
    assert known.calls == 1
    for axis, centre in zip(axes, (0, 2, 4), strict=True):
        at, height = curve(axis)
        assert at[np.argmax(height)] == pytest.approx(centre, abs=0.05)
    marks = [[line.get_xdata()[0] for line in axis.get_lines() if len(line.get_xdata()) == 2] for axis in axes]
    assert marks == [[0.1], [], [4.0]], "a row without the value has no mark"
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model: density", "value in the data"]
    assert [axis.get_title(loc="left") for axis in axes] == ["row 1", "row 2", "row 3"]
    with pytest.raises(ValueError, match="1 to 6 rows"):
        plot_predictive(known, {"x": np.zeros(7), "y": np.zeros(7)})


def test_models_of_many_columns_have_no_conditional_figure() -> None:
    columns = [Column(name=name, kind="real") for name in "abc"]
    known: Any = Known(columns, lambda cells: cells["a"], given=["c"])
    for draw in (plot_conditional, plot_predictive):
        with pytest.raises(ValueError, match="one column given others, got the density of 2 columns"):
            draw(known, {name: np.zeros(3) for name in "abc"})


def test_a_grid_lies_on_steps() -> None:
    """Between steps a rounded number has the density of the step below, and the curve would be a staircase of it."""
    column = Column(name="y", kind="real", step=0.5, seen=(-5.0, 5.0))
    seen: list[np.ndarray] = []

    def log_prob(cells: dict[str, np.ndarray]) -> np.ndarray:
        seen.append(cells["y"])
        return stats.norm.logpdf(cells["y"] + 0.25, 0, 2)

    known: Any = Known([column], log_prob)
    found = densities(known, column, number_axis("y", np.linspace(-5, 5, 50), step=0.5), None, 150)
    assert np.all(seen[0] % 0.5 == 0)
    assert found.density.sum() * 0.5 == pytest.approx(1, abs=0.01)
    assert len(seen[0]) == len(found.positions)
