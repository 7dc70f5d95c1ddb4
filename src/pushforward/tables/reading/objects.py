"""Objects in memory as tables: arrays, data frames of any kind, dicts of columns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.tables.errors import DataError
from pushforward.tables.reading.containers import field_of, held_by, labelled
from pushforward.tables.reading.formats import Raw
from pushforward.tables.reading.names import check_names


def from_object(source: Any) -> Raw:
    """What an object in memory holds: an array, a data frame of any kind, a dict of columns."""
    label = "the table"
    if isinstance(source, np.ma.MaskedArray):  # what is masked is missing, not what lies under the mask
        kind = source.dtype.kind
        if kind not in "fiub" or source.dtype.names is not None:
            raise DataError("format", "the array is masked and holds no numbers. Fill it, or pass a data frame.")
        return Raw("the array", array=np.ma.filled(source.astype(np.float64), np.nan))
    if isinstance(source, np.ndarray) and source.dtype.names is None:
        return Raw("the array", array=source)
    if isinstance(source, np.ndarray):
        return Raw("the array", arrow=from_fields(source, "the array"))
    if isinstance(source, dict):
        return Raw(label, arrow=_from_dict(source, label))
    frame = _frame(source)
    if frame is None and hasattr(source, "__arrow_c_stream__"):
        return Raw(getattr(source, "source", label), arrow=pa.table(source))
    if frame is None:
        try:
            array = np.asarray(source)
        except (ValueError, TypeError) as error:
            raise DataError("ragged", "the array: its rows differ in length, or hold lists.") from error
        if array.dtype == object and array.ndim == 0:
            kind = f"{type(source).__module__}.{type(source).__name__}"
            raise DataError("format", f"expected a table, got {kind}. Pass an array, an eager data frame, or a path.")
        return Raw("the array", array=array)
    names = [str(name) for name in frame.columns]
    check_names(names, label)
    return Raw(label, arrow=_from_columns({name: frame.get_column(name) for name in frame.columns}))


def from_fields(array: np.ndarray, label: str) -> pa.Table:
    """The fields of a structured array as columns."""
    if array.ndim != 1:
        raise DataError("format", f"{label}: expected one row per record, got records of shape {array.shape}.")
    names = array.dtype.names or ()
    return pa.Table.from_arrays([as_arrow(array[name], name) for name in names], names=list(names))


def _from_dict(source: dict, label: str) -> pa.Table:
    try:
        lengths = {str(name): len(column) for name, column in source.items()}
    except TypeError as error:
        fix = "Pass an array or a list per column."
        raise DataError("format", f"{label}: expected a dict of columns, got values without a length. {fix}") from error
    words = [name for name, column in source.items() if isinstance(column, str | bytes | dict | set)]
    if words:
        raise DataError("format", f"{label}: '{words[0]}' is no column. Pass an array or a list per column.")
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"'{name}' ({length})" for name, length in list(lengths.items())[:8])
        raise DataError("ragged", f"{label}: its columns differ in length: {shown}.")
    return _from_columns(source)


def _from_columns(source: Mapping[Any, Any]) -> pa.Table:
    """Columns by name, each with what its frame says of it beyond its Arrow type."""
    arrays, fields = [], []
    for name, column in source.items():
        own = getattr(column, "to_native", lambda column=column: column)()
        sparse = str(getattr(own, "dtype", "")).startswith("Sparse")
        array = as_arrow(np.asarray(own) if sparse else column, str(name))
        held = held_by(own, name)
        if held is None and not isinstance(name, str):
            held = labelled(name)
        over_arrow = isinstance(own, pa.Array | pa.ChunkedArray) or (held is not None and held.dtype == "pyarrow")
        if pa.types.is_decimal128(array.type) and not over_arrow:
            array = array.cast(pa.decimal128(38, array.type.scale))  # objects have places, and no largest number
        arrays.append(array)
        fields.append(field_of(str(name), array, held))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _frame(source: Any) -> Any:
    """The object as an eager narwhals frame, or None if it is no data frame."""
    import narwhals as nw
    from narwhals.exceptions import NarwhalsError

    try:
        frame = nw.from_native(source, pass_through=True)
    except (NarwhalsError, ValueError) as error:
        raise DataError("names", f"the table: {' '.join(str(error).split())[:300]}") from error
    if isinstance(frame, nw.LazyFrame):
        raise DataError("format", "the table is lazy. Pass .collect() of it.")
    return frame if isinstance(frame, nw.DataFrame) else None


# What a cell of a column of Python objects may be; other objects have no meaning that their text would keep.
PLAIN = (str, bool, int, float, Decimal, dt.date, dt.time, dt.timedelta, np.bool_, np.integer, np.floating)


def as_arrow(column: Any, name: str = "") -> pa.ChunkedArray | pa.Array:
    """A column as Arrow; a mixture of numbers, words and dates as text.

    Raises:
        DataError: it is no column, or holds complex numbers or Python objects without a meaning.
    """
    if isinstance(column, np.ndarray):
        column = _native(column, name)
    try:
        array = column.to_arrow() if hasattr(column, "to_arrow") else pa.array(column, from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError, NotImplementedError):
        return _as_text(column, name)
    except BaseException as error:  # polars panics, which is no Exception, over Python objects
        if type(error).__name__ != "PanicException":
            raise
        return _as_text(column, name)
    kind = array.type.value_type if pa.types.is_dictionary(array.type) else array.type
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "pandas.interval":  # the bins of pandas.cut
        return _as_text(column, name)
    if pa.types.is_fixed_size_binary(array.type) or pa.types.is_binary(array.type):
        kinds = {type(item).__name__ for item in list(column)[:100] if not isinstance(item, bytes) and item is not None}
        if kinds:  # polars hands out the addresses of objects
            raise _no_column(name, f"Python objects ({', '.join(sorted(kinds))[:60]})")
    return array


def _native(array: np.ndarray, name: str) -> np.ndarray:
    """An array of a kind that Arrow takes."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError("format", f"the table: '{name}' has shape {array.shape}. A column has one axis: split it.")
    if isinstance(array, np.ma.MaskedArray):
        if array.dtype.kind not in "fiub":
            raise DataError("format", f"the table: '{name}' is masked and holds no numbers. Fill it first.")
        array = np.ma.filled(array.astype(np.float64), np.nan)
    if array.dtype.kind == "c":
        raise _no_column(name, "complex numbers")
    if array.dtype.kind == "f" and array.dtype.itemsize not in (4, 8):  # half and extended precision
        with np.errstate(over="ignore"):
            array = array.astype(np.float64)
    if array.dtype.kind in "Mm" and np.datetime_data(array.dtype)[0] not in ("D", "s", "ms", "us", "ns", "generic"):
        array = array.astype(f"{array.dtype.kind}8[s]")
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array)


def _as_text(column: Any, name: str) -> pa.Array:
    words = []
    for item in column:
        if item is None or type(item).__name__ in ("NAType", "NaTType") or (isinstance(item, float) and item != item):
            words.append(None)
        elif isinstance(item, PLAIN) or type(item).__name__ == "Interval":
            words.append(str(item))
        else:
            complex_ = isinstance(item, complex | np.complexfloating)
            raise _no_column(name, "complex numbers" if complex_ else f"Python objects ({type(item).__name__[:60]})")
    return pa.array(words, pa.string())


def _no_column(name: str, what: str) -> DataError:
    return DataError("non-numeric", f"the table: '{name}' holds {what}. Turn it into numbers or text, or leave it out.")
