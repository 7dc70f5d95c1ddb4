"""Posteriors of a simulator's parameters as a page shows them: the observation is held, and the posterior follows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward.explore.controls import Control, plain_controls
from pushforward.explore.curves import Curve, How, Surface, masses_of, visible, widths
from pushforward.explore.figures import Drawn, Plane, curve_chart, facts, surface_chart
from pushforward.explore.flow_axes import way_of
from pushforward.explore.panel import Frames, Panel, script, written
from pushforward.explore.subject import Latents, Moved, Row
from pushforward.explore.table_subject import frames_of
from pushforward.inference import NLE, NPE, JointPosterior
from pushforward.plotting.axes import number_axis
from pushforward.report.canvas import Scales
from pushforward.report.html import joined, number, table_of, tag
from pushforward.tables.errors import DataError
from pushforward.tables.pairs import names_of_x, numbers_of
from pushforward.tables.reading.cells import read_cells

# Draws of the prior that ranges follow, and of the posterior; points of a line, and of each side of a plane.
PRIOR, DRAWS, AVERAGED, POINTS, SIDE = 2000, 400, 31, 201, 48
LISTED = 8
# Standard deviations of observations that sliders reach where there are no simulations.
REACH = 3.0


class PosteriorSubject:
    """A posterior of parameters given an observation that is a vector of numbers.

    Args:
        posterior: Fitted `NPE`, `NLE` or `JointPosterior`.
        name: Name of its folder.
        data: Simulations to take observations from: a table, a pair of arrays `(theta, x)`, or None.
        seed: Seed of all draws.

    Raises:
        TypeError: An observation is no vector.
        DataError: The simulations are not of the model.
    """

    def __init__(self, posterior: NPE | NLE | JointPosterior, name: str, data: Any = None, *, seed: int = 0):
        self.posterior, self.name, self.seed = posterior, name, seed
        self.parameters = tuple(posterior.prior_.names)
        self.numbers = _names_of_x(posterior)
        theta = posterior.prior_.sample(PRIOR, np.random.default_rng(seed))
        x = np.random.default_rng(seed).uniform(-REACH, REACH, (200, len(self.numbers)))
        pairs = None if data is None else self._pairs(data)
        x = posterior.units_.back(x) if pairs is None else pairs[1]
        sliders = plain_controls(self.parameters, theta)
        self.controls: Sequence[Control] = [*sliders, *plain_controls(self.numbers, x, always=True)]
        self.targets: Sequence[str] = self.parameters
        first = (np.median(theta, axis=0), np.median(x, axis=0)) if pairs is None else (pairs[0][0], pairs[1][0])
        cells = dict(zip((*self.parameters, *self.numbers), np.concatenate(first).tolist(), strict=True))
        self.start: Row = {c.name: c.cell(c.position(cells[c.name])) for c in self.controls}
        self._ranges = {c.name: (c.low, c.high) for c in sliders}
        scales = Scales()
        axes = [number_axis(each, own) for each, own in zip(self.parameters, theta.T, strict=True)]
        self._drawn = {each: Drawn(axis, scales.of(axis, 6)) for each, axis in zip(self.parameters, axes, strict=True)}
        kind = type(posterior).__name__
        self.title = f"{name}: {', '.join(self.parameters[:6])} given {', '.join(self.numbers[:6])}, by {kind}"
        self.sentence = (
            f"The observation ({', '.join(self.numbers[:8])}) is held; move it, and the posterior follows. Hold the "
            "other parameters to see a density given them, or release them all to see the marginal one."
        )
        self.views: Sequence[str] = ("density", "way") if isinstance(posterior, NPE) else ("density",)

    def _pairs(self, data: Any) -> tuple[np.ndarray, np.ndarray]:
        if isinstance(data, tuple):
            return np.asarray(data[0], np.float64), np.asarray(data[1], np.float64)
        cells = read_cells(data)
        names = self.numbers if set(self.numbers) <= set(cells.names) else None
        chosen = names or [each for each in cells.names if each not in self.parameters]
        if len(chosen) != len(self.numbers):
            expected = f"{len(self.numbers)} columns beside the parameters"
            raise DataError("columns", message(cells.source, expected, str(len(chosen)), "Pass simulations."))
        return numbers_of(cells, self.parameters), numbers_of(cells, chosen)

    def _x(self, row: Row) -> np.ndarray:
        return np.array([float(row[each]) for each in self.numbers])

    def _theta(self, row: Row) -> np.ndarray:
        return np.array([float(row[each]) for each in self.parameters])

    def _draws(self, row: Row, n: int) -> np.ndarray:
        return np.asarray(self.posterior.sample(n, x=self._x(row), key=jax.random.key(self.seed)))

    def _load(self, row: Row) -> list[str]:
        kind = type(self.posterior).__name__
        return [f"posterior = pf.{kind}.load({self.name!r})", f"x = {written(self._x(row).tolist())}"]

    def density(self, targets: tuple[str, ...], row: Row, held: frozenset[str]) -> Panel:
        others = [each for each in self.parameters if each not in targets]
        kept = [each for each in others if each in held]
        theta = written(self._theta(row).tolist())
        places = [self.parameters.index(each) for each in targets]
        lines = [*self._load(row), f"theta = np.array({theta})"]
        if len(targets) == 1:
            ends = ", ".join(map(repr, self._ranges[targets[0]]))
            lines += [f"theta = np.repeat(theta[None], {POINTS}, axis=0)",
                      f"theta[:, {places[0]}] = np.linspace({ends}, {POINTS})",
                      "print(posterior.log_prob(theta, x=x))  # up to a constant, given the others"]  # fmt: skip
        else:
            lines += ["print(posterior.log_prob(theta, x=x))"]
        if others and not kept:
            lines = [*self._load(row), f"print(posterior.sample(1000, x=x)[:, {places}])"]
        code = script(*lines)
        if kept and len(kept) < len(others):
            words = (
                f"Hold all of {', '.join(others)} to see a density given them, or release them all for a marginal one."
            )
            return Panel(tag("p", words, class_="refused"))
        if others and not kept and isinstance(self.posterior, NLE):
            words = (
                "The posterior of a learned likelihood is drawn from by chains, which takes seconds: hold the others."
            )
            return Panel(tag("p", words, class_="refused"), code)
        found = self._found(places, row, marginal=bool(others) and not kept)
        if isinstance(found, Curve):
            name = targets[0]
            chart = curve_chart([found], self._drawn[name], float(row[name]), f"Posterior density of {name}.")
            low, high = found.interval(0.9)
            entries = {
                "median": (number(found.median), ""),
                "90 % lie between": (f"{number(low)} and {number(high)}", ""),
            }
            head = tag("div", facts(entries), id="density-summary", data_median=f"{found.median:.9g}")
            return Panel(joined([chart, head, tag("p", found.how.sentence)]), code)
        first, second = targets[0], targets[-1]
        marks = (float(row[first]), float(row[second]))
        words = f"Posterior density of {' and '.join(targets)}."
        chart = surface_chart(found, self._drawn[first], self._drawn[second], marks, words)
        return Panel(joined([chart, tag("p", found.how.sentence)]), code)

    def _found(self, places: list[int], row: Row, *, marginal: bool) -> Curve | Surface:
        theta, x = self._theta(row)[None], self._x(row)
        how = How("exact", "This is exact: all other parameters are held.")
        ranges = [self._ranges[self.parameters[place]] for place in places]
        if marginal:
            drawn = self._draws(row, DRAWS)
            theta = drawn[:AVERAGED] if len(places) == 1 else drawn[: max(AVERAGED // 8, 1)]
            ranges = [_near(drawn[:, place], own) for place, own in zip(places, ranges, strict=True)]
            how = How("draws", f"This is the mean over {len(theta)} exact draws of the other parameters.")
        count = POINTS if len(places) == 1 else SIDE
        grids = [np.linspace(*own, count) for own in ranges]
        mass = self._masses(theta, x, places, grids)
        if not marginal:  # look again from nearby
            spans = [_span(grid, mass.sum(axis=tuple(j for j in range(len(grids)) if j != i)))
                     for i, grid in enumerate(grids)]  # fmt: skip
            grids = [np.linspace(*span, count) for span in spans]
            mass = self._masses(theta, x, places, grids)
        curves = []
        for i, (place, grid) in enumerate(zip(places, grids, strict=True)):
            own = mass.sum(axis=tuple(j for j in range(len(grids)) if j != i))
            none = np.zeros(0)
            curves.append(Curve(self.parameters[place], grid, own / widths(grid), own, (), none, none, how))
        return curves[0] if len(curves) == 1 else Surface(curves[0], curves[1], mass, how)

    def _masses(self, theta: np.ndarray, x: np.ndarray, places: list[int], grids: list[np.ndarray]) -> np.ndarray:
        mesh = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(grids))
        many = np.repeat(theta, len(mesh), axis=0)
        many[:, places] = np.tile(mesh, (len(theta), 1))
        found = np.asarray(self.posterior.log_prob(many, x=x)).reshape(len(theta), *map(len, grids))
        mass, total = masses_of(found, [widths(grid) for grid in grids])
        return (mass / np.where(total > 0, total, 1.0)).mean(axis=0)

    def score(self, row: Row) -> Panel:
        theta, x = self._theta(row), self._x(row)
        value = float(np.asarray(self.posterior.log_prob(theta[None], x=x))[0])
        name = "log-posterior, up to a constant" if isinstance(self.posterior, NLE) else "log-posterior"
        head = tag("div", facts({name: (number(value, 5), "nats")}), id="row-score", data_value=f"{value:.9g}")
        lines = [*self._load(row), f"theta = {written(theta.tolist())}",
                 "print(posterior.log_prob(np.array([theta]), x=x))"]  # fmt: skip
        return Panel(head, script(*lines))

    def draws(self, row: Row, held: frozenset[str]) -> Panel:
        if isinstance(self.posterior, NLE):
            words = "The posterior of a learned likelihood is drawn from by chains: use the Python below."
            return Panel(tag("p", words, class_="soft"), script(*self._load(row), "print(posterior.sample(1000, x=x))"))
        drawn = self._draws(row, DRAWS)
        rows = [[each, float(own.mean()), float(own.std()), *map(float, np.quantile(own, [0.05, 0.5, 0.95]))]
                for each, own in zip(self.parameters, drawn.T, strict=True)]  # fmt: skip
        header = ["parameter", "mean", "standard deviation", "5 %", "median", "95 %"]
        made = table_of(header, rows, caption=f"{DRAWS} draws of the posterior")
        few = table_of(list(self.parameters), drawn[:LISTED].tolist(), caption="The first of them")
        code = script(*self._load(row), f"print(posterior.sample({DRAWS}, x=x, key=jax.random.key({self.seed})))")
        return Panel(joined([made, few]), code)

    def plane(self, names: tuple[str, str]) -> Plane:
        raise NotImplementedError("A posterior has no rows.")

    def brushed(self, names: tuple[str, str], box: tuple[float, float, float, float]) -> Panel:
        raise NotImplementedError("A posterior has no rows.")

    def latents(self, row: Row) -> Latents:
        raise NotImplementedError("A posterior has no latent axes of rows.")

    def moved(self, row: Row, latents: Sequence[float]) -> Moved:
        raise NotImplementedError("A posterior has no latent axes of rows.")

    def way(self, row: Row) -> Frames:
        posterior: Any = self.posterior
        with jax.enable_x64(True):
            member = posterior.distribution_.each[0]
            flow = member.given(posterior._seen(self._x(row)[None])[0])
            names = tuple(f"{each} (as the flow sees it)" for each in self.parameters)
            found = way_of(flow, names, seed=self.seed)
        return frames_of(found, script(*self._load(row), "print(posterior.sample(400, x=x))"))


def _names_of_x(posterior: Any) -> tuple[str, ...]:
    """Names of the numbers of an observation.

    Raises:
        TypeError: An observation is no vector.
    """
    if not isinstance(posterior, JointPosterior) and len(posterior.x_shape_) != 1:
        fix = "Summarise observations, or look at pf.report.make_report."
        raise TypeError(message("explore", "observations that are vectors", f"shape {posterior.x_shape_}", fix))
    return names_of_x(posterior) or tuple(f"x_{i}" for i in range(posterior.x_shape_[0]))


def _near(values: np.ndarray, ends: tuple[float, float]) -> tuple[float, float]:
    """The range of draws and a third of it beyond, within the range of the slider where that is narrower."""
    low, high = np.quantile(values, [0.005, 0.995])
    margin = (high - low) / 3 or (ends[1] - ends[0]) / 10
    return max(float(low - margin), ends[0]), min(float(high + margin), ends[1])


def _span(grid: np.ndarray, mass: np.ndarray) -> tuple[float, float]:
    """Where a density can be seen."""
    first, last = visible(mass) or (0, -1)
    return float(grid[first]), float(grid[last])
