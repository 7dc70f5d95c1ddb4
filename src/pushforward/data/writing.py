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
        path: the suffix chooses the format: CSV, TSV, Parquet, Arrow (Feather), NPZ (`values` and `names`), NPY
            (values alone); `-` is CSV on standard output.
        names: one per column.
        values: `(n, d)`; CSV holds the shortest text that reads back as the same float64.
        force: replace an existing file.

    Raises:
        ValueError: unknown suffix, or a name too many or too few.
        FileExistsError: the file exists and `force` is False.
        OSError: the folder does not exist or cannot be written.

    Example:
        >>> from pushforward.data import write_table
        >>> write_table("-", ["a"], [[0.5]])
        "a"
        0.5
    """
    values = np.asarray(values)
    if values.ndim != 2 or values.shape[1] != len(names):
        raise ValueError(f"write_table: expected values (n, {len(names)}), one column per name, got {values.shape}.")
    write = check_target(path, force)
    if os.fspath(path) == "-":
        sys.stdout.flush()
        stream = getattr(sys.stdout, "buffer", None)
        if stream is None:  # a replaced standard output, as in a doctest or a notebook
            sink = pa.BufferOutputStream()
            _csv(sink, names, values, ",")
            sys.stdout.write(sink.getvalue().to_pybytes().decode())
        else:
            write(stream, names, values)
            stream.flush()
        return
    write_file(Path(path), lambda file: write(file, names, values), force)


def check_target(path: str | os.PathLike, force: bool = False) -> Callable[[Any, Sequence[str], np.ndarray], None]:
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


def _arrow_table(names: Sequence[str], values: np.ndarray) -> pa.Table:
    return pa.Table.from_arrays([pa.array(np.ascontiguousarray(column)) for column in values.T], names=list(names))


def _csv(file: Any, names: Sequence[str], values: np.ndarray, delimiter: str) -> None:
    import pyarrow.csv as pacsv

    pacsv.write_csv(_arrow_table(names, values), file, pacsv.WriteOptions(delimiter=delimiter))


def _comma(file: BinaryIO, names: Sequence[str], values: np.ndarray) -> None:
    _csv(file, names, values, ",")


def _tabs(file: BinaryIO, names: Sequence[str], values: np.ndarray) -> None:
    _csv(file, names, values, "\t")


def _parquet(file: BinaryIO, names: Sequence[str], values: np.ndarray) -> None:
    import pyarrow.parquet as pq

    pq.write_table(_arrow_table(names, values), file)


def _arrow(file: BinaryIO, names: Sequence[str], values: np.ndarray) -> None:
    table = _arrow_table(names, values)
    with pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _npz(file: BinaryIO, names: Sequence[str], values: np.ndarray) -> None:
    np.savez(file, values=values, names=np.array(list(names), dtype=np.str_))


def _npy(file: BinaryIO, names: Sequence[str], values: np.ndarray) -> None:
    np.save(file, values, allow_pickle=False)


WRITERS: dict[str, Callable[[Any, Sequence[str], np.ndarray], None]] = {
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
