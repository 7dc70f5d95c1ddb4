"""The arrays of NPZ archives, read row by row: an archive that is packed has no place to jump to."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pushforward.tables.reading.formats import check_header, read_archive

# Bytes of the names of columns at most.
NAMES_BYTES = 2**26


class StoredArray(NamedTuple):
    """An array of an archive that has not been read.

    Attributes:
        name: Its name.
        shape: Its shape.
        dtype: Its type.
        columns_first: Whether it lies column by column.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    columns_first: bool


def stored_arrays(path: Path, label: str) -> list[StoredArray]:
    """The arrays of an archive, each compared with the bytes that are there.

    Args:
        path: The archive.
        label: Its name for messages.

    Raises:
        DataError: An array holds Python objects, or is longer than the archive says.
    """
    found = []
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith(".npy"):
                with archive.open(info) as stream:
                    own: Any = stream
                    check_header(own, f"{label}::{info.filename}", info.file_size, info.file_size)
                    shape, columns_first, dtype = _header(own)
                found.append(StoredArray(info.filename.removesuffix(".npy"), shape, dtype, columns_first))
    return found


def stored_rows(path: Path, array: StoredArray, rows: int) -> Iterator[np.ndarray]:
    """The rows of an array, `rows` at a time.

    Args:
        path: The archive.
        array: The array, which lies row by row.
        rows: Rows of a piece but the last.
    """
    width = int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize
    with zipfile.ZipFile(path) as archive, archive.open(f"{array.name}.npy") as stream:
        _header(stream)
        for start in range(0, array.shape[0], rows):
            count = min(rows, array.shape[0] - start)
            data = stream.read(count * width)
            yield np.frombuffer(data, array.dtype).reshape(count, *array.shape[1:])


def names_in_archive(path: Path, label: str) -> list[str]:
    """The names of columns that an archive holds as its array `names`; none if it has no such array.

    Args:
        path: The archive.
        label: Its name for messages.
    """
    with zipfile.ZipFile(path) as archive:
        sizes = [info.file_size for info in archive.infolist() if info.filename == "names.npy"]
    if not sizes or sizes[0] > NAMES_BYTES:
        return []
    with path.open("rb") as file:
        names = read_archive(file, label, 2**62, ("names",))["names"]
    return [str(name) for name in names] if names.dtype.kind == "U" and names.ndim == 1 else []


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    return readers[np.lib.format.read_magic(stream)](stream)
