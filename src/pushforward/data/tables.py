"""One way in for every table: files, shards, standard input and objects become names and a float64 matrix."""

from __future__ import annotations

import datetime as dt
import difflib
import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.data.columns import arrow_column, listed, numpy_columns
from pushforward.data.csv_reader import long_integers
from pushforward.data.errors import DataCode, DataError
from pushforward.data.formats import MAX_BYTES, Raw, read_file, too_large

# The model folder's schema holds names to the same bounds (io/schema.py).
MAX_COLUMNS = 16384
MAX_NAME = 256


@dataclass(frozen=True)
class Table:
    """A numeric table.

    Attributes:
        names: the columns, in order, all different.
        values: `(n, d)` float64, finite.
        source: where it came from, for messages.
        notes: remarks for the user, such as a missing header line.
    """

    names: tuple[str, ...]
    values: np.ndarray
    source: str = "the table"
    notes: tuple[str, ...] = ()

    def select(self, columns: Sequence[str]) -> Table:
        """The columns of these names, in this order.

        Raises:
            DataError: a name is unknown, or given twice.
        """
        positions = find_columns(self.names, columns, self.source)
        values = np.ascontiguousarray(self.values[:, positions])
        return Table(tuple(columns), values, self.source, self.notes)


def read_table(source: Any, columns: Sequence[str] | None = None, *, max_bytes: int = MAX_BYTES) -> Table:
    """Read a numeric table.

    Args:
        source: a path (CSV, TSV, also gzipped; Parquet; Arrow or Feather; NPY or NPZ), a glob of shards such as
            `"part-*.parquet"`, `"archive.npz::name"`, `"-"` for CSV on standard input; or an object: a NumPy array, a
            pandas or polars or PyArrow or any other eager data frame, or a dict of columns.
        columns: the names to keep, in this order; None keeps all. A table without names (an array, a CSV file without a
            header line) of as many columns takes these as its names.
        max_bytes: limit for the table in memory; a larger one is refused before it is unpacked.

    Returns:
        The table. Columns of booleans become 0 and 1. Arrays without names get `x0`, `x1`, ...

    Raises:
        DataError: with a stable `code`, and the column or line at fault.

    Example:
        >>> import numpy as np
        >>> from pushforward.data import read_table
        >>> read_table({"a": [1, 2], "b": [0.5, 0.25]}, columns=["b"]).values.tolist()
        [[0.5], [0.25]]
    """
    wanted = None if columns is None else [str(name) for name in columns]
    shards, total = [], 0
    for raw in read_raw(source, wanted, max_bytes):
        shards.append(_to_table(raw, wanted))
        total += shards[-1].values.nbytes
        if total > max_bytes:
            raise too_large(f"{source}", total, max_bytes)
    return shards[0] if len(shards) == 1 else _concatenate(shards, str(source))


def read_raw(source: Any, wanted: list[str] | None, max_bytes: int) -> Iterator[Raw]:
    """What a source holds before any check of its content, shard by shard.

    Args:
        source: as for `read_table`.
        wanted: columns; readers that can will read only these.
        max_bytes: limit for each shard.
    """
    if isinstance(source, bytes | bytearray) or (
        isinstance(source, os.PathLike) and isinstance(os.fspath(source), bytes)
    ):
        raise DataError("format", "expected a table or a path, got bytes. Decode a path with os.fsdecode.")
    if isinstance(source, (str, os.PathLike)):
        for path in _expand(os.fspath(source)):
            yield read_file(path, wanted, max_bytes)
    else:
        yield from_object(source)


def find_columns(names: Sequence[str], wanted: Sequence[str], source: str) -> list[int]:
    """Positions of the wanted names.

    Raises:
        DataError: one is unknown (with the nearest name) or wanted twice, or none is wanted.
    """
    if not wanted:
        raise DataError("columns", f"{source}: no columns were chosen. It has {listed(names)}.")
    twice = [name for name, times in Counter(wanted).items() if times > 1]
    if twice:
        raise DataError("columns", f"{source}: {listed(twice)} chosen more than once. Name each column once.")
    places = {name: place for place, name in reversed(list(enumerate(names)))}
    unknown = [name for name in wanted if name not in places]
    if unknown:
        near = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise DataError("columns", f"{source}: no column {listed(unknown)}.{hint} It has {listed(names)}.")
    return [places[name] for name in wanted]


def check_names(names: Sequence[str], source: str) -> None:
    """Refuse names that are empty, repeated, very long, or hold control characters.

    Raises:
        DataError: with the names at fault.
    """
    if len(names) > MAX_COLUMNS:
        raise DataError("too-large", f"{source}: {len(names)} columns; at most {MAX_COLUMNS} are modelled together.")
    blank = [i + 1 for i, name in enumerate(names) if not name.strip()]
    if blank:
        raise DataError(
            "names",
            f"{source}: column number {', '.join(map(str, blank[:8]))} has no name (a row index written along?). "
            "Choose the columns by name with --columns (columns= in Python).",
        )
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise DataError("names", f"{source}: several columns are called {listed(twice)}. Give each its own name.")
    odd = [name[:40] for name in names if len(name) > MAX_NAME or not name.isprintable()]
    if odd:
        raise DataError(
            "names", f"{source}: {listed(odd)}: longer than {MAX_NAME} characters, or with control characters. Rename."
        )


def _expand(path: str) -> list[str]:
    if path == "-" or not glob.has_magic(path) or os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise DataError("not-found", f"{path}: no file matches (working folder {os.getcwd()}).")
    return found


