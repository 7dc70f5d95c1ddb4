"""Which values of a table are modelled on a space of their own, and the units of these spaces.

A value belongs to the margins (`ConditionalMargins`) if it may be absent or at an atom, if it is an angle, if its step
is not far below its scale, or if the rows reach an end of its range with a density that does not vanish there. All
others lie on a line, and belong to the flow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.distributions.spaces import Place, Space
from pushforward.tables.encoding import Layout
from pushforward.tables.schema import Column

# The step of a value of the flow is at most this share of its scale, the interquartile range over that of a normal.
# Ten columns of wine_red with steps of 0.05 to 0.1 lost 0.6 nats as margins: one network does less than a deep flow.
FINE_STEP = 0.2
# The interval of a rounded value has a mass of its own from this share of its space's scale on; below it is a point.
POINT_STEP = 5e-5
# The interquartile range of a normal, in standard deviations.
NORMAL_RANGE = 1.349
# Rows next to an end that its exponent is estimated from: this share of all, and at least so many.
NEAR_END, LEAST_NEAR_END = 0.05, 20
# A density whose exponent at an end lies above this, by its standard error, vanishes there as maps of the line do.
# The four weights of abalone (1.33 to 1.43) lost 0.46 nats as margins.
VANISHING = 1.15
# An exponent is taken for the nearest half within this many of its standard errors.
ROUNDED_WITHIN = 2.5
LEAST_POWER, MOST_POWER = 0.25, 4.0
# Rows are far from an end if only one in a hundred is nearer than this share of their median.
FAR, MOST_FAR = 0.2, 50.0


@dataclass(frozen=True)
class Margin:
    """What is fixed about a value with a space of its own, as a model folder holds it.

    Args:
        name: Name of the column.
        space: Its space.
        heavy: Whether its tails are those of a power law.
        rounded: Whether its cells stand for intervals with a mass.
    """

    name: str
    space: Space
    heavy: bool = False
    rounded: bool = False


def space_of(column: Column) -> Space:
    """The space that a column's numbers fill."""
    if column.kind == "circular":
        return "circle"
    low, high = column.support
    if math.isfinite(low):
        return "interval" if math.isfinite(high) else "above"
    return "below" if math.isfinite(high) else "line"


def space_ends(column: Column) -> tuple[float | None, float | None]:
    """The location and the scale of a column's space, as far as its ends fix them."""
    low, high = column.support
    space = space_of(column)
    if space == "line":
        return None, None
    if space in ("interval", "circle"):
        return low, high - low
    return (low if space == "above" else high), None


def values_of(layout: Layout, rows: np.ndarray, j: int, weights: Any = None) -> tuple[np.ndarray, Any]:
    """The numbers of value `j` that are there, rounded ones as they are, and their weights."""
    state = layout.state_of_value[j]
    there = np.ones(len(rows), bool) if state < 0 else rows[:, state] == 0
    return rows[there, len(layout.stated) + j], None if weights is None else np.asarray(weights)[there]


def margins_of(layout: Layout, rows: np.ndarray, ordered: bool = False) -> tuple[Margin, ...]:
    """The values that belong to the margins, in the order of the columns.

    Args:
        layout: Layout of the columns.
        rows: Encoded rows `(n, layout.dim)`.
        ordered: Whether the order of the columns is to hold, so that all values after the first margin are margins.
    """
    found = []
    for j, i in enumerate(layout.valued):
        column, (values, _) = layout.columns[i], values_of(layout, rows, j)
        step, space = column.step or 0.0, space_of(column)
        spread = _spread(values)
        coarse = step > FINE_STEP * spread
        absent = layout.state_of_value[j] >= 0
        follows = ordered and bool(found)
        if not (follows or absent or coarse or space == "circle" or _reaches(column, space, values)):
            continue
        heavy = column.tail_index is not None and space in ("line", "above", "below")
        heavy = heavy or _far(_distance(column, space, values + 0.5 * step))
        found.append(Margin(column.name, space, heavy, step > POINT_STEP * _scale(space, column, values)))
    return tuple(found)


