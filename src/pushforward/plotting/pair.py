"""The pair plot: every two columns, data against samples, with the marginals on the diagonal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.plotting.style import (
    BLUE,
    GREY,
    ORANGE,
    in_units,
    limits,
    matrix,
    new_figure,
    short_ticks,
    shortened,
    styled,
    units,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# More columns than this cannot be read on one page; more points than this per panel only hide one another.
MOST_COLUMNS = 10
MOST_POINTS = 2000
# Levels named along an axis, and how far the points of a level are spread to each side.
MOST_LEVELS = 8
SPREAD = 0.3


def plot_pair(
    data: Any = None,
    *,
    samples: Any = None,
    names: Sequence[str] | None = None,
    levels: Mapping[int, Sequence[str]] | None = None,
    figure: Figure | SubFigure | None = None,
    random_state: int = 0,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw every pair of columns, data against samples.

    The points of both are drawn in one shuffled order, so that neither hides the other: where the model is right the
    colours mix, where it is wrong one of them stands alone.

    Args:
        data: Rows `(n, d)` of the data, or None.
        samples: Rows `(m, d)` of the model, or None; at least one of the two is needed.
        names: Names of the columns.
        levels: Names of the levels 0, 1, ... of columns of categories, by position; their points are spread a little,
            so that they do not hide one another.
        figure: Figure to draw in; None makes one.
        random_state: Seed of the choice of points when there are more than can be told apart.

    Returns:
        The figure, and its axes `(d, d)`; those above the diagonal are None. The first 10 columns are drawn.

    Raises:
        ValueError: Shapes differ, or values are not finite.
    """
    sets = {}
    for label, color, values in (("data", BLUE, data), ("samples", ORANGE, samples)):
        if values is not None:
            sets[label] = (color, matrix(f"plot_pair: {label}", values, names))
    if not sets:
        raise ValueError(message("plot_pair", "data, samples or both", "neither", "Pass one."))
    widths = {values.shape[1] for _, values in sets.values()}
    if len(widths) > 1:
        raise ValueError(
            message("plot_pair", "the same columns in data and samples", f"{sorted(widths)}", "Pass the same.")
        )
    total = widths.pop()
    dim = min(total, MOST_COLUMNS)
    labels = [f"x{i}" for i in range(total)] if names is None else [shortened(name, 24 - dim) for name in names]
    reference = next(iter(sets.values()))[1]  # the axes follow the data where there are data
    levels = {i: list(words) for i, words in (levels or {}).items() if i < dim}
    ranges = [(-0.6, len(levels[i]) - 0.4) if i in levels else limits(reference[:, i]) for i in range(dim)]
    side = 1.25 * dim + 0.9 if dim > 2 else 2.2 * dim + 0.6
    with styled():
        figure = new_figure(figure, side, side)
        axes = np.full((dim, dim), None, dtype=object)
        grid = figure.add_gridspec(dim, dim)
        for row in range(dim):
            for column in range(row + 1):
                axes[row, column] = axis = figure.add_subplot(grid[row, column])
                if row == column:
                    _marginal(axis, sets, column, ranges[column], column in levels)
                else:
                    _points(axis, sets, column, row, random_state, levels)
                    axis.set_ylim(*ranges[row])
                axis.set_xlim(*ranges[column])
                _label(axis, row, column, ranges, labels, levels)
        figure.align_labels()
        _legend(figure, axes, sets, dim, _remarks(sets, ranges, total, dim))
    return figure, axes


def _points(axis: Any, sets: dict, column: int, row: int, random_state: int, levels: Mapping[int, list[str]]) -> None:
    count = min(MOST_POINTS, *(len(values) for _, values in sets.values()))
    rng = np.random.default_rng(random_state)
    parts, colors = [], []
    for color, values in sets.values():
        parts.append(values[rng.choice(len(values), count, replace=False)][:, [column, row]])
        colors += [color] * count
    order = rng.permutation(len(colors))
    points = np.concatenate(parts)[order]
    for place, i in enumerate((column, row)):
        if i in levels:
            points[:, place] += rng.uniform(-SPREAD, SPREAD, len(points))
    size = float(np.clip(8000 / len(order), 1.5, 9.0))
    shades = np.array(colors)[order]
    axis.scatter(points[:, 0], points[:, 1], s=size, c=shades, alpha=0.55, linewidths=0, rasterized=True)


