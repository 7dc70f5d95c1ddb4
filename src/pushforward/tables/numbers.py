"""What a column of numbers is: whole or rounded, bounded, with atoms, on which scale, with which tails."""

from __future__ import annotations

import math
import re
from typing import Any, Literal

import numpy as np

from pushforward.tables.schema import MAX_ATOMS, Column

# Whole numbers of at most this many levels, or others of at most the second, count as levels, if each was seen often.
MOST_LEVELS, MOST_LEVELS_OF_REALS = 100, 20
ROWS_PER_LEVEL = 20
# Few numbers that repeat this often and share no step, or one this much finer than they are, count as levels too.
ROWS_PER_TIE, FINE_STEP = 3, 1000
# A value is an atom if it takes this share of the rows and stands out from its neighbours by this factor; at 0 and at
# the ends of the range, where values are cut off, a smaller share is enough.
ATOM_SHARE, ATOM_SHARE_AT_ENDS, ATOM_FACTOR, ATOM_COUNT = 0.05, 0.002, 5.0, 10
NEIGHBOURS = 10
# A step is one that at least this share of the rows are multiples of.
ON_STEPS = 0.98
# Rounding matters for a density from this share of repeated values on.
TIED_SHARE = 0.01
# Distances between neighbours are regular, as rounding leaves them, if few are below this share of their median.
REGULAR = 0.3
IDENTIFIER_FROM_ROWS = 20
IDENTIFIER = re.compile(
    r"(^|[_ .-])(id|ids|uuid|guid|key|index|row|rownum|no|nr|number)$|^(id|index)[_ .-]", re.IGNORECASE
)
CIRCLE = re.compile(
    r"angle|azimuth|bearing|heading|direction|phase|wind_?dir|longitude_?of|hour|orientation|aspect", re.IGNORECASE
)
# Nats per row by which a logarithm must bring a column closer to a normal.
LOG_GAIN = 0.05
# The units that circles come in: low end and period.
CIRCLES = ((0.0, 360.0), (-180.0, 360.0), (0.0, 2 * math.pi), (-math.pi, 2 * math.pi), (0.0, 24.0))
# Pairs of bounds that are recognised; the data must come within this share of both ends.
BOUNDS = ((0.0, 1.0), (0.0, 100.0))
CLOSE_TO_BOUNDS = 0.02


