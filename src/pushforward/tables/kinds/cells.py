"""Cells of numbers: read from Arrow as float64, and written in the type of their column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.errors import DataCode, DataError
from pushforward.tables.kinds.text import NUMBER, arrow_type, in_order, is_text, plain_text, without_blanks
from pushforward.tables.reading.columns import arrow_column

if TYPE_CHECKING:
    from pushforward.tables.schema import Column

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute


def read_numbers(array: pa.ChunkedArray, column: Column, source: str) -> np.ndarray:
    """Numbers as float64, NaN where missing; times in days or seconds.

    Raises:
        DataError: the column holds something else.
    """
    kind = array.type
    if is_text(kind) and is_written(column):
        text = without_blanks(plain_text(array))
        form = column.format or _form_of(text, column)
        values = times.parse(text, form)
        if column.format is None and column.type.startswith("timestamp") and times.unit_of(form) == times.DAY:
            values = values * times.DAY
        no_strangers(column, text, values, source, "dates", f"a date like {form}")
    elif times.is_time(kind):
        values: Any = times.to_numbers(by_local_clock(array) if column.local else array)
        if column.format is not None:
            values = times.in_format(values, kind, column.format)
        elif pa.types.is_timestamp(kind) and column.type.startswith("date"):
            values = np.floor(values / times.DAY)
        elif pa.types.is_date(kind) and column.type.startswith("timestamp"):
            values = values * times.DAY
    elif is_text(kind):
        text = without_blanks(plain_text(array))
        numeric = pc.match_substring_regex(text, NUMBER)
        values = np.asarray(
            pc.if_else(numeric, text, None).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64
        )
        no_strangers(column, text, values, source, "non-numeric", "a number")
    else:
        values = arrow_column(array)
    if values is None or isinstance(values, str):
        what = "whole numbers beyond 2**53" if values is None else values
        raise DataError("non-numeric", f"{source}: '{column.name}' holds {what}; it is {column.kind} in the schema.")
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0]) + 1
        raise DataError("infinite", f"{source}: infinite values in '{column.name}', the first is row {row}.")
    return values


def _form_of(text: Any, column: Column) -> str:
    """The format of the text of a column that was one of points in time in the fit, year first, as files write it.

    Another order of day and month is not guessed: the batches of a long file might differ.
    """
    words = pc.unique(text.drop_null())
    if column.type == "string" or len(words) == 0:
        return times.DEFAULT_FORMAT
    form = times.find_format(in_order(words))[0]
    if form is None or not form.startswith("%Y") or (column.type.startswith("date") and times.has_clock(form)):
        return times.DEFAULT_FORMAT
    return form


def by_local_clock(array: Any) -> Any:
    """Times as the clocks of their time zone show them."""
    return pc.local_timestamp(array) if pa.types.is_timestamp(array.type) and array.type.tz is not None else array


def is_written(column: Column) -> bool:
    """Whether the numbers of a column are dates or times that text writes in a format."""
    return column.format is not None or column.axis == "date"


def no_strangers(column: Column, text: Any, values: np.ndarray, source: str, code: DataCode, expected: str) -> None:
    """Raises a DataError if a cell of text that is not missing was not understood."""
    odd = np.isnan(values) & ~np.asarray(pc.is_null(text))
    if odd.any():
        row = int(odd.argmax())
        raise DataError(
            code, f"{source}: '{column.name}' holds {text[row].as_py()[:40]!r} in row {row + 1}; expected {expected}."
        )


def write_numbers(values: np.ndarray, column: Column) -> pa.Array:
    """Numbers, NaN where missing, in the type of their column."""
    if column.type == "string" and is_written(column):
        return times.write(values, column.format or times.DEFAULT_FORMAT)
    kind = arrow_type(column.type)
    if column.local and pa.types.is_timestamp(kind) and kind.tz is not None:
        # An hour that clocks show twice is the first; one that they leave out is the next that they show.
        shown = times.from_numbers(values, pa.timestamp(kind.unit))
        return pc.assume_timezone(shown, kind.tz, ambiguous="earliest", nonexistent="latest").cast(kind)
    if times.is_time(kind):
        return times.from_numbers(values, kind)
    blank = np.isnan(values)
    if pa.types.is_integer(kind):
        limits = np.iinfo(kind.to_pandas_dtype())
        # The largest number of 64 bits is no float64; the next one below is.
        most = np.nextafter(limits.max, 0) if limits.max > 2**53 else float(limits.max)
        whole = np.clip(np.where(blank, 0, np.rint(values)), float(limits.min), most)
        return pa.array(whole.astype(np.float64), mask=blank).cast(kind, safe=False)
    if pa.types.is_string(kind):  # numbers that came as text
        return pa.array([None if np.isnan(v) else f"{v:.15g}" for v in values], pa.string())
    if pa.types.is_decimal(kind):
        most = 10.0 ** (kind.precision - kind.scale) - 10.0**-kind.scale
        values = np.clip(values, -most, most)
    return pa.array(values, mask=blank).cast(kind, safe=False)
