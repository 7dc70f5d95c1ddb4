"""Dates and times as numbers and back: days for dates, seconds for everything finer."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables.date_formats import DATE_LIKE, FORMATS, LONGEST, MAYBE, STRICT_FORMATS, STRICT_YEARS

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
DAY = 86_400
# Of dates that are written as text without another format.
DEFAULT_FORMAT = "%Y-%m-%d"
# What follows a time of day: a fraction of a second, and how far the clock is from Greenwich.
FRACTION, OFFSET = r"[.,]\d{1,9}", r" ?(?:Z|UTC|[+-]\d\d:?\d\d)"
TAIL = rf":\d\d(?P<fraction>{FRACTION})?(?P<offset>{OFFSET})?$"
FORM = re.compile(r"^(?P<core>.*?)(?:(?P<mark>[.,])%(?P<digits>[1-9]?)f)?(?P<offset> ?(?:%:?z|Z|UTC|[+-]\d\d:?\d\d))?$")
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
    return any(code in _plain(form) for code in CLOCK)


def only_clock(form: str) -> bool:
    """Whether a format holds a time of day and no date."""
    return has_clock(form) and not re.search("%[YyGjdmbBDFcsx]", _plain(form))


def unit_of(form: str) -> float | None:
    """The seconds that the numbers of a format count: 1 with a time of day, 86400 for dates, None for months."""
    if has_clock(form):
        return 1.0
    return float(DAY) if re.search("%[djDFcsxUWVae]", _plain(form)) else None


def step_of(form: str) -> float:
    """The finest step that a format can write, in its unit."""
    parts = _parts(form)
    if parts["mark"] is not None:
        return 10.0 ** -int(parts["digits"] or 6)
    if not has_clock(form) or any(code in form for code in ("%S", "%T", "%s", "%c", "%X")):
        return 1.0
    return 60.0 if "%M" in form or "%R" in form else 3600.0


def in_format(values: np.ndarray, kind: pa.DataType, form: str) -> np.ndarray:
    """The numbers of a column of dates or times of this Arrow type as `parse` would give them for their text."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    seconds = values * DAY if pa.types.is_date(kind) else values
    if only_clock(form):
        return seconds % DAY
    unit = unit_of(form)
    if unit is not None:
        return seconds if unit == 1 else np.floor(seconds / unit)
    days = np.where(np.isnan(seconds), 0, np.floor(seconds / DAY)).astype(np.int64).astype("datetime64[D]")
    return np.where(np.isnan(seconds), np.nan, days.astype("datetime64[M]").astype(np.int64))


def parse(column: Any, form: str) -> np.ndarray:
    """Dates and times written as text as numbers; NaN where they do not follow the format.

    Args:
        column: the text.
        form: in the words of `datetime.strftime`, and: `%-d` and its like are written without a zero in front, `%P` is
            `%p` in small letters, `%^b` is `%b` in capitals, `%3f` are three digits of a fraction of a second and `%f`
            any number of them, written as six or none, `%z` an offset such as +0100 and `%:z` one such as +01:00. An
            offset that stands in the format itself, such as Z or +01:00, is that of every row.

    Returns:
        Months since January 1970 for a format of months, days since 1970 for one of dates, and seconds for one with a
        time of day: since 1970 by the clock of the format's own offset, or since midnight where there is no date.
    """
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    coded = column.cast(pa.large_string()).dictionary_encode()  # dates repeat, and each is read once
    found = np.append(_parsed(coded.dictionary.cast(pa.string()), form), np.nan)
    return found[np.asarray(coded.indices.fill_null(len(found) - 1).to_numpy(zero_copy_only=False), np.int64)]


def _parsed(words: Any, form: str) -> np.ndarray:
    parts, added = _parts(form), np.zeros(len(words))
    core = _plain(parts["core"])
    if parts["mark"] is not None or parts["offset"] is not None:
        count = f"{{{parts['digits']}}}" if parts["digits"] else "{1,9}"
        fraction = (
            "" if parts["mark"] is None else rf"(?:[.,](?P<fraction>\d{count}))" + ("" if parts["digits"] else "?")
        )
        offset = "" if parts["offset"] is None else rf"(?P<offset>{OFFSET})"
        found = pc.extract_regex(words, rf"^(?P<core>.*?){fraction}{offset}$")
        words = found.field("core")
        if found.null_count:  # Arrow's fields know nothing of what is missing around them
            words = pc.if_else(found.is_valid(), words, pa.scalar(None, words.type))
        if fraction:
            added = added + _fractions(found.field("fraction"))
        if parts["offset"] is not None:
            own = 0.0 if "%" in parts["offset"] else _offset(parts["offset"])
            added = added + own - _offsets(found.field("offset"))
    stamps = pc.strptime(words, format=core, unit="s", error_is_null=True)
    if stamps.null_count < len(stamps):
        # The parser takes 30 February for 1 March, and year 99 for that of the first century: a date is one if it is
        # written again as it was, but for zeros in front.
        same = pc.equal(_bare(pc.strftime(stamps, format=core)), _bare(words))
        stamps = pc.if_else(pc.fill_null(same, False), stamps, pa.scalar(None, stamps.type))
    seconds = _floats(stamps.cast(pa.int64())) if len(stamps) else np.zeros(0)
    if only_clock(form):
        return seconds % DAY + added
    unit = unit_of(form)
    if unit is None:
        years, months = (_floats(part(stamps)) for part in (pc.year, pc.month))
        return 12 * (years - 1970) + months - 1
    return (seconds + added) / unit


