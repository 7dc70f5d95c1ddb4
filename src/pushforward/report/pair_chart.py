"""Every two columns in one chart: data beside samples, as points, as histograms of levels, or as shades of counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pushforward.plotting.axes import HALF
from pushforward.plotting.columns import Pictured
from pushforward.report.canvas import LINE, Canvas, Scale, dots, shorten
from pushforward.report.html import Html

# Size of a panel, the space between two, and the points of each set in one.
SIDE, SPACE, POINTS = 118.0, 12.0, 350
# Layers in which the points of both sets take turns, so that neither hides the other.
LAYERS = 4
SHADES = 12
# Levels that are named along a panel.
MOST_LEVELS = 8
KINDS = ("data", "model")


def pair_chart(shown: Pictured, scales: Sequence[Scale], words: str, seed: int) -> Html:
    """The pairs of columns: each column against those before it, names and ticks on the left and below.

    Args:
        shown: Columns, with the positions of data and samples.
        scales: Scales of their axes.
        words: What the chart shows, in words.
        seed: Seed of the choice of points.
    """
    sets = [
        (kind, values) for kind, values in zip(KINDS, (shown.data, shown.samples), strict=True) if values is not None
    ]
    dim, left, step = len(shown.axes) - 1, 86.0, SIDE + SPACE
    canvas = Canvas(left + dim * step, dim * step + 2.6 * LINE, words)
    rng = np.random.default_rng(seed)
    for row in range(dim):
        for column in range(row + 1):
            x, y, pair = left + column * step, row * step, (column, row + 1)
            canvas.draw(f"M{x:g} {y:g}h{SIDE:g}v{SIDE:g}h-{SIDE:g}z", "rule")
            own = [(kind, _shares(values, scales, shown, pair)) for kind, values in sets]
            panel = _Panel(canvas, x, y, rng)
            across, upright = (shown.axes[i].words for i in pair)
            if across and upright:
                panel.counts(own, (len(across), len(upright)))
            elif across or upright:
                panel.histograms(own, len(across or upright), upright=bool(across))
            else:
                panel.points(own)
            if column == 0:
                _left(canvas, scales[row + 1], shown.axes[row + 1].words, shown.names[row + 1], y)
            if row == dim - 1:
                _below(canvas, scales[column], shown.axes[column].words, shown.names[column], x, y + SIDE)
    return canvas.done()


def _ticks(scale: Scale, levels: Sequence[str]) -> list[tuple[float, str]]:
    """Shares and words of the ticks of an axis; levels stand in the middle of their parts of a panel."""
    if levels:
        every = -(-len(levels) // MOST_LEVELS)
        return [((i + 0.5) / len(levels), shorten(levels[i], 9)) for i in range(0, len(levels), every)]
    return [(share, shorten(word, 9)) for share, word in scale.ticks]


def _left(canvas: Canvas, scale: Scale, levels: Sequence[str], name: str, y: float) -> None:
    for share, word in _ticks(scale, levels):
        canvas.words(80, y + (1 - share) * SIDE + 4, word, "end")
    canvas.words(11, y + SIDE / 2, shorten(name, 18), "middle", "name", turn=True)


def _below(canvas: Canvas, scale: Scale, levels: Sequence[str], name: str, x: float, y: float) -> None:
    taken = -np.inf
    for share, word in _ticks(scale, levels):
        half, at = 3 * len(word), x + share * SIDE
        if at - half > taken and at - half > x - SPACE and at + half < x + SIDE + SPACE:
            canvas.words(at, y + LINE + 2, word, "middle")
            taken = at + half + 5
    canvas.words(x + SIDE / 2, y + 2 * LINE + 4, shorten(name, 18), "middle", "name")


def _shares(values: np.ndarray, scales: Sequence[Scale], shown: Pictured, pair: tuple[int, int]) -> np.ndarray:
    """Shares of the panel `(n, 2)` of the rows that have both; of levels their places."""
    both = values[:, list(pair)]
    both = both[np.isfinite(both).all(axis=1)]
    made = [both[:, k] if shown.axes[i].words else np.asarray(scales[i].place(both[:, k])) for k, i in enumerate(pair)]
    return np.stack(made, axis=1)


class _Panel:
    """One panel at a place of a canvas."""

    def __init__(self, canvas: Canvas, x: float, y: float, rng: np.random.Generator):
        self.canvas, self.x, self.y, self.rng = canvas, x, y, rng

    def points(self, pair: list[tuple[str, np.ndarray]]) -> None:
        """Points of all sets, as many of each, in layers that take turns."""
        count = min([POINTS, *(len(values) for _, values in pair)])
        some = {kind: values[self.rng.permutation(len(values))[:count]] for kind, values in pair}
        for layer in range(LAYERS):
            for kind, values in some.items():
                own = values[layer::LAYERS]
                own = own[((own >= 0) & (own <= 1)).all(axis=1)]
                self.canvas.draw(dots(self.x + own[:, 0] * SIDE, self.y + (1 - own[:, 1]) * SIDE), f"{kind}-dot")

    def histograms(self, pair: list[tuple[str, np.ndarray]], count: int, upright: bool) -> None:
        """A histogram of the numbers for each level: data on one side of it, samples on the other."""
        edges = np.linspace(0, 1, 21)
        own = [(kind, values if upright else values[:, ::-1]) for kind, values in pair]
        found = [
            [np.histogram(v[v[:, 0] == level, 1], bins=edges)[0] / max((v[:, 0] == level).sum(), 1) for _, v in own]
            for level in range(count)
        ]
        room = SIDE / count
        for level, heights in enumerate(found):
            most = max(float(each.max()) for each in heights) or 1.0
            for side, (kind, _), each in zip((-1, 1), own, heights, strict=False):
                if len(own) == 1:
                    side = 1
                along = np.repeat(edges, 2)
                out = np.concatenate([[0.0], np.repeat(each / most * 0.45 * room, 2), [0.0]])
                if upright:
                    x, y = self.x + (level + 0.5) * room + side * out, self.y + (1 - along) * SIDE
                else:
                    x, y = self.x + along * SIDE, self.y + SIDE - (level + 0.5) * room + side * out
                self.canvas.stroke(x, y, f"{kind}-fill", close=True)

    def counts(self, pair: list[tuple[str, np.ndarray]], count: tuple[int, int]) -> None:
        """The share of rows of each pair of levels as shades; a cell has a half for each set."""
        edges = [np.arange(n + 1) - HALF for n in count]
        tables = [np.histogram2d(v[:, 0], v[:, 1], bins=edges)[0] / max(len(v), 1) for _, v in pair]
        most = max(float(each.max()) for each in tables) or 1.0
        width, height = SIDE / count[0], SIDE / count[1]
        part = width / len(pair)
        for k, ((kind, _), shares) in enumerate(zip(pair, tables, strict=True)):
            shade = np.rint(np.sqrt(shares / most) * SHADES).astype(int)  # the root tells small shares from none
            for level in range(1, SHADES + 1):
                at = np.argwhere(shade == level)
                d = "".join(
                    f"M{self.x + i * width + k * part:.1f} {self.y + SIDE - (j + 1) * height:.1f}"
                    f"h{part:.1f}v{height:.1f}h-{part:.1f}z"
                    for i, j in at.tolist()
                )
                self.canvas.draw(d, f"{kind}-cell", level / SHADES)
