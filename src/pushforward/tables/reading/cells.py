"""A table of columns of any type: what reading gives before anything is made of it."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.tables.errors import DataError
from pushforward.tables.reading.columns import listed
from pushforward.tables.reading.conventions import USUAL, Conventions
from pushforward.tables.reading.datasets import as_dataset, dataset_table, label_of_dataset
from pushforward.tables.reading.formats import DAMAGE, MAX_BYTES, Raw, damaged, is_pandas_index, read_file, too_large
from pushforward.tables.reading.names import MAX_COLUMNS, check_names, find_columns, names_for
from pushforward.tables.reading.objects import as_arrow, from_fields, from_object


@dataclass(frozen=True)
class Cells:
    """A table with columns of any type.

    Attributes:
        table: the columns as Arrow; names are all different.
        source: where it came from, for messages.
        notes: remarks for the user, such as a missing header line.
        conventions: by which it was read.
    """

    table: pa.Table
    source: str = "the table"
    notes: tuple[str, ...] = ()
    conventions: Conventions = USUAL

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, in order."""
        return tuple(self.table.column_names)

    def __len__(self) -> int:
        return self.table.num_rows

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The columns for libraries that read Arrow, such as `pyarrow.table(cells)` or `polars.from_arrow(cells)`."""
        return self.table.__arrow_c_stream__(requested_schema)

    def select(self, columns: Sequence[str]) -> Cells:
        """The columns of these names, in this order.

        Raises:
            DataError: a name is unknown, or given twice.
        """
        return replace(self, table=self.table.select(find_columns(self.names, columns, self.source)))

    def take(self, rows: np.ndarray) -> Cells:
        """The rows at these positions, or where a mask is True."""
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return replace(self, table=self.table.take(pa.array(positions)))


def read_cells(
    source: Any,
    columns: Sequence[str] | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    conventions: Conventions | None = None,
) -> Cells:
    """Read a table whose columns may be of any type.

    Args:
        source: a path (CSV, TSV, also gzipped; Parquet; Arrow or Feather; NPY or NPZ), a glob of shards such as
            `"part-*.parquet"`, a folder of them (whose folders `year=2024` make a column), a URL such as
            `"s3://bucket/rows"`, `"archive.npz::name"`, `"-"` for CSV on standard input; or an object: a NumPy array, a
            pandas or polars or PyArrow or any other eager data frame, a `pyarrow.dataset`, or a dict of columns.
        columns: the names to keep, in this order; None keeps all. A table without names (an array, a CSV file without a
            header line) of as many columns takes these as its names.
        max_bytes: limit for the table in memory; a larger one is refused before it is unpacked.
        conventions: values that mean missing, decimal commas, signs to strip; None is as everybody writes.

    Raises:
        DataError: with a stable `code`, and the column or line at fault.

    Example:
        >>> read_cells({"size": [1.5, 2.5], "colour": ["red", "blue"]}).names
        ('size', 'colour')
    """
    how = conventions or USUAL
    if isinstance(source, Cells):
        chosen = source if columns is None else source.select(columns)
        return chosen if conventions is None else _by(chosen, conventions)
    wanted = None if columns is None else [str(name) for name in columns]
    shards, total = [], 0
    for raw in read_raw(source, wanted, max_bytes, how.decimal):
        shards.append(_cells(raw, wanted))
        total += shards[-1].table.nbytes
        if total > max_bytes:
            raise too_large(f"{source}", total, max_bytes)
    return _by(shards[0] if len(shards) == 1 else _concatenate(shards, str(source)), how)


def _by(cells: Cells, conventions: Conventions) -> Cells:
    """The cells read by these conventions, once."""
    if conventions.usual or cells.conventions.model_copy(update={"columns": conventions.columns}) == conventions:
        return cells
    table, own = conventions.applied(cells.table, cells.source)
    return replace(cells, table=table, conventions=own)


def read_raw(source: Any, wanted: list[str] | None, max_bytes: int, decimal: str = ".") -> Iterator[Raw]:
    """What a source holds before any check of its content, shard by shard.

    Args:
        source: as for `read_cells`.
        wanted: columns; readers that can will read only these.
        max_bytes: limit for each shard.
        decimal: what parts a whole number from its fraction in text files.
    """
    if isinstance(source, bytes | bytearray) or (
        isinstance(source, os.PathLike) and isinstance(os.fspath(source), bytes)
    ):
        raise DataError("format", "expected a table or a path, got bytes. Decode a path with os.fsdecode.")
    dataset = as_dataset(source)
    if dataset is not None:
        try:
            table, size = dataset_table(dataset, wanted, max_bytes)
        except DAMAGE as error:
            raise damaged(f"{source}", error) from error
        if size > max_bytes:
            raise too_large(f"{source}", size, max_bytes)
        kept = [i for i, name in enumerate(table.column_names) if not is_pandas_index(name)]
        yield Raw(label_of_dataset(source), table.select(kept))
    elif isinstance(source, (str, os.PathLike)):
        for path in expand(os.fspath(source)):
            yield read_file(path, wanted, max_bytes, decimal)
    else:
        yield from_object(source)


def expand(path: str) -> list[str]:
    """The files that a path with wildcards stands for, in order.

    Raises:
        DataError: none matches.
    """
    if path == "-" or not glob.has_magic(path) or os.path.exists(path):
        return [path]
    found = sorted(glob.glob(path, recursive=True))
    if not found:
        raise DataError("not-found", f"{path}: no file matches (working folder {os.getcwd()}).")
    return found


def _cells(raw: Raw, wanted: list[str] | None) -> Cells:
    table = raw.arrow if raw.arrow is not None else _from_array(raw, wanted)
    names = list(map(str, table.column_names)) if raw.named else list(names_for(table.num_columns, wanted))
    if wanted is not None:
        table, names = table.select(find_wanted(names, wanted, raw.label)), wanted
    check_columns(names, raw.label)
    if table.num_rows == 0:
        raise DataError("empty", f"{raw.label}: there are no rows under the header {listed(names)}.")
    fields = [field.with_name(name) for field, name in zip(table.schema, names, strict=True)]
    return Cells(pa.Table.from_arrays(table.columns, schema=pa.schema(fields)), raw.label, raw.notes)


def find_wanted(names: Sequence[str], wanted: Sequence[str], source: str) -> list[int]:
    """Positions of the wanted columns.

    Raises:
        DataError: one is unknown, wanted twice, or there more than once.
    """
    positions = find_columns(names, wanted, source)
    repeated = [name for name, times in Counter(names).items() if times > 1 and name in set(wanted)]
    if repeated:
        raise DataError("names", f"{source}: several columns are called {listed(repeated)}. Rename them.")
    return positions


def check_columns(names: Sequence[str], source: str) -> None:
    """Refuse a table without columns, or with names that no model could hold.

    Raises:
        DataError: with the names at fault.
    """
    check_names(names, source)
    if not names:
        raise DataError("empty", f"{source}: there are no columns.")


def _from_array(raw: Raw, wanted: list[str] | None) -> pa.Table:
    array = raw.array if raw.array is not None else np.empty((0, 0))
    if array.ndim == 1:
        if array.dtype.names is not None:
            return from_fields(array, raw.label)
        array = array[:, None]
    if array.ndim != 2:
        raise DataError("format", f"{raw.label}: expected rows and columns, got an array of shape {array.shape}.")
    if 0 in array.shape:
        raise DataError("empty", f"{raw.label}: there are no {'rows' if array.shape[0] == 0 else 'columns'}.")
    if array.dtype.kind not in "fiubUOM":
        kinds = {"S": "bytes", "c": "complex numbers", "m": "durations"}
        what = kinds.get(array.dtype.kind, str(array.dtype)[:60])
        raise DataError("non-numeric", f"{raw.label}: the array holds {what}. Convert it to numbers or text first.")
    names = raw.names or names_for(array.shape[1], wanted)
    if len(names) > MAX_COLUMNS:  # before a column is made of each
        check_names(names, raw.label)
    return pa.Table.from_arrays([as_arrow(array[:, i], names[i]) for i in range(array.shape[1])], names=list(names))


def _concatenate(shards: list[Cells], source: str) -> Cells:
    first = shards[0]
    for shard in shards[1:]:
        if set(shard.names) != set(first.names):
            lacking = sorted(set(first.names) ^ set(shard.names))
            raise DataError("columns", f"{shard.source} and {first.source} differ in columns {listed(lacking)}.")
    tables = [shard.select(first.names).table for shard in shards]
    try:
        table = pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError("columns", f"{source}: a column has different types in different files: {reason}.") from error
    return Cells(table, source, tuple(note for shard in shards for note in shard.notes))
