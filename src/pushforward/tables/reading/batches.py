"""Tables larger than memory: the cells of a source batch by batch, as `read_cells` would have read them whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells, check_columns, find_wanted, read_cells
from pushforward.tables.reading.columns import listed
from pushforward.tables.reading.conventions import USUAL, Conventions
from pushforward.tables.reading.datasets import label_of_dataset
from pushforward.tables.reading.formats import MAX_BYTES
from pushforward.tables.reading.opened import BATCH_ROWS, Opened, open_all


def iterate_cells(
    source: Any,
    batch_rows: int = BATCH_ROWS,
    columns: Sequence[str] | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    conventions: Conventions | None = None,
) -> Iterator[Cells]:
    """Read a table batch by batch; together the batches are what `read_cells` gives.

    Parquet, Arrow, NPY, NPZ and CSV files, also packed by gzip, are never held in memory as a whole; anything else
    is read once and handed out in pieces. Every batch has the same columns of the same types.

    Args:
        source: as for `read_cells`.
        batch_rows: rows of every batch but the last, which may have fewer.
        columns: the names to keep, in this order; None keeps all.
        max_bytes: limit for one batch, and for a table that is read as a whole.
        conventions: as for `read_cells`; those of a fitted model say which columns of text are numbers, without which
            each batch decides for itself.

    Raises:
        DataError: as `read_cells` does; damage further down in a file is found when its batch is read.

    Example:
        >>> [len(batch) for batch in iterate_cells({"size": [1.5, 2.5, 3.5]}, batch_rows=2)]
        [2, 1]
    """
    if batch_rows < 1:
        raise ValueError(f"iterate_cells: expected batch_rows >= 1, got {batch_rows}.")
    wanted = None if columns is None else [str(name) for name in columns]
    how = conventions or USUAL
    files = open_all(source, wanted, decimal=how.decimal)
    if files is None:
        yield from _pieces(read_cells(source, columns, max_bytes=max_bytes, conventions=conventions), batch_rows)
        return
    names, schema = common_schema(files, wanted, f"{source}")
    label, notes = label_of(files, source), tuple(n for f in files for n in f.notes)
    found = False
    for table in of_size(conformed(files, names, schema), batch_rows):
        found = True
        yield read_cells(Cells(table, label, notes), conventions=how)
    if not found:
        raise DataError("empty", f"{label}: there are no rows under the header {listed(names)}.")


class Apart(NamedTuple):
    """A table whose columns can be read one by one.

    Attributes:
        names: Of its columns.
        rows: Number of its rows.
        label: Its name for messages.
    """

    names: list[str]
    rows: int
    label: str


def columns_apart(source: Any, columns: Sequence[str] | None) -> Apart | None:
    """What is known of a table whose columns can be read apart, as those of Parquet files; None for others.

    Args:
        source: As for `read_cells`.
        columns: The names to keep, in this order; None keeps all.
    """
    wanted = None if columns is None else [str(name) for name in columns]
    files = open_all(source, wanted, cheap=True)
    rows = None if files is None else count_rows(source)
    if not files or not rows or any(file.rows is None for file in files):
        return None
    return Apart(common_schema(files, wanted, f"{source}")[0], rows, label_of(files, source))


def column_batches(source: Any, name: str) -> Iterator[pa.Array]:
    """The cells of one column, batch by batch.

    Args:
        source: A table for which `columns_apart` gives names.
        name: Of the column.
    """
    files = open_all(source, [name], cheap=True) or []
    schema = common_schema(files, [name], f"{source}")[1]
    for table in conformed(files, [name], schema):
        yield from table.column(0).chunks


def count_rows(source: Any) -> int | None:
    """The number of rows of a source where it is known without reading it through, else None; for progress."""
    files = open_all(source, None, cheap=True)
    if files is None:
        return len(source) if isinstance(source, Cells) else None
    rows = [file.rows for file in files]
    return None if None in rows else sum(row for row in rows if row is not None)


def label_of(files: list[Opened], source: Any) -> str:
    """The name of a source for messages."""
    return files[0].label if len(files) == 1 else label_of_dataset(source)


def common_schema(files: list[Opened], wanted: list[str] | None, source: str) -> tuple[list[str], pa.Schema]:
    """The names of all batches, and the one schema that holds the columns of every file."""
    first = [str(name) for name in files[0].schema.names]
    for file in files:
        lacking = sorted(set(first) ^ set(file.schema.names))
        if lacking and wanted is None:
            raise DataError("columns", f"{file.label} and {files[0].label} differ in columns {listed(lacking)}.")
        if wanted is not None:
            find_wanted(file.schema.names, wanted, file.label)
    names = first if wanted is None else wanted
    check_columns(names, files[0].label)
    own = [pa.schema([file.schema.field(name) for name in names]) for file in files]
    try:
        return names, pa.unify_schemas(own, promote_options="permissive").remove_metadata()
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError("columns", f"{source}: a column has different types in different files: {reason}.") from error


def conformed(files: Iterable[Opened], names: list[str], schema: pa.Schema) -> Iterator[pa.Table]:
    """The rows of some files in tables of one schema; arguments as `common_schema` gives them."""
    for file in files:
        for batch in file.batches():
            table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            table = table.select(names).replace_schema_metadata(None)
            yield table if table.schema == schema else table.cast(schema)


def of_size(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of so many rows, the last one of what is left."""
    held: list[pa.Table] = []
    count = 0
    for table in tables:
        while count + table.num_rows >= rows:
            part = table.slice(0, rows - count)
            yield pa.concat_tables([*held, part])
            table, held, count = table.slice(rows - count), [], 0
        if table.num_rows:
            held.append(table)
            count += table.num_rows
    if held:
        yield pa.concat_tables(held)


def _pieces(cells: Cells, rows: int) -> Iterator[Cells]:
    for start in range(0, len(cells), rows):
        yield replace(cells, table=cells.table.slice(start, rows))
