"""Digits in text that are codes and no numbers: zip codes such as 02134, and identifiers longer than float64 holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv

from pushforward.tables.reading.columns import EXACT

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Cells that mean "nothing here" among numbers, as Arrow reads CSV.
GAPS = pa.array(pacsv.ConvertOptions().null_values, pa.string())
# A number has no 0 before its first digit, none of sixteen digits is meant to be rounded, and long ones with a plus are
# those of telephones.
CODE = r"^\s*(0\d+|[+-]?\d{16,}|\+\d{7,})\s*$"
PIECE = 2**22
# What stands before the first digit of a cell: a delimiter, a quote, a blank, the end of a line, or nothing.
_BEFORE = np.zeros(256, bool)
_BEFORE[list(b',;\t|"\n\r \x00')] = True


def largest(column: Any) -> float:
    """The largest size of the numbers of a column, 0 if there are none."""
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return 0.0
    found = pc.min_max(column).as_py()
    return 0.0 if found["min"] is None else float(max(abs(found["min"]), abs(found["max"])))


def with_gaps(text: Any) -> Any:
    """A column of codes with the cells as missing that would be in a column of numbers."""
    return pc.if_else(pc.is_in(pc.utf8_trim_whitespace(text), value_set=GAPS), pa.scalar(None, pa.string()), text)


def code_columns(
    data: bytes | Path,
    schema: pa.Schema,
    sizes: Mapping[str, float],
    as_text: Callable[[list[str]], Iterator[pa.RecordBatch]],
) -> list[str]:
    """The columns that were taken for numbers although a cell of theirs is a code.

    Args:
        data: the text of the file, or its path.
        schema: the types that were found.
        sizes: the largest number of each column whose name is its own.
        as_text: reads the cells of these columns as they stand in the text.
    """
    kinds = dict(zip(schema.names, schema.types, strict=True))
    suspects = [name for name, size in sizes.items() if size > EXACT]
    if _has_padded(data):  # few files have any, and then every number is looked at
        suspects = [n for n in sizes if pa.types.is_integer(kinds[n]) or pa.types.is_floating(kinds[n])]
    found: set[str] = set()
    if suspects:
        for batch in as_text(suspects):
            for name in suspects:
                if name not in found and pc.any(pc.match_substring_regex(batch[name], CODE)).as_py():
                    found.add(name)
    return [name for name in schema.names if name in found]


def open_text(data: bytes | Path) -> pa.NativeFile:
    """Text to be read from its beginning; what gzip has packed is unpacked as it is read.

    Args:
        data: the text, or the path of a file of it.
    """
    if isinstance(data, bytes):
        return pa.BufferReader(data)
    file = pa.OSFile(str(data))
    packed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return pa.CompressedInputStream(file, "gzip") if packed else file


def _has_padded(data: bytes | Path) -> bool:
    """Whether a cell may begin with a 0 or a plus before a digit."""
    if isinstance(data, bytes):
        return _padded(b"\n" + data[:PIECE]) or any(
            _padded(data[start - 3 : start + PIECE]) for start in range(PIECE, len(data), PIECE)
        )
    with open_text(data) as file:
        tail = b"\n"
        while piece := file.read(PIECE):
            if _padded(tail + piece):
                return True
            tail = piece[-3:]
    return False


def _padded(piece: bytes) -> bool:
    found = np.frombuffer(piece, np.uint8)
    if len(found) < 3:
        return False
    first, second, third = found[:-2], found[1:-1], found[2:]
    places = np.flatnonzero((second == ord("0")) | (second == ord("+")))
    places = places[_BEFORE[first[places]]]
    return bool(np.any((third[places] >= ord("0")) & (third[places] <= ord("9"))))
