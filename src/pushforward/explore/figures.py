"""The drawings of the explorer: the distribution of one column, of two, of some rows, and surprises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pushforward.explore.curves import Curve, Surface
from pushforward.explore.views import RowScore
from pushforward.plotting.axes import Axis
from pushforward.report.canvas import LETTER, Canvas, Scale, dots, shorten
from pushforward.report.html import Html, number, tag

# Width and height of a drawing, and where its panel lies.
WIDTH, LEFT, RIGHT, TOP, BOTTOM = 620.0, 58.0, 612.0, 14.0, 252.0
# Side of a square one, and the left and upper end of the one whose points move.
SQUARE, MOVING = 372.0, (64.0, 10.0)
# Bars of levels; width of the strip of a label beside numbers; shades of a surface.
MOST_BARS, STRIP, SHADES = 14, 13.0, 16
KINDS = ("model", "data")
Ticks = Sequence[tuple[float, str]]
# Surprises of so many nats fill the width of their bars.
MOST_NATS = 9.0


class Sides(NamedTuple):
    """A square panel of a canvas, by its left and upper end."""

    canvas: Canvas
    left: float
    top: float

    def frame(self) -> None:
        """The frame of the panel."""
        self.canvas.draw(f"M{self.left:g} {self.top:g}h{SQUARE:g}v{SQUARE:g}h-{SQUARE:g}z", "rule")

    def words(self, across: Ticks, upright: Ticks, labels: tuple[str, str]) -> None:
        """The ticks of both axes, as shares of the side with words, and the labels of the axes."""
        canvas, left, top = self
        for share, word in across:
            canvas.words(left + share * SQUARE, top + SQUARE + 15, shorten(word, 12), "middle")
        for share, word in upright:
            canvas.words(left - 6, top + (1 - share) * SQUARE + 4, shorten(word, 14), "end")
        canvas.words(left + SQUARE / 2, top + SQUARE + 35, shorten(labels[0], 60), "middle", "name")
        canvas.words(12, top + SQUARE / 2, shorten(labels[1], 60), "middle", "name", turn=True)


class Drawn(NamedTuple):
    """An axis with the scale of a drawing.

    Attributes:
        axis: The axis.
        scale: Its scale.
    """

    axis: Axis
    scale: Scale


def curve_chart(curves: Sequence[Curve], drawn: Drawn, mark: float, words: str) -> Html:
    """The distribution of a column, of one model or of two.

    Args:
        curves: That of each model.
        drawn: Axis of the column.
        mark: Number of the row's own cell as `numbers_in` has it; NaN for none.
        words: What the drawing shows, in words.
    """
    if not len(curves[0].numbers):
        return _bars(curves, mark, words)
    axis, scale = drawn
    canvas = Canvas(WIDTH, BOTTOM + 40, words)
    shapes, most = [], 0.0
    for curve in curves:
        positions = axis.place(curve.numbers)
        height = axis.per_length(curve.density, positions)
        seen = (scale.place(positions) >= -0.02) & (scale.place(positions) <= 1.02)
        shapes.append((LEFT + np.clip(scale.place(positions), 0, 1) * (RIGHT - LEFT), height, seen))
        most = max(most, float(np.max(height[seen], initial=0.0)))
    for kind, (x, height, seen) in zip(KINDS, shapes, strict=False):
        y = BOTTOM - height / (most or 1.0) * (BOTTOM - TOP)
        x, y = x[seen], y[seen]
        if len(x):
            canvas.stroke(np.concatenate([x[:1], x, x[-1:]]), np.concatenate([[BOTTOM], y, [BOTTOM]]), f"{kind}-area",
                          close=True)  # fmt: skip
            canvas.stroke(x, y, f"{kind}-line")
    _own_cell(canvas, scale, axis, mark)
    _lollipops(canvas, curves, drawn)
    canvas.axis_below(scale, LEFT, RIGHT, BOTTOM)
    canvas.words(11, (TOP + BOTTOM) / 2, axis.measure if not axis.words else "density", "middle", "name", turn=True)
    peak = number(most, 3)
    canvas.words(LEFT - 5, TOP + 5, peak, "end")
    canvas.words(LEFT - 5, BOTTOM + 4, "0", "end")
    return canvas.done()


def _own_cell(canvas: Canvas, scale: Scale, axis: Axis, mark: float) -> None:
    """A dashed line at the row's own cell."""
    if np.isfinite(mark):
        share = float(scale.place(axis.place(np.array([mark])))[0])
        if -0.001 <= share <= 1.001:
            x = LEFT + share * (RIGHT - LEFT)
            canvas.stroke([x, x], [TOP, BOTTOM], "dash")


