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
# What is meant as a date, although there may be none such, as 30 February.
DATE_LIKE = r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([T ].*)?$"
# Rows that decide about the format; the rest then has to follow it.
LOOKED_AT = 1000
PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
# Seconds of the years 1 to 9999, which every library can show; times beyond count as these.
FIRST, LAST = -62_135_596_800, 253_402_300_799
# Seconds up to which float64 holds nanoseconds.
FINE = 4e6
# What a format with a time of day holds.
CLOCK = ("%H", "%I", "%M", "%S", "%T", "%R", "%p", "%s", "%c", "%X")


def is_time(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds points in time, times of day or durations, also as a dictionary."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_temporal(kind) and not pa.types.is_interval(kind)


def to_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Days of a date column, seconds of any other time column, since 1970 or midnight; NaN where missing."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
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
        days = np.clip(np.where(blank, 0, np.floor(values)), FIRST // DAY, LAST // DAY).astype(np.int32)
        return pa.array(days, mask=blank).cast(pa.date32()).cast(kind)
    unit = "ns" if not hasattr(kind, "unit") else kind.unit
    # Whole seconds and the rest apart, so that nanoseconds do not cost the digits of the seconds.
    most = (2**63 - 1) // PER_SECOND[unit] - 1  # what 64 bits hold
    low, high = (max(FIRST, -most), min(LAST, most)) if pa.types.is_timestamp(kind) else (-most, most)
    own = np.clip(np.where(blank, 0.0, values), low, high)
    seconds = np.floor(own)
    rest = np.rint((own - seconds) * PER_SECOND[unit])
    if unit == "ns":  # so long after 1970 float64 knows microseconds
        rest = np.where(np.abs(own) > FINE, 1000 * np.rint(rest / 1000), rest)
    rest = rest.astype(np.int64)
    whole = seconds.astype(np.int64) * PER_SECOND[unit] + rest
    if pa.types.is_time32(kind) or pa.types.is_time64(kind):
        whole = np.clip(whole, 0, DAY * PER_SECOND[unit] - 1)
        narrow = pa.int32() if kind.bit_width == 32 else pa.int64()
        return pa.array(whole, mask=blank).cast(narrow).cast(kind)
    return pa.array(whole, mask=blank).cast(kind)


def has_clock(form: str) -> bool:
    """Whether a format holds a time of day."""
    return any(code in form for code in CLOCK)


def parse(column: Any, form: str) -> np.ndarray:
    """Days (for a format without a clock) or seconds of dates written as text; NaN where they do not follow it."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    coded = column.cast(pa.large_string()).dictionary_encode()  # dates repeat, and each is read once
    words = coded.dictionary.cast(pa.string())
    stamps = pc.strptime(words, format=form, unit="s", error_is_null=True)
    if "%d" in form and "%z" not in form and stamps.null_count < len(stamps):
        # The parser takes 30 February for 1 March, and year 99 for that of the first century: a date is one if it is
        # written again as it was, but for zeros in front.
        same = pc.equal(_bare(pc.strftime(stamps, format=form)), _bare(words))
        stamps = pc.if_else(pc.fill_null(same, False), stamps, pa.scalar(None, stamps.type))
    seconds = _floats(stamps.cast(pa.int64())) if len(stamps) else np.zeros(0)
    seconds = np.append(seconds if has_clock(form) else seconds / DAY, np.nan)
    return seconds[np.asarray(coded.indices.fill_null(len(stamps)).to_numpy(zero_copy_only=False), np.int64)]


def _bare(text: Any) -> Any:
    spaced = pc.replace_substring_regex(pc.utf8_lower(text), r"\s+", " ")
    return pc.replace_substring_regex(spaced, r"\b0(\d)\b", r"\1")


def write(values: np.ndarray, form: str) -> pa.Array:
    """The reverse of `parse`: text in this format, missing where NaN."""
    seconds = np.where(np.isnan(values), 0.0, np.floor(values)) * (1 if has_clock(form) else DAY)
    whole = np.clip(seconds, FIRST, LAST).astype(np.int64)
    return pc.strftime(pa.array(whole, mask=np.isnan(values)).cast(pa.timestamp("s")), format=form)


def find_format(words: Any) -> tuple[str | None, bool, list[str]]:
    """The format of dates written as text.

    Args:
        words: the different words, in an order that does not depend on that of the rows; none is missing.

    Returns:
        The format, or None; whether another order of day and month fits as well; and, if no format fits all words but
        formats fit most of them, an example of each, or of the words that are no dates.
    """
    head = words.slice(0, LOOKED_AT)
    fits: dict[str, np.ndarray] = {}
    for form in FORMATS:
        found = ~np.isnan(parse(head, form))
        if found.all() and not np.isnan(parse(words, form)).any():
            twin = form.replace("%d/%m", "%m/%d").replace("%d-%m", "%m-%d")
            return form, twin != form and not np.isnan(parse(words, twin)).any(), []
        if found.any():
            fits[form] = found
    examples, left = [], np.ones(len(head), bool)
    while fits and len(examples) < 3:  # the format that fits most of what is left, then the next
        form = max(fits, key=lambda form: int((fits[form] & left).sum()))
        found = fits.pop(form) & left
        if not found.any():
            break
        examples.append(repr(head[int(found.argmax())].as_py()[:40]))
        left &= ~found
    dated = pc.match_substring_regex(head.filter(pa.array(left)), DATE_LIKE)
    if not examples or (left.sum() > 0.1 * len(head) and not pc.all(dated).as_py()):
        return None, False, []
    if left.any():
        examples.append(repr(head[int(left.argmax())].as_py()[:40]))
    return None, False, examples


def _floats(column: Any) -> np.ndarray:
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
