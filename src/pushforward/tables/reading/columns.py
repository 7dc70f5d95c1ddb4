"""One column, whatever its type, to float64; or the reason why not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Beyond this, neighbouring integers are the same float64.
EXACT = 2**53
LONG_INTEGER = r"^\s*[+-]?\d{16,}\s*$"
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


def arrow_column(column: pa.ChunkedArray) -> np.ndarray | str | None:
    """A column as float64 with NaN for missing values.

    Returns:
        The numbers; or a phrase on what the column holds instead; or None for integers beyond 2**53, also in text.
    """
    kind = column.type
    if pa.types.is_dictionary(kind) and not pa.types.is_string(kind.value_type):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0):
        bounds = pc.min_max(column).as_py()
        if bounds["min"] is not None and max(abs(bounds["min"]), abs(bounds["max"])) > EXACT:
            return None
    elif not (pa.types.is_floating(kind) or pa.types.is_boolean(kind) or pa.types.is_decimal(kind)):
        return _describe(column, kind)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.int8())
    numbers = column.cast(pa.float64(), safe=False)
    return np.asarray(numbers.to_numpy(zero_copy_only=False), dtype=np.float64)


def _describe(column: pa.ChunkedArray, kind: pa.DataType) -> str | None:
    """What a column that is not numeric holds, with an example and, for text among numbers, the place."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        odd = pc.invert(pc.match_substring_regex(column.cast(pa.large_string()), NUMBER))
        count = pc.sum(odd).as_py() or 0
        first = pc.index(odd, True).as_py()
        if first < 0:
            if pc.any(pc.match_substring_regex(column, LONG_INTEGER)).as_py():
                return None
            return "numbers written as text (convert them)"
        example = repr(str(column[first].as_py())[:40])
        if count < len(column) / 2:
            return f"text among its numbers, {example} in row {first + 1} ({count} of {len(column)} rows)"
        return f"text such as {example}"
    for test, words in (
        (pa.types.is_temporal, "dates or times"),
        (pa.types.is_dictionary, "categories"),
        (pa.types.is_nested, "nested values"),
        (pa.types.is_binary, "bytes (or text that is not UTF-8)"),
    ):
        if test(kind):
            return words
    return f"values of type {str(kind)[:60]}"


def listed(names: Sequence[str], most: int = 12) -> str:
    """Names for a message, quoted, the first few of many."""
    shown = ", ".join(repr(str(name)) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