def _bare(text: Any) -> Any:
    spaced = pc.replace_substring_regex(pc.utf8_lower(text), r"\s+", " ")
    return pc.replace_substring_regex(spaced, r"\b0(\d)", r"\1")


def _parts(form: str) -> dict[str, Any]:
    """What a format says before the fraction of a second, of the fraction, and of the offset."""
    found = FORM.match(form)
    parts: dict[str, Any] = found.groupdict() if found is not None else {"core": form}
    # Letters such as Z are an offset only behind a time of day.
    return parts if has_clock(parts["core"]) else {"core": form, "mark": None, "digits": None, "offset": None}


def _plain(form: str) -> str:
    """The format in the words that the parser knows."""
    return re.sub(r"%[-^]([a-zA-Z])", r"%\1", form).replace("%P", "%p")


def _fractions(digits: Any) -> np.ndarray:
    filled = pc.fill_null(pc.if_else(pc.equal(digits, ""), "0", digits), "0")
    return _floats(filled.cast(pa.int64())) / 10.0 ** _floats(pc.utf8_length(filled))


def _offsets(text: Any) -> np.ndarray:
    coded = pc.fill_null(text, "Z").dictionary_encode()
    known = np.array([_offset(word) for word in coded.dictionary.to_pylist()])
    return known[np.asarray(coded.indices)] if len(known) else np.zeros(len(text))


def _offset(text: str) -> float:
    """The seconds east of Greenwich that `+01:00` says."""
    text = text.strip()
    if text in ("Z", "UTC", ""):
        return 0.0
    size = 3600.0 * int(text[1:3]) + 60.0 * int(text[-2:])
    return -size if text[0] == "-" else size


def write(values: np.ndarray, form: str) -> pa.Array:
    """The reverse of `parse`: text in this format, missing where NaN."""
    blank = np.isnan(values)
    parts, numbers = _parts(form), np.where(blank, 0.0, values)
    unit = unit_of(form)
    if unit is None:
        months = np.clip(np.floor(numbers), -12 * 1969, 12 * 8029 + 11).astype(np.int64)
        seconds = months.astype("datetime64[M]").astype("datetime64[s]").astype(np.int64).astype(float)
    else:
        seconds = (numbers if unit == 1 else np.floor(numbers)) * unit
    digits = int(parts["digits"] or 6) if parts["mark"] is not None else 0
    whole = np.floor(seconds)
    rest = np.rint((seconds - whole) * 10.0**digits) if digits else np.zeros(len(whole))
    whole, rest = whole + (rest >= 10**digits) * (digits > 0), np.where(rest >= 10**digits, 0.0, rest)
    stamps = pa.array(np.clip(whole, FIRST, LAST).astype(np.int64), mask=blank).cast(pa.timestamp("s"))
    text = _styled(stamps, parts["core"])
    if parts["mark"] is not None:
        shown = pc.utf8_lpad(pa.array(rest.astype(np.int64)).cast(pa.string()), digits, "0")
        shown = pc.binary_join_element_wise(text, shown, parts["mark"])
        text = shown if parts["digits"] else pc.if_else(pa.array(rest == 0), text, shown)
    if parts["offset"] is not None:
        offset = parts["offset"].replace("%:z", "+00:00").replace("%z", "+0000")
        text = pc.binary_join_element_wise(text, pa.scalar(offset), "")
    return text


# Marks, no characters of any text, before what is written in another style than the writer's own.
BARE, LOWER, UPPER = "\x01", "\x02", "\x03"


