"""The axes of columns: numbers, logarithms, dates, durations, circles and levels, each with its own bins and ticks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from pushforward.plotting.style import in_units, limits, short_ticks, shortened, units

# A positive column gets a logarithmic axis if it spans this factor, and reaches so far beyond its median.
DECADES, SKEWED = 100.0, 10.0
# Share of the values that may lie beyond each end of a logarithmic axis.
TRIMMED = 0.005
DAY = 86_400.0
# Decades that the place of zeros takes on each side.
ZERO = 0.8
# The years 1 to 9999, in days since 1970: matplotlib shows no others.
FIRST_DAY, LAST_DAY = -719_162.0, 2_932_896.0
# Ticks of dates: with fewer, matplotlib finds none that are round.
DATE_TICKS = 4
# Units of durations: each is taken from this many seconds on.
DURATIONS = ((0.0, 1e-3, "ms"), (0.5, 1.0, "s"), (180.0, 60.0, "min"), (7_200.0, 3_600.0, "h"), (2 * DAY, DAY, "days"))
# A bound starts the bins where the data come as near to it as this share of their span.
NEAR = 0.03
# Half the width of the place of a level; levels lie at 0, 1, 2, ...
HALF = 0.5
# Levels named along an axis of a small panel.
MOST_NAMED = 12


@dataclass(frozen=True)
class Axis:
    """An axis of a figure: where values lie along it, its bins, its ticks and its label.

    Attributes:
        label: Name of the column, with the unit.
        span: First and last position that is shown.
        edges: Edges of the bins of a histogram, in positions.
        widths: Widths of the bins as they look; a density is a share of rows divided by them.
        measure: Words for the height of a histogram: a density, or for levels the share of rows of each.
        place: Function from values to positions.
        dress: Function that gives an axis of matplotlib (its x or y) the scale and about so many ticks.
        words: Names of the places 0, 1, ... of levels; empty for numbers.
        rate: Positions per unit of the values; they start at `origin`.
        origin: Position of the value 0.
        logarithmic: Whether lengths along the axis are decades.
    """

    label: str
    span: tuple[float, float]
    edges: np.ndarray
    widths: np.ndarray
    measure: Literal["density", "density per decade", "share of rows"]
    place: Callable[[np.ndarray], np.ndarray]
    dress: Callable[[Any, int], None]
    words: tuple[str, ...] = ()
    rate: float = 1.0
    origin: float = 0.0
    logarithmic: bool = False

    def values(self, positions: np.ndarray) -> np.ndarray:
        """The values at positions, of an axis of numbers."""
        return (positions - self.origin) / self.rate

    def lengths(self, positions: np.ndarray) -> np.ndarray:
        """The lengths along the axis to positions, in the unit of densities: decades on a logarithmic axis."""
        return np.log10(positions) if self.logarithmic else positions

    def per_length(self, density: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """A density per unit of the values as one per length along the axis."""
        return density / self.rate * (positions * np.log(10.0) if self.logarithmic else 1.0)

    def heights(self, positions: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """The height of each bin, over all positions, also those beyond the axis; a gap is NaN and counts for nothing.

        Args:
            positions: Positions `(n,)`.
            weights: Weights `(n,)`, or None.
        """
        there = np.isfinite(positions)
        own = None if weights is None else weights[there]
        total = there.sum() if own is None else own.sum()
        return np.histogram(positions[there], bins=self.edges, weights=own)[0] / (max(total, 1e-300) * self.widths)


def number_axis(
    name: str,
    values: np.ndarray,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    step: float | None = None,
) -> Axis:
    """The axis of plain numbers, or of their logarithms where they are positive and span decades.

    Args:
        name: Name of the column.
        values: Values that the axis follows, without gaps.
        low: Smallest value possible; bins start there where the data come near.
        high: Largest value possible.
        step: Step of rounded values, which stand in the middle of their bins.
    """
    positive = values[values > 0]
    if values.min() >= 0 and len(positive) > 1:
        first, middle, last = np.quantile(positive, [TRIMMED, 0.5, 1 - TRIMMED])
        if last > DECADES * first and last > SKEWED * middle:
            return _log_axis(name, positive, step, zeros=bool((values == 0).any()))
    span = limits(values)
    edges = _edges(span, values, low, high, step)
    if step:  # whole bars
        span = min(span[0], edges[0]), max(span[1], edges[-1])
    offset, power = units(*span)

    def dress(part: Any, most: int) -> None:
        short_ticks(part, offset, power, most)

    return Axis(in_units(name, offset, power), span, edges, np.diff(edges), "density", _same, dress)


def duration_axis(name: str, seconds: np.ndarray, *, step: float | None = None) -> Axis:
    """The axis of durations in the unit that suits them, from milliseconds to days.

    Args:
        name: Name of the column.
        seconds: Durations in seconds, without gaps.
        step: Step of rounded durations in seconds.
    """
    largest = max(map(abs, limits(seconds)))
    unit, word = [(unit, word) for start, unit, word in DURATIONS if largest >= start][-1]
    low = 0.0 if seconds.min() >= 0 else -np.inf
    axis = number_axis(f"{name} ({word})", seconds / unit, low=low, step=None if step is None else step / unit)
    return replace(axis, place=lambda values: values / unit, rate=1 / unit)


def date_axis(name: str, values: np.ndarray, *, unit: float, zone: str = "", step: float | None = None) -> Axis:
    """The axis of dates and times, with matplotlib's own ticks in the zone of the column.

    Args:
        name: Name of the column.
        values: Times since 1970, without gaps.
        unit: Unit of the values in seconds, such as 86,400 where they count days.
        zone: Name of the time zone; empty for times without one.
        step: Step of rounded times, in the same unit.
    """
    from matplotlib import dates

    epoch = float(dates.date2num(np.datetime64("1970-01-01")))

    def place(of: np.ndarray) -> np.ndarray:
        return np.clip(of * (unit / DAY), FIRST_DAY, LAST_DAY) + epoch

    positions, tz = place(values), _zone(zone)
    span = limits(positions)
    span = max(span[0], FIRST_DAY + epoch), min(span[1], LAST_DAY + epoch)
    # A date stands for the time until the next one: its bin begins with it.
    edges = _edges(span, positions, -np.inf, np.inf, None if step is None else step * unit / DAY, middle=False)

    def dress(part: Any, most: int) -> None:
        locator = dates.AutoDateLocator(tz=tz, minticks=2, maxticks=DATE_TICKS)
        part.set_major_locator(locator)
        part.set_major_formatter(dates.ConciseDateFormatter(locator, tz=tz, show_offset=False))

    # What all ticks have in common, such as the year, stands in the label, for small panels have no room for it.
    locator = dates.AutoDateLocator(tz=tz, minticks=2, maxticks=DATE_TICKS)
    common = dates.ConciseDateFormatter(locator, tz=tz)
    ticks = np.asarray(locator.tick_values(*(dates.num2date(end, tz) for end in span)))  # pyright: ignore[reportArgumentType]
    common.format_ticks(list(ticks[(ticks >= span[0]) & (ticks <= span[1])]))
    remarks = [word for word in (common.get_offset(), zone) if word]
    label = f"{name}\n({', '.join(remarks)})" if remarks else name
    return Axis(label, span, edges, np.diff(edges), "density", place, dress, rate=unit / DAY, origin=epoch)


def circle_axis(
    name: str, count: int, *, low: float, period: float, clock: bool = False, step: float | None = None
) -> Axis:
    """The axis of a circle, once round, with a tick at each quarter.

    Args:
        name: Name of the column.
        count: Number of rows, which decides about the bins.
        low: Value at which the circle starts.
        period: Length of the circle.
        clock: Whether values are seconds of the day, which are written as HH:MM.
        step: Step of rounded values.
    """
    bins, steps = _bins(count), period / step if step else 0.0
    if 1 < steps < 1e6 and abs(steps - round(steps)) < 1e-6:  # as many bins as share the steps evenly
        bins = max(k for k in range(1, bins + 1) if round(steps) % k == 0)
    edges = np.linspace(low, low + period, bins + 1)
    quarters = low + period * np.arange(5) / 4
    turn = abs(period - 2 * np.pi) < 1e-9

    def word(value: float) -> str:
        if clock:
            minutes = round(value / 60)
            return f"{minutes // 60:02d}:{minutes % 60:02d}"
        text = _of_pi(value) if turn else f"{value:.4g}"
        return text.replace("-", "−")

    def dress(part: Any, most: int) -> None:
        every = 1 if most >= 5 else 2
        part.set_ticks(quarters[::every], [word(value) for value in quarters[::every]])

    return Axis(name, (low, low + period), edges, np.diff(edges), "density", _same, dress)


def level_axis(name: str, words: Sequence[str], places: np.ndarray) -> Axis:
    """The axis of levels, each at a whole number.

    Args:
        name: Name of the column.
        words: Names of the places 0, 1, ...
        places: Place of each level's number.
    """
    count = len(words)
    edges = np.arange(count + 1) - HALF

    def place(numbers: np.ndarray) -> np.ndarray:
        there = np.isfinite(numbers)
        return np.where(there, places[np.where(there, numbers, 0).astype(int)], np.nan)

    def dress(part: Any, most: int) -> None:
        every = -(-count // MOST_NAMED)
        at = list(range(0, count, every))
        upright = part.axis_name == "y"
        short = most < 5
        part.set_ticks(at, [shortened(words[i], 9 if short else 20) for i in at])
        crowded = not upright and sum(len(shortened(words[i], 9)) + 2 for i in at) > (16 if short else 36)
        for text in part.get_ticklabels():
            text.set_fontsize(6 if short else 8)
            text.set_rotation(90 if crowded else 0)

    return Axis(name, (-0.7, count - 0.3), edges, np.ones(count), "share of rows", place, dress, tuple(words))


def _log_axis(name: str, positive: np.ndarray, step: float | None, *, zeros: bool) -> Axis:
    """The logarithmic axis; where there are zeros, these have a place of their own before it."""
    from matplotlib.scale import SymmetricalLogTransform

    first, last = (10.0**end for end in limits(np.log10(positive)))
    edges = np.geomspace(first, last, _bins(len(positive)) + 1)
    if step:  # bins that are finer than the step would be full and empty by turns
        edges = np.unique(np.maximum(np.rint(edges / step), 1)) * step - step / 2
        first, last = min(first, edges[0]), max(last, edges[-1])
    options: dict[str, Any] = {"linthresh": first, "linscale": ZERO}
    span, width = (first, last), np.diff(np.log10(edges))
    if zeros:
        span = (-0.9 * first, last)
        edges = np.concatenate([[-first / 2, first / 2], edges[edges > first / 2]])
        width = np.diff(SymmetricalLogTransform(10.0, first, ZERO).transform(edges)) / first

    def dress(part: Any, most: int) -> None:
        from matplotlib.ticker import FuncFormatter, NullLocator

        # The scale of one axis is set through its axes; matplotlib has no public way from the axis alone.
        change = part.axes.set_xscale if part.axis_name == "x" else part.axes.set_yscale
        change("symlog", **options) if zeros else change("log")
        powers = np.arange(np.ceil(np.log10(first)), np.floor(np.log10(last)) + 1)
        powers = powers[:: -(-len(powers) // max(most - zeros, 1))]
        part.set_ticks([0.0] * zeros + list(10.0**powers))
        part.set_major_formatter(FuncFormatter(lambda value, _: _power(value)))
        part.set_minor_locator(NullLocator())

    return Axis(name, span, edges, width, "density per decade", _same, dress, logarithmic=True)


def _power(value: float) -> str:
    if value == 0 or 1e-3 <= value < 1e3:
        return f"{value:g}"
    return f"$10^{{{round(np.log10(value))}}}$"


def _of_pi(value: float) -> str:
    quarter = round(value / (np.pi / 2))
    if abs(value - quarter * np.pi / 2) > 1e-9:
        return f"{value:.3g}"
    return {0: "0", 1: "π/2", 2: "π", -1: "-π/2", -2: "-π", 3: "3π/2", 4: "2π"}.get(quarter, f"{quarter}π/2")


def _zone(name: str) -> Any:
    from datetime import datetime, timezone

    if not name:
        return timezone.utc  # noqa: UP017 - a time without a zone is shown as it is written
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return datetime.fromisoformat(f"2000-01-01T00:00:00{name}").tzinfo  # such as +02:00


def _same(values: np.ndarray) -> np.ndarray:
    return values


def _bins(count: int) -> int:
    return int(np.clip(2 * count ** (1 / 3), 8, 40))


def _edges(
    span: tuple[float, float],
    values: np.ndarray,
    low: float,
    high: float,
    step: float | None,
    *,
    middle: bool = True,
) -> np.ndarray:
    """The edges of bins that start at a bound where data come near to it, and hold whole steps."""
    bins, length = _bins(len(values)), span[1] - span[0]
    near = values.min() - low < NEAR * length, high - values.max() < NEAR * length
    first = low if near[0] else max(span[0], values.min())
    last = high if near[1] else min(span[1], values.max())
    width = (last - first) / bins or length / bins
    if not step or step * 4 * bins < length:
        # Beyond the data, where there is no bound, further bins hold the samples.
        before = 0 if near[0] else int(np.ceil((first - span[0]) / width))
        after = 0 if near[1] else int(np.ceil((span[1] - last) / width))
        return first + width * np.arange(-before, bins + after + 1)
    width = max(1, round(width / step)) * step
    shift = step / 2 if middle else 0.0
    first = np.floor(max(first, values.min()) / step + 1e-9) * step - shift
    last = min(last, values.max()) + step - shift
    return first + width * np.arange(int(np.ceil((last - first) / width - 1e-9)) + 1)
