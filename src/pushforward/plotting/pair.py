"""The pair plot: every two columns, data against samples, with the marginals on the diagonal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.plotting.axes import Axis
from pushforward.plotting.columns import Pictured, pictured
from pushforward.plotting.panels import Sets, draw_marginal, draw_pair
from pushforward.plotting.style import BLUE, GREY, ORANGE, new_figure, shortened, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# More columns than this cannot be read on one page.
MOST_COLUMNS = 10
# Columns whose gaps are told one by one.
MOST_GAPS = 3


def plot_pair(
    data: Any = None,
    *,
    samples: Any = None,
    names: Sequence[str] | None = None,
    schema: Any = None,
    columns: Sequence[str | int] | None = None,
    figure: Figure | SubFigure | None = None,
    random_state: int = 0,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw every pair of columns, data against samples.

    The points of both are drawn in one shuffled order, so that neither hides the other: where the model is right the
    colours mix, where it is wrong one of them stands alone. The columns of a table have axes of their kind: dates,
    times of day, durations, circles, levels by name, and logarithms of positive numbers over decades. A level has a
    histogram of data on one side and of samples on the other; a pair of levels has a cell whose halves are shaded by
    their shares. A gap leaves a row out of the panels of that column alone.

    Args:
        data: Rows of the data: an array `(n, d)` with NaN for gaps, or a table of any kind that a model can be fitted
            to; or None.
        samples: Rows of the model, in the same form, or None; at least one of the two is needed.
        names: Names of the columns of arrays; a table has its own.
        schema: `TableSchema` of a table, such as `FlowDensity.schema_`; None detects it.
        columns: Names or positions of the columns to draw, at most 10; None draws all, or the 10 of the strongest
            dependence.
        figure: Figure to draw in; None makes one.
        random_state: Seed of the choice of points when there are more than can be told apart.

    Returns:
        The figure, and its axes `(d, d)`; those above the diagonal are None.

    Raises:
        ValueError: Shapes differ, a value is infinite, or a column is unknown.
    """
    shown = pictured("plot_pair", data, samples, names=names, schema=schema, columns=columns, most=MOST_COLUMNS)
    return draw_pairs(shown, figure=figure, random_state=random_state)


def draw_pairs(
    shown: Pictured, *, figure: Figure | SubFigure | None = None, random_state: int = 0
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw the pair plot of columns whose axes are known; see `plot_pair`."""
    sets: dict[str, tuple[str, np.ndarray]] = {}
    for label, color, values in (("data", BLUE, shown.data), ("samples", ORANGE, shown.samples)):
        if values is not None:
            sets[label] = (color, values)
    dim = len(shown.axes)
    side = 1.25 * dim + 0.9 if dim > 2 else 2.2 * dim + 0.6
    with styled():
        figure = new_figure(figure, side, side)
        axes = np.full((dim, dim), None, dtype=object)
        grid = figure.add_gridspec(dim, dim)
        for row in range(dim):
            for column in range(row + 1):
                axes[row, column] = axis = figure.add_subplot(grid[row, column])
                along = shown.axes[column], shown.axes[row]
                _dress(axis, along, row, column, dim)
                if row == column:
                    own = {label: (color, values[:, column]) for label, (color, values) in sets.items()}
                    draw_marginal(axis, own, along[0])
                else:
                    draw_pair(axis, sets, (column, row), along, np.random.default_rng(random_state))
                    axis.set_ylim(*along[1].span)
                axis.set_xlim(*along[0].span)
        figure.align_labels()
        remarks = ([shown.chosen] if shown.chosen else []) + _beyond(sets, shown.axes) + _gaps(sets, shown.names)
        _legend(figure, axes, sets, dim, remarks)
    return figure, axes


def _dress(axis: Any, along: tuple[Axis, Axis], row: int, column: int, dim: int) -> None:
    """Scales, ticks and labels; ticks have words on the left and below alone."""
    most = 3 if dim > 2 else 5
    along[0].dress(axis.xaxis, most)
    if row == dim - 1:
        axis.set_xlabel(_short(along[0].label, dim))
    else:
        axis.tick_params(labelbottom=False)
    if row == column:
        axis.set_yticks([])
        axis.spines["left"].set_visible(False)
        if row == 0:
            axis.set_ylabel(along[0].measure)
        return
    along[1].dress(axis.yaxis, most)
    if column == 0:
        axis.set_ylabel(_short(along[1].label, dim))
    else:
        axis.tick_params(labelleft=False)


def _short(label: str, dim: int) -> str:
    name, line, unit = label.partition("\n")
    return shortened(name, 24 - dim) + line + unit


def _beyond(sets: Sets, along: Sequence[Axis]) -> list[str]:
    low, high = np.array([axis.span for axis in along]).T
    remarks = []
    for label, (_, values) in sets.items():
        outside = int(np.any((values < low) | (values > high), axis=1).sum())
        if outside:
            remarks.append(f"beyond the axes: {outside:,} of the {label}")
    return remarks


def _gaps(sets: Sets, names: Sequence[str]) -> list[str]:
    shares = {label: np.isnan(values).mean(axis=0) for label, (_, values) in sets.items()}
    gapped = [i for i in range(len(names)) if any(share[i] > 0 for share in shares.values())]
    remarks = []
    for i in gapped[:MOST_GAPS]:
        words = ", ".join(f"{100 * share[i]:.2g} % of the {label}" for label, share in shares.items())
        remarks.append(f"gaps in {shortened(names[i], 16)}: {words}")
    if len(gapped) > MOST_GAPS:
        remarks.append(f"gaps in {len(gapped) - MOST_GAPS} more columns")
    return remarks


def _legend(figure: Any, axes: np.ndarray, sets: Sets, dim: int, remarks: list[str]) -> None:
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
