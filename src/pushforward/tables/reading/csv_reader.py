"""CSV and TSV text to an Arrow table: header, delimiter, encoding and ragged rows, each with a plain sentence."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv as pacsv

from pushforward.tables.errors import DataError

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# The header line must end within this many bytes: 16384 names of 256 characters fit.
HEAD_BYTES = 2**22
# No line is longer than this; and what Arrow says of longer ones than it expects, or of cells with line ends.
LINE_BYTES = 2**26
LONG_LINES = ("straddl", "out of sync", "Empty CSV", "newlines_in_values")
# Whole numbers beyond 2**53 are not all representable as float64; those beyond int64 Arrow silently reads as float64.
EXACT = 2**53
LONG_INTEGER = r"^\s*[+-]?\d{16,}\s*$"


def read_csv(data: bytes | Path, label: str, *, tabs: bool = False) -> tuple[pa.Table, tuple[str, ...]]:
    """Parse CSV, inferring the type of each column.

    Args:
        data: the text as bytes, or the path of an uncompressed file.
        label: the name for messages.
        tabs: the delimiter is a tab; otherwise the header line decides among comma, semicolon, tab and bar.

    Returns:
        The table, and remarks for the user.

    Raises:
        DataError: not UTF-8, no rows, rows of different length.
    """
    header, delimiter = _header(_head(data, label), label, tabs)
    read: dict[str, Any] = {"column_names": header} if header is not None else {}
    parse = pacsv.ParseOptions(delimiter=delimiter)
    try:
        try:
            table = pacsv.read_csv(_open(data), pacsv.ReadOptions(**read), parse)
        except pa.ArrowInvalid as error:
            if not any(phrase in str(error) for phrase in LONG_LINES):
                raise
            # Cells over several lines, or a line beyond a megabyte: read in large pieces, which is slower.
            read["block_size"] = LINE_BYTES
            parse = pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
            table = pacsv.read_csv(_open(data), pacsv.ReadOptions(**read), parse)
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _explain(data, label, read, parse, error) from error
    _refuse_open_quote(data, label, table)
    notes = ()
    if header is not None:
        notes = (
            f"{label} has no header line (the first is all numbers): columns are called {header[0]} to {header[-1]}.",
        )
    _refuse_long_integers(data, label, table, pacsv.ReadOptions(**read), parse)
    return table.rename_columns([name.strip() for name in table.column_names]), notes


def _open(data: bytes | Path) -> pa.NativeFile:
    return pa.BufferReader(data) if isinstance(data, bytes) else pa.OSFile(str(data))


def _head(data: bytes | Path, label: str) -> str:
    if isinstance(data, bytes):
        raw = data[:HEAD_BYTES]
    else:
        with data.open("rb") as file:
            raw = file.read(HEAD_BYTES)
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise DataError("encoding", f"{label}: the text is UTF-16. Save it as UTF-8 (iconv -f UTF-16 -t UTF-8).")
    if b"\x00" in raw:
        raise DataError("encoding", f"{label}: it holds binary zeros, so it is not UTF-8 text. Save it as UTF-8 CSV.")
    line = re.split(rb"[\r\n]", raw.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n"), maxsplit=1)[0]
    if not line.strip():
        raise DataError("empty", f"{label}: the file is empty.")
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError("encoding", f"{label}: its first line is not UTF-8. Save the file as UTF-8.") from error


def _header(line: str, label: str, tabs: bool) -> tuple[list[str] | None, str]:
    """Names to use when the file has no header line, else None; and the delimiter."""
    delimiter = "\t" if tabs else max(",\t;|", key=line.count)
    try:
        fields = next(csv.reader(io.StringIO(line), delimiter=delimiter))
    except csv.Error as error:
        raise DataError("format", f"{label}: its first line is not CSV: {error}.") from error
    fields = [field.strip() for field in fields]
    positions = [str(i) for i in range(len(fields))]  # what pandas writes for an array: those are names
    if fields != positions and all(_is_number(field) for field in fields):
        return [f"x{i}" for i in range(len(fields))], delimiter
    return None, delimiter


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


def _explain(data: bytes | Path, label: str, read: dict, parse: pacsv.ParseOptions, error: Exception) -> DataError:
    if isinstance(error, UnicodeDecodeError):
        return DataError("encoding", f"{label}: the text is not UTF-8. Save the file as UTF-8.")
    reason = str(error)
    if "Expected" in reason and "columns" in reason:
        try:  # a second, single-threaded pass knows the number of the row
            pacsv.read_csv(_open(data), pacsv.ReadOptions(use_threads=False, **read), parse)
        except pa.ArrowInvalid as again:
            reason = str(again)
        found = re.search(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)", reason)
        if found:
            where = f"line {found[1]}" if found[1] else "a line"
            return DataError(
                "ragged",
                f"{label}: {where} has {found[3]} fields where the others have {found[2]}. "
                "Mend the line; quote fields that hold the delimiter.",
            )
    if "straddl" in reason:
        most = LINE_BYTES // 2**20
        return DataError("too-large", f"{label}: a line is longer than {most} MiB. Is a quote left open?")
    if "Empty CSV" in reason:
        return DataError("empty", f"{label}: the file is empty.")
    return DataError("unreadable", f"{label}: not readable as CSV: {' '.join(reason.split())[:300]}")


def _refuse_open_quote(data: bytes | Path, label: str, table: pa.Table) -> None:
    """A quote that is never closed takes the rest of the file for one cell: the last row then holds line ends."""
    last = table.slice(max(table.num_rows - 1, 0)).to_pydict()
    cells = [cell[0] for cell in last.values() if cell and isinstance(cell[0], str)]
    if not any("\n" in cell or "\r" in cell for cell in cells):
        return
    quotes = 0
    with _open(data) as file:
        while piece := file.read(HEAD_BYTES):
            quotes += piece.count(b'"')
    if quotes % 2:
        raise DataError(
            "ragged", f"{label}: a quote is opened and never closed, so that lines became one cell. Mend it."
        )


def _refuse_long_integers(
    data: bytes | Path, label: str, table: pa.Table, read: pacsv.ReadOptions, parse: pacsv.ParseOptions
) -> None:
    """Integers too long for int64 arrive as float64, already rounded: look at the text of such columns."""
    suspects = []
    times = Counter(table.column_names)
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_floating(column.type) and times[name] == 1:
            largest = pc.max(pc.abs(column)).as_py()
            if largest is not None and largest > EXACT:
                suspects.append(name)
    for name in suspects:
        convert = pacsv.ConvertOptions(include_columns=[name], column_types={name: pa.string()})
        text = pacsv.read_csv(_open(data), read, parse, convert)[name]
        if pc.any(pc.match_substring_regex(text, LONG_INTEGER)).as_py():
            raise long_integers(label, [name.strip()])


def long_integers(label: str, names: list[str]) -> DataError:
    """The error for integers that float64 cannot hold."""
    listed = ", ".join(repr(name) for name in names)
    return DataError(
        "precision",
        f"{label}: column {listed} holds whole numbers beyond 2**53, which float64 rounds, so that distinct values "
        "coincide. They look like identifiers: leave the column out with --columns (columns= in Python), or subtract "
        "an offset.",
    )
