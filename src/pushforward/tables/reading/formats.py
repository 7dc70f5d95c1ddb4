"""Readers of table files: bytes on disk to an Arrow table or a NumPy array, with bounded memory and no code execution.

The content decides the format; the suffix only names what is expected. Sizes are checked before and while reading.
"""

from __future__ import annotations

import os
import stat
import struct
import sys
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from pushforward.tables.errors import DataError
from pushforward.tables.reading.csv_reader import read_csv

GIB = 2**30
# A table is held in memory as float64: 8 GiB is 1e9 numbers. Larger ones are asked for by max_bytes=.
MAX_BYTES = 8 * GIB
PIECE = 2**24
KNOWN = "CSV (.csv, .tsv, .txt, also .gz), Parquet (.parquet), Arrow (.arrow, .feather) and NumPy (.npy, .npz)"
SUFFIXES = {
    ".csv": "csv",
    ".tsv": "csv",
    ".tab": "csv",
    ".txt": "csv",
    ".gz": "csv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".arrow": "arrow",
    ".feather": "arrow",
    ".ipc": "arrow",
    ".npy": "npy",
    ".npz": "npz",
}
REFUSED = {
    ".pkl": "pickle files can run code and are never read",
    ".pickle": "pickle files can run code and are never read",
    ".joblib": "joblib files can run code and are never read",
    ".pt": "torch files can run code and are never read",
    ".xlsx": "spreadsheets are not read",
    ".xls": "spreadsheets are not read",
}
# What the parsers raise on damaged bytes (found by fuzzing, tests/data/test_fuzz.py): NumPy reads the header of an NPY
# file as a Python literal, zipfile refuses encryption with RuntimeError and odd compressions with NotImplementedError.
DAMAGE = (
    pa.ArrowException,
    OSError,
    ValueError,
    EOFError,
    KeyError,
    TypeError,
    RuntimeError,
    SyntaxError,
    tokenize.TokenError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Raw:
    """What a file holds before any check of its content: an Arrow table, or an array and perhaps its names.

    `named` is False for a CSV file without a header line; an array is named if it comes with names.
    """

    label: str
    arrow: pa.Table | None = None
    names: tuple[str, ...] = ()
    array: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    named: bool = True


def too_large(label: str, size: int, cap: int) -> DataError:
    """The one wording for every size limit."""
    return DataError(
        "too-large",
        f"{label}: the table takes {size / GIB:.1f} GiB unpacked, more than the limit of {cap / GIB:.1f} GiB. "
        "Read fewer columns, split the file, or raise max_bytes= in Python.",
    )


def read_file(path: str, columns: list[str] | None, max_bytes: int = MAX_BYTES, decimal: str = ".") -> Raw:
    """One file, or standard input as CSV when `path` is `-`.

    Args:
        path: a path; `archive.npz::name` picks one array of an archive.
        columns: the columns wanted, None for all; readers that can will read only these.
        max_bytes: limit for the table in memory.
        decimal: what parts a whole number from its fraction in text.

    Raises:
        DataError: the file is missing, of unknown format, damaged, or too large.
    """
    if path == "-":
        data = _read_all(sys.stdin.buffer, "standard input", max_bytes)
        return _csv(data, "standard input", ".csv", decimal)
    file, _, member = path.partition("::")
    label = Path(file).name
    try:
        return _read(Path(file), label, member, columns, max_bytes, decimal)
    except DataError:
        raise
    except DAMAGE as error:
        raise damaged(label, error) from error


def damaged(label: str, error: BaseException) -> DataError:
    """The one wording for bytes that no reader of their format takes."""
    reason = " ".join(str(error).split())[:300]
    return DataError("unreadable", f"{label}: the file is damaged or not what it seems: {reason}")


def _read(path: Path, label: str, member: str, columns: list[str] | None, cap: int, decimal: str) -> Raw:
    kind = kind_of(path, label)
    if member and kind != "npz":
        raise DataError("format", f"{label}: '::{member}' picks an array of an .npz archive, but this is {kind}.")
    if kind == "csv":
        size = path.stat().st_size
        if size > cap:
            raise too_large(label, size, cap)
        compressed = is_gzipped(path, label)
        data = _unzip(path, label, cap) if compressed else path
        return _csv(data, label, path.with_suffix("").suffix if compressed else path.suffix, decimal)
    if kind == "parquet":
        return Raw(label, _parquet(path, label, columns, cap))
    if kind == "arrow":
        return Raw(label, _arrow(path, label, cap))
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # "created on Python 2", which is no concern of the user's
        if kind == "npy":
            check_header(file, label, path.stat().st_size, cap)
            return Raw(label, array=np.load(file, allow_pickle=False))
        return _npz(file, label, member, cap)


def _csv(data: bytes | Path, label: str, suffix: str, decimal: str) -> Raw:
    table, notes = read_csv(data, label, tabs=suffix.lower() in (".tsv", ".tab"), decimal=decimal)
    return Raw(label, table, notes=notes, named=not notes)


def is_gzipped(path: Path, label: str) -> bool:
    """Whether a file is packed as a whole."""
    return _head(path, label)[:2] == b"\x1f\x8b"


def _head(path: Path, label: str) -> bytes:
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise DataError(
                "format", f"{label}: this is a folder. Name a file, or the files in it as '{path}/*.parquet'."
            )
        if not stat.S_ISREG(info.st_mode):
            raise DataError("format", f"{label}: not a regular file. Use - to read CSV from standard input.")
        with path.open("rb") as file:
            return file.read(16)
    except FileNotFoundError as error:
        raise DataError("not-found", f"{path}: no such file (working folder {os.getcwd()}).") from error
    except PermissionError as error:
        raise DataError("unreadable", f"{path}: permission denied. Make the file readable.") from error


def kind_of(path: Path, label: str) -> str:
    """The format of a file by its first bytes: `"csv"`, `"parquet"`, `"arrow"`, `"npy"` or `"npz"`.

    Raises:
        DataError: the file is missing, cannot be read, or has another format than its suffix says.
    """
    head, suffix = _head(path, label), path.suffix.lower()
    if suffix in REFUSED:
        raise DataError("format", f"{label}: {REFUSED[suffix]}. Save the table as {KNOWN}.")
    if not head:
        raise DataError("empty", f"{label}: the file is empty.")
    expected = SUFFIXES.get(suffix)
    magic = (
        (b"PAR1", "parquet"),
        (b"ARROW1", "arrow"),
        (b"FEA1", "arrow"),
        (b"\xff\xff\xff\xff", "arrow"),
        (b"\x93NUMPY", "npy"),
        (b"PK\x03\x04", "npz"),
        (b"PK\x05\x06", "npz"),
    )
    for start, kind in magic:
        if head.startswith(start):
            if kind == "npz" and expected != "npz":
                raise DataError("format", f"{label}: a zip archive is read only as .npz. Save the table as {KNOWN}.")
            return kind
    if expected not in (None, "csv"):
        raise DataError("format", f"{label}: not a {expected} file: it begins with {head[:8]!r}. Give it its suffix.")
    if expected is None and (b"\x00" in head or head[:1] == b"\x80") and head[:2] not in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError("format", f"{label}: an unknown binary format (it begins with {head[:8]!r}). Read are {KNOWN}.")
    return "csv"


def _unzip(path: Path, label: str, cap: int) -> bytes:
    with pa.input_stream(str(path), compression="gzip") as stream:
        return _read_all(stream, label, cap)  # never more than the cap, whatever the archive claims


def _read_all(stream: Any, label: str, cap: int) -> bytes:
    """The bytes of a stream, piece by piece, since a read of `cap` bytes would ask for that much memory at once."""
    data = bytearray()
    while piece := stream.read(min(PIECE, cap + 1 - len(data))):
        data += piece
        if len(data) > cap:
            raise too_large(label, len(data), cap)
    return bytes(data)


def _parquet(path: Path, label: str, columns: list[str] | None, cap: int) -> pa.Table:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path, thrift_string_size_limit=2**27, thrift_container_size_limit=2**24) as file:
        names = [name for name in file.schema_arrow.names if not is_pandas_index(name)]
        if columns is not None and set(columns) <= set(names):
            names = [name for name in names if name in set(columns)]
        rows, chunks = file.metadata.num_rows, 0
        for group in range(file.metadata.num_row_groups):
            for column in range(file.metadata.num_columns):
                chunk = file.metadata.row_group(group).column(column)
                if chunk.path_in_schema.split(".")[0] in set(names):
                    chunks += chunk.total_uncompressed_size
        size = max(8 * rows * len(names), chunks)
        if size > cap:
            raise too_large(label, size, cap)
        # Several columns may share a name, which reading by name would hide: those tables are read whole.
        whole = len(set(file.schema_arrow.names)) < len(file.schema_arrow.names)
        return file.read(columns=None if whole else names)


