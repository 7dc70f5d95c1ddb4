"""Where the numbers of a column end: observed or natural bounds, the scale of their distances, heavy tails."""

from __future__ import annotations

import math
import re
from typing import Literal

import numpy as np

from pushforward.tables.kinds.base import Bounds

# Pairs of bounds that are recognised without a name; the data must come within this share of both ends.
PAIRS = ((0.0, 1.0), (0.0, 100.0))
CLOSE_TO_BOUNDS = 0.02
_A, _Z = r"(^|[^a-z])", r"([^a-z]|$)"
# Names whose quantity has bounds that everybody knows; those that hold all numbers are taken, the narrowest first.
NAMED: tuple[tuple[re.Pattern[str], tuple[tuple[float, float], ...]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), pairs)
    for words, pairs in (
        (rf"percent|{_A}(pct|perc|percentage){_Z}|%|humidity", ((0.0, 1.0), (0.0, 100.0))),
        (rf"{_A}(share|fraction|probability|prob|proportion){_Z}", ((0.0, 1.0), (0.0, 100.0))),
        (rf"{_A}(lat|latitude){_Z}", ((-90.0, 90.0),)),
        (rf"{_A}(lon|lng|long|longitude){_Z}", ((-180.0, 180.0), (0.0, 360.0))),
        (rf"{_A}(day_?of_?month|dom|mday){_Z}", ((1.0, 31.0),)),
        (rf"{_A}quarter{_Z}", ((1.0, 4.0),)),
    )
)
NAMED_PAIRS = tuple(pair for _, pairs in NAMED for pair in pairs)
# Names whose quantity ends where the data end.
OBSERVED = re.compile(
    rf"{_A}(year|yr|age|ages|rating|ratings|stars|grade|grades|rank|level)s?{_Z}|{_A}(year|age|rating)_", re.IGNORECASE
)
# An end is sharp if at least this share of the rows that a uniform distribution would have there lie near it; near is
# this share of the range, or as much as these many rows would fill. Fewer rows than the last figure tell nothing.
SHARP, NEAR_SHARE, NEAR_ROWS, SHARP_FROM_ROWS = 0.5, 0.05, 5, 20
# Of the rows nearest to an end this share lies in the nearer half of their reach: half of an even density, a fifth of a
# bell.
EVEN_SHARE = 0.35
# From this many steps between neighbouring rows on, the outermost steps may well have no row.
SPARSE = 0.5
# A positive column is far from 0 if its smallest number is above this share of the median; with a heavy tail sooner,
# for its map would stretch the way to 0 as far as the other.
FAR, FAR_IF_HEAVY = 0.1, 1e-3
# Rows at the low end whose distances say how much lower another row may be: at least so many, or this share. Where the
# density rises from the end with an exponent above the last figure, as far again as all of them; else as these few.
SPACING_ROWS, LOW_SHARE, RISES = 5, 0.05, 1.15
# Nats per row by which a logarithm must bring a column closer to a normal.
LOG_GAIN = 0.05


def named_bounds(name: str, low: float, high: float) -> tuple[float, float] | None:
    """The bounds that everybody knows of a quantity of that name, if all numbers lie within."""
    for pattern, pairs in NAMED:
        if pattern.search(name):
            for start, end in pairs:
                if start <= low and high <= end:
                    return start, end
    return None


def recognised(low: float, high: float) -> tuple[float, float] | None:
    """0 to 1 or 0 to 100, where the data come close to both ends."""
    for start, end in PAIRS:
        slack = CLOSE_TO_BOUNDS * (end - start)
        if start <= low <= start + slack and end - slack <= high <= end:
            return start, end
    return None


def find_ends(name: str, values: np.ndarray, step: float | None, bounds: Bounds) -> tuple[float | None, float | None]:
    """The bounds of numbers, None at an end that has none.

    Args:
        name: Name of the column.
        values: Its numbers `(n,)` without atoms, not all equal.
        step: What they are multiples of, None for numbers that are not rounded.
        bounds: `"observed"` takes the smallest and largest number; `"natural"` takes bounds that the name tells, the
            observed ones where rounded numbers end sharply, and 0 or a plausible low end of positive numbers; `"none"`
            takes none.
    """
    low, high = float(values.min()), float(values.max())
    if bounds == "none":
        return None, None
    if bounds == "observed":
        return low, high
    pair = named_bounds(name, low, high) or recognised(low, high)
    if pair is not None:
        return pair
    if step is not None and OBSERVED.search(name):
        return low, high
    sharp_low, sharp_high = (False, False) if step is None else _sharp(values, low, high, step)
    upper = high if sharp_high else None
    if sharp_low and low > 0 and (step is None or low <= step or low > FAR * float(np.median(values))):
        return low, upper
    if low < 0:
        return (low if sharp_low else None), upper
    return _half_line(values, low), upper