def _lollipops(canvas: Canvas, curves: Sequence[Curve], drawn: Drawn) -> None:
    """Numbers with a probability of their own: a stem as high as that is, with its percentage."""
    for shift, (kind, curve) in enumerate(zip(KINDS, curves, strict=False)):
        gone = 0
        for label, place, mass in zip(curve.labels, curve.places, curve.masses, strict=True):
            if np.isfinite(place):
                x = LEFT + float(np.clip(drawn.scale.place(drawn.axis.place(np.array([place])))[0], 0, 1)) * (
                    RIGHT - LEFT
                )
            else:
                x, gone = RIGHT - 6 - 12 * gone, gone + 1
            x += 3 * shift
            y = BOTTOM - mass * (BOTTOM - TOP)
            canvas.stroke([x, x], [BOTTOM, y], f"{kind}-stem")
            canvas.dot(x, y, f"{kind}-point", 4)
            if mass >= 0.005:
                right = x > (LEFT + RIGHT) / 2
                words = f"{shorten(label, 14)}: {mass:.1%}"
                canvas.words(x + (-8 if right else 8), y + 4 + 13 * shift, words, "end" if right else "start", "name")


def _bars(curves: Sequence[Curve], mark: float, words: str) -> Html:
    """Lying bars of levels, the ones of the first model above those of the second."""
    first = curves[0]
    order = np.argsort(-first.masses, kind="stable") if len(first.masses) > MOST_BARS else np.arange(len(first.masses))
    order = order[:MOST_BARS]
    names = [shorten(first.labels[i], 22) for i in order]
    left = min(160.0, max(LETTER * len(name) for name in names) + 14)
    thick = 17.0 if len(curves) == 1 else 10.0
    step = thick * len(curves) + 9
    canvas = Canvas(WIDTH, step * len(order) + 6, words)
    room = WIDTH - left - 64
    for place, i in enumerate(order):
        y = place * step + 4
        own = np.isfinite(mark) and int(mark) == i
        canvas.words(left - 8, y + thick * len(curves) / 2 + 4, names[place], "end", "own" if own else "name")
        for k, (kind, curve) in enumerate(zip(KINDS, curves, strict=False)):
            mass = curve.probability(first.labels[i])
            canvas.box(left, y + k * thick, max(mass * room, 0.5), thick - 1, f"{kind}-bar")
            canvas.words(left + mass * room + 6, y + k * thick + thick / 2 + 4, f"{mass:.1%}")
    return canvas.done()


def surface_chart(surface: Surface, across: Drawn, upright: Drawn, marks: tuple[float, float], words: str) -> Html:
    """The distribution of two columns as shades.

    Args:
        surface: The distribution.
        across: Axis of the first column.
        upright: Axis of the second one.
        marks: Numbers of the row's own cells, NaN for none.
        words: What the drawing shows, in words.
    """
    left, top = 96.0, 10.0
    canvas = Canvas(left + SQUARE + 8, top + SQUARE + 46, words)
    sides = Sides(canvas, left, top)
    x = _cells_along(surface.first, across)
    y = _cells_along(surface.second, upright)
    area = np.maximum(x.ends[:, 1] - x.ends[:, 0], 1e-9)[:, None] * np.maximum(y.ends[:, 1] - y.ends[:, 0], 1e-9)
    inside = (x.ends[:, 1] > x.ends[:, 0])[:, None] & (y.ends[:, 1] > y.ends[:, 0])
    shade = np.where(inside, surface.mass / area, 0.0)
    level = np.rint(np.sqrt(shade / (shade.max() or 1.0)) * SHADES).astype(int)
    for value in np.unique(level[level > 0]):
        rows = [_run(x, y.ends[j], top, left, level[:, j] == value) for j in range(level.shape[1])]
        canvas.draw("".join(rows), "model-cell", value / SHADES)
    sides.frame()
    sides.words(x.ticks, y.ticks, (across.scale.label, upright.scale.label))
    at = [along.of(mark, drawn) for along, mark, drawn in zip((x, y), marks, (across, upright), strict=True)]
    if at[0] is not None and at[1] is not None:
        px, py = left + at[0] * SQUARE, top + (1 - at[1]) * SQUARE
        canvas.stroke([px, px], [top, top + SQUARE], "dash")
        canvas.stroke([left, left + SQUARE], [py, py], "dash")
    return canvas.done()


