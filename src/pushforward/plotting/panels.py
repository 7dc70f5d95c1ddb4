"""The panels of a pair plot: points, one histogram for each level, counts of pairs of levels, and marginals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pushforward.plotting.axes import HALF, Axis

# More points than this per panel only hide one another.
MOST_POINTS = 2000
# Share of the place of a level that its histograms fill.
FILLED = 0.9
# Color and positions `(n, d)` of each set.
Sets = Mapping[str, tuple[str, np.ndarray]]


def draw_marginal(axis: Any, sets: Mapping[str, tuple[str, np.ndarray]], along: Axis) -> None:
    """Draw the histograms of a column, the first filled; of levels bars side by side.

    Args:
        axis: Axes of matplotlib.
        sets: Color and positions `(n,)` of data and samples.
        along: Axis of the column.
    """
    count = len(sets)
    for place, (label, (color, values)) in enumerate(sets.items()):
        heights = along.heights(values)
        if along.words:
            width = FILLED / count
            at = np.arange(len(heights)) + (place - (count - 1) / 2) * width
            axis.bar(at, heights, width, color=color, alpha=0.75, linewidth=0)
            continue
        filled = label == "data" or count == 1
        axis.stairs(heights, along.edges, fill=filled, color=color, alpha=0.45 if filled else 1.0, linewidth=1.3)
    axis.set_ylim(bottom=0)
    axis.margins(y=0.1)


def draw_pair(
    axis: Any, sets: Sets, columns: tuple[int, int], along: tuple[Axis, Axis], rng: np.random.Generator
) -> None:
    """Draw two columns, of the rows that have no gap in either of them.

    Args:
        axis: Axes of matplotlib.
        sets: Color and positions of data and samples.
        columns: Columns along x and y.
        along: Axes of these columns.
        rng: Generator of the choice of points.
    """
    own = {}
    for label, (color, values) in sets.items():
        both = values[:, list(columns)]
        own[label] = (color, both[np.isfinite(both).all(axis=1)])
    if along[0].words and along[1].words:
        _counts(axis, own, along)
    elif along[0].words or along[1].words:
        _histograms(axis, own, along)
    else:
        _points(axis, own, rng)


def _points(axis: Any, sets: Sets, rng: np.random.Generator) -> None:
    """Points of all sets in one shuffled order, as many of each, so that neither hides the other."""
    count = min(MOST_POINTS, *(len(values) for _, values in sets.values()))
    parts, colors = [], []
    for color, values in sets.values():
        parts.append(values[rng.choice(len(values), count, replace=False)])
        colors += [color] * count
    order = rng.permutation(len(colors))
    points = np.concatenate(parts)[order]
    size = float(np.clip(8000 / max(len(order), 1), 1.5, 9.0))
    shades = np.array(colors)[order]
    axis.scatter(points[:, 0], points[:, 1], s=size, c=shades, alpha=0.55, linewidths=0, rasterized=True)


def _histograms(axis: Any, sets: Sets, along: tuple[Axis, Axis]) -> None:
    """One histogram of the numbers for each level: the first set on one side of it, the second on the other."""
    upright = bool(along[0].words)  # levels along x, numbers along y
    levels, numbers = along if upright else along[::-1]
    for level in range(len(levels.words)):
        shapes = []
        for color, values in sets.values():
            own = values if upright else values[:, ::-1]
            shapes.append((color, numbers.heights(own[own[:, 0] == level, 1])))
        highest = max((heights.max() for _, heights in shapes), default=0.0)
        for place, (color, heights) in enumerate(shapes):
            side = (-1.0, 1.0)[place]
            reach = level + side * heights * (FILLED * HALF / (highest or 1.0))
            axis.stairs(
                reach, numbers.edges, baseline=level, fill=True, color=color, alpha=0.65, linewidth=0,
                orientation="horizontal" if upright else "vertical",
            )  # fmt: skip


def _counts(axis: Any, sets: Sets, along: tuple[Axis, Axis]) -> None:
    """The share of rows of each pair of levels as shades; a cell has a half for each set."""
    from matplotlib.colors import to_rgb

    tables = []
    for color, values in sets.values():
        counts = np.histogram2d(values[:, 0], values[:, 1], bins=[along[0].edges, along[1].edges])[0]
        tables.append((np.array(to_rgb(color)), counts / max(counts.sum(), 1)))
    most = max(shares.max() for _, shares in tables) or 1.0
    shape = tables[0][1].shape
    cells = np.ones((shape[1], shape[0], len(tables), 3))
    for place, (color, shares) in enumerate(tables):
        # The square root tells small shares from none.
        depth = np.sqrt(shares.T / most)[..., None]
        cells[:, :, place] = 1 - depth * (1 - color)
    x = np.linspace(-HALF, shape[0] - HALF, shape[0] * len(tables) + 1)
    axis.pcolormesh(x, along[1].edges, cells.reshape(shape[1], -1, 3), rasterized=True)
    axis.hlines(along[1].edges, -HALF, shape[0] - HALF, color="white", linewidth=0.8)
    axis.vlines(along[0].edges, -HALF, shape[1] - HALF, color="white", linewidth=0.8)
