"""Tables out: the suffix chooses the format, the file appears complete or not at all, and nothing is overwritten."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from pushforward.io.files import check_file_target, write_file

WRITTEN = ".csv, .tsv, .parquet, .arrow, .feather, .npz, .npy, or - for CSV on standard output"


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
    write = check_target(path, force)
    if os.fspath(path) == "-":
        sys.stdout.flush()
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:  # a replaced standard output, as in a doctest or a notebook
            sink = pa.BufferOutputStream()
            _csv(sink, table, ",")
            sys.stdout.write(sink.getvalue().to_pybytes().decode())
        else:
            write(stream, table)
            stream.flush()
        return
    write_file(Path(path), lambda file: write(file, table), force)


def check_target(path: str | os.PathLike, force: bool = False) -> Callable[[Any, pa.Table], None]:
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
    if suffix not in WRITERS:
        raise ValueError(f"{text}: cannot tell the format from the suffix {suffix!r}. Use {WRITTEN}.")
    if text != "-":
        check_file_target(target, force)
    return WRITERS[suffix]


def _csv(file: Any, table: pa.Table, delimiter: str) -> None:
    import pyarrow.csv as pacsv

    pacsv.write_csv(_plain(table), file, pacsv.WriteOptions(delimiter=delimiter))


def _plain(table: pa.Table) -> pa.Table:
    """The table with dictionaries as the words that they stand for."""
    kinds = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in table.schema.types]
    return table.cast(pa.schema(list(zip(table.column_names, kinds, strict=True))))


def _comma(file: BinaryIO, table: pa.Table) -> None:
    _csv(file, table, ",")


def _tabs(file: BinaryIO, table: pa.Table) -> None:
    _csv(file, table, "\t")


def _parquet(file: BinaryIO, table: pa.Table) -> None:
    import pyarrow.parquet as pq

    pq.write_table(table, file)


def _arrow(file: BinaryIO, table: pa.Table) -> None:
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _numbers(table: pa.Table) -> bool:
    kinds = table.schema.types
    return all(pa.types.is_floating(kind) or pa.types.is_integer(kind) for kind in kinds)


def _npz(file: BinaryIO, table: pa.Table) -> None:
    if _numbers(table):
        names = np.array(table.column_names, dtype=np.str_)
        np.savez(file, values=_values(table), names=names)
        return
    columns, table = {}, _plain(table)
    for name, column in zip(table.column_names, table.columns, strict=True):
        array = np.asarray(column.to_numpy())
        columns[name] = array if array.dtype != object else np.array(["" if v is None else str(v) for v in array])
    np.savez(file, **columns)


def _npy(file: BinaryIO, table: pa.Table) -> None:
    if not _numbers(table):
        raise ValueError("an NPY file holds numbers alone. Write .npz, .csv or .parquet.")
    np.save(file, _values(table), allow_pickle=False)


def _values(table: pa.Table) -> np.ndarray:
    return np.stack([np.asarray(column.to_numpy(), np.float64) for column in table.columns], axis=1)


WRITERS: dict[str, Callable[[Any, pa.Table], None]] = {
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
