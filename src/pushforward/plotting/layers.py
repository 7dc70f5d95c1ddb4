"""The layers of a discrete flow, one after the other, from data to latent: points and a grid that bends with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.plotting.plane import columns_for, evolution_of, label, name_of, names_for, times_of
from pushforward.plotting.style import CYCLE, limits, matrix, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# Panels of a figure, and of a row of it; more layers than panels go by in groups.
PANELS, ACROSS = 8, 4
# Lines of the grid each way, and points of each: enough to bend.
LINES, BENDS = 13, 200
POINTS = 2000


def plot_layers(
    flow: Any,
    data: Any,
    *,
    condition: Any = None,
    classes: Any = None,
    names: Sequence[str] | None = None,
    columns: Sequence[int] | None = None,
    figure: Figure | SubFigure | None = None,
    random_state: int = 0,
) -> tuple[Figure | SubFigure, np.ndarray]:
    """Draw how the layers of a flow undo the data, from the last layer to the first, until the latent is left.

    Points keep the colour that they have in the data. With two columns a grid, straight in the data, bends with them.
    Fixed maps after the last layer, to the data's units, are undone with it.

    Args:
        flow: Flow of layers: a `Chain` or a `Scan`, inverted or not.
        data: Rows `(n, d)`; if there are more than 2,000, some are drawn.
        condition: One condition, for a conditional flow.
        classes: Classes `(n,)` by which the points are coloured; None colours them by their first column.
        names: Names of the columns.
        columns: Positions of the two columns to draw; None draws the first two. With more than two no grid is drawn.
        figure: Figure to draw in; None makes one.
        random_state: Seed of the choice of points.

    Returns:
        The figure and its axes `(n_panels,)`, from data to latent.

    Raises:
        ValueError: There is one column, or a shape does not fit.
        TypeError: The flow is that of a velocity field, or no `Flow`.
    """
    evolution, dim = evolution_of("plot_layers", flow, condition)
    if evolution.continuous:
        fix = "Draw it with plot_trajectories or plot_field."
        raise TypeError(message("plot_layers", "a flow of layers", "one of a velocity field", fix))
    chosen = columns_for("plot_layers", columns, dim)
    if len(chosen) != 2:
        raise ValueError(message("plot_layers", "two columns", "one", "Draw one column with plot_trajectories."))
    rows = matrix("plot_layers: data", data, range(dim))
    labels = [names_for("plot_layers", names, dim)[i] for i in chosen]
    colors = rows[:, chosen[0]] if classes is None else np.unique(np.asarray(classes), return_inverse=True)[1]
    if len(colors) != len(rows):
        raise ValueError(
            message("plot_layers", f"{len(rows)} classes, one per row", str(len(colors)), "Give each row a class.")
        )
    some = np.random.default_rng(random_state).choice(len(rows), min(POINTS, len(rows)), replace=False)
    rows, colors = rows[some], colors[some]
    order = times_of(evolution, PANELS)[::-1].astype(int)
    points = np.asarray(evolution.undone(rows, order))
    lines = np.asarray(evolution.undone(_grid(rows), order)) if dim == 2 else None
    with styled():
        across = min(ACROSS, len(order))
        down = -(-len(order) // across)
        figure = new_figure(figure, 0.4 + 2.1 * across, 0.2 + 2.4 * down)
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for axis in axes[len(order) :]:
            axis.remove()
        axes = axes[: len(order)]
        palette: dict[str, Any] = {"c": colors, "cmap": "viridis"}
        if classes is not None:
            palette = {"c": np.array(CYCLE)[colors % len(CYCLE)]}
            _legend(figure, np.unique(np.asarray(classes)))
        for place, (axis, k) in enumerate(zip(axes, order, strict=True)):
            here = points[place][:, list(chosen)]
            if lines is not None:
                bent = lines[place][:, list(chosen)].reshape(2 * LINES, BENDS, 2)
                axis.plot(*np.moveaxis(bent, -1, 0).swapaxes(1, 2), color="#9A9A9A", linewidth=0.5, zorder=1)
            axis.scatter(*here.T, s=5, linewidths=0, alpha=0.8, zorder=2, rasterized=True, **palette)
            ranges = [limits(part[np.isfinite(part)]) for part in here.T]
            axis.set(xlim=ranges[0], ylim=ranges[1])
            axis.set_title("data" if k == evolution.end else name_of(evolution, k), loc="left")
            axis.set_box_aspect(1)
            for part, name, span in zip((axis.xaxis, axis.yaxis), labels, ranges, strict=True):
                label(part, name if k == evolution.end else "", span)
    return figure, axes


def _grid(rows: np.ndarray) -> np.ndarray:
    """Points of horizontal and vertical lines over the data, one line after the other."""
    (x0, x1), (y0, y1) = (limits(rows[:, i]) for i in range(2))
    along_x, along_y = np.linspace(x0, x1, BENDS), np.linspace(y0, y1, BENDS)
    level = [np.stack([along_x, np.full(BENDS, y)], axis=1) for y in np.linspace(y0, y1, LINES)]
    upright = [np.stack([np.full(BENDS, x), along_y], axis=1) for x in np.linspace(x0, x1, LINES)]
    return np.concatenate(level + upright)


def _legend(figure: Any, classes: np.ndarray) -> None:
    from matplotlib.lines import Line2D

    if len(classes) > len(CYCLE):  # colours repeat and tell nothing
        return
    marks = [Line2D([], [], linestyle="none", marker="o", markersize=4, color=color) for color in CYCLE]
    words = [str(name) for name in classes]
    figure.legend(marks[: len(words)], words, loc="outside lower left", ncols=len(words), handletextpad=0.2)
