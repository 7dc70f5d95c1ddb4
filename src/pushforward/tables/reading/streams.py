"""CSV that comes line by line, such as on standard input: rows as soon as they are there, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells, check_columns, read_cells
from pushforward.tables.reading.conventions import USUAL, Conventions
from pushforward.tables.reading.csv_reader import LINE_BYTES, header_of, read_csv

# Bytes that are taken at once at most: what has come already, if it is less.
PIECE_BYTES = 2**20


def stream_cells(
    stream: Any, label: str = "standard input", *, conventions: Conventions | None = None
) -> Iterator[Cells]:
    r"""Read CSV from an open stream, a batch for whatever complete lines have come.

    Rows come as soon as they are written, one by one if need be, and never more than a megabyte of text is held. The
    types of columns are found in each batch for itself, which a fitted model, who knows its columns, may take.

    Args:
        stream: An open binary file, such as `sys.stdin.buffer`.
        label: The name for messages.
        conventions: As for `read_cells`.

    Raises:
        DataError: The text is no table; rows before that were given.

    Example:
        >>> import io
        >>> [len(batch) for batch in stream_cells(io.BytesIO(b"size\n1.5\n2.5\n"))]
        [2]
    """
    how = conventions or USUAL
    read = getattr(stream, "read1", stream.read)
    header, held, found = b"", b"", False
    while True:
        piece = read(PIECE_BYTES)
        held += piece
        end = _complete(held) if piece else len(held)
        if len(held) - end > LINE_BYTES:
            raise DataError("too-large", f"{label}: a line is longer than {LINE_BYTES // 2**20} MiB. Is a quote open?")
        lines, held = held[:end], held[end:]
        if lines.strip() and not header:
            header, lines = header_of(lines, label)
        if lines.strip():
            table, notes = read_csv(header + lines, label, decimal=how.decimal)
            check_columns(table.column_names, label)
            yield read_cells(Cells(table, label, notes), conventions=how)
            found = True
        if not piece:
            break
    if not found:
        raise DataError("empty", f"{label}: there are no rows.")


def _complete(text: bytes) -> int:
    """The length of the lines that are complete: up to the last line end that is in no quoted cell."""
    end = text.rfind(b"\n") + 1
    while end and text.count(b'"', 0, end) % 2:
        end = text.rfind(b"\n", 0, end - 1) + 1
    return end