class _Along(NamedTuple):
    """The cells of a column along a side: shares of the side where each begins and ends, and ticks."""

    ends: np.ndarray
    ticks: list[tuple[float, str]]
    room: float
    levels: bool

    def of(self, mark: float, drawn: Drawn) -> float | None:
        """The share of the side at which a number of the column lies; None where it has no place."""
        if not np.isfinite(mark):
            return None
        if self.levels:
            return float(self.ends[int(mark)].mean()) if 0 <= mark < len(self.ends) else None
        share = float(drawn.scale.place(drawn.axis.place(np.array([mark])))[0])
        return share * self.room if 0 <= share <= 1 else None


def _cells_along(curve: Curve, drawn: Drawn) -> _Along:
    n, k = len(curve.numbers), len(curve.labels)
    if not n:
        edges = np.linspace(0, 1, k + 1)
        every = -(-k // 12)
        ticks = [((i + 0.5) / k, curve.labels[i]) for i in range(0, k, every)]
        return _Along(np.stack([edges[:-1], edges[1:]], axis=1), ticks, 1.0, True)
    # Labels beside numbers have strips at the far end.
    room = 1.0 - k * STRIP / SQUARE
    share = drawn.scale.place(drawn.axis.place(curve.numbers))
    middle = 0.5 * (share[1:] + share[:-1]) if n > 1 else np.array([])
    edges = np.concatenate([[share[0]], middle, [share[-1]]]).clip(0, 1) * room
    strips = room + (np.arange(k + 1) * STRIP) / SQUARE
    ends = np.stack([np.concatenate([edges[:-1], strips[:-1]]), np.concatenate([edges[1:], strips[1:]])], axis=1)
    ticks = [(s * room, word) for s, word in drawn.scale.ticks]
    ticks += [(float(strips[i : i + 2].mean()), curve.labels[i]) for i in range(k)]
    return _Along(ends, ticks, room, False)


def _run(x: _Along, ends: np.ndarray, top: float, left: float, flags: np.ndarray) -> str:
    """The cells of one row that have a shade, neighbours joined."""
    made, place = [], 0
    y, height = top + (1 - ends[1]) * SQUARE, (ends[1] - ends[0]) * SQUARE
    while place < len(flags):
        if not flags[place]:
            place += 1
            continue
        last = place
        while last + 1 < len(flags) and flags[last + 1] and abs(x.ends[last + 1, 0] - x.ends[last, 1]) < 1e-9:
            last += 1
        start, width = left + x.ends[place, 0] * SQUARE, (x.ends[last, 1] - x.ends[place, 0]) * SQUARE
        made.append(f"M{start:.1f} {y:.1f}h{width:.2f}v{height:.2f}h-{width:.2f}z")
        place = last + 1
    return "".join(made)


def surprise_table(scores: Sequence[RowScore]) -> Html:
    """The cells of a row with their surprise as bars, and what was to be expected.

    Args:
        scores: The score of the row by each model.
    """
    head = tag(
        "tr", [tag("th", words, scope="col") for words in ("column", "cell", "surprise, nats", "expected, 90 %")]
    )
    rows = []
    for each in zip(*(score.cells for score in scores), strict=True):
        cell = each[0]
        bars = []
        for kind, own in zip(KINDS, each, strict=False):
            width = 100.0 * min(own.nats, MOST_NATS) / MOST_NATS
            bar = tag("i", class_=f"bar {kind}", style=f"width:{width:.1f}%", aria_hidden="true")
            bars.append(tag("span", bar, tag("b", number(own.nats, 3)), class_="meter"))
        # From 4.5 nats on a cell stands out, as three standard deviations do.
        kind = "odd" if cell.nats >= 4.5 else None
        rows.append(tag("tr", tag("th", cell.column, scope="row"), tag("td", cell.value), tag("td", bars),
                        tag("td", cell.expected), class_=kind))  # fmt: skip
    caption = tag("caption", "Surprise of each cell given the others")
    made = tag("table", caption, tag("thead", head), tag("tbody", rows), class_="surprises")
    return tag("div", made, class_="scroll", tabindex="0", role="region", aria_label="Surprise of each cell")


class Plane(NamedTuple):
    """A scatter plot that can be brushed.

    Attributes:
        drawing: The drawing, whose panel has the attributes `data-left`, `data-top`, `data-side`.
        shares: Places of the rows in the panel `(n, 2)`, from 0 to 1.
    """

    drawing: Html
    shares: np.ndarray


def scatter_chart(positions: np.ndarray, drawn: Sequence[Drawn], ranks: np.ndarray, words: str) -> Plane:
    """Rows as points, in five shades by the rank of their score.

    Args:
        positions: Positions along both axes `(n, 2)`.
        drawn: The axes.
        ranks: Ranks of the scores, from 0 for the least likely row to 1.
        words: What the drawing shows, in words.
    """
    left, top = 96.0, 10.0
    canvas = Canvas(left + SQUARE + 8, top + SQUARE + 46, words)
    sides = Sides(canvas, left, top)
    spread = np.random.default_rng(0).uniform(-0.28, 0.28, positions.shape)
    moved = [own + (jitter if each.axis.words else 0.0)
             for own, jitter, each in zip(positions.T, spread.T, drawn, strict=True)]  # fmt: skip
    shares = np.stack([each.scale.place(own) for each, own in zip(drawn, moved, strict=True)], axis=1)
    there = np.asarray(np.isfinite(shares) & (shares >= -0.01) & (shares <= 1.01)).all(axis=1).reshape(-1)
    sides.frame()
    # The likely rows first, so that the unlikely ones lie above them.
    for shade in range(4, -1, -1):
        own = there & (np.minimum((ranks * 5).astype(int), 4) == shade)
        canvas.draw(dots(left + shares[own, 0] * SQUARE, top + (1 - shares[own, 1]) * SQUARE), f"row-dot shade-{shade}")
    sides.words(drawn[0].scale.ticks, drawn[1].scale.ticks, (drawn[0].scale.label, drawn[1].scale.label))
    canvas.add(tag("rect", x=left, y=top, width=0, height=0, class_="brush"))
    made = tag("div", canvas.done(), class_="brushable", data_left=f"{left / canvas.width:.5f}",
               data_top=f"{top / canvas.height:.5f}", data_width=f"{SQUARE / canvas.width:.5f}",
               data_height=f"{SQUARE / canvas.height:.5f}")  # fmt: skip
    return Plane(made, np.where(there.reshape(-1, 1), shares, np.nan))


def moving_chart(first: str, drawn: Sequence[Drawn], words: str) -> Html:
    """A square panel whose points move.

    Args:
        first: Path of the points at first.
        drawn: Both axes.
        words: What the drawing shows, in words.
    """
    left, top = MOVING
    canvas = Canvas(left + SQUARE + 8, top + SQUARE + 46, words)
    sides = Sides(canvas, left, top)
    sides.frame()
    canvas.add(tag("path", d=first, class_="model-dot moving"))
    sides.words(drawn[0].scale.ticks, drawn[1].scale.ticks, (drawn[0].scale.label, drawn[1].scale.label))
    return canvas.done()


def moving_path(shares: np.ndarray) -> str:
    """The path of points `(n, 2)`, shares of the panel of `moving_chart`; points outside are left out."""
    inside = np.flatnonzero(np.isfinite(shares).all(axis=1) & ((shares >= 0) & (shares <= 1)).all(axis=1))
    return dots(MOVING[0] + shares[inside, 0] * SQUARE, MOVING[1] + (1 - shares[inside, 1]) * SQUARE)


def facts(entries: Mapping[str, tuple[str, str]]) -> Html:
    """A few figures with their names and remarks.

    Args:
        entries: By name the figure and a remark.
    """
    return tag("dl", [
        tag("div", tag("dt", name), tag("dd", tag("b", value), " ", tag("small", remark)))
        for name, (value, remark) in entries.items()
    ], class_="facts")  # fmt: skip
