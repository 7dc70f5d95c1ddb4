"""Tables out: the suffix chooses the format, the file appears complete or not at all, and nothing is overwritten."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from pushforward.io.files import check_file_target, write_file
from pushforward.tables.reading.shard_writing import check_shards_target, write_shards

WRITTEN = (
    ".csv, .tsv, .parquet, .arrow, .feather, .npz, .npy, a name without one for a folder of Parquet shards, or - for "
    "CSV on standard output"
)


def write_table(path: str | os.PathLike, names: Sequence[str], values: np.ndarray, *, force: bool = False) -> None:
    """Write a numeric table atomically.

    Args:
        path: see `write_arrow`.
        names: one per column.
        values: `(n, d)`; CSV holds the shortest text that reads back as the same float64.
        force: replace an existing file.

    Raises:
        ValueError: unknown suffix, or a name too many or too few.
        FileExistsError: the file exists and `force` is False.
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> from pushforward.tables import write_table
        >>> write_table("-", ["a"], [[0.5]])
        "a"
        0.5
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"write_table: expected values (n, {len(names)}), one column per name, got {values.shape}.")
    arrays = [pa.array(np.ascontiguousarray(column)) for column in values.T]
    write_arrow(path, pa.Table.from_arrays(arrays, names=list(names)), force=force)


def write_arrow(path: str | os.PathLike, table: pa.Table, *, force: bool = False) -> None:
    """Write a table of columns of any type atomically.

    Args:
        path: the suffix chooses the format: CSV, TSV, Parquet, Arrow (Feather), NPZ (`values` and `names` for numbers
            alone, else an array per column), NPY (values alone); `-` is CSV on standard output.
        table: the columns.
        force: replace an existing file.

    Raises:
        ValueError: unknown suffix, or NPY for columns that are not all numbers.
        FileExistsError: the file exists and `force` is False.
        OSError: the folder does not exist or cannot be written.
    """
    write_batches(path, [table], force=force)


def write_batches(path: str | os.PathLike, tables: Iterable[pa.Table], *, force: bool = False) -> int:
    """Write a table that comes in pieces, each as it comes; the file appears when the last one is written.

    CSV, Parquet and Arrow hold one piece in memory at a time; NPZ and NPY gather all. A path without a suffix becomes a
    folder of Parquet shards.

    Args:
        path: as for `write_arrow`; standard output gets each piece at once.
        tables: the pieces, with the same columns of the same types; one at least, which may be empty.
        force: replace an existing file.

    Returns:
        The number of rows.

    Raises:
        ValueError: as for `write_arrow`, or there is no piece at all.
        FileExistsError: the file exists and `force` is False.
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> import pyarrow as pa
        >>> from pushforward.tables.reading.writing import write_batches
        >>> write_batches("-", (pa.table({"a": [i, i + 1]}) for i in (0, 2)))
        "a"
        0
        1
        2
        3
        4
    """
    write = check_target(path, force)
    pieces = _Pieces(tables)
    if os.fspath(path) == "-":
        sys.stdout.flush()
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:  # a replaced standard output, as in a doctest or a notebook
            sink = pa.BufferOutputStream()
            write(sink, pieces)
            sys.stdout.write(sink.getvalue().to_pybytes().decode())
        else:
            write(_AtOnce(stream), pieces)
            stream.flush()
    elif is_folder(path):
        write_shards(Path(path), pieces, force)
    else:
        write_file(Path(path), lambda file: write(file, pieces), force)
    return pieces.rows


def is_folder(path: str | os.PathLike) -> bool:
    """Whether a table is written there as a folder of shards: where the name has no suffix."""
    return os.fspath(path) != "-" and Path(path).suffix == ""


class _AtOnce(io.RawIOBase):
    """A binary stream whose reader, at the other end of a pipe, gets each piece when it is written."""

    def __init__(self, stream: Any):
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        written = self._stream.write(data)
        self._stream.flush()
        return written


