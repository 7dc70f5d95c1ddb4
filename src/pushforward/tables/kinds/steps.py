"""Steps: what all numbers of a column are multiples of, and the multiple that a number stands on."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import numpy as np

from pushforward.tables.kinds.base import MAX_REMAINDERS
from pushforward.tables.times import DAY

# A cell is taken for a multiple of its step if it is one but for this share of a step, or of itself: a decimal fraction
# in float32 is off by that. Never for more than the third share of a step, so that no large number moves.
ROUNDING, ROUNDING_OF_SINGLES, MOST_ROUNDING = 1e-6, 1e-7, 0.1
# Decimal places that are tried below the largest number, in float64 and in float32, which holds seven digits.
PLACES, PLACES_OF_SINGLES = 9, 5
# A step coarser than the last decimal place may be chance; numbers share one by chance with at most this probability.
CHANCE = 1e-3
# Numbers that decide about a step before all are held to it, and different ones that a step which is no decimal needs.
LOOKED_AT, DISTINCT = 400, 10
# Shares of the largest number: below the first a common divisor is none, below the second a difference is rounding.
LEAST_DIVISOR, NO_DIFFERENCE = 1e-5, 1e-9
# How many fine steps a coarse one may hold, such as halves, tenths, seconds in a minute, cents in a unit; one that
# holds more must tell so many nats more.
COARSER, TELLS_MORE = (2, 4, 5, 10, 60, 100), 0.1
# Nats that remainders must tell beyond a uniform choice, and the coarse steps that the middle half of the rows fill.
REMAINDERS_TELL, COARSE_IN_RANGE, REMAINDERS_FROM_ROWS = 0.5, 5.0, 50
# Seconds that clocks are set to.
CLOCK_STEPS = (DAY, 43_200, 21_600, 10_800, 7_200, 3_600, 1_800, 900, 600, 300, 60, 30, 15, 10, 5, 1)


def snapped(values: np.ndarray, step: float | None) -> np.ndarray:
    """The multiple of the step at or below each value, which stands for the interval up to the next one."""
    if step is None:
        return values
    steps = values / step
    return np.where(_close(steps), np.rint(steps), np.floor(steps)) * step


def between(values: np.ndarray, step: float) -> np.ndarray:
    """Which values lie on no multiple of the step; a missing one does not."""
    steps = values / step
    return ~_close(steps) & ~np.isnan(steps)


def _close(steps: np.ndarray) -> np.ndarray:
    """Which numbers are whole but for rounding."""
    close = np.minimum(ROUNDING + ROUNDING_OF_SINGLES * np.abs(steps), MOST_ROUNDING)
    return np.abs(steps - np.rint(steps)) <= close


def tidied(values: np.ndarray, step: float | None) -> np.ndarray:
    """Multiples of a decimal step without what rounding left: 3 * 0.1 is not 0.3."""
    if step is None:
        return values
    digits = -int(Decimal(f"{step:.12g}").normalize().as_tuple().exponent)
    if not 0 < digits <= 15:
        return values
    few = np.abs(values) < 2.0**52 / 10.0**digits
    return np.where(few, np.round(np.where(few, values, 0.0), digits), values)


def find_step(distinct: np.ndarray, counts: np.ndarray | None = None, single: bool = False) -> float | None:
    """The coarsest step that all values are multiples of, None where they share none.

    Args:
        distinct: the different values, ascending.
        counts: how often each comes; a step holds for all of them, so that this has no say.
        single: whether they were float32, whose decimal fractions are off by 1e-7 of their size.
    """
    del counts
    distinct = distinct[distinct != 0]
    largest = float(np.abs(distinct[[0, -1]]).max()) if len(distinct) else 0.0
    first = math.ceil(math.log10(largest)) if largest > 0 else -999
    if not -290 < first <= 16:  # beyond, neither the step nor its multiples are exact
        return None
    relative, places = (1e-7, PLACES_OF_SINGLES) if single else (1e-12, PLACES)
    head = distinct[:: max(1, len(distinct) // LOOKED_AT)]
    for exponent in range(min(first, 0), min(first - places, 0) - 1, -1):
        unit = 10.0**exponent
        if _all_on(head, unit, relative) and _all_on(distinct, unit, relative):
            whole = np.rint(distinct / unit).astype(np.int64)
            many = _likely(int(np.gcd.reduce(whole)), len(distinct))
            return float(f"{many * unit:.12g}")
    return _divisor(distinct, head, relative)


def _all_on(values: np.ndarray, step: float, relative: float) -> bool:
    steps = values / step
    return bool(np.all(np.abs(steps - np.rint(steps)) <= np.minimum(1e-9 + relative * np.abs(steps), MOST_ROUNDING)))


def _likely(divisor: int, n_distinct: int) -> int:
    """The largest divisor of a common one that these many different numbers would hardly share by chance."""
    tens = 10 ** (len(str(divisor)) - len(str(divisor).rstrip("0")))
    for candidate in (divisor, tens):
        if (n_distinct - 1) * math.log(candidate) >= -math.log(CHANCE):
            return candidate
    return 1


def _divisor(distinct: np.ndarray, head: np.ndarray, relative: float) -> float | None:
    """A step that is no decimal fraction, such as 1/12, by Euclid's algorithm."""
    if len(distinct) < DISTINCT:
        return None
    head = np.abs(head)
    largest = float(head.max())
    common = float(head[0])
    for value in head[1:]:
        a, b = float(value), common
        while b > NO_DIFFERENCE * largest:
            a, b = b, abs(a - b * round(a / b))
        common = a
        if common < LEAST_DIVISOR * largest:
            return None
    common = largest / round(largest / common)
    common = float(f"{common:.12g}") if _all_on(distinct, float(f"{common:.12g}"), relative) else common
    return common if _all_on(distinct, common, max(relative, 1e-11)) else None