def _marginal(axis: Any, sets: dict, column: int, span: tuple[float, float], levels: bool) -> None:
    smallest = min(len(values) for _, values in sets.values())
    edges = np.linspace(*span, int(np.clip(2 * smallest ** (1 / 3), 8, 40)) + 1)
    if levels:
        edges = np.arange(-0.5, span[1] + 0.2)
    for label, (color, values) in sets.items():
        # Over all values, also those beyond the axis: a marginal that leaves mass outside must not look taller.
        heights = np.histogram(values[:, column], bins=edges)[0] / (len(values) * np.diff(edges))
        filled = label == "data" or len(sets) == 1
        axis.stairs(heights, edges, fill=filled, color=color, alpha=0.45 if filled else 1.0, linewidth=1.3)
    axis.set_ylim(bottom=0)
    axis.margins(y=0.1)


def _label(
    axis: Any,
    row: int,
    column: int,
    ranges: list[tuple[float, float]],
    labels: list[str],
    levels: Mapping[int, list[str]],
) -> None:
    dim = len(ranges)
    for part, i in ((axis.xaxis, column), (axis.yaxis, row)):
        if i in levels:
            if row == column and part is axis.yaxis:  # a marginal counts rows along it, and has no ticks
                continue
            _name_levels(part, levels[i], dim, upright=part is axis.yaxis)
            continue
        offset, power = units(*ranges[i])
        short_ticks(part, offset, power, 3 if dim > 2 else 5)
    if row == dim - 1:
        axis.set_xlabel(labels[column] if column in levels else in_units(labels[column], *units(*ranges[column])))
    else:
        axis.tick_params(labelbottom=False)
    if row == column:
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        if row == 0:
            axis.set_ylabel("density")
    elif column == 0:
        axis.set_ylabel(labels[row] if row in levels else in_units(labels[row], *units(*ranges[row])))
    else:
        axis.tick_params(labelleft=False)


def _name_levels(part: Any, words: list[str], dim: int, upright: bool) -> None:
    """The names of levels as ticks, short, and only as many as there is room for."""
    step = -(-len(words) // MOST_LEVELS)
    places = list(range(0, len(words), step))
    part.set_ticks(places, [shortened(words[place], max(4, 14 - dim)) for place in places])
    for label in part.get_ticklabels():
        label.set_fontsize(6)
        label.set_rotation(0 if upright else 90)


def _remarks(sets: dict, ranges: list[tuple[float, float]], total: int, dim: int) -> list[str]:
    remarks = [f"first {dim} of {total} columns"] if total > dim else []
    low, high = np.array(ranges).T
    for label, (_, values) in sets.items():
        shown = values[:, :dim]
        outside = int(np.any((shown < low) | (shown > high), axis=1).sum())
        if outside:
            remarks.append(f"beyond the axes: {outside:,} of the {label}")
    return remarks


def _legend(figure: Any, axes: np.ndarray, sets: dict, dim: int, remarks: list[str]) -> None:
    """Draw the legend in the empty half above the diagonal; with a single column it goes above the axes."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], linestyle="none", marker="o", markersize=5, color=color) for color, _ in sets.values()]
    labels = [f"{label} ({len(values):,} rows)" for label, (_, values) in sets.items()]
    handles += [Line2D([], [], linestyle="none") for _ in remarks]
    labels += remarks
    if dim == 1:
        legend = axes[0, 0].legend(handles, labels, loc="lower left", bbox_to_anchor=(0, 1.01), handletextpad=0.4)
    else:
        legend = figure.legend(handles, labels, loc="upper right", handletextpad=0.4)
        legend.set_in_layout(False)
    for text in legend.get_texts()[len(sets) :]:
        text.set_color(GREY)