def detect_number(
    source: str, name: str, type_: str, values: np.ndarray, state: dict[str, Any], notes: list[str]
) -> Column:
    """The column for finite numbers.

    Args:
        source: for messages.
        name: of the column.
        type_: Arrow type.
        values: its cells that are not missing, one or more.
        state: `missing`, as `Column` takes it.
        notes: remarks are appended here.
    """
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 1 and not state["missing"]:
        return Column(name=name, kind="constant", type=type_, value=_plain(distinct[0], type_))
    # Beyond 2**53 every float64 is whole.
    whole = bool(np.all(distinct == np.rint(distinct)) and np.abs(distinct[[0, -1]]).max() <= 2**53)
    if whole and _names_rows(name, values, distinct):
        notes.append(f"{source}: '{name}' numbers its rows, as identifiers do: set aside.")
        return Column(name=name, kind="identifier", type=type_)
    most = MOST_LEVELS if whole else MOST_LEVELS_OF_REALS
    if (len(distinct) <= 2 and n >= ROWS_PER_LEVEL) or (len(distinct) <= most and n >= ROWS_PER_LEVEL * len(distinct)):
        levels = tuple(_plain(value, type_) for value in distinct)
        return Column(name=name, kind="ordinal", type=type_, levels=levels, **state)
    atoms = find_atoms(distinct, counts)
    apart = ~np.isin(distinct, atoms)
    # Atoms repeat by nature; only what the others share is rounding.
    step = 1.0 if whole else find_step(distinct[apart], counts[apart], single=type_ == "float")
    fine = step is None or step * FINE_STEP < np.diff(distinct).min(initial=np.inf)
    if fine and len(distinct) <= MOST_LEVELS_OF_REALS and n >= ROWS_PER_TIE * len(distinct):
        levels = tuple(_plain(value, type_) for value in distinct)  # a density would stand on a few points
        return Column(name=name, kind="ordinal", type=type_, levels=levels, **state)
    rest = values[~np.isin(values, atoms)] if atoms else values
    low, high = float(rest.min()), float(rest.max())
    if low == high:  # two values, one of them common
        return Column(name=name, kind="ordinal", type=type_, levels=tuple(_plain(v, type_) for v in distinct), **state)
    shared = {"name": name, "type": type_, **state}
    circle = _circle(name, low, high, step)
    if circle is not None:
        start, period = circle
        cut = emptiest(rest, start, period)
        cut = cut if step is None else step * round(cut / step)
        return Column(kind="circular", low=start, period=period, cut=cut, step=step, **shared)
    if low == 0 and step is None:  # a log-scale has no 0, so that even a single 0 is an atom
        atoms, rest = (*atoms, 0.0), rest[rest > 0]
        low = float(rest.min())
        if low == high:
            return Column(name=name, kind="ordinal", type=type_, levels=tuple(map(float, distinct)), **state)
    bounds = _bounds(low, high)
    if bounds is not None and step is None and high == bounds[1]:
        atoms = (*atoms, high)
    shared["atoms"] = tuple(sorted(atoms))
    if bounds is not None:
        return Column(kind="bounded", low=bounds[0], high=bounds[1], step=step, **shared)
    heavy = _tail_index(rest)
    if low < 0:
        return Column(kind="integer" if whole else "real", step=step, tail_index=heavy, **shared)
    scale = "linear" if heavy is not None else better_scale(rest + 0.5 * (step or 0.0))
    return Column(kind="count" if whole else "positive", low=0.0, step=step, scale=scale, tail_index=heavy, **shared)


def _names_rows(name: str, values: np.ndarray, distinct: np.ndarray) -> bool:
    n = len(values)
    if len(distinct) < n or n < IDENTIFIER_FROM_ROWS:
        return False
    consecutive = distinct[-1] / 2 - distinct[0] / 2 == (n - 1) / 2  # halves, which cannot overflow
    return bool(consecutive or IDENTIFIER.search(name))


def _plain(value: float, type_: str) -> float | int | bool:
    """A level as JSON would have it: whole numbers without a point in columns of whole numbers."""
    return int(value) if type_.startswith(("int", "uint")) else float(value)


def find_step(distinct: np.ndarray, counts: np.ndarray, single: bool = False) -> float | None:
    """The step that nearly all values are multiples of, None where values rarely meet.

    Where values meet but share no step, a round number near their usual distance. A value between two multiples then
    stands for the interval that holds it.

    Args:
        distinct: the different values, ascending.
        counts: how often each comes.
        single: whether they were float32, whose decimal fractions are off by 1e-7 of their size.
    """
    n, largest = counts.sum(), np.abs(distinct).max()
    if n - len(distinct) <= TIED_SHARE * n or largest == 0:
        return None
    relative = 1e-7 if single else 1e-12
    first = math.ceil(math.log10(largest))
    if not -300 < first < 300:  # neither the step nor its multiples are float64
        return None
    gaps = np.diff(distinct)
    gaps = gaps[gaps > largest * max(relative, 1e-9)]  # what rounding leaves between equal values is no gap
    least, usual = (float(np.quantile(gaps, q)) for q in (0.05, 0.5)) if len(gaps) >= NEIGHBOURS else (0.0, math.inf)
    regular = least > 0 and _share_on(distinct, counts, least, relative) >= ON_STEPS
    for step in (
        factor * 10.0**exponent for exponent in range(first, first - 10, -1) for factor in (5.0, 2.5, 2.0, 1.0)
    ):
        if regular and step < least / 2:  # such as inches in a table of millimetres
            break
        if _share_on(distinct, counts, step, relative) >= ON_STEPS:
            return float(f"{step:.12g}")
    if regular:
        return float(f"{least:.12g}")
    # Numbers that are not rounded and repeat, because rows do, lie at any distance.
    return None if least < REGULAR * usual else float(f"{10.0 ** math.floor(math.log10(usual)):.12g}")


