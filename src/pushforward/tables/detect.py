"""What each column of a table is, found from its cells: kinds, bounds, steps, levels, atoms, tails."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.errors import DataError
from pushforward.tables.numbers import detect_number
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.columns import arrow_column, listed
from pushforward.tables.schema import MAX_LENGTH, MAX_LEVELS, MAX_RARE, MAX_WORD, Column, TableSchema

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Text cells that mean "nothing here" in a column of numbers.
BLANKS = ("", "?", "-", ".", "na", "n/a", "nan", "null", "none", "missing", "unknown")
# Text of which more than this share is distinct names its rows, from this many rows on.
# Numbers as people write them and no program reads: 1,5 or 1,234 or 45% or $3.
LOCAL_NUMBER = (
    r"^[€$£]? ?[+-]?(\d+,\d+|\d{1,3}([,'.]\d{3})+[.,]\d+|\d{1,3}([,']\d{3})+|[€$£] ?\d+(\.\d+)?|\d+([.,]\d+)? ?[€$£%])$"
)
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
LONG_NUMBER = r"^[+-]?\d{16,}$"
UNIQUE_SHARE = 0.5
UNIQUE_FROM_ROWS = 50
# A level has a state of its own if it was seen this often, or is among the commonest few.
OWN_STATE_COUNT = 5
OWN_STATE_FIRST = 32
# Ratio of the cells of a text column that must be numbers for the others to count as faults in a column of numbers.
MOSTLY_NUMBERS = 0.5


def detect_schema(cells: Cells, *, missing: bool = False) -> tuple[TableSchema, Cells, list[str]]:
    """The schema of a table.

    Args:
        cells: as read.
        missing: model missing values as a state of their own.

    Returns:
        The schema; the cells with blanks such as `""` in columns of text made missing values and numbers written as
        text made numbers; and remarks for the user, a sentence each.

    Raises:
        DataError: a column holds numbers and words, dates of several formats, or nested values.
    """
    columns, arrays, notes = [], [], []
    for name, column in zip(cells.names, cells.table.columns, strict=True):
        coded = pa.types.is_dictionary(column.type)
        column, found = _tidied(cells.source, name, column, notes)
        made = _detect(cells.source, name, column, found, missing, notes)
        if coded and made.kind == "category" and made.type == "string":
            made = made.model_copy(update={"type": "dictionary"})
        columns.append(made)
        arrays.append(column)
    tidy = Cells(pa.Table.from_arrays(arrays, names=list(cells.names)), cells.source, cells.notes)
    return TableSchema(rows=len(cells), columns=tuple(columns)), tidy, notes


def is_text(kind: pa.DataType) -> bool:
    """Whether an Arrow type holds text, also as a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def plain_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A text column without blanks at the ends of its cells, and empty cells as missing."""
    trimmed = pc.utf8_trim_whitespace(column.cast(pa.large_string()))
    return pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.large_string()), trimmed)


def without_blanks(text: Any) -> Any:
    """A column of text with the words that mean "nothing here" among numbers or dates as missing."""
    blank = pc.is_in(pc.utf8_lower(text), value_set=pa.array(BLANKS, pa.large_string()))
    return pc.if_else(blank, pa.scalar(None, text.type), text)


def _tidied(source: str, name: str, column: pa.ChunkedArray, notes: list[str]) -> tuple[pa.ChunkedArray, Any]:
    """The column without blanks, and its cells as numbers where it is one of numbers."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        raise DataError(
            "non-numeric", f"{source}: '{name}' has the extension type {str(kind)[:60]}. Save plain columns."
        )
    if pa.types.is_dictionary(kind) and not is_text(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if isinstance(kind, pa.BaseExtensionType):  # of the values of a dictionary
        return _tidied(source, name, column, notes)
    if is_text(kind):
        return _tidied_text(source, name, plain_text(column), kind, notes)
    if times.is_time(kind):
        return column, times.to_numbers(column)
    if pa.types.is_boolean(kind):
        return column, None
    numbers = arrow_column(column)
    if isinstance(numbers, str):
        fix = "Leave it out with --columns (columns= in Python), or turn it into numbers or text."
        raise DataError("non-numeric", f"{source}: '{name}' holds {numbers}, which is not modelled. {fix}")
    return column, numbers


def _tidied_text(source: str, name: str, text: Any, kind: pa.DataType, notes: list[str]) -> tuple[Any, Any]:
    words = pc.unique(text.drop_null())
    if len(words) == 0 or pa.types.is_dictionary(kind):
        return text, None
    blank = pc.is_in(pc.utf8_lower(words), value_set=pa.array(BLANKS, words.type))
    blanks, words = words.filter(blank), words.filter(pc.invert(blank))
    if len(words) == 0:
        return text, None
    numeric = pc.match_substring_regex(words, NUMBER)
    counted = pc.sum(pc.is_in(text, value_set=words.filter(numeric))).as_py() or 0
    share = counted / pc.sum(pc.is_in(text, value_set=words)).as_py()
    padded = pc.any(pc.match_substring_regex(words, r"^0\d")).as_py()  # codes such as 00501, not numbers
    if share <= MOSTLY_NUMBERS or padded:
        if len(blanks) and times.find_format(_in_order(words))[0] is not None:
            return _blanked(source, name, text, blanks, "dates", notes), None
        return text, None
    odd = words.filter(pc.invert(numeric))
    if len(odd):
        first = odd[0].as_py()
        row = pc.index(text, first).as_py() + 1
        raise DataError(
            "non-numeric",
            f"{source}: '{name}' holds numbers and words: {first[:40]!r} in row {row} ({1 - share:.1%} of its cells "
            "are no numbers). Mend those cells, leave the column out with --columns (columns= in Python), or name it a "
            'category in a schema ("kind": "category").',
        )
    if len(blanks):
        text = _blanked(source, name, text, blanks, "numbers", notes)
    if pc.any(pc.match_substring_regex(words, LONG_NUMBER)).as_py():  # float64 would round them
        return text, None
    whole = pc.all(pc.match_substring_regex(words, r"^[+-]?\d{1,15}$")).as_py()
    numbers = pc.replace_substring_regex(text, r"^\+", "").cast(pa.float64())
    numbers = numbers.cast(pa.int64()) if whole else numbers
    return numbers, arrow_column(numbers)


def _blanked(source: str, name: str, text: Any, blanks: Any, what: str, notes: list[str]) -> Any:
    notes.append(
        f"{source}: '{name}': {listed(sorted(blanks.to_pylist()), 4)} among its {what} count as missing values."
    )
    return without_blanks(text)


def _in_order(words: Any) -> Any:
    return words.take(pc.sort_indices(words))


def _detect(source: str, name: str, column: Any, found: Any, missing: bool, notes: list[str]) -> Column:
    kind, n_missing = column.type, column.null_count
    if found is not None and pa.types.is_floating(kind):
        n_missing = int(np.isnan(found).sum())
    state: dict[str, Any] = {"missing": missing and n_missing > 0}
    if n_missing == len(column):
        return Column(name=name, kind="constant", type=type_name(kind), value=None)
    if pa.types.is_boolean(kind):
        levels = tuple(sorted(set(pc.unique(column.drop_null()).to_pylist())))
        if len(levels) == 1 and not state["missing"]:
            return Column(name=name, kind="constant", type="bool", value=levels[0])
        return Column(name=name, kind="boolean", type="bool", levels=(False, True), **state)
    if n_missing and not missing:
        # One value and gaps: no constant, for the gaps are news, and an error unless they are dropped or modelled.
        single = pc.unique(column.drop_null() if found is None else pa.array(found[~np.isnan(found)]))
        if len(single) == 1 and (is_text(kind) or (found is not None and not times.is_time(kind))):
            levels = "category" if is_text(kind) else "ordinal"
            return Column(name=name, kind=levels, type=type_name(kind), levels=tuple(single.to_pylist()))
    if is_text(kind):
        return _text(source, name, column, state, notes)
    type_ = type_name(kind)
    if found is None:  # integers that float64 rounds
        notes.append(
            f"{source}: '{name}' holds whole numbers beyond 2**53, which look like identifiers: set aside. Subtract an "
            "offset to model it."
        )
        return Column(name=name, kind="identifier", type=type_)
    values = found[~np.isnan(found)]
    infinite = int(np.isinf(values).sum())
    if infinite:
        row = int(np.flatnonzero(np.isinf(found))[0]) + 1
        raise DataError(
            "infinite",
            f"{source}: infinite values in '{name}': {infinite} of {len(found)} rows, the first is row {row}. Drop "
            "those rows, or leave the column out with --columns (columns= in Python).",
        )
    if times.is_time(kind):
        arrow_type(type_)  # refuses time zones that no file could name
        if type_.endswith("[ns]") or type_.startswith("timestamp[ns"):
            notes.append(f"{source}: '{name}': times are kept to the microsecond, roughly; nanoseconds are rounded.")
        return _time(name, kind, type_, values, state)
    return detect_number(source, name, type_, values, state, notes)


def _time(name: str, kind: pa.DataType, type_: str, values: np.ndarray, state: dict) -> Column:
    first = float(values.min())
    if first == values.max():
        return Column(name=name, kind="constant", type=type_, value=first)
    if pa.types.is_time32(kind) or pa.types.is_time64(kind):
        return Column(name=name, kind="circular", type=type_, low=0.0, period=float(times.DAY), **state)
    if pa.types.is_duration(kind):
        return Column(name=name, kind="real", type=type_, **state)
    # The coarsest unit that all follow: days, hours, minutes, seconds. A date column counts in days.
    steps = (1.0,) if pa.types.is_date(kind) else (float(times.DAY), 3600.0, 60.0, 1.0)
    step = next((step for step in steps if np.all(values % step == 0)), None)
    return Column(name=name, kind="datetime", type=type_, step=step, **state)


def _text(source: str, name: str, column: Any, state: dict, notes: list[str]) -> Column:
    present = column.drop_null()
    words = pc.unique(present)
    if len(words) == 1 and not state["missing"]:
        return Column(name=name, kind="constant", type="string", value=words[0].as_py())
    form, ambiguous, examples = times.find_format(_in_order(words))
    if examples:
        raise DataError(
            "dates",
            f"{source}: '{name}' writes dates in several formats, or some that are no dates: {', '.join(examples)}. "
            "Write them in one, leave the column out with --columns (columns= in Python), or name it a category in a "
            'schema ("kind": "category").',
        )
    if form is not None:
        if ambiguous:
            notes.append(f"{source}: '{name}' is read as day/month; set \"format\" in a schema if it is month/day.")
        values = times.parse(present, form)
        if values.min() == values.max():
            return Column(name=name, kind="constant", type="string", value=words[0].as_py())
        shared = {"name": name, "type": "string", "format": form, "step": times.step_of(form), **state}
        if times.only_clock(form):
            return Column(kind="circular", low=0.0, period=float(times.DAY), **shared)
        return Column(kind="datetime", **shared)
    if pc.all(pc.match_substring_regex(words, LOCAL_NUMBER)).as_py():
        raise DataError(
            "non-numeric",
            f"{source}: '{name}' writes numbers as {words[0].as_py()[:40]!r}. Write them with a point and no other "
            'marks (1234.5), or name the column a category in a schema ("kind": "category").',
        )
    too_long = pc.max(pc.utf8_length(words)).as_py() > MAX_WORD
    unique = len(words) > UNIQUE_SHARE * len(present) and len(present) >= UNIQUE_FROM_ROWS
    if too_long or unique or (len(words) == len(present) and len(present) > OWN_STATE_FIRST):
        what = "long text" if too_long else f"{len(words):,} different words in {len(present):,} rows"
        notes.append(f"{source}: '{name}' holds {what}, which look like identifiers or free text: set aside.")
        return Column(name=name, kind="identifier", type="string")
    # The commonest first; words of one count in alphabetical order, so that the order of the rows has no say.
    levels, rare, rare_counts = levels_of(present)
    if len(words) > len(levels):
        notes.append(
            f"{source}: '{name}' has {len(words):,} levels: the commonest {len(levels)} have a probability each, the "
            "others share one."
        )
    return Column(name=name, kind="category", type="string", levels=levels, rare=rare, rare_counts=rare_counts, **state)


def levels_of(column: Any) -> tuple[tuple, tuple, tuple[int, ...]]:
    """The levels of a column: those with a state of their own, the commonest first; the rare ones; and their counts.

    Levels of one count are in their own order, so that the order of the rows has no say.
    """
    counted = pc.value_counts(column.drop_null())
    words, numbers = counted.field("values"), np.asarray(counted.field("counts"))
    # Arrow sorts: a NumPy array of text is as wide as its longest word.
    by_count = pa.table(
        {"count": pa.array(-numbers), "word": words.cast(pa.int8()) if words.type == pa.bool_() else words}
    )
    order = np.asarray(pc.sort_indices(by_count, sort_keys=[("count", "ascending"), ("word", "ascending")]))
    order = order[: MAX_LEVELS + MAX_RARE]
    own = sum(numbers[i] >= OWN_STATE_COUNT or place < OWN_STATE_FIRST for place, i in enumerate(order[:MAX_LEVELS]))
    rare = order[own : own + MAX_RARE]
    own_words, rare_words = (tuple(words.take(pa.array(part)).to_pylist()) for part in (order[:own], rare))
    return own_words, rare_words, tuple(int(numbers[i]) for i in rare)


def type_name(kind: pa.DataType) -> str:
    """The Arrow type by a name that `arrow_type` reads."""
    if is_text(kind):
        return "string"
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_decimal256(kind):
        return "double"
    return str(kind)[:MAX_LENGTH]


PLAIN_TYPES: dict[str, Any] = {
    "dictionary": pa.dictionary(pa.int32(), pa.string()),  # the categoricals of pandas and polars
} | {
    str(kind): kind
    for kind in (
        *(pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
        *(pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.date32(), pa.date64()),
        *(pa.timestamp(unit) for unit in times.PER_SECOND),
        *(pa.duration(unit) for unit in times.PER_SECOND),
        *(pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")),
    )
}
DECIMAL = re.compile(r"^decimal128\(([0-9]{1,2}), ([0-9]{1,2})\)$")
ZONED = re.compile(r"^timestamp\[(s|ms|us|ns), tz=([A-Za-z0-9_+:/-]{1,64})\]$")


def arrow_type(name: str) -> pa.DataType:
    """The Arrow type of that name.

    Raises:
        DataError: the name is none of those that tables have.
    """
    if name in PLAIN_TYPES:
        return PLAIN_TYPES[name]
    places = DECIMAL.match(name)
    if places is not None and 0 <= int(places[2]) <= int(places[1]) <= 38 and int(places[1]) > 0:
        return pa.decimal128(int(places[1]), int(places[2]))
    zoned = ZONED.match(name)
    if zoned is None:
        raise DataError("schema", f"the schema: expected an Arrow type such as double or int64, got {name[:60]!r}.")
    return pa.timestamp(zoned[1], zoned[2])
