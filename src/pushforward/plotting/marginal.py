"""The marginals of a fitted model: the density of each column, with the histogram of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.plotting.axes import Axis
from pushforward.plotting.columns import Pictured, pictured
from pushforward.plotting.fitted import Conditionals, complete, densities, sampled, table_for
from pushforward.plotting.panels import draw_marginal
from pushforward.plotting.style import BLUE, GREY, ORANGE, new_figure, shortened, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

    from pushforward.tables.estimators import FlowDensity

# Panels of a figure, and of a row of it.
MOST_COLUMNS, ACROSS = 12, 4
# Samples that stand for the density of one column of many, which has no closed form.
SAMPLES = 20_000
# Points of a curve, and rows of conditions that it is averaged over.
GRID, ROWS = 150, 400


def plot_marginal(
    density: FlowDensity,
    data: Any = None,
    *,
    columns: Sequence[str | int] | None = None,
    figure: Figure | SubFigure | None = None,
    random_state: int = 0,
) -> tuple[Figure | SubFigure, np.ndarray]:
    r"""Draw the density of each column of a model, with the histogram of the data.

    The density of a model of one column is exact, on a fine grid over its support; with conditions it is the mean
    $\frac1n \sum_i p(y \mid x_i)$ over rows of the data. One column of many has no closed form: there the model is the
    histogram of many samples, with the bins of the data and no smoothing. The legend says which it is.

    Args:
        density: Fitted `FlowDensity`.
        data: Table with the columns of the fit, or None; a model with conditions needs it.
        columns: Names or positions of the columns to draw, at most 12; None draws all, or the 12 of the strongest
            dependence.
        figure: Figure to draw in; None makes one.
        random_state: Seed of the samples and of the choice of rows.

    Returns:
        The figure and its axes `(n_columns,)`.

    Raises:
        ValueError: A model with conditions has no data, or a column is unknown.
    """
    return draw_marginals(
        density,
        data,
        marginals("plot_marginal", density, data, columns, random_state),
        figure=figure,
        random_state=random_state,
    )


def marginals(
    what: str, density: FlowDensity, data: Any, columns: Sequence[str | int] | None, random_state: int
) -> Pictured:
    """The columns of a model as their marginals show them."""
    if data is None and density.given_:
        got = f"none, of a model given {', '.join(density.given_)}"
        raise ValueError(message(what, "data, whose conditions are averaged over", got, "Pass data."))
    own = density.model_.layout.columns
    schema = density.schema_.select([column.name for column in own])
    table = None if data is None else table_for(density, data)
    samples = sampled(density, table, SAMPLES, random_state)
    return pictured(what, table, samples, names=None, schema=schema, columns=columns, most=MOST_COLUMNS)


def draw_marginals(
    density: FlowDensity,
    data: Any,
    shown: Pictured,
    *,
    figure: Figure | SubFigure | None = None,
    random_state: int = 0,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw the marginals of columns whose axes are known; see `plot_marginal`."""
    own, rows = density.model_.layout.columns, None
    word = "model (exact density)"
    if density.given_:
        whole = complete(density, table_for(density, data))
        some = np.random.default_rng(random_state).permutation(len(whole))[:ROWS]
        rows, word = whole.take(np.sort(some)), f"model (mean of the densities given {len(some)} rows)"
    exact = len(own) == 1
    if not exact:
        word = f"model ({0 if shown.samples is None else len(shown.samples):,} samples)"
    count = len(shown.axes)
    across = min(ACROSS, count)
    down = -(-count // across)
    with styled():
        wide = 5.2 if count == 1 else 2.3 * across + 0.3
        figure = new_figure(figure, wide, 3.4 if count == 1 else 1.95 * down + 0.7)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for axis in axes[count:]:
            axis.remove()
        axes = axes[:count]
        for i, (axis, along) in enumerate(zip(axes, shown.axes, strict=True)):
            found = densities(density, own[0], along, rows, GRID).mean() if exact else None
            _panel(axis, along, shown, i, found)
            along.dress(axis.xaxis, 5 if count == 1 else 4)
            axis.set_xlim(*along.span)
            name, line, unit = along.label.partition("\n")
            axis.set_xlabel(shortened(name) + line + unit)
            if i % across == 0 or along.measure != shown.axes[i - 1].measure:
                axis.set_ylabel(along.measure)
        _legend(figure, shown, word)
    return figure, axes


def _panel(axis: Any, along: Axis, shown: Pictured, i: int, found: Conditionals | None) -> None:
    from matplotlib.ticker import MaxNLocator

    data, samples = (None if of is None else of[:, i] for of in (shown.data, shown.samples))
    if found is None:
        sets = {"data": (BLUE, data), "samples": (ORANGE, samples)}
        draw_marginal(axis, {name: (color, of) for name, (color, of) in sets.items() if of is not None}, along)
    elif along.words:
        beside = 0.0 if data is None else 0.225
        if data is not None:
            axis.bar(found.positions - beside, along.heights(data), 0.45, color=BLUE, alpha=0.75, linewidth=0)
        axis.bar(found.positions + beside, found.density[0], 0.45, color=ORANGE, alpha=0.75, linewidth=0)
    elif not len(found.positions):  # numbers with a probability each
        if data is not None:
            draw_marginal(axis, {"data": (BLUE, data)}, along)
        axis.stairs(along.heights(found.atoms, found.masses[0]), along.edges, color=ORANGE, linewidth=1.3)
    else:
        _curve(axis, along, data, found)
    axis.set_ylim(bottom=0)
    axis.yaxis.set_major_locator(MaxNLocator(3))


def _curve(axis: Any, along: Axis, data: np.ndarray | None, found: Conditionals) -> None:
    """The curve of a density between the edges of its support; a number that stands apart has its mass over a bin."""
    apart = np.isin(np.zeros(0) if data is None else data, found.atoms)
    if data is not None:
        count = np.isfinite(data).sum()
        rest = along.heights(np.where(apart, np.nan, data)) * ((count - apart.sum()) / count)
        axis.stairs(rest, along.edges, fill=True, color=BLUE, alpha=0.45)
    ends = np.concatenate([found.positions[:1], found.positions, found.positions[-1:]])
    axis.plot(ends, np.concatenate([[0.0], found.density[0], [0.0]]), color=ORANGE, linewidth=1.5)
    for position, mass in zip(found.atoms, found.masses[0], strict=True):
        place = int(np.clip(np.searchsorted(along.edges, position, side="right") - 1, 0, len(along.widths) - 1))
        if data is not None:  # a ring around the dot of the model
            share = (data == position).sum() / np.isfinite(data).sum()
            ring: dict[str, Any] = {"marker": "o", "markersize": 9, "markerfacecolor": "none", "markeredgewidth": 1.6}
            axis.plot([position], [share / along.widths[place]], linestyle="none", color=BLUE, zorder=4, **ring)
        axis.plot(
            [position, position], [0, mass / along.widths[place]], color=ORANGE, linewidth=1.5,
            marker="o", markersize=4, markevery=[1], zorder=3,
        )  # fmt: skip


def _legend(figure: Any, shown: Pictured, word: str) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = []
    labels = []
    if shown.data is not None:
        handles, labels = [Patch(color=BLUE, alpha=0.45)], [f"data ({len(shown.data):,} rows)"]
    handles.append(Line2D([], [], color=ORANGE, linewidth=1.5))
    labels.append(word)
    if shown.chosen:
        handles.append(Line2D([], [], linestyle="none"))
        labels.append(shown.chosen)
    legend = figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 3), handlelength=1.4)
    for text in legend.get_texts()[2:]:
        text.set_color(GREY)
