"""Conditional densities of a fitted model: a fan of quantiles along a condition, and the density for single rows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward._words import nearest
from pushforward.plotting.axes import Axis
from pushforward.plotting.columns import axis_of, few_levels, information, numbers_in
from pushforward.plotting.fitted import (
    Conditionals,
    conditions_of,
    densities,
    rows_of,
    table_for,
    target_of,
    without_gaps,
)
from pushforward.plotting.plane import shades
from pushforward.plotting.style import BLUE, GREY, ORANGE, new_figure, shortened, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.reading.cells import Cells

# Bands of a fan, as their lower and upper quantile with their opacity, and points of the data.
BANDS = ((0.05, 0.95, 0.25), (0.25, 0.75, 0.45))
POINTS = 1500
# Places along a condition, rows of each that the density is averaged over, and points of its grid.
PLACES, ROWS, GRID = 14, 48, 150
# Rows, and points of the grid, where each row has a panel.
MOST_ROWS, ACROSS, FINE = 6, 3, 400
# A panel shows where a density is above this share of its largest value.
SHOWN = 2e-3


def plot_conditional(
    density: FlowDensity,
    data: Any,
    *,
    along: str | None = None,
    figure: Figure | SubFigure | None = None,
    random_state: int = 0,
) -> tuple[Figure | SubFigure, Any]:
    r"""Draw the density of a column given one of its conditions as a fan of quantiles, with the data.

    The bands hold 50 % and 90 % of the probability. They come from the exact density $p(y \mid x)$ on a fine grid of
    $y$, computed for all rows in one call. If there are other conditions, the density at each place is the mean over
    data whose condition is near it, so that the others are as they are in the data there. A column of levels has its
    probabilities stacked instead.

    Args:
        density: Fitted `FlowDensity` of one column given others.
        data: Table with the columns of the fit.
        along: Condition to draw along; None takes the one that tells most about the column (by mutual information).
        figure: Figure to draw in; None makes one.
        random_state: Seed of the choice of rows.

    Returns:
        The figure and its axes.

    Raises:
        ValueError: The model has no conditions, or more columns than one beside them; `along` is no condition.
    """
    target = target_of("plot_conditional", density)
    table = without_gaps(table_for(density, data), conditions_of(density))
    columns = [target, *conditions_of(density)]
    numbers = numbers_in(columns, table)
    place = _condition(density.given_, along, numbers, columns)
    column, x = columns[place], numbers[:, place]
    axes = [axis_of(c.name, c, numbers[:, i], c.missing) for i, c in ((place, column), (0, target))]
    rng = np.random.default_rng(random_state)
    at, found = _along(density, table, column, target, x, axes, rng)
    with styled():
        figure = new_figure(figure, 5.2, 3.6)
        axis = figure.add_subplot()
        for part, own in ((axis.xaxis, axes[0]), (axis.yaxis, axes[1])):
            own.dress(part, 5)
        if axes[1].words:
            axis.yaxis.set_major_formatter("{x:g}")
            _stack(axis, axes, at, found)
        else:
            _fan(axis, axes, at, found)
            some = rng.permutation(len(x))[:POINTS]
            points = axes[0].place(x[some]), axes[1].place(numbers[some, 0])
            axis.scatter(*points, s=3, color=BLUE, alpha=0.35, linewidths=0, label="data", zorder=1, rasterized=True)
            axis.set_ylim(*axes[1].span)
            axis.set_ylabel(_named(axes[1]))
        axis.set_xlim(*(axes[0].span if axes[0].words else (min(at), max(at))))
        axis.set_xlabel(_named(axes[0]))
        others = len(density.given_) - 1
        if others:
            word = "condition" if others == 1 else "conditions"
            axis.set_title(f"{others} other {word} as in the data there", loc="left", fontsize=8, color=GREY)
        figure.legend(loc="outside upper left", ncols=5, handlelength=1.4, markerscale=3)
    return figure, axis


def _condition(given: Sequence[str], along: str | None, numbers: np.ndarray, columns: Sequence[Any]) -> int:
    """The place of the condition to draw along among the target and the conditions."""
    if along is None:
        return 1 + int(np.argmax(information(numbers, [few_levels(column) for column in columns])[0, 1:]))
    if along not in given:
        expected = f"along one of the conditions {', '.join(given)}"
        raise ValueError(message("plot_conditional", expected, repr(along), nearest(along, given)))
    return 1 + list(given).index(along)


def _along(
    density: FlowDensity, table: Cells, column: Any, target: Any, x: np.ndarray, axes: Sequence[Axis], rng: Any
) -> tuple[np.ndarray, list[Conditionals]]:
    """Places along a condition, and the density of the target at each, as the mean over rows near it."""
    own, upright = axes
    if own.words:
        places = own.place(x)
        groups = [np.flatnonzero(places == level) for level in range(len(own.words))]
    elif len(density.given_) == 1:  # each place has a condition of its own, and no mean
        at = own.lengths(np.quantile(own.place(x[x > 0] if own.logarithmic else x), [0.005, 0.995]))
        at = np.linspace(at[0], at[1], 3 * PLACES)
        at = 10.0**at if own.logarithmic else at
        found = densities(density, target, upright, rows_of(column, own.values(at)), GRID)
        return at, [_row(found, i) for i in range(len(at))]
    else:
        groups = np.array_split(np.argsort(x, kind="stable"), min(PLACES, max(len(x) // ROWS, 2)))
    groups = [group for group in groups if len(group)]
    chosen = [rng.permutation(group)[:ROWS] for group in groups]
    found = densities(density, target, upright, table.take(np.concatenate(chosen)), GRID)
    ends = np.cumsum([0, *map(len, chosen)])
    at = np.array([np.median(own.place(x[group])) for group in groups])
    return at, [_row(found, slice(low, high)).mean() for low, high in pairwise(ends)]


def _row(found: Conditionals, rows: Any) -> Conditionals:
    density, masses = np.atleast_2d(found.density[rows]), np.atleast_2d(found.masses[rows])
    return Conditionals(found.positions, density, found.atoms, masses)


def quantiles(found: Conditionals, axis: Axis, levels: Sequence[float]) -> np.ndarray:
    """The positions `(k,)` of quantiles of a density on a grid, of one row.

    Args:
        found: Density of one row.
        axis: Axis of the column.
        levels: Levels `(k,)` between 0 and 1.
    """
    along = axis.lengths(found.positions)
    pieces = np.diff(along) * (found.density[0, 1:] + found.density[0, :-1]) / 2
    below = np.concatenate([[0.0], np.cumsum(pieces)]) if len(along) else np.zeros(0)
    order = np.argsort(found.atoms)
    atoms, masses = found.atoms[order], found.masses[0, order]
    before = np.concatenate([[0.0], np.cumsum(masses)])
    # At an atom the distribution function leaps: it has two heights there.
    of_atoms = np.interp(atoms, found.positions, below) if len(along) else np.zeros(len(atoms))
    at = np.concatenate([found.positions, atoms, atoms])
    height = np.concatenate(
        [below + before[np.searchsorted(atoms, found.positions)], of_atoms + before[:-1], of_atoms + before[1:]]
    )
    order = np.lexsort((at, height))
    return np.interp(np.asarray(levels) * height.max(), height[order], at[order])


def _fan(axis: Any, axes: Sequence[Axis], at: np.ndarray, found: Sequence[Conditionals]) -> None:
    levels = [0.5, *(end for low, high, _ in BANDS for end in (low, high))]
    lines = np.array([quantiles(one, axes[1], levels) for one in found]).T
    pairs = [(lines[1 + 2 * i], lines[2 + 2 * i], *band) for i, band in enumerate(BANDS)]
    for below, above, low, high, alpha in pairs:
        style: dict[str, Any] = {"color": ORANGE, "alpha": alpha, "linewidth": 0, "zorder": 2}
        label = f"{100 * (high - low):.0f} % of the model"
        if axes[0].words:
            axis.bar(at, above - below, 0.6, bottom=below, label=label, **style)
        else:
            axis.fill_between(at, below, above, label=label, **style)
    if axes[0].words:
        axis.hlines(lines[0], at - 0.3, at + 0.3, color=ORANGE, linewidth=1.6, label="median", zorder=3)
    else:
        axis.plot(at, lines[0], color=ORANGE, linewidth=1.6, label="median", zorder=3)


def _stack(axis: Any, axes: Sequence[Axis], at: np.ndarray, found: Sequence[Conditionals]) -> None:
    """The probabilities of levels, one on the other, from light to dark."""
    masses = np.array([one.density[0] for one in found]).T
    colors = [shades()(0.18 + 0.75 * i / max(len(masses) - 1, 1)) for i in range(len(masses))]
    labels = [shortened(word, 14) for word in axes[1].words]
    below = np.zeros(len(at))
    for mass, color, label in zip(masses, colors, labels, strict=True):
        if axes[0].words:
            axis.bar(at, mass, 0.8, bottom=below, color=color, label=label, edgecolor="white", linewidth=0.5)
        else:
            axis.fill_between(at, below, below + mass, color=color, label=label, edgecolor="white", linewidth=0.5)
        below = below + mass
    axis.set_ylim(0, 1)
    axis.yaxis.set_major_locator(_plain())
    axis.set_ylabel(f"probability of {axes[1].label}")


def _plain() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(5)


def plot_predictive(
    density: FlowDensity,
    rows: Any,
    *,
    titles: Sequence[str] | None = None,
    figure: Figure | SubFigure | None = None,
) -> tuple[Figure | SubFigure, np.ndarray]:
    r"""Draw the density of a column given the conditions of each of a few rows, such as $p(z)$ of a galaxy.

    The density is exact, on a fine grid; where a row holds a value of the column itself, a line marks it.

    Args:
        density: Fitted `FlowDensity` of one column given others.
        rows: Table of 1 to 6 rows with the columns of the fit; the column itself may have gaps.
        titles: Title of each panel; None numbers the rows from 1.
        figure: Figure to draw in; None makes one.

    Returns:
        The figure and its axes `(n_rows,)`.

    Raises:
        ValueError: The model has no conditions, or more columns than one beside them; there are too many rows.
    """
    target = target_of("plot_predictive", density)
    table = table_for(density, rows)
    if not 1 <= len(table) <= MOST_ROWS:
        fix = "Choose some of them."
        raise ValueError(message("plot_predictive", f"1 to {MOST_ROWS} rows", str(len(table)), fix))
    truth = numbers_in([target], table)[:, 0]
    seen = np.array(target.seen if target.seen is not None else [0.0, 1.0])
    along = axis_of(
        target.name, target, np.linspace(seen[0], seen[1], 100) if not target.levels else truth, target.missing
    )
    found = densities(density, target, along, table, FINE)
    names = [f"row {i + 1}" for i in range(len(table))] if titles is None else list(titles)
    count = len(names)
    across = min(ACROSS, count)
    down = -(-count // across)
    with styled():
        figure = new_figure(figure, 5.2 if count == 1 else 2.5 * across, 3.2 if count == 1 else 1.8 * down + 0.6)
        axes = figure.subplots(down, across, squeeze=False, sharex=True).ravel()
        for axis in axes[count:]:
            axis.remove()
        axes = axes[:count]
        for i, (axis, name) in enumerate(zip(axes, names, strict=True)):
            along.dress(axis.xaxis, 5)
            _predicted(axis, along, _row(found, i), float(along.place(truth[i : i + 1])[0]), first=i == 0)
            axis.set_title(name, loc="left", fontsize=8)
            axis.set_yticks([])
            axis.spines["left"].set_visible(False)
            if i >= count - across:
                axis.tick_params(labelbottom=True)
                axis.set_xlabel(_named(along))
        axes[0].set_xlim(*_range(along, found, along.place(truth)))
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.4)
    return figure, axes


def _predicted(axis: Any, along: Axis, found: Conditionals, truth: float, *, first: bool) -> None:
    label = f"model: {along.measure}" if first else None
    if along.words or not len(found.positions):
        places, masses = (found.positions, found.density[0]) if along.words else (found.atoms, found.masses[0])
        colors = [BLUE if place == truth else ORANGE for place in places]
        axis.bar(places, masses, 0.8, color=colors, alpha=0.75, linewidth=0)
        if first:
            for color, word in ((ORANGE, "model: probability"), (BLUE, "that of the level in the data")):
                axis.fill_between([], [], color=color, alpha=0.75, linewidth=0, label=word)
        return
    axis.fill_between(found.positions, found.density[0], color=ORANGE, alpha=0.3, linewidth=0)
    axis.plot(found.positions, found.density[0], color=ORANGE, linewidth=1.4, label=label)
    top = found.density[0].max()
    for position, mass in zip(found.atoms, found.masses[0], strict=True):
        axis.plot([position, position], [0, top * mass], color=ORANGE, marker="o", markersize=4, markevery=[1])
        axis.annotate(f"{mass:.2f}", (position, top * mass), xytext=(4, 2), textcoords="offset points", fontsize=7)
    if np.isfinite(truth):
        word = "value in the data" if first else None
        axis.axvline(truth, color=BLUE, linewidth=1.4, linestyle=(0, (4, 2)), label=word)
    axis.set_ylim(bottom=0)


def _range(along: Axis, found: Conditionals, truth: np.ndarray) -> tuple[float, float]:
    """Where one of the densities is not negligible, and the data."""
    if along.words or not len(found.positions):
        return along.span
    high = (found.density > SHOWN * found.density.max(axis=1, keepdims=True)).any(axis=0)
    there = np.concatenate([found.positions[high], found.atoms, truth[np.isfinite(truth)]])
    if along.logarithmic:
        return float(there.min()), float(there.max())
    margin = 0.03 * (there.max() - there.min())
    return float(there.min() - margin), float(there.max() + margin)


def _named(axis: Axis) -> str:
    name, line, unit = axis.label.partition("\n")
    return shortened(name) + line + unit