def _concatenate(shards: list[Table], source: str) -> Table:
    first = shards[0]
    for shard in shards[1:]:
        if set(shard.names) != set(first.names):
            lacking = sorted(set(first.names) ^ set(shard.names))
            raise DataError("columns", f"{shard.source} and {first.source} differ in columns {listed(lacking)}.")
    values = np.concatenate([shard.select(first.names).values for shard in shards])
    notes = tuple(note for shard in shards for note in shard.notes)
    return Table(first.names, values, source, notes)


def from_object(source: Any) -> Raw:
    """What an object in memory holds: an array, a data frame of any kind, a dict of columns."""
    label = "the table"
    if isinstance(source, Table):
        return Raw(source.source, names=source.names, array=source.values, notes=source.notes)
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
    arrays = [as_arrow(frame.get_column(name), str(name)) for name in frame.columns]
    return Raw(label, arrow=pa.Table.from_arrays(arrays, names=names))


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
    arrays = [as_arrow(column, str(name)) for name, column in source.items()]
    return pa.Table.from_arrays(arrays, names=[str(name) for name in source])


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
        elif isinstance(item, PLAIN):
            words.append(str(item))
        else:
            complex_ = isinstance(item, complex | np.complexfloating)
            raise _no_column(name, "complex numbers" if complex_ else f"Python objects ({type(item).__name__[:60]})")
    return pa.array(words, pa.string())


def _no_column(name: str, what: str) -> DataError:
    return DataError("non-numeric", f"the table: '{name}' holds {what}. Turn it into numbers or text, or leave it out.")


def _to_table(raw: Raw, wanted: list[str] | None) -> Table:
    if raw.arrow is not None:
        return _arrow_table(raw, raw.arrow, wanted)
    array = raw.array if raw.array is not None else np.empty((0, 0))
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2:
        raise DataError("format", f"{raw.label}: expected rows and columns, got an array of shape {array.shape}.")
    if array.shape[0] == 0 or array.shape[1] == 0:
        raise DataError("empty", f"{raw.label}: there are no {'rows' if array.shape[0] == 0 else 'columns'}.")
    names = raw.names or names_for(array.shape[1], wanted)
    check_names(names, raw.label)
    if wanted is not None:
        array = array[:, find_columns(names, wanted, raw.label)]
        names = tuple(wanted)
    values = numpy_columns(array, names, raw.label)
    _check_finite(values, names, raw.label)
    return Table(tuple(names), values, raw.label, raw.notes)


def _arrow_table(raw: Raw, table: pa.Table, wanted: list[str] | None) -> Table:
    names = [str(name) for name in table.column_names] if raw.named else list(names_for(table.num_columns, wanted))
    if wanted is not None:
        positions = find_columns(names, wanted, raw.label)
        times = Counter(names)
        repeated = [name for name in wanted if times[name] > 1]
        if repeated:
            raise DataError("names", f"{raw.label}: several columns are called {listed(repeated)}. Rename them.")
        table, names = table.select(positions), wanted
    check_names(names, raw.label)
    if not names:
        raise DataError("empty", f"{raw.label}: there are no columns.")
    if table.num_rows == 0:
        raise DataError("empty", f"{raw.label}: there are no rows under the header {listed(names)}.")
    values = np.empty((table.num_rows, len(names)))
    refused: dict[str, str] = {}
    too_long = []
    for i, name in enumerate(names):
        column = arrow_column(table.column(i))
        if isinstance(column, str):
            refused[name] = column
        elif column is None:
            too_long.append(name)
        else:
            values[:, i] = column
    if refused:
        raise _non_numeric(raw.label, names, refused, wanted is not None)
    if too_long:
        raise long_integers(raw.label, too_long)
    _check_finite(values, names, raw.label)
    return Table(tuple(names), values, raw.label, raw.notes)


def names_for(count: int, wanted: list[str] | None) -> tuple[str, ...]:
    """Names for a table that has none."""
    own = tuple(f"x{i}" for i in range(count))
    return tuple(wanted) if wanted is not None and len(wanted) == count and not set(wanted) <= set(own) else own


def _non_numeric(label: str, names: Sequence[str], refused: dict[str, str], chosen: bool) -> DataError:
    what = "; ".join(f"'{name}' holds {kind}" for name, kind in list(refused.items())[:5])
    more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
    numeric = [name for name in names if name not in refused]
    if chosen:
        fix = "Leave them out of the columns chosen, or mend the values."
    elif 0 < len(numeric) <= 30:
        fix = f"Choose the numeric ones: --columns {','.join(numeric)} (columns= in Python), or mend the values."
    elif numeric:
        fix = "Choose numeric columns with --columns (columns= in Python), or mend the values."
    else:
        fix = "No column is numeric: encode some as numbers first."
    return DataError("non-numeric", f"{label}: only numbers are modelled, but {what}{more}. {fix}")


def _check_finite(values: np.ndarray, names: Sequence[str], label: str) -> None:
    kinds: tuple[tuple[DataCode, np.ndarray, str], ...] = (
        ("missing", np.isnan(values), "Drop those rows, fill them in,"),
        ("infinite", np.isinf(values), "Drop those rows,"),
    )
    for code, bad, fix in kinds:
        counts = bad.sum(axis=0)
        if counts.any():
            rows = int(bad.any(axis=1).sum())
            each = [f"'{name}' ({count})" for name, count in zip(names, counts, strict=True) if count]
            shown = ", ".join(each[:8]) + (f" and {len(each) - 8} more columns" if len(each) > 8 else "")
            first = int(bad.any(axis=1).argmax()) + 1
            raise DataError(
                code,
                f"{label}: {code} values in {shown}: {rows} of {len(values)} rows, the first is row {first}. "
                f"{fix} or leave the column out with --columns (columns= in Python).",
            )
