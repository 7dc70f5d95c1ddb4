"""The charts of a report: histograms and bars of a column, curves, intervals, quantiles and matrices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.plotting.axes import Axis
from pushforward.report.canvas import LETTER, Canvas, Scale, linear, shorten, stairs
from pushforward.report.html import Html, number

# Size of a small chart, one of a grid, and the width of a large one.
WIDTH, HEIGHT, WIDE = 280.0, 150.0, 620.0
# Shades of the cells of a matrix.
SHADES = 20
# Points of a line that are drawn, and of one of many lines; more cannot be told apart.
MOST_POINTS, FEW_POINTS = 300, 100


def column_chart(axis: Axis, scale: Scale, data: np.ndarray | None, model: np.ndarray | None, words: str) -> Html:
    """A column: bars for each level, or histograms, of data and model over each other.

    Args:
        axis: Axis of the column.
        scale: Its scale.
        data: Heights `(n,)` of the data by bin, or None.
        model: The same of the model, or None.
        words: What the chart shows, in words.
    """
    if axis.words:
        return _bars(axis.words, data, model, words)
    canvas = Canvas(WIDTH, HEIGHT, words)
    base, top = HEIGHT - 22, 6.0
    most = max((float(np.max(h, initial=0.0)) for h in (data, model) if h is not None), default=0.0) or 1.0
    edges = np.clip(scale.place(axis.edges), 0, 1) * WIDTH
    for heights, kind, close in ((data, "data-fill", True), (model, "model-line", False)):
        if heights is not None:
            canvas.draw(stairs(edges, base - heights / most * (base - top), base) + ("Z" if close else ""), kind)
    canvas.axis_below(scale, 0, WIDTH, base, label=False)
    return canvas.done()


def _bars(levels: Sequence[str], data: np.ndarray | None, model: np.ndarray | None, words: str) -> Html:
    """Lying bars of levels, those of the data above those of the model, with their shares."""
    names = [shorten(level, 16) for level in levels]
    left = min(105.0, max(LETTER * len(name) for name in names) + 8)
    sets = [(h, kind) for h, kind in ((data, "data-bar"), (model, "model-bar")) if h is not None]
    step, thick = 12.0 * len(sets) + 6, 9.0
    canvas = Canvas(WIDTH, step * len(levels) + 4, words)
    most = max((float(np.max(heights, initial=0.0)) for heights, _ in sets), default=0.0) or 1.0
    room = WIDTH - left - 40
    for i, name in enumerate(names):
        y = i * step
        canvas.words(left - 6, y + 6 * len(sets) + 4, name, "end", "name")
        for k, (heights, kind) in enumerate(sets):
            length = float(heights[i]) / most * room
            canvas.box(left, y + 1 + k * (thick + 2), max(length, 0.5), thick, kind)
            canvas.words(left + length + 4, y + 1 + k * (thick + 2) + 8.5, f"{100 * heights[i]:.1f} %")
    return canvas.done()


def intervals(rows: Sequence[tuple[str, float, float]], label: str, words: str, zero: str = "") -> Html:
    """Estimates with intervals of 95 %, a row each, beside a line at zero.

    Args:
        rows: Name, estimate and standard error of each.
        label: Name of the axis.
        words: What the chart shows, in words.
        zero: Words at the line of zero.
    """
    left, right, step, top = 180.0, WIDE - 90, 30.0, 24.0
    canvas = Canvas(WIDE, top + step * len(rows) + 40, words)
    ends = [[value - 1.96 * error, value + 1.96 * error] for _, value, error in rows]
    finite = np.array([0.0, *(end for pair in ends for end in pair if np.isfinite(end))])
    margin = 0.06 * (float(np.ptp(finite)) or 1.0)
    scale = linear(float(finite.min()) - margin, float(finite.max()) + margin, label)

    def at(value: float) -> float:
        return left + float(np.clip(scale.place(value), 0, 1)) * (right - left)

    bottom = top + step * len(rows)
    canvas.stroke([at(0), at(0)], [top - 6, bottom], "dash")
    canvas.words(at(0), top - 11, zero, "middle")
    for i, (name, value, error) in enumerate(rows):
        y = top + step * (i + 0.5)
        canvas.words(left - 12, y + 4, shorten(name), "end", "name")
        if np.isfinite(value):
            spread = error if np.isfinite(error) else 0.0
            canvas.stroke([at(value - 1.96 * spread), at(value + 1.96 * spread)], [y, y], "model-line")
            canvas.dot(at(value), y, "mark-dot", 4)
        canvas.words(right + 10, y + 4, f"{number(value, 3)} ± {number(error, 2)}")
    canvas.axis_below(scale, left, right, bottom)
    return canvas.done()


def curves(
    lines: Mapping[str, tuple[np.ndarray, np.ndarray]],
    labels: tuple[str, str],
    words: str,
    *,
    mark: tuple[float, float] | None = None,
    low: float | None = None,
    band: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None,
    small: bool = False,
) -> Html:
    """Lines on two axes of plain numbers.

    Args:
        lines: Points `x` and `y` of each line, by its class.
        labels: Names of both axes.
        words: What the chart shows, in words.
        mark: A point to mark.
        low: Where the upright axis begins; None shows all.
        band: Places and both edges of a band behind the lines.
        small: Whether the chart is one of a grid.
    """
    left, right, top, bottom = (46.0, 296.0, 8.0, 150.0) if small else (70.0, WIDE - 8, 8.0, 250.0)
    canvas = Canvas(right + 4 if small else WIDE, bottom + 36, words)
    x = np.concatenate([pair[0] for pair in lines.values()])
    y = np.concatenate([pair[1] for pair in lines.values()] + ([] if band is None else [*band[1:]]))
    y = y[np.isfinite(y)]
    if not len(y):
        y = np.zeros(1)
    first, last = (float(y.min()) if low is None else low), float(y.max())
    margin = 0.06 * ((last - first) or 1.0)
    along, upright = (
        linear(float(x.min()), float(x.max()), labels[0], 4 if small else 8),
        linear(first - margin, last + margin, labels[1]),
    )

    def at(px: Any, py: Any) -> tuple[np.ndarray, np.ndarray]:
        return left + along.place(px) * (right - left), bottom - np.clip(upright.place(py), 0, 1) * (bottom - top)

    canvas.axis_left(upright, left, top, bottom, rules=right)
    if band is not None:
        forth, back = at(band[0], band[1]), at(band[0][::-1], band[2][::-1])
        canvas.stroke(np.append(forth[0], back[0]), np.append(forth[1], back[1]), "band", close=True)
    for kind, (px, py) in lines.items():
        canvas.stroke(*at(*thinned(px, py)), kind)
    if mark is not None:
        a, b = at(*mark)
        canvas.stroke([a, a], [top, bottom], "dash")
        canvas.dot(float(a), float(b), "mark-dot", 4)
    canvas.axis_below(along, left, right, bottom)
    return canvas.done()


def thinned(x: np.ndarray, y: np.ndarray, most: int = MOST_POINTS) -> tuple[np.ndarray, np.ndarray]:
    """As many points of a line as can be told apart, both ends among them."""
    if len(x) <= most:
        return x, y
    kept = np.unique(np.linspace(0, len(x) - 1, most).round().astype(int))
    return x[kept], y[kept]


def quantile_chart(
    expected: np.ndarray, band: Sequence[np.ndarray], lines: Sequence[np.ndarray], words: str, labels: tuple[str, str]
) -> Html:
    """Quantiles against those expected, with the line where both agree and the band of what chance explains.

    Args:
        expected: Expected quantiles `(n,)`.
        band: Its edges, `(n,)` each.
        lines: Quantiles found, `(n,)` each.
        words: What the chart shows, in words.
        labels: Names of both axes.
    """
    size, left, bottom = 300.0, 46.0, 262.0
    canvas = Canvas(size, size, words)
    ends = np.concatenate([expected[[0, -1]], *lines])
    ends = ends[np.isfinite(ends)]
    scale = [linear(float(ends.min()), float(ends.max()), label) for label in labels]

    def at(px: np.ndarray, py: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return left + scale[0].place(px) * (size - left), bottom - scale[1].place(py) * (bottom - 6)

    edges = [np.clip(edge, ends.min(), ends.max()) for edge in band]
    forth, back = at(expected, edges[0]), at(expected[::-1], edges[1][::-1])
    canvas.stroke(np.append(forth[0], back[0]), np.append(forth[1], back[1]), "band", close=True)
    canvas.stroke(*at(expected[[0, -1]], expected[[0, -1]]), "dash")
    few = len(lines) < 7
    for line in lines:
        canvas.stroke(
            *at(*thinned(expected, line, MOST_POINTS if few else FEW_POINTS)), "data-line" if few else "data-thin"
        )
    canvas.axis_left(scale[1], left, 6, bottom)
    canvas.axis_below(scale[0], left, size, bottom)
    return canvas.done()


def histogram(
    edges: np.ndarray,
    heights: Mapping[str, np.ndarray],
    label: str,
    words: str,
    *,
    line: float | None = None,
    mark: float | None = None,
) -> Html:
    """Bars of counts or densities that stand on one another's place, the later ones in front.

    Args:
        edges: Edges of the bins `(n + 1,)`.
        heights: Heights `(n,)` by class.
        label: Name of the axis.
        words: What the chart shows, in words.
        line: Height of a dashed line across.
        mark: Place of an upright dashed line.
    """
    width, left, top, bottom = 300.0, 46.0, 8.0, 150.0
    canvas = Canvas(width, bottom + 34, words)
    most = max([float(np.max(h, initial=0.0)) for h in heights.values()] + [line or 0.0]) or 1.0
    along, upright = linear(float(edges[0]), float(edges[-1]), label), linear(0.0, 1.05 * most, "", 4)
    x = left + along.place(edges) * (width - left)

    def level(value: Any) -> np.ndarray:
        return bottom - upright.place(value) * (bottom - top)

    canvas.axis_left(upright, left, top, bottom, rules=width)
    for kind, own in heights.items():
        canvas.draw(stairs(x, level(own), bottom) + ("" if "line" in kind else "Z"), kind)
    if line is not None:
        canvas.stroke([left, width], [float(level(line))] * 2, "dash")
    if mark is not None:
        at = left + float(np.clip(along.place(mark), 0, 1)) * (width - left)
        canvas.stroke([at, at], [top, bottom], "dash")
    canvas.axis_below(along, left, width, bottom)
    return canvas.done()


def matrix_chart(values: np.ndarray, names: Sequence[str], words: str, most: float = 1.0) -> Html:
    """A matrix as shades: blue above zero, orange below, the stronger the larger; a gap is empty.

    Args:
        values: Values `(n, n)`, NaN where there is none.
        names: Names of rows and columns.
        words: What the chart shows, in words.
        most: Size of a value at full shade.
    """
    n = len(names)
    named = n <= 24
    margin = min(110.0, LETTER * max(len(shorten(name, 16)) for name in names) + 8) if named else 4.0
    side = (300.0 - margin) / n
    canvas = Canvas(300, 300, words)
    canvas.draw(f"M{margin:.1f} 0h{n * side:.1f}v{n * side:.1f}h-{n * side:.1f}z", "rule")
    level = np.rint(np.clip(np.nan_to_num(values) / (most or 1.0), -1, 1) * SHADES).astype(int)
    for shade in np.unique(level[level != 0]):
        rows, columns = np.nonzero(level == shade)
        cells = "".join(
            f"M{margin + side * c:.1f} {side * r:.1f}h{side:.2f}v{side:.2f}h-{side:.2f}z"
            for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        )
        kind = "more" if shade > 0 else "less"
        canvas.draw(cells, kind, abs(shade) / SHADES)
    for i, name in enumerate(names if named else ()):
        middle = side * (i + 0.5)
        canvas.words(margin - 5, middle + 4, shorten(name, 16), "end")
        canvas.words(margin + middle + 4, n * side + 5, shorten(name, 16), "end", turn=True)
    return canvas.done()
