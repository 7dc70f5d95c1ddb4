"""Files whose rows have not been read yet: their columns are known, and their rows come batch by batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import expand
from pushforward.tables.reading.csv_reader import open_csv
from pushforward.tables.reading.datasets import as_dataset, fragments_of
from pushforward.tables.reading.formats import DAMAGE, check_header, damaged, is_gzipped, is_pandas_index, kind_of
from pushforward.tables.reading.names import names_for
from pushforward.tables.reading.objects import as_arrow
from pushforward.tables.reading.stored_arrays import names_in_archive, stored_arrays, stored_rows

# Rows of a batch: large enough that the work on a batch outweighs its overhead, and some megabytes of a usual table.
BATCH_ROWS = 65_536
# How many times the bytes of a packed text file its text has, about.
PACKED = 4


@dataclass(frozen=True)
class Opened:
    """A file whose batches have not been read yet.

    Args:
        label: the name for messages.
        schema: of every batch.
        batches: reads them, each time from the first one.
        rows: how many there are, where the file says so.
        notes: remarks for the user.
        parts: its row groups, where these can be read one by one.
        bytes: its size on the disk, where the number of its rows is not known.
    """

    label: str
    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch | pa.Table]]
    rows: int | None = None
    notes: tuple[str, ...] = ()
    parts: tuple[Opened, ...] = ()
    bytes: int = 0


def open_all(source: Any, wanted: list[str] | None, cheap: bool = False, decimal: str = ".") -> list[Opened] | None:
    """The files of a source, or None if one has to be read as a whole.

    Args:
        source: As for `read_cells`.
        wanted: Names of the columns that are to be read; None reads all.
        cheap: Whether files whose columns are only known after reading them through are not opened.
        decimal: Mark before the fraction of a number in text files.
    """
    dataset = as_dataset(source)
    if dataset is not None:
        return open_dataset(dataset, wanted)
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
        if kind == "npy":
            return _open_npy(path, label, wanted)
        if kind == "npz":
            return _open_npz(path, label, wanted)
        if kind == "csv" and not cheap:
            packed = is_gzipped(path, label)
            suffix = (path.with_suffix("") if packed else path).suffix.lower()
            found = open_csv(path, label, tabs=suffix in (".tsv", ".tab"), decimal=decimal)
            # A file without a header line takes the names wanted, which `read_cells` gives it.
            if found is not None and not found.notes:
                size = path.stat().st_size * (PACKED if packed else 1)
                return Opened(label, found.schema, lambda: _guarded(found.batches(), label), bytes=size)
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
        groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    if len(set(schema.names)) < len(schema.names):
        return None
    names = [name for name in schema.names if not is_pandas_index(name)]
    if wanted is not None and set(wanted) <= set(names):
        names = [name for name in names if name in set(wanted)]

    def batches(groups: list[int] | None = None) -> Iterator[pa.RecordBatch]:
        with pq.ParquetFile(path, **limits) as file:
            yield from file.iter_batches(batch_size=BATCH_ROWS, columns=names, row_groups=groups)

    def part(i: int) -> Opened:
        return Opened(label, kept, lambda: _guarded(batches([i]), label), groups[i])

    kept = pa.schema([schema.field(name) for name in names])
    parts = tuple(part(i) for i in range(len(groups)) if groups[i])
    return Opened(label, kept, lambda: _guarded(batches(), label), rows, parts=parts)


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

    kept = pa.schema([schema.field(name) for name in names])
    return Opened(label, kept, lambda: _guarded(batches(), label), bytes=path.stat().st_size)


def _open_npy(path: Path, label: str, wanted: list[str] | None) -> Opened | None:
    with path.open("rb") as file:
        check_header(file, label, path.stat().st_size, path.stat().st_size)
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.ndim != 2 or array.dtype.kind not in "fiub" or not array.size:
        return None
    names = list(names_for(array.shape[1], wanted))
    kept = pa.schema([(name, pa.from_numpy_dtype(array.dtype)) for name in names])

    def batches() -> Iterator[pa.Table]:
        for start in range(0, len(array), BATCH_ROWS):
            part = np.ascontiguousarray(array[start : start + BATCH_ROWS].T)
            yield pa.Table.from_arrays(
                [as_arrow(column, name) for column, name in zip(part, names, strict=True)], names
            )

    return Opened(label, kept, lambda: _guarded(batches(), label), len(array))


def _open_npz(path: Path, label: str, wanted: list[str] | None) -> Opened | None:
    """An archive of one table of numbers in the order of its rows, or of columns; None for one of another form."""
    found = stored_arrays(path, label)
    tables = [each for each in found if len(each.shape) == 2 and each.dtype.kind in "fiub"]
    columns = [each for each in found if len(each.shape) == 1 and each.dtype.kind in "fiub"]
    if len(tables) == 1 and not tables[0].columns_first and len(found) <= 2:
        names = names_in_archive(path, label) if len(found) == 2 else names_for(tables[0].shape[1], wanted)
        held = tables
        if len(names) != tables[0].shape[1]:
            return None
    elif found and len(columns) == len(found) and len({each.shape for each in found}) == 1:
        names, held = [each.name for each in found], columns
    else:
        return None
    n = held[0].shape[0]
    if not n or not names:
        return None
    kinds = [pa.from_numpy_dtype(each.dtype) for each in held for _ in range(len(names) // len(held))]

    def batches() -> Iterator[pa.Table]:
        for parts in zip(*(stored_rows(path, each, BATCH_ROWS) for each in held), strict=True):
            own = [np.ascontiguousarray(row) for part in parts for row in np.atleast_2d(part.T)]
            yield pa.Table.from_arrays(
                [as_arrow(column, name) for column, name in zip(own, names, strict=True)], list(names)
            )

    kept = pa.schema(list(zip(names, kinds, strict=True)))
    return Opened(label, kept, lambda: _guarded(batches(), label), n)


def _guarded(batches: Iterator[Any], label: str) -> Iterator[Any]:
    """The same batches; what the parsers raise on damaged bytes becomes a coded error."""
    try:
        yield from batches
    except DataError:
        raise
    except DAMAGE as error:
        raise damaged(label, error) from error


def open_dataset(dataset: Any, wanted: list[str] | None) -> list[Opened]:
    """The files of a `pyarrow.dataset.Dataset`, the columns that its folders name among their own.

    Args:
        dataset: The dataset.
        wanted: Names of the columns that are to be read; None reads all.
    """
    names = [name for name in dataset.schema.names if not is_pandas_index(name)]
    if wanted is not None and set(wanted) <= set(names):
        names = [name for name in names if name in set(wanted)]
    kept = pa.schema([dataset.schema.field(name) for name in names])

    def opened(label: str, fragment: Any, rows: int | None, parts: tuple[Opened, ...] = ()) -> Opened:
        def batches() -> Iterator[pa.RecordBatch]:
            # One batch ahead: the default holds many, whatever their size.
            yield from fragment.to_batches(
                schema=dataset.schema, columns=names, batch_size=BATCH_ROWS, batch_readahead=1, fragment_readahead=1
            )

        return Opened(label, kept, lambda: _guarded(batches(), label), rows, parts=parts)

    files = []
    for fragment in fragments_of(dataset):
        parts = tuple(opened(fragment.label, group, rows) for group, rows in fragment.groups if rows)
        rows = sum(rows for _, rows in fragment.groups) if fragment.groups else None
        files.append(opened(fragment.label, fragment.fragment, rows, parts))
    return files