def is_pandas_index(name: str) -> bool:
    """Whether a column is the index that pandas writes along."""
    return name.startswith("__index_level_") and name.endswith("__")


def _arrow(path: Path, label: str, cap: int) -> pa.Table:
    with pa.OSFile(str(path)) as source:
        start = source.read(6)
        source.seek(0)
        if start.startswith(b"FEA1"):
            raise DataError("format", f"{label}: Feather version 1 is not read. Save it as Feather 2 or Parquet.")
        if start == b"ARROW1":
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
            schema = file.schema
        else:
            stream = pa.ipc.open_stream(source)
            batches, schema = iter(stream), stream.schema
        kept, size = [], 0
        for batch in batches:  # compressed batches are unpacked one at a time, so that a bomb stops at the cap
            batch.validate(full=True)
            size += max(batch.nbytes, 8 * batch.num_rows * batch.num_columns)
            if size > cap:
                raise too_large(label, size, cap)
            kept.append(batch)
        table = pa.Table.from_batches(kept, schema)
        return table.select([i for i, name in enumerate(table.column_names) if not is_pandas_index(name)])


def check_header(file: BinaryIO, label: str, available: int, cap: int) -> tuple[int, ...]:
    """Compare what an NPY header claims with the bytes that are there, before NumPy allocates the array.

    Args:
        file: the open file or member, at its beginning, where it is left.
        label: its name, for messages.
        available: bytes that are there.
        cap: limit for the array.

    Returns:
        The shape that the header claims.

    Raises:
        DataError: the array is too large, is longer than the file, or holds Python objects.
    """
    version = np.lib.format.read_magic(file)  # pyright: ignore[reportArgumentType]
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise DataError("format", f"{label}: NPY format version {version} is not read; version 1 and 2 are.")
    shape, _, dtype = readers[version](file)
    if dtype.hasobject:
        raise DataError("format", f"{label}: Python objects in a NumPy file can run code. Save a numeric array.")
    size = int(dtype.itemsize)
    for n in shape:
        size *= int(n)
    if size > cap:
        raise too_large(label, size, cap)
    if size > available:
        raise DataError("unreadable", f"{label}: its header promises {size} bytes, but only {available} are there.")
    file.seek(0)
    return tuple(int(n) for n in shape)