class _Pieces:
    """The pieces of a table, of which the first is known, and the rows that have been written."""

    def __init__(self, tables: Iterable[pa.Table]):
        self._rest = iter(tables)
        first = next(self._rest, None)
        if first is None:
            raise ValueError("write_batches: expected one table at least, got none. Pass an empty one.")
        self.first, self.rows = first, 0

    def __iter__(self) -> Iterator[pa.Table]:
        for table in chain([self.first], self._rest):
            self.rows += table.num_rows
            yield table


def check_target(path: str | os.PathLike, force: bool = False) -> Callable[[Any, _Pieces], None]:
    """Whether a table can be written there, asked before the work starts.

    Returns:
        The writer of the format.

    Raises:
        ValueError: unknown suffix.
        FileExistsError: the file exists and `force` is False.
        OSError: the folder does not exist or cannot be written.
    """
    text = os.fspath(path)
    target = Path(text)
    suffix = ".csv" if text == "-" else target.suffix.lower()
    if is_folder(text):
        check_shards_target(target, force)
        return _parquet
    if suffix not in WRITERS:
        raise ValueError(f"{text}: cannot tell the format from the suffix {suffix!r}. Use {WRITTEN}.")
    if text != "-":
        check_file_target(target, force)
    return WRITERS[suffix]


def _csv(file: Any, pieces: _Pieces, delimiter: str) -> None:
    import pyarrow.csv as pacsv

    schema = _plain(pieces.first).schema
    with pacsv.CSVWriter(file, schema, write_options=pacsv.WriteOptions(delimiter=delimiter)) as writer:
        _behind(lambda table: writer.write_table(_plain(table)), pieces)


def _behind(write: Callable[[pa.Table], None], pieces: _Pieces) -> None:
    """Write each piece in a thread of its own while the next one is made."""
    with ThreadPoolExecutor(1) as thread:
        begun: Future[None] | None = None
        for table in pieces:
            if begun is not None:
                begun.result()
            begun = thread.submit(write, table)
        if begun is not None:
            begun.result()


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries as the words that they stand for."""
    kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in table.schema.types]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def _comma(file: BinaryIO, pieces: _Pieces) -> None:
    _csv(file, pieces, ",")


def _tabs(file: BinaryIO, pieces: _Pieces) -> None:
    _csv(file, pieces, "\t")


def _parquet(file: BinaryIO, pieces: _Pieces) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(file, pieces.first.schema) as writer:
        _behind(writer.write_table, pieces)


def _arrow(file: BinaryIO, pieces: _Pieces) -> None:
    with pa.ipc.new_file(file, pieces.first.schema) as writer:
        for table in pieces:
            writer.write_table(table)


def _numbers(table: pa.Table) -> bool:
    kinds = table.schema.types
    return all(pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in kinds)


def _npz(file: BinaryIO, pieces: _Pieces) -> None:
    table = pa.concat_tables(pieces)
    if _numbers(table):
        names = np.array(table.column_names, dtype=np.str_)
        np.savez(file, values=_values(table), names=names)
        return
    columns, table = {}, _plain(table)
    for name, column in zip(table.column_names, table.columns, strict=True):
        array = np.asarray(column.to_numpy())
        columns[name] = array if array.dtype != object else np.array(["" if v is None else str(v) for v in array])
    np.savez(file, **columns)


def _npy(file: BinaryIO, pieces: _Pieces) -> None:
    table = pa.concat_tables(pieces)
    if not _numbers(table):
        raise ValueError("an NPY file holds numbers alone. Write .npz, .csv or .parquet.")
    np.save(file, _values(table), allow_pickle=False)


def _values(table: pa.Table) -> np.ndarray:
    return np.stack([np.asarray(column.to_numpy(), np.float64) for column in table.columns], axis=1)


WRITERS: dict[str, Callable[[Any, _Pieces], None]] = {
    ".csv": _comma,
    ".txt": _comma,
    ".tsv": _tabs,
    ".tab": _tabs,
    ".parquet": _parquet,
    ".pq": _parquet,
    ".arrow": _arrow,
    ".feather": _arrow,
    ".ipc": _arrow,
    ".npz": _npz,
    ".npy": _npy,
}
