"""Dates and times as numbers and back: days for dates, seconds for everything finer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
DAY = 86_400
# Tried in this order; day before month, as most of the world writes, unless the numbers forbid it.
DATE_FORMATS = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d.%m.%Y",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d-%m-%Y",
    "%d %b %Y",
    "%d-%b-%Y",
    "%b %d, %Y",
)
CLOCKS = ("", " %H:%M:%S", "T%H:%M:%S", "T%H:%M:%SZ", " %H:%M", "T%H:%M")
FORMATS = tuple(date + clock for clock in CLOCKS for date in DATE_FORMATS)
# Rows that decide about the format; the rest then has to follow it.
LOOKED_AT = 1000
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def is_time(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds points in time, times of day or durations."""
    return pa.types.is_temporal(kind) and not pa.types.is_interval(kind)


def to_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Days of a date column, seconds of any other time column, since 1970 or midnight; NaN where missing."""
    kind = column.type
    if pa.types.is_date(kind):
        return _floats(column.cast(pa.date32()).cast(pa.int32()))
    if pa.types.is_time32(kind) or pa.types.is_time64(kind):
        column = column.cast(pa.time64("ns"))
        kind = column.type
    whole = column.cast(pa.int32() if kind.bit_width == 32 else pa.int64())
    return _floats(whole) / PER_SECOND[kind.unit]


def from_numbers(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    """The column of this Arrow type with these days or seconds; missing where NaN."""
    blank = np.isnan(values)
    if pa.types.is_date(kind):
        days = np.where(blank, 0, np.floor(values)).astype(np.int32)
        return pa.array(days, mask=blank).cast(pa.date32()).cast(kind)
    unit = "ns" if not hasattr(kind, "unit") else kind.unit
    # Whole seconds and the rest apart, so that nanoseconds do not cost the digits of the seconds.
    seconds = np.floor(np.where(blank, 0.0, values))
    rest = np.rint((np.where(blank, 0.0, values) - seconds) * PER_SECOND[unit]).astype(np.int64)
    whole = seconds.astype(np.int64) * PER_SECOND[unit] + rest
    if pa.types.is_time32(kind) or pa.types.is_time64(kind):
        whole = np.clip(whole, 0, DAY * PER_SECOND[unit] - 1)
        narrow = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(whole, mask=blank).cast(narrow).cast(kind)
    return pa.array(whole, mask=blank).cast(kind)


def parse(column: Any, form: str) -> np.ndarray:
    """Days (for a format without a clock) or seconds of dates written as text; NaN where they do not follow it."""
    stamps = pc.strptime(column.cast(pa.string()), format=form, unit="s", error_is_null=True)
    seconds = _floats(stamps.cast(pa.int64()))
    return seconds if "%H" in form else seconds / DAY


def write(values: np.ndarray, form: str) -> pa.Array:
    """The reverse of `parse`: text in this format, missing where NaN."""
    seconds = np.where(np.isnan(values), 0.0, np.floor(values)) * (1 if "%H" in form else DAY)
    stamps = pa.array(seconds.astype(np.int64), mask=np.isnan(values)).cast(pa.timestamp("s"))
    return pc.strftime(stamps, format=form)


def find_format(column: Any) -> tuple[str | None, bool, list[str]]:
    """The format of dates written as text.

    Args:
        column: text without missing values.

    Returns:
        The format, or None; whether another order of day and month fits as well; and, if no format fits all cells but
        several fit parts of them, an example of each.
    """
    head = column.slice(0, LOOKED_AT)
    fits: list[tuple[str, int]] = []
    for form in FORMATS:
        count = int((~np.isnan(parse(head, form))).sum())
        if count == len(head) and not np.isnan(parse(column, form)).any():
            twin = form.replace("%d/%m", "%m/%d") if "%d/%m" in form else None
            ambiguous = twin is not None and not np.isnan(parse(column, twin)).any()
            return form, ambiguous, []
        if count:
            fits.append((form, count))
    if sum(count for _, count in fits) < 0.9 * len(head):
        return None, False, []
    examples = []
    for form, _ in sorted(fits, key=lambda fit: -fit[1])[:3]:
        place = int(np.flatnonzero(~np.isnan(parse(head, form)))[0])
        examples.append(repr(head[place].as_py()))
    return None, False, examples


def _floats(column: Any) -> np.ndarray:
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