def clock_step(values: np.ndarray) -> float | None:
    """The coarsest unit of the clock that all seconds are multiples of, None below a second."""
    return next((float(step) for step in CLOCK_STEPS if np.all(values % step == 0)), None)


def regular(distinct: np.ndarray, step: float | None) -> dict[str, Any]:
    """The step of points in time that come at regular distances, and what they have beyond it, as fields of a column.

    Mondays are seven days apart and no multiples of a week since 1970, which was a Thursday: a step of seven days and
    one remainder. So are days that begin at six.

    Args:
        distinct: the different values, ascending.
        step: what all are multiples of; None leaves them alone.
    """
    if step is None or len(distinct) < 2:
        return {"step": step}
    whole = np.rint(distinct / step).astype(np.int64)
    many = _likely(int(np.gcd.reduce(np.diff(whole))), len(distinct))
    if many < 2:
        return {"step": step}
    rest = int(whole[0] % many)
    return {"step": many * step} | ({"fine": step, "remainders": (rest * step,)} if rest else {})


def find_remainders(
    distinct: np.ndarray, counts: np.ndarray, step: float | None
) -> tuple[float, tuple[float, ...]] | None:
    """A coarse step and the remainders that numbers have on it, if some remainders are far commoner than others.

    Of amounts that are mostly whole with a few in cents, 12.00, 12.01 and 12.99 must not score alike: the whole units
    are a number, and the cents a state of their own with a probability each.

    Args:
        distinct: the different values, ascending.
        counts: how often each comes.
        step: the fine step that all are multiples of.

    Returns:
        The coarse step, and the remainders, the commonest first; None where each is about as common.
    """
    n = counts.sum()
    if step is None or n < REMAINDERS_FROM_ROWS:
        return None
    place = np.cumsum(counts)
    low, high = (distinct[np.searchsorted(place, share * n)] for share in (0.25, 0.75))
    whole, best, chosen = np.rint(distinct / step).astype(np.int64), 0.0, None
    for many in COARSER:
        if high - low < COARSE_IN_RANGE * many * step:
            continue
        seen = np.bincount(whole % many, weights=counts, minlength=many)
        share = seen[seen > 0] / n
        tells = math.log(many) + float((share * np.log(share)).sum())
        if tells >= max(REMAINDERS_TELL + many / n, best + TELLS_MORE):
            best, chosen = tells, (many, seen)
    if chosen is None:
        return None
    many, seen = chosen
    order = sorted(np.flatnonzero(seen), key=lambda k: (-seen[k], k))[:MAX_REMAINDERS]
    return float(f"{many * step:.12g}"), tuple(float(f"{k * step:.12g}") for k in order)


def split(
    values: np.ndarray, step: float, fine: float, remainders: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers as multiples of a coarse step, the number of their remainder, and the nats of remainders without one.

    Args:
        values: of cells.
        step: the coarse step.
        fine: the step of the remainders.
        remainders: those that have a number; all others share the one after the last.
    """
    on = snapped(values, fine)
    whole = snapped(on, step)
    parts = np.rint((on - whole) / fine)
    known = np.rint(np.array(remainders) / fine)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], parts), len(known) - 1)
    states = np.where(known[order][place] == parts, order[place], len(known))
    others = max(round(step / fine) - len(known), 1)
    return whole, states, np.where(states == len(known), -math.log(others), 0.0)