def fit_place(margin: Margin, column: Column, values: np.ndarray) -> Place:
    """The space of one value, with its units.

    Args:
        margin: What is fixed about it.
        column: Its column.
        values: Its numbers, those that are there.
    """
    step = column.step or 0.0
    counted = column.counted
    shared = {"step": step, "rounded": margin.rounded, "counted": counted}
    tail = column.tail_index if margin.heavy else None
    low, high = column.support
    middles = values + 0.5 * step
    if margin.space == "circle":
        return Place("circle", low, high - low, **shared)
    if margin.space == "interval":
        powers = (_power(middles - low, step), _power(high - middles, step))
        return Place("interval", low, high - low, None, *powers, **shared)
    if margin.space == "line":
        lower, centre, upper = np.quantile(middles, [0.25, 0.5, 0.75]) if len(values) else (-1.0, 0.0, 1.0)
        half = 0.5 * float(upper - lower) or _spread(values) * NORMAL_RANGE / 2
        scale = half / math.log(3) if tail is None else half / math.sinh(math.log(3) / tail)
        return Place("line", float(centre), scale, tail, **shared)
    distance = _distance(column, margin.space, middles)
    if margin.heavy and column.tail_index is None:
        # A log-logistic distribution, by its quartiles, for the logarithm of the distance is what lies on a line.
        lower, centre, upper = np.quantile(distance, [0.25, 0.5, 0.75])
        power = math.log(9) / max(math.log(upper / lower), 1 / MOST_FAR)
        end = low if margin.space == "above" else high
        return Place(margin.space, end, float(centre), power, power, **shared)
    power = _power(distance, step)
    middle = float(np.median(distance)) if len(distance) else 1.0
    bend, ratio = 0.0, math.log(2)
    if tail is not None:
        ratio = 2 ** (power / tail) - 1
    elif len(distance):
        ratio, bend = _light(float(np.quantile(distance, 0.95) / middle) ** power)
    end, scale = low if margin.space == "above" else high, middle / ratio ** (1 / power)
    return Place(margin.space, end, scale, tail, power, bend=bend, **shared)


def _distance(column: Column, space: Space, values: np.ndarray) -> np.ndarray:
    """The distances of numbers from the end of their half line, those above 0; none in other spaces."""
    low, high = column.support
    if space not in ("above", "below"):
        return np.zeros(0)
    distance = values - low if space == "above" else high - values
    return distance[distance > 0]


def _far(distance: np.ndarray) -> bool:
    """Whether the rows are far from the end of their half line, so that nothing is known of it."""
    return len(distance) > 0 and bool(np.quantile(distance, 0.01) > FAR * np.median(distance))


def _light(far: float) -> tuple[float, float]:
    """The median's place and the bend for which $y(q)$ is log 2 at the median and log 20 at the 95 % quantile.

    Args:
        far: That quantile over the median, to the power at the end. An exponential's is log 20 / log 2 = 4.3, or more
            where tails are heavier, and has no bend.
    """
    # a + b = log 2 and a far + b far^2 = log 20, where the power is a times the ratio, and bend = b / a^2.
    b = (math.log(20) - far * math.log(2)) / (far * far - far) if far > 1 else 0.0
    b = min(max(b, 0.0), 0.95 * math.log(2))
    a = math.log(2) - b
    return a, b / a**2


def blank_place(margin: Margin, column: Column) -> Place:
    """A space of the structure that `fit_place` gives, with placeholders for all that is measured."""
    counted = column.counted
    tail = 1.0 if margin.heavy else None
    return Place(margin.space, 0.0, 1.0, tail, step=column.step or 0.0, rounded=margin.rounded, counted=counted)


def _spread(values: np.ndarray) -> float:
    """A scale that outliers do not move, above 0."""
    if len(values) == 0:
        return 1.0
    lower, upper = np.quantile(values, [0.25, 0.75])
    spread = float(upper - lower) / NORMAL_RANGE
    with np.errstate(over="ignore", invalid="ignore"):
        spread = spread if spread > 0 else float(np.std(values))
    return spread if np.isfinite(spread) and spread > 0 else 1.0


def _scale(space: Space, column: Column, values: np.ndarray) -> float:
    low, high = column.support
    return high - low if space in ("interval", "circle") else _spread(values)


def _reaches(column: Column, space: Space, values: np.ndarray) -> bool:
    """Whether the rows reach an end of the range with a density that does not vanish there."""
    low, high = column.support
    distances = []
    if space in ("above", "interval"):
        distances.append(values - low)
    if space in ("below", "interval"):
        distances.append(high - values)
    return any(power - error < VANISHING for power, error in map(_exponent, distances))


def _exponent(distance: np.ndarray) -> tuple[float, float]:
    r"""The exponent $\kappa$ of $P(\text{distance} < t) \sim t^\kappa$ near 0, and its standard error.

    Source: Hill, 1975, "A simple general approach to inference about the tail of a distribution", for reciprocals.
    """
    distance = np.sort(distance[distance > 0])
    k = max(LEAST_NEAR_END, int(NEAR_END * len(distance)))
    if len(distance) <= k:
        k = max(len(distance) // 2, 1)
        if len(distance) <= k:
            return 1.0, 1.0
    mean = float(np.mean(np.log(distance[k]) - np.log(distance[:k])))
    if mean <= 0:
        return math.inf, 0.0
    power = (k - 1) / (k * mean) if k > 1 else 1 / mean
    return power, power / math.sqrt(k)


def _power(distance: np.ndarray, step: float) -> float:
    """The exponent at an end: 1, another half or what the rows say; 1 for steps, whose first interval has a mass."""
    if step > 0 and len(distance) and step > 1e-3 * float(np.median(distance)):
        return 1.0
    power, error = _exponent(distance)
    nearest = max(round(2 * power) / 2, 0.5) if math.isfinite(power) else MOST_POWER
    for candidate in (1.0, nearest):
        if abs(power - candidate) <= ROUNDED_WITHIN * error:
            return min(candidate, MOST_POWER)
    return float(np.clip(power, LEAST_POWER, MOST_POWER))
