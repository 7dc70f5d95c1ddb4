"""The way of a flow from noise to data: trajectories over the density at every time, or after every layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.distributions import Evolution
from pushforward.plotting.plane import (
    LINE_GRID,
    columns_for,
    density_in,
    draw_density,
    drawn_states,
    evolution_of,
    label,
    name_of,
    names_for,
    shades,
    spans,
    times_of,
)
from pushforward.plotting.style import BLUE, ORANGE, limits, matrix, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# Times between the first and the last at which the lines and a heat map are computed.
STEPS = 49
PANELS = 5
# More lines would hide the density, and more points of data one another.
LINES_OF_A_LINE, LINES_OF_A_PLANE, CLOUD = 24, 60, 1000
LINE: Any = {"color": "#303030", "linewidth": 0.7, "alpha": 0.7}
DOT: Any = {"linestyle": "none", "marker": "o", "markersize": 2, "markeredgewidth": 0, "alpha": 0.5}


def plot_trajectories(
    flow: Any,
    data: Any = None,
    *,
    condition: Any = None,
    names: Sequence[str] | None = None,
    columns: Sequence[int] | None = None,
    times: Sequence[float] | None = None,
    figure: Figure | SubFigure | None = None,
    random_state: int = 0,
) -> tuple[Figure | SubFigure, np.ndarray]:
    r"""Draw how a flow carries its base to the data, with the exact density $p_t$ on the way.

    For one coordinate, they are flow lines $x(t)$ over $p_t(x)$, between the density of the base on the left and that
    of the model on the right. For two, there is a panel for each of a few times, with $p_t$ and the trajectories so
    far. In a flow of layers, time counts the layers. The density is no estimate from samples: $\log p_t$ is that of
    `Evolution`, solved back to the base.

    Densities of some columns of many have no closed form, so of more than two columns one or two are drawn by
    trajectories and samples alone.

    Args:
        flow: Flow over vectors.
        data: Rows `(n, d)`, drawn at the last time; None draws none.
        condition: One condition, for a conditional flow.
        names: Names of the columns.
        columns: Positions of one or two columns to draw; None draws the first two.
        times: Times of the panels; None takes five. One column is drawn at all times, and takes none.
        figure: Figure to draw in; None makes one.
        random_state: Seed of the latents where the trajectories start.

    Returns:
        The figure and its axes `(n_panels,)`; for one column these are the base, the way and the model.

    Raises:
        ValueError: The events are no vectors, a shape does not fit, or times are given for one column.
        TypeError: `flow` is no `Flow`.
    """
    evolution, dim = evolution_of("plot_trajectories", flow, condition)
    chosen = columns_for("plot_trajectories", columns, dim)
    labels = [names_for("plot_trajectories", names, dim)[i] for i in chosen]
    rows = None if data is None else matrix("plot_trajectories: data", data, range(dim))[:, list(chosen)]
    if len(chosen) == 1 and times is not None:
        raise ValueError(
            message("plot_trajectories", "no times for one column, drawn at all", "some", "Leave them out.")
        )
    between = times_of(evolution, STEPS) if evolution.continuous else np.arange(evolution.end + 1)
    panels = times_of(evolution, PANELS) if times is None else np.asarray(times, np.float64)
    every = between if len(chosen) == 1 else np.unique(np.concatenate([between, panels]))
    states = drawn_states(evolution, every, random_state)[..., list(chosen)]
    ranges = spans(states)
    if rows is not None:
        of_data = [limits(rows[:, i]) for i in range(len(chosen))]
        ranges = [(min(a, c), max(b, d)) for (a, b), (c, d) in zip(ranges, of_data, strict=True)]
    with styled():
        if len(chosen) == 1:
            figure = new_figure(figure, 7.4, 3.5)
            return figure, _line(figure, evolution, dim, every, states[..., 0], labels[0], ranges[0], rows)
        figure = new_figure(figure, 0.5 + 2.0 * len(panels), 2.75)
        axes = _panels(figure, evolution, dim, chosen, every, states, labels, ranges, panels)
        if rows is not None and panels[-1] == evolution.end:
            some = np.random.default_rng(random_state).choice(len(rows), min(CLOUD, len(rows)), replace=False)
            axes[-1].plot(*rows[some].T, color=BLUE, **DOT)
            _corner(axes[-1], "data", BLUE)
    return figure, axes


def _line(
    figure: Any,
    evolution: Evolution,
    dim: int,
    times: np.ndarray,
    states: np.ndarray,
    name: str,
    span: tuple[float, float],
    rows: np.ndarray | None,
) -> np.ndarray:
    """One column against time, between its densities at both ends."""
    from matplotlib.ticker import MaxNLocator

    left, middle, right = figure.subplots(1, 3, sharey=True, width_ratios=[1, 4.2, 1])
    shown = states[:, :LINES_OF_A_PLANE]
    if dim == 1:
        grid = np.linspace(*span, LINE_GRID)
        density = np.stack([density_in(evolution, t, (grid,)) for t in times], axis=1)
        mesh = middle.pcolormesh(times, grid, density, cmap=shades(), vmin=0, shading="nearest")
        mesh.set_rasterized(True)
        bar = figure.colorbar(mesh, ax=right, fraction=0.12, aspect=30)
        bar.set_label("density")
        bar.outline.set_visible(False)
        # At even shares of the base, so that the lines crowd where the density is high.
        ranks = ((np.arange(LINES_OF_A_LINE) + 0.5) / LINES_OF_A_LINE * states.shape[1]).astype(int)
        shown = states[:, np.argsort(states[0])[ranks]]
    middle.plot(times, shown, **LINE)
    middle.set_xlim(times[0], times[-1])
    middle.set_xlabel("time $t$" if evolution.continuous else "layer")
    if not evolution.continuous:
        middle.xaxis.set_major_locator(MaxNLocator(integer=True))
    label(left.yaxis, name, span, 6)
    edges = np.linspace(*span, 41)
    for axis, place, title in ((left, 0, "base"), (right, -1, "model")):
        if dim == 1:
            axis.fill_betweenx(grid, density[:, place], color=ORANGE, alpha=0.25, linewidth=0)
            axis.plot(density[:, place], grid, color=ORANGE, linewidth=1.3)
        else:
            _histogram(axis, states[place], edges, ORANGE, False)
        axis.set_title(title, loc="left", color=ORANGE)
        axis.set_xlabel("density")
        axis.xaxis.set_major_locator(MaxNLocator(2, prune="lower"))  # a tick at 0 would touch that of the time axis
    if rows is not None:
        _histogram(right, rows[:, 0], edges, BLUE, True)
        right.set_title("data", loc="right", color=BLUE)
    for axis in (left, right):
        axis.set_xlim(left=0)
    left.invert_xaxis()
    middle.set_ylim(*span)
    middle.spines["left"].set_visible(False)
    for axis in (middle, right):
        axis.tick_params(axis="y", length=0)
    return np.array([left, middle, right], dtype=object)


def _histogram(axis: Any, values: np.ndarray, edges: np.ndarray, color: str, filled: bool) -> None:
    heights = np.histogram(values, bins=edges)[0] / (len(values) * np.diff(edges))
    axis.stairs(
        heights, edges, orientation="horizontal", fill=filled, color=color, alpha=0.45 if filled else 1.0, linewidth=1.3
    )


def _panels(
    figure: Any,
    evolution: Evolution,
    dim: int,
    chosen: tuple[int, ...],
    times: np.ndarray,
    states: np.ndarray,
    names: list[str],
    ranges: list[tuple[float, float]],
    panels: np.ndarray,
) -> np.ndarray:
    """Two columns at several times, with the trajectories so far."""
    axes = figure.subplots(1, len(panels), squeeze=False, sharex=True, sharey=True)[0]
    for axis, t in zip(axes, panels, strict=True):
        so_far = states[times <= t]
        here = so_far[-1]
        if dim == 2:
            draw_density(axis, evolution, float(t), ranges, chosen)
            axis.plot(*here[:LINES_OF_A_PLANE].T, linestyle="none", marker="o", markersize=2.2, color=LINE["color"])
        else:
            axis.plot(*here.T, color=ORANGE, **DOT)
        # Layers leap: lines through all of them would cover everything.
        lines = so_far if evolution.continuous else so_far[-2:]
        axis.plot(*np.moveaxis(lines[:, :LINES_OF_A_PLANE], -1, 0), **LINE)
        axis.set_title(name_of(evolution, float(t)), loc="left")
        axis.set(xlim=ranges[0], ylim=ranges[1])
        axis.set_box_aspect(1)
        label(axis.xaxis, names[0], ranges[0])
    if dim > 2:
        _corner(axes[0], "samples", ORANGE)
    label(axes[0].yaxis, names[1], ranges[1])
    return axes


def _corner(axis: Any, word: str, color: str) -> None:
    box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1.5}
    axis.text(0.98, 0.03, word, color=color, fontsize=8, ha="right", transform=axis.transAxes, bbox=box)