def sharp_ends(values: np.ndarray, step: float | None, bounds: Bounds) -> tuple[float | None, float | None]:
    """The bounds of numbers that have no natural ones, such as dates: the observed ones, where they end sharply.

    Where the rows are fewer than the steps between the bounds, natural bounds lie as far beyond as one row is from the
    next, for the last day of a range is likely to be among other rows.
    """
    low, high = float(values.min()), float(values.max())
    if bounds == "none" or (bounds == "natural" and step is None):
        return None, None
    sharp = (True, True) if bounds == "observed" or step is None else _sharp(values, low, high, step)
    gap = 0.0 if step is None or bounds == "observed" else (high - low) / len(values) / step
    beyond = step * math.ceil(gap) if step is not None and gap >= SPARSE else 0.0
    return low - beyond if sharp[0] else None, high + beyond if sharp[1] else None


def _sharp(values: np.ndarray, low: float, high: float, step: float) -> tuple[bool, bool]:
    """Whether rounded numbers end as abruptly as a uniform distribution does, at the low and at the high end."""
    n, width = len(values), high - low + step
    if n < SHARP_FROM_ROWS:
        return False, False
    near = max(NEAR_SHARE * width, NEAR_ROWS / n * width, step)
    least = SHARP * n * near / width
    sharp_low = (values < low + near).sum() >= least and _even(values - low, step)
    return bool(sharp_low), bool((values >= high + step - near).sum() >= least and _even(high - values, step))


def _even(distances: np.ndarray, step: float) -> bool:
    """Whether the twentieth of the rows that is nearest to an end does not grow dense away from it.

    A long tail on the other side makes the low end of a bell look dense for the range as a whole.
    """
    few = min(max(SPACING_ROWS, round(LOW_SHARE * len(distances))), len(distances))
    near = np.partition(distances, few - 1)[:few]
    reach = float(near.max()) + step
    return bool(np.mean(near + 0.5 * step <= 0.5 * reach) >= EVEN_SHARE)


def _half_line(values: np.ndarray, low: float) -> float:
    """The low end of numbers that are not negative: 0, or close below the smallest where 0 is out of reach."""
    share = low / float(np.median(values)) if low > 0 else 0.0
    if share > FAR_IF_HEAVY and tail_index(values) is not None:
        return plausible_low(values)
    if share <= FAR:
        return 0.0
    plausible = plausible_low(values)
    near, far = log_gain(values - plausible), log_gain(values)
    return plausible if near > max(far, LOG_GAIN) else 0.0


def plausible_low(values: np.ndarray) -> float:
    """A round number as far below the smallest as other rows may lie, not below 0 for positive numbers.

    Red wine's sulphates from 0.37 on had a row of 0.33 among the test rows: the spacing of the lowest five rows alone
    put the end at 0.364, and that row then scored -1500 nats.
    """
    few = min(max(SPACING_ROWS, round(LOW_SHARE * len(values))), len(values) - 1)
    lowest = np.sort(np.partition(values, few)[: few + 1])
    low, distances = float(lowest[0]), lowest[1:] - lowest[0]
    reach = float(distances[-1]) if distances[-1] > 0 else (float(values.max()) - low) / len(values)
    if reach > 0:
        # The exponent of the distribution function at the end (Hill's estimate); ties lie half a spacing apart.
        logs = np.log(reach / np.maximum(distances, 0.5 * reach / few))
        if RISES * float(np.mean(np.maximum(logs, 0.0))) > 1:
            reach *= SPACING_ROWS / few
    unit = 10.0 ** (math.floor(math.log10(reach)) - 1) if reach > 0 else abs(low) * 1e-6 or 1.0
    found = float(f"{math.floor((low - reach) / unit) * unit:.12g}")
    return max(found, 0.0) if low >= 0 else found


def log_gain(values: np.ndarray) -> float:
    """The nats per row by which positive numbers are closer to a normal on the scale of their logarithm."""
    values = values[values > 0]
    if len(values) == 0:
        return -math.inf
    values = values / values.max()  # squares would overflow; the gain has no unit
    logs = np.log(np.maximum(values, np.finfo(float).tiny))
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.log(np.std(values)) - np.log(np.std(logs)) - logs.mean())


def better_scale(values: np.ndarray) -> Literal["linear", "log"]:
    """Whether positive numbers are closer to a normal on the scale of their logarithm, by likelihood."""
    return "log" if log_gain(values) > LOG_GAIN else "linear"


def tail_index(values: np.ndarray) -> float | None:
    """The tail exponent if the tails are heavier than any exponential's."""
    from pushforward.metrics.tails import tail_index as index_of

    found = index_of(values)
    return float(np.clip(found.df, 0.5, 30.0)) if found.heavy and found.df is not None else None