def read_archive(file: BinaryIO, label: str, cap: int, wanted: Container[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file by name, each checked against the bytes that are there before it is read.

    Args:
        file: the open file.
        label: its name, for messages.
        cap: limit for all that the archive claims to hold.
        wanted: names of the arrays to read; None reads all.

    Raises:
        DataError: the archive is too large, or holds Python objects; what its parsers raise is in `DAMAGE`.
    """
    with zipfile.ZipFile(file) as archive:
        total = sum(info.file_size for info in archive.infolist())
        if total > cap:
            raise too_large(label, total, cap)
        arrays: dict[str, np.ndarray] = {}
        for info in archive.infolist():
            name = info.filename.removesuffix(".npy")
            if not info.filename.endswith(".npy") or (wanted is not None and name not in wanted):
                continue
            with archive.open(info) as stream:
                check_header(stream, f"{label}::{name}", info.file_size, cap)  # pyright: ignore[reportArgumentType]
                arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
    return arrays


def _npz(file: BinaryIO, label: str, member: str, cap: int) -> Raw:
    arrays = read_archive(file, label, cap, (member, "names") if member else None)
    if member and member not in arrays:
        raise DataError("columns", f"{label}: no array '{member}'; pick one of the archive's with '::name'.")
    return _from_arrays(label, {member: arrays[member]} if member else arrays, arrays.get("names"))


def _from_arrays(label: str, arrays: dict[str, np.ndarray], names: np.ndarray | None) -> Raw:
    tables = {name: array for name, array in arrays.items() if array.ndim == 2 and array.dtype.kind in "fiubO"}
    if len(tables) == 1:
        ((own, array),) = tables.items()
        columns = names if names is not None and names.dtype.kind == "U" and names.shape == array.shape[1:] else ()
        others = ", ".join(name for name in arrays if name not in (own, "names"))
        notes = (f"{label}: its array '{own}' is read; {others[:200]} left out.",) if others else ()
        return Raw(label, names=tuple(str(name) for name in columns), array=array, notes=notes)
    columns = {name: array for name, array in arrays.items() if array.ndim == 1}
    if not tables and columns and len({len(array) for array in columns.values()}) == 1:
        return Raw(label, arrow=pa.table({name: pa.array(array) for name, array in columns.items()}))
    held = ", ".join(f"{name} {array.shape}" for name, array in list(arrays.items())[:8]) or "nothing"
    raise DataError(
        "format",
        f"{label}: expected one two-dimensional array, or one-dimensional arrays of one length; it holds {held}. "
        f"Pick an array as '{label}::name'.",
    )