def _styled(stamps: pa.Array, form: str) -> Any:
    marked = re.sub(r"%-([a-zA-Z])", BARE + r"%\1", form).replace("%P", LOWER + "%p")
    marked = re.sub(r"%\^([a-zA-Z])", UPPER + r"%\1", marked)
    text = pc.strftime(stamps, format=marked)
    if BARE in marked:
        text = pc.replace_substring(pc.replace_substring_regex(text, BARE + r"0(\d)", r"\1"), BARE, "")
    for word, small in (("AM", "am"), ("PM", "pm")) if LOWER in marked else ():
        text = pc.replace_substring(text, LOWER + word, small)
    if UPPER in marked:
        text = pc.replace_substring(pc.utf8_upper(text), UPPER, "")
    return text


def find_format(words: Any) -> tuple[str | None, bool, list[str]]:
    """The format of dates written as text.

    Args:
        words: the different words, in an order that does not depend on that of the rows; none is missing.

    Returns:
        The format, or None; whether another order of day and month fits as well; and, if no format fits all words but
        formats fit most of them, an example of each, or of the words that are no dates.
    """
    head = words.slice(0, LOOKED_AT)
    maybe = pc.and_(pc.match_substring_regex(head, MAYBE), pc.less_equal(pc.utf8_length(head), LONGEST))
    if 2 * pc.sum(maybe).as_py() < len(head):
        return None, False, []
    tail = _tail_of(head)
    fits: dict[str, np.ndarray] = {}
    for form in FORMATS:
        form = form + tail
        found = ~np.isnan(parse(head, form))
        if found.all() and not np.isnan(parse(words, form)).any():
            return _as_written(head, form), _fits_turned(words, form), []
        if found.any():
            fits[form] = found
    strict = [form for form in (form + tail for form in STRICT_FORMATS) if _strictly(words, head, form)]
    # Of day/month and month/day the first counts, as above; other orders would be guessed.
    kept = [form for form in strict if _turned(form) not in strict or "%d/%m" in form or "%d-%m" in form]
    if len(kept) == 1:
        return _as_written(head, kept[0]), len(strict) > 1, []
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


def _tail_of(words: Any) -> str:
    """The fraction of a second and the offset with which all these words end, in the words of a format."""
    found = pc.extract_regex(words, TAIL)
    ends = found.filter(found.is_valid())
    if len(ends) < len(words) or len(ends) == 0:
        return ""
    fractions = set(ends.field("fraction").to_pylist()) - {None}
    offsets = {text or "" for text in ends.field("offset").to_pylist()}
    tail = ""
    if fractions - {""}:
        lengths = {len(text) for text in fractions}
        mark = sorted(fractions - {""})[0][0]
        tail = f"{mark}%{lengths.pop() - 1}f" if len(lengths) == 1 else f"{mark}%f"
    if offsets == {""} or "" in offsets:
        return tail
    if len(offsets) == 1:
        return tail + offsets.pop()
    gap = " " if any(text.startswith(" ") for text in offsets) else ""
    return f"{tail}{gap}{'%:z' if any(':' in text for text in offsets) else '%z'}"


def _strictly(words: Any, head: Any, form: str) -> bool:
    if np.isnan(parse(head, form)).any():
        return False
    values = parse(words, form)
    if np.isnan(values).any():
        return False
    if only_clock(form):
        return bool(pc.all(pc.match_substring_regex(words, r"^\d{1,2}:\d\d")).as_py())
    unit = unit_of(form)
    years = 1970 + (values / 12 if unit is None else values * unit / (365.2425 * DAY))
    return bool(years.min() >= STRICT_YEARS[0] and years.max() < STRICT_YEARS[1])


def _turned(form: str) -> str:
    """The same format with day and month in the other order."""
    for one, other in (("%d/%m", "%m/%d"), ("%d-%m", "%m-%d")):
        if one in form:
            return form.replace(one, other)
        if other in form and not form.startswith(("%Y", "%y")):
            return form.replace(other, one)
    return ""


def _fits_turned(words: Any, form: str) -> bool:
    twin = _turned(form) if "%d/%m" in form or "%d-%m" in form else ""
    return bool(twin) and not np.isnan(parse(words, twin)).any()


def _as_written(words: Any, form: str) -> str:
    """The same format in the style of these words: zeros in front or none, capitals or small letters."""
    values = parse(words, form)
    dates = [("%d", "%-d"), ("%m", "%-m")]
    hours = [("%H", "%-H"), ("%I", "%-I")]
    capitals = [(f"%{letter}", f"%^{letter}") for letter in "bBa"]
    small = [("%p", "%P")]
    changes = [[*some] for some in ([], dates, dates[:1], dates[1:])]
    for change in ([*a, *b, *c] for c in ([], capitals, small) for b in ([], hours) for a in changes):
        styled = form
        for usual, other in change:
            styled = styled.replace(usual, other)
        if pc.all(pc.equal(write(values, styled), words.cast(pa.string()))).as_py():
            return styled
    return form


def _floats(column: Any) -> np.ndarray:
    return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), np.float64)
