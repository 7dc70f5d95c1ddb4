"""Kinds of time that does not come round: dates and times, and durations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.kinds.base import AbstractValues, Axis, Space
from pushforward.tables.kinds.cells import by_local_clock, read_numbers, write_numbers
from pushforward.tables.kinds.ends import sharp_ends
from pushforward.tables.kinds.numbers import AbstractNumber, scale_of, space_of, support_of, within
from pushforward.tables.kinds.sight import Sight
from pushforward.tables.kinds.steps import clock_step, regular, snapped
from pushforward.tables.kinds.text import arrow_type

if TYPE_CHECKING:
    from pushforward.tables.schema import Column

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Dates of at least this many different days that are all the first of a month are months; of a year, quarter, month.
MONTHS, MONTH_STEPS = 3, (12.0, 6.0, 3.0, 1.0)
FINE_NOTE = "times are kept to the microsecond, roughly; nanoseconds are rounded."


class Datetime(AbstractValues):
    """Dates in days and times in seconds, as such or written as text."""

    name = "datetime"
    meaning = "dates or times"
    counted = False

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        if sight.text:
            form = sight.format
            if form is None or times.only_clock(form) or len(sight.distinct) == 1:
                return None
            step = written_step(form, sight.distinct)
            low, high = sharp_ends(sight.timed, step, sight.bounds)
            steps = regular(sight.distinct, step)
            return {**sight.base, "format": form, **steps, "low": low, "high": high}
        if not (pa.types.is_date(sight.type) or pa.types.is_timestamp(sight.type)) or len(sight.distinct) == 1:
            return None
        arrow_type(sight.base["type"])  # refuses time zones that no file could name
        _tell_fine(sight)
        return {**sight.base, **_grid(sight)}

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return None

    def read(self, array: pa.ChunkedArray, column: Column, source: str) -> np.ndarray:
        """See `AbstractValues`."""
        return read_numbers(array, column, source)

    def to_model(self, values: np.ndarray, column: Column) -> np.ndarray:
        """See `AbstractValues`."""
        if column.unit is not None:
            values = months_of(values, 1 if column.type.startswith("date") else times.DAY)
        return snapped(values, column.step)

    def to_cells(self, values: np.ndarray, column: Column) -> np.ndarray:
        """See `AbstractValues`."""
        return within(values, column, self.support(column))

    def write(self, values: np.ndarray, column: Column) -> pa.Array:
        """See `AbstractValues`."""
        if column.unit is not None:
            values = days_of(values, column.unit) * (1 if column.type.startswith("date") else times.DAY)
        return write_numbers(values, column)

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return support_of(column, column.low)

    def space(self, column: Column) -> Space:
        """See `AbstractKind`."""
        return space_of(self.support(column))

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "date"


class Duration(AbstractNumber):
    """Lengths of time in seconds."""

    name = "duration"
    meaning = "lengths of time"
    counted = False

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        if not pa.types.is_duration(sight.type) or len(sight.distinct) == 1:
            return None
        _tell_fine(sight)
        positive = sight.line.low is not None and sight.line.low >= 0
        made = {**sight.fields, "scale": scale_of(sight) if positive else "linear"}
        return {**made, "low": 0.0} if positive and sight.bounds == "natural" else made

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return None

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return support_of(column, column.low)

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "log" if column.scale == "log" else "linear"


def _grid(sight: Sight) -> dict[str, Any]:
    """What dates and times are counted in: the step that all are on, by which clock, in which unit."""
    date = pa.types.is_date(sight.type)
    made: dict[str, Any] = {"step": 1.0 if date else clock_step(sight.distinct)}
    values = sight.timed
    if not date and sight.type.tz is not None:
        local = times.to_numbers(by_local_clock(sight.present))
        step = clock_step(np.unique(local))
        if (step or 0.0) > (made["step"] or 0.0):
            made, values = {"step": step, "local": True}, local
    unit = 1 if date else times.DAY
    days = np.unique(values) / unit
    if len(days) >= MONTHS and np.all(days % 1 == 0):
        months = months_of(days, 1)
        for name in ("month", "month-end"):
            if np.array_equal(days_of(months, name), days):
                step = next(step for step in MONTH_STEPS if np.all(months % step == 0))
                made |= {"unit": name, "step": step}
                values = months_of(values, unit)
                break
    low, high = sharp_ends(values, made["step"], sight.bounds)
    if "unit" not in made:
        made |= regular(np.unique(values), made["step"])
    return {**made, "low": low, "high": high}


def months_of(values: np.ndarray, unit: float) -> np.ndarray:
    """Months since January 1970 of days, or of seconds for a unit of 86400."""
    blank = np.isnan(values)
    days = np.floor(np.where(blank, 0.0, values) / unit).astype(np.int64).astype("datetime64[D]")
    return np.where(blank, np.nan, days.astype("datetime64[M]").astype(np.int64))


def days_of(months: np.ndarray, unit: str) -> np.ndarray:
    """Days since 1970 of the first or the last of months."""
    blank = np.isnan(months)
    whole = np.where(blank, 0.0, np.floor(months)).astype(np.int64) + (unit == "month-end")
    days = whole.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64) - (unit == "month-end")
    return np.where(blank, np.nan, days)


def written_step(form: str, distinct: np.ndarray) -> float:
    """The coarsest unit of the clock that all times of a format are multiples of; a day or month where it has none."""
    finest = times.step_of(form)
    return max(clock_step(distinct) or finest, finest) if times.has_clock(form) else finest


def _tell_fine(sight: Sight) -> None:
    if sight.base["type"].endswith("[ns]") or sight.base["type"].startswith("timestamp[ns"):
        sight.notes.append(f"{sight.source}: '{sight.name}': {FINE_NOTE}")