def _share_on(distinct: np.ndarray, counts: np.ndarray, step: float, relative: float) -> float:
    """The share of the rows that are multiples of a step."""
    steps = distinct / step
    on = np.abs(steps - np.rint(steps)) <= np.minimum(1e-9 + relative * np.abs(steps), 0.1)
    return float(counts[on].sum() / counts.sum())


def find_atoms(distinct: np.ndarray, counts: np.ndarray) -> tuple[float, ...]:
    """Values that have a mass of their own: far more frequent than their neighbours."""
    n, atoms = counts.sum(), []
    for i in np.argsort(-counts)[: 4 * MAX_ATOMS]:
        at_end = i in (0, len(distinct) - 1) or distinct[i] == 0
        share = ATOM_SHARE_AT_ENDS if at_end else ATOM_SHARE
        if counts[i] < max(ATOM_COUNT, share * n):
            continue
        around = [
            counts[j]
            for j in range(max(0, i - NEIGHBOURS // 2), min(len(counts), i + NEIGHBOURS // 2 + 1))
            if j != i and distinct[j] not in atoms
        ]
        typical = float(np.median(around)) if around else 0.0
        if counts[i] >= max(ATOM_COUNT, share * n, ATOM_FACTOR * typical):
            atoms.append(float(distinct[i]))
    if len(atoms) == len(distinct):
        return ()
    return tuple(atoms[: MAX_ATOMS - 2])  # the ends of the range may become two more


def _circle(name: str, low: float, high: float, step: float | None) -> tuple[float, float] | None:
    if not CIRCLE.search(name):
        return None
    for start, period in CIRCLES:
        end = start + period
        slack = 0.1 * period
        top = end if step is None else end - step
        inside = start <= low <= start + slack and end - slack <= high <= end
        # 360 among whole degrees is the same as 0, and a circle holds it once.
        if inside and (high <= top or math.isclose(high, end)):
            return start, period
    return None


def emptiest(values: np.ndarray, start: float, period: float, bins: int = 36) -> float:
    """The place of the circle where fewest values lie, counted from `start`."""
    place = (values - start) % period
    counts, edges = np.histogram(place, bins=bins, range=(0.0, period))
    around = counts + np.roll(counts, 1)  # what lies on both sides of each edge
    return float(edges[int(np.argmin(around))])


def _bounds(low: float, high: float) -> tuple[float, float] | None:
    for start, end in BOUNDS:
        slack = CLOSE_TO_BOUNDS * (end - start)
        if start <= low <= start + slack and end - slack <= high <= end:
            return start, end
    return None


def better_scale(values: np.ndarray) -> Literal["linear", "log"]:
    """Whether positive numbers are closer to a normal on the scale of their logarithm, by likelihood."""
    values = values[values > 0]
    if len(values) == 0:
        return "linear"
    values = values / values.max()  # squares would overflow; the gain has no unit
    logs = np.log(np.maximum(values, np.finfo(float).tiny))
    with np.errstate(divide="ignore", invalid="ignore"):
        gain = np.log(np.std(values)) - np.log(np.std(logs)) - logs.mean()
    return "log" if gain > LOG_GAIN else "linear"


def _tail_index(values: np.ndarray) -> float | None:
    """The tail exponent if the tails are heavier than any exponential's."""
    from pushforward.metrics.tails import tail_index

    found = tail_index(values)
    return float(np.clip(found.df, 0.5, 30.0)) if found.heavy and found.df is not None else None
