"""Drawing in SVG: scales with ticks, and marks whose colours are classes, so that a page can be light or dark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.plotting.axes import Axis
from pushforward.report.html import Html, joined, markup, tag

# Width of a letter, height of a line and letters of a label at most.
LETTER, LINE, LONGEST = 5.9, 13.0, 26
# Width from which a drawing is not made smaller on a phone.
LARGE = 450.0
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Scale:
    """Where positions of an axis lie along a length of 1.

    Args:
        place: Function from positions to shares of the length.
        ticks: Share and label of each tick.
        label: Name of the axis, with its unit.
    """

    place: Any
    ticks: tuple[tuple[float, str], ...]
    label: str


class Scales:
    """Makes scales of the axes of columns; one figure of matplotlib, which nobody sees, chooses all ticks."""

    def __init__(self) -> None:
        from matplotlib.figure import Figure

        self._figure = Figure()

    def of(self, axis: Axis, most: int = 4) -> Scale:
        """The scale of an axis.

        Args:
            axis: The axis.
            most: About as many ticks at most.
        """
        self._figure.clear()
        axes = self._figure.add_subplot()
        part = axes.xaxis
        axes.set_xlim(*axis.span)
        axis.dress(part, most)
        axes.set_xlim(*axis.span)
        transform = part.get_transform().transform
        low, high = transform(np.array(axis.span, np.float64))

        def place(positions: np.ndarray) -> np.ndarray:
            return (transform(np.asarray(positions, np.float64)) - low) / ((high - low) or 1.0)

        at = np.asarray(part.get_majorticklocs(), np.float64)
        words = part.get_major_formatter().format_ticks(at.tolist())
        shares = place(at) if len(at) else at
        kept = [
            (float(share), plain_words(word))
            for share, word in zip(shares, words, strict=True)
            if -1e-6 <= share <= 1 + 1e-6
        ]
        return Scale(place, tuple(kept), plain_words(axis.label).replace("\n", " "))


def linear(low: float, high: float, label: str = "", most: int = 5) -> Scale:
    """The scale of plain numbers.

    Args:
        low: First number.
        high: Last number.
        label: Name of the axis.
        most: About as many ticks at most.
    """
    from matplotlib.ticker import MaxNLocator

    span = (high - low) or 1.0
    at = np.asarray(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high))
    kept = at[(at >= low - 1e-9 * span) & (at <= high + 1e-9 * span)]
    # As many digits as tell the ticks apart, the same for all of them.
    shown = next((n for n in range(7) if np.allclose(np.round(kept, n), kept, rtol=0, atol=1e-6 * span)), None)
    words = [f"{value:.6g}" if shown is None or abs(value) >= 1e6 else f"{value + 0.0:,.{shown}f}" for value in kept]
    ticks = tuple((float((v - low) / span), w.replace("-", "−")) for v, w in zip(kept, words, strict=True))
    return Scale(lambda positions: (np.asarray(positions, np.float64) - low) / span, ticks, label)


def plain_words(text: str) -> str:
    """A label of matplotlib without its markup: powers are superscripts, dollar signs are themselves."""
    text = re.sub(r"(?<!\\)\$10\^\{(-?\d+)\}\$", lambda found: "10" + found[1].translate(SUPERSCRIPT), text)
    text = re.sub(r"\$\\mathdefault\{([^{}]*)\}\$", r"\1", text)
    return text.replace(r"\$", "$")


def shorten(text: str, most: int = LONGEST) -> str:
    """A text that fits, its middle left out where it is long."""
    return text if len(text) <= most else text[: most // 2] + "…" + text[len(text) - (most - 1) // 2 :]


def digits(values: Any) -> list[str]:
    """Coordinates to a tenth of a pixel, as short as they can be written."""
    return [f"{value:.1f}".removesuffix(".0") for value in np.asarray(values, np.float64).ravel()]


def path(x: Any, y: Any, close: bool = False) -> str:
    """A line through points; a gap of NaN breaks it."""
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    made, pen = [], "M"
    for there, a, b in zip(
        np.isfinite(x) & np.isfinite(y), digits(np.nan_to_num(x)), digits(np.nan_to_num(y)), strict=True
    ):
        if not there:
            pen = "M"
            continue
        made.append(f"{pen}{a} {b}")
        pen = "L"
    return "".join(made) + ("Z" if close else "")


def dots(x: Any, y: Any) -> str:
    """Points, each a line of no length with round ends."""
    return "".join(f"M{a} {b}h0" for a, b in zip(digits(x), digits(y), strict=True))


def stairs(edges: np.ndarray, heights: np.ndarray, base: float) -> str:
    """The outline of a histogram, from its base and back to it.

    Args:
        edges: Edges of the bins `(n + 1,)`, in pixels.
        heights: Tops of the bins `(n,)`, in pixels.
        base: Where bins begin, in pixels.
    """
    x, y, (foot,) = digits(edges), digits(heights), digits([base])
    made, last = [f"M{x[0]} {foot}"], foot
    for top, end in zip(y, x[1:], strict=True):
        made.append(f"H{end}" if top == last else f"V{top}H{end}")
        last = top
    return "".join(made) + f"V{foot}"


class Canvas:
    """A drawing that grows mark by mark.

    Args:
        width: Width in pixels, at which letters have their size.
        height: Height in pixels.
        words: What the drawing shows, for readers who do not see it.
    """

    def __init__(self, width: float, height: float, words: str):
        self.width, self.height, self._words = width, height, words
        self._marks: list[Html] = []

    def add(self, mark: Html) -> None:
        """Add a mark."""
        self._marks.append(mark)

    def stroke(self, x: Any, y: Any, kind: str, close: bool = False) -> None:
        """Add a line or an area through points."""
        self.draw(path(x, y, close), kind)

    def draw(self, d: str, kind: str, opacity: float | None = None) -> None:
        """Add a path of a class, which may leave the opacity to the path."""
        if d:
            self.add(tag("path", d=d, class_=kind, fill_opacity=None if opacity is None else f"{opacity:.2f}"))

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """Add a rectangle."""
        a, b, w, h = digits([x, y, width, height])
        self.add(tag("rect", x=a, y=b, width=w, height=h, class_=kind))

    def dot(self, x: float, y: float, kind: str, radius: float = 3.5) -> None:
        """Add a circle."""
        a, b = digits([x, y])
        self.add(tag("circle", cx=a, cy=b, r=f"{radius:g}", class_=kind))

    def words(
        self, x: float, y: float, text: str, anchor: str = "start", kind: str | None = None, turn: bool = False
    ) -> None:
        """Add a line of text; with `turn` it runs upwards."""
        a, b = digits([x, y])
        around = f"rotate(-90 {a} {b})" if turn else None
        self.add(
            tag(
                "text", text, x=a, y=b, text_anchor=None if anchor == "start" else anchor, class_=kind, transform=around
            )
        )

    def axis_below(self, scale: Scale, left: float, right: float, y: float, label: bool = True) -> None:
        """Draw an axis below a panel, with as many tick labels as fit."""
        self.stroke([left, right], [y, y], "axis")
        taken = -np.inf
        for share, word in scale.ticks:
            x = left + share * (right - left)
            half = LETTER * len(word) / 2
            x_text = min(max(x, half), self.width - half)
            self.stroke([x, x], [y, y + 3], "axis")
            if x_text - half > taken:
                self.words(x_text, y + LINE + 1, word, "middle")
                taken = x_text + half + 5
        if label and scale.label:
            self.words((left + right) / 2, y + 2 * LINE + 3, scale.label, "middle", "name")

    def axis_left(self, scale: Scale, x: float, top: float, bottom: float, rules: float | None = None) -> None:
        """Draw an axis left of a panel; with `rules` thin lines run across to that place."""
        for share, word in scale.ticks:
            y = bottom - share * (bottom - top)
            if rules is not None:
                self.stroke([x, rules], [y, y], "rule")
            self.words(x - 5, y + 4, word, "end")
        if scale.label:
            self.words(11, (top + bottom) / 2, scale.label, "middle", "name", turn=True)

    def done(self) -> Html:
        """The drawing as an element."""
        # Letters grow little beyond their size; on a phone a large drawing is moved to and fro.
        return tag(
            "svg",
            joined(self._marks),
            viewBox=f"0 0 {self.width:g} {self.height:g}",
            role="img",
            style=f"max-width:{1.2 * self.width:.0f}px",
            class_="large" if self.width > LARGE else None,
            aria_label=markup(self._words),
        )


def figure(drawing: Html, title: str = "", remark: str = "", notes: Sequence[str] = (), *, wide: bool = False) -> Html:
    """A drawing with its caption above and its notes below.

    Args:
        drawing: The drawing.
        title: Title.
        remark: Words after the title.
        notes: Sentences below.
        wide: Whether it has the width of a page; else it is one of many.
    """
    caption = tag("figcaption", tag("b", title), " ", tag("span", remark)) if title or remark else None
    inside = tag("div", drawing, class_="figure-scroll") if wide else drawing
    return tag("figure", caption, inside, [tag("p", note) for note in notes], class_="wide" if wide else None)


def legend(*entries: tuple[str, str]) -> Html:
    """The colours of a section in words: pairs of a class, such as `of-data`, and words."""
    return tag(
        "ul", [tag("li", tag("i", class_=kind, aria_hidden="true"), words) for kind, words in entries], class_="legend"
    )
