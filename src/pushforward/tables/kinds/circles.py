"""The kind of what comes round: angles, times of day, days of the week, months of the year."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pushforward.tables.kinds.base import AbstractValues, Axis, Space
from pushforward.tables.kinds.cells import read_numbers, write_numbers
from pushforward.tables.kinds.sight import Sight
from pushforward.tables.kinds.steps import clock_step, snapped, tidied
from pushforward.tables.times import DAY, only_clock, step_of

if TYPE_CHECKING:
    from pushforward.tables.schema import Column

# Names of angles, and the units that these come in: low end and period.
ANGLE = re.compile(
    r"angle|azimuth|bearing|heading|direction|phase|wind_?dir|longitude_?of|orientation|aspect|(^|[^a-z])hour",
    re.IGNORECASE,
)
ANGLES = ((0.0, 360.0), (-180.0, 360.0), (0.0, 2 * math.pi), (-math.pi, 2 * math.pi), (0.0, 24.0))
# Names of whole numbers that come round, and their low ends and periods.
_A, _Z = r"(^|[^a-z])", r"([^a-z]|$)"
ROUNDS: tuple[tuple[re.Pattern[str], tuple[tuple[float, float], ...]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), circles)
    for words, circles in (
        (rf"{_A}(hour|hours|hr|hod|hour_?of_?day){_Z}", ((0.0, 24.0), (1.0, 24.0))),
        (rf"{_A}(weekday|dow|day_?of_?week|wday){_Z}|dayofweek", ((0.0, 7.0), (1.0, 7.0))),
        (rf"{_A}(month|mnth|moy|month_?of_?year){_Z}", ((1.0, 12.0), (0.0, 12.0))),
        (rf"{_A}(doy|yday|day_?of_?year|julian_?day){_Z}|dayofyear", ((1.0, 365.0), (0.0, 365.0), (1.0, 366.0))),
        (rf"{_A}(woy|week_?of_?year|weekofyear){_Z}", ((1.0, 52.0), (1.0, 53.0), (0.0, 53.0))),
        (rf"{_A}(minute|minute_?of_?hour|second){_Z}", ((0.0, 60.0),)),
        (rf"{_A}minute_?of_?day{_Z}", ((0.0, 1440.0),)),
    )
)
# The data must come within this share of the period of both ends.
CLOSE_TO_ENDS = 0.1


class Circular(AbstractValues):
    """What comes round: the model sees how far a number lies from the low end, once round at most."""

    name = "circular"
    meaning = "angles or hours, which come round"
    counted = False

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        if sight.clock or (sight.text and sight.format is not None and only_clock(sight.format)):
            return None if len(sight.distinct) == 1 else _clock(sight)
        if not sight.plain:
            return None
        found = _circle(sight)
        if found is None:
            return None
        low, period, step = found
        return {**sight.base, "low": low, "period": period, "step": step}

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        if column.period is None or column.low is None:
            return "a circular column needs low and period"
        if column.high is not None:
            return "a circular column has no high bound: it comes round after its period"
        if column.step is not None and not closes(column.period, column.step):
            return f"the period {column.period:g} is no multiple of the step {column.step:g}"
        return None

    def read(self, array: pa.ChunkedArray, column: Column, source: str) -> np.ndarray:
        """See `AbstractValues`."""
        return read_numbers(array, column, source)

    def to_model(self, values: np.ndarray, column: Column) -> np.ndarray:
        """See `AbstractValues`."""
        period = column.period or 1.0
        turned = snapped((values - (column.low or 0.0)) % period, column.step)
        return np.where(turned >= period * (1 - 1e-15), 0.0, turned)  # rounding may lead once round

    def to_cells(self, values: np.ndarray, column: Column) -> np.ndarray:
        """See `AbstractValues`."""
        period, low = column.period or 1.0, column.low or 0.0
        turned = tidied(snapped(values, column.step), column.step) % period
        return tidied(turned + low, column.step)

    def write(self, values: np.ndarray, column: Column) -> pa.Array:
        """See `AbstractValues`."""
        return write_numbers(values, column)

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return 0.0, column.period or math.inf

    def space(self, column: Column) -> Space:
        """See `AbstractKind`."""
        return "circle"

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "circle"


def closes(period: float, step: float) -> bool:
    """Whether a whole number of steps makes one round."""
    return abs(period / step - round(period / step)) <= 1e-9 * max(1.0, period / step)


def _clock(sight: Sight) -> dict[str, Any]:
    """The fields of times of day; an hour is the coarsest step."""
    made = {**sight.base, "low": 0.0, "period": float(DAY)}
    step = clock_step(sight.distinct)
    if sight.format is not None:
        made["format"], step = sight.format, max(step or 0.0, step_of(sight.format))
    return {**made, "step": None if step is None else min(step, DAY / 24)}


def _circle(sight: Sight) -> tuple[float, float, float | None] | None:
    """Low end, period and step of numbers that come round, by their name and their range."""
    low, high, step = float(sight.distinct[0]), float(sight.distinct[-1]), sight.step
    options = next((circles for pattern, circles in ROUNDS if sight.whole and pattern.search(sight.name)), ())
    for start, period in options:
        slack = CLOSE_TO_ENDS * period
        if start <= low <= start + slack and start + period - 1 - slack <= high <= start + period - 1:
            return start, period, 1.0
    if not ANGLE.search(sight.name):
        return None
    for start, period in ANGLES:
        end, slack = start + period, CLOSE_TO_ENDS * period
        grid = step is not None and closes(period, step) and closes(start, step)
        top = end - step if step is not None and grid else end
        # 360 among whole degrees is the same as 0, and a circle holds it once.
        inside = start <= low <= start + slack and end - slack <= high <= end
        if inside and (high <= top or math.isclose(high, end)):
            return start, period, step if grid else None
    return None
