"""What the figures share: colours that colour-blind readers tell apart, text sizes, axis limits, units."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

# Okabe and Ito's palette, made for all common kinds of colour vision.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#6E6E6E"
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SETTINGS: Any = {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 10,
    "axes.linewidth": 0.7,
    "axes.edgecolor": "#404040",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.formatter.limits": (-3, 4),
    "axes.formatter.use_mathtext": True,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.width": 0.7,
    "ytick.major.width": 0.7,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.4,
    "savefig.dpi": 200,
    "figure.dpi": 110,
    "figure.facecolor": "white",
}
# Share of the points that a robust axis may leave out on each side.
TRIMMED = 0.005
LONGEST_NAME = 24
# Numbers that differ by less than this share of their size are shown as differences from a round number.
OFFSET_BELOW = 1e-3


@contextmanager
def styled() -> Iterator[None]:
    """The settings above, for the drawing inside only; the user's own are back afterwards."""
    import matplotlib as mpl

    with mpl.rc_context(SETTINGS):
        yield


def new_figure(figure: Figure | SubFigure | None, width: float, height: float) -> Figure | SubFigure:
    """The figure to draw in: the one given, or a new one of this size in inches."""
    if figure is not None:
        return figure
    import matplotlib.pyplot as plt

    return plt.figure(figsize=(width, height), layout="constrained")


def limits(values: np.ndarray) -> tuple[float, float]:
    """Axis limits that show all values, or without the farthest of heavy tails, with a margin."""
    low, high = np.quantile(values, [TRIMMED, 1 - TRIMMED])
    span = high - low or max(abs(high), 1.0)
    # Where the extremes lie within half a span beyond, nothing is cut.
    low = max(values.min(), low - 0.5 * span)
    high = min(values.max(), high + 0.5 * span)
    margin = 0.04 * ((high - low) or span)
    return float(low - margin), float(high + margin)


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """A name that fits an axis, its middle left out where it is long; dollar signs are text, not formulas."""
    if len(name) > most:
        name = name[: (most - 1) // 2] + "…" + name[len(name) - most // 2 :]
    return name.replace("$", r"\$")


def units(low: float, high: float) -> tuple[float, int]:
    """What to subtract from the numbers on an axis, and the power of ten to divide them by, so that they are short."""
    middle, span = (low + high) / 2, high - low
    offset = 0.0
    if span < OFFSET_BELOW * abs(middle):
        digits = -int(np.floor(np.log10(span))) - 1
        offset = round(middle, digits)
        low, high = low - offset, high - offset
    power = int(np.floor(np.log10(max(abs(low), abs(high)))))
    return offset, 0 if -3 < power < 4 else power


def short_ticks(part: Any, offset: float, power: int, most: int) -> None:
    """Give an axis (its x or y) a few ticks, with the numbers that `units` shortens."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    def short(value: float, _: int | None) -> str:
        return f"{round((value - offset) / 10.0**power, 9):g}".replace("-", "−")

    part.set_major_locator(MaxNLocator(most))
    part.set_major_formatter(FuncFormatter(short))


def in_units(name: str, offset: float, power: int) -> str:
    """The axis label for numbers shortened by `units`."""
    remarks = []
    if offset:
        remarks.append(f"− {offset:,.12g}" if offset > 0 else f"+ {-offset:,.12g}")
    if power:
        remarks.append(f"in $10^{{{power}}}$")
    return f"{name}\n({', '.join(remarks)})" if remarks else name


def matrix(what: str, values: Any, names: Any = None) -> np.ndarray:
    """Values as a finite float64 matrix.

    Raises:
        ValueError: The values have another shape, or are not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 2 or 0 in array.shape:
        raise ValueError(message(what, "rows and columns (n, d)", f"shape {array.shape}", "Reshape it."))
    if names is not None and len(names) != array.shape[1]:
        raise ValueError(
            message(what, f"{array.shape[1]} names, one per column", str(len(names)), "Name every column.")
        )
    if not np.isfinite(array).all():
        raise ValueError(message(what, "finite numbers", f"{(~np.isfinite(array)).sum()} others", "Leave them out."))
    return array
