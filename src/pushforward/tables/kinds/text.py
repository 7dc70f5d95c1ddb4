"""Text cells: blanks, words that mean "nothing here", what looks like a number; and Arrow types by name."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.errors import DataError

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Text cells that mean "nothing here" in a column of numbers.
BLANKS = ("", "?", "-", ".", "na", "n/a", "nan", "null", "none", "missing", "unknown")
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# The longest name of a type that a schema holds.
MAX_TYPE = 128
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


def in_order(words: Any) -> Any:
    """Words in an order of their own, so that the order of the rows has no say."""
    return words.take(pc.sort_indices(words))


def type_name(kind: pa.DataType) -> str:
    """The Arrow type by a name that `arrow_type` reads."""
    if is_text(kind):
        return "string"
    if pa.types.is_dictionary(kind):
        return type_name(kind.value_type)
    if pa.types.is_null(kind) or pa.types.is_decimal256(kind):
        return "double"
    return str(kind)[:MAX_TYPE]


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
