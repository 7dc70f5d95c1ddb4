"""Tables larger than memory: the cells of a source batch by batch, as `read_cells` would have read them whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells, check_columns, expand, find_wanted, read_cells
from pushforward.tables.reading.columns import listed
from pushforward.tables.reading.conventions import USUAL, Conventions
from pushforward.tables.reading.csv_reader import open_csv
from pushforward.tables.reading.formats import DAMAGE, MAX_BYTES, damaged, is_gzipped, is_pandas_index, kind_of

# Rows of a batch: large enough that the work on a batch outweighs its overhead, and some megabytes of a usual table.
BATCH_ROWS = 65_536


@dataclass(frozen=True)
class Opened:
    """A file whose batches have not been read yet.

    Args:
        label: the name for messages.
        schema: of every batch.
        batches: reads them, each time from the first one.
        rows: how many there are, where the file says so.
        notes: remarks for the user.
    """

    label: str
    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch | pa.Table]]
    rows: int | None = None
    notes: tuple[str, ...] = ()


def iterate_cells(
    source: Any,
    batch_rows: int = BATCH_ROWS,
    columns: Sequence[str] | None = None,
    *,
    max_bytes: int = MAX_BYTES,
    conventions: Conventions | None = None,
) -> Iterator[Cells]:
    """Read a table batch by batch; together the batches are what `read_cells` gives.

    Parquet, Arrow and CSV files that are not compressed as a whole are never held in memory as a whole; anything else
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
    files = _open_all(source, wanted, decimal=how.decimal)
    if files is None:
        yield from _pieces(read_cells(source, columns, max_bytes=max_bytes, conventions=conventions), batch_rows)
        return
    names, schema = _common(files, wanted, f"{source}")
    label, notes = (files[0].label if len(files) == 1 else f"{source}"), tuple(n for f in files for n in f.notes)
    found = False
    for table in _of_size(_conformed(files, names, schema), batch_rows):
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
    files = _open_all(source, wanted, cheap=True)
    rows = None if files is None else count_rows(source)
    if not files or not rows or any(file.rows is None for file in files):
        return None
    label = files[0].label if len(files) == 1 else f"{source}"
    return Apart(_common(files, wanted, f"{source}")[0], rows, label)


def column_batches(source: Any, name: str) -> Iterator[pa.Array]:
    """The cells of one column, batch by batch.

    Args:
        source: A table for which `columns_apart` gives names.
        name: Of the column.
    """
    files = _open_all(source, [name], cheap=True) or []
    schema = _common(files, [name], f"{source}")[1]
    for table in _conformed(files, [name], schema):
        yield from table.column(0).chunks


def count_rows(source: Any) -> int | None:
    """The number of rows of a source where it is known without reading it through, else None; for progress."""
    files = _open_all(source, None, cheap=True)
    if files is None:
        return len(source) if isinstance(source, Cells) else None
    rows = [file.rows for file in files]
    return None if None in rows else sum(row for row in rows if row is not None)


def _open_all(source: Any, wanted: list[str] | None, cheap: bool = False, decimal: str = ".") -> list[Opened] | None:
    """The files of a source, or None if one has to be read as a whole."""
    if isinstance(source, bytes) or not isinstance(source, str | os.PathLike):
        return None
    if isinstance(os.fspath(source), bytes):
        return None
    opened = []
    for path in expand(str(os.fspath(source))):
        file = None if path == "-" or "::" in path else _open(Path(path), wanted, cheap, decimal)
        if file is None:
            return None
        opened.append(file)
    return opened


def _open(path: Path, wanted: list[str] | None, cheap: bool, decimal: str) -> Opened | None:
    label = path.name
    kind = kind_of(path, label)
    try:
        if kind == "parquet":
            return _open_parquet(path, label, wanted)
        if kind == "arrow":
            return _open_arrow(path, label)
        if kind == "csv" and not cheap and not is_gzipped(path, label):
            found = open_csv(path, label, tabs=path.suffix.lower() in (".tsv", ".tab"), decimal=decimal)
            # A file without a header line takes the names wanted, which `read_cells` gives it.
            if found is not None and not found.notes:
                return Opened(label, found.schema, lambda: _guarded(found.batches(), label))
    except DataError:
        raise
    except DAMAGE as error:
        raise damaged(label, error) from error
    return None


def _open_parquet(path: Path, label: str, wanted: list[str] | None) -> Opened | None:
    import pyarrow.parquet as pq

    limits: dict[str, Any] = {"thrift_string_size_limit": 2**27, "thrift_container_size_limit": 2**24}
    with pq.ParquetFile(path, **limits) as file:
        schema, rows = file.schema_arrow, file.metadata.num_rows
    if len(set(schema.names)) < len(schema.names):
        return None
    names = [name for name in schema.names if not is_pandas_index(name)]
    if wanted is not None and set(wanted) <= set(names):
        names = [name for name in names if name in set(wanted)]

    def batches() -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path, **limits) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=names)

    kept = pa.schema([schema.field(name) for name in names])
    return Opened(label, kept, lambda: _guarded(batches(), label), rows)


def _open_arrow(path: Path, label: str) -> Opened | None:
    with pa.OSFile(str(path)) as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith(b"FEA1"):
            return None
        in_file = start == b"ARROW1"
        schema = (pa.ipc.open_file(file) if in_file else pa.ipc.open_stream(file)).schema
    if len(set(schema.names)) < len(schema.names):
        return None
    names = [name for name in schema.names if not is_pandas_index(name)]

    def batches() -> Iterator[pa.RecordBatch]:
        with pa.OSFile(str(path)) as file:
            reader: Any = pa.ipc.open_file(file) if in_file else pa.ipc.open_stream(file)
            found = (reader.get_batch(i) for i in range(reader.num_record_batches)) if in_file else reader
            for batch in found:
                batch.validate(full=True)
                yield batch.select(names)

    return Opened(label, pa.schema([schema.field(name) for name in names]), lambda: _guarded(batches(), label))


def _guarded(batches: Iterator[Any], label: str) -> Iterator[Any]:
    """The same batches; what the parsers raise on damaged bytes becomes a coded error."""
    try:
        yield from batches
    except DataError:
        raise
    except DAMAGE as error:
        raise damaged(label, error) from error


def _common(files: list[Opened], wanted: list[str] | None, source: str) -> tuple[list[str], pa.Schema]:
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


def _conformed(files: list[Opened], names: list[str], schema: pa.Schema) -> Iterator[pa.Table]:
    for file in files:
        for batch in file.batches():
            table = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
            table = table.select(names).replace_schema_metadata(None)
            yield table if table.schema == schema else table.cast(schema)


def _of_size(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
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
