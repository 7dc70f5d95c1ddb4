"""CSV and TSV text to an Arrow table: header, delimiter, encoding and ragged rows, each with a plain sentence."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv

from pushforward.tables.errors import DataError
from pushforward.tables.reading.codes import code_columns, largest, open_text, with_gaps

# The header line must end within this many bytes: 16384 names of 256 characters fit.
HEAD_BYTES = 2**22
# No line is longer than this; and what Arrow says of longer ones than it expects, or of cells with line ends.
LINE_BYTES = 2**26
LONG_LINES = ("straddl", "out of sync", "Empty CSV", "newlines_in_values")
# A file that is read as a stream is parsed in pieces of so many bytes. The first one decides about types, and a type
# that a later one contradicts is found from the whole column: in more columns than this, the file is read as a whole.
STREAM_BYTES = 2**22
MOST_RETYPED = 8


@dataclass(frozen=True)
class _Form:
    """How one CSV text is to be parsed.

    Args:
        data: the text, or the path of an uncompressed file.
        label: the name for messages.
        read: arguments of Arrow's `ReadOptions`.
        parse: delimiter and line ends.
        types: columns whose types are given and not found.
        decimal: what parts a whole number from its fraction.
    """

    data: bytes | Path
    label: str
    read: dict[str, Any]
    parse: pacsv.ParseOptions
    types: dict[str, pa.DataType]
    decimal: str = "."

    def whole(self, only: list[str] | None = None) -> pa.Table:
        """All rows at once, of all columns or of these."""
        read = pacsv.ReadOptions(**self.read)
        return pacsv.read_csv(open_text(self.data), read, self.parse, self._convert(only))

    def stream(self, only: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows in pieces."""
        read = pacsv.ReadOptions(**{"block_size": STREAM_BYTES, **self.read})
        with pacsv.open_csv(open_text(self.data), read, self.parse, self._convert(only)) as reader:
            yield pa.RecordBatch.from_pylist([], reader.schema)  # before a cell is at fault, the names are known
            yield from reader

    def _convert(self, only: list[str] | None) -> pacsv.ConvertOptions:
        return pacsv.ConvertOptions(column_types=self.types, include_columns=only, decimal_point=self.decimal)

    def typed(self, types: dict[str, pa.DataType]) -> _Form:
        """The same with these types given."""
        return replace(self, types={**self.types, **types})

    def as_text(self, names: list[str]) -> Iterator[pa.RecordBatch]:
        """The cells of these columns as they stand in the text, in pieces."""
        return self.typed(dict.fromkeys(names, pa.string())).stream(names)


@dataclass(frozen=True)
class OpenedCsv:
    """A CSV file whose rows are read in pieces.

    Args:
        schema: of every piece.
        batches: reads them, each time from the first one.
        notes: remarks for the user.
    """

    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]
    notes: tuple[str, ...]


def read_csv(
    data: bytes | Path, label: str, *, tabs: bool = False, decimal: str = "."
) -> tuple[pa.Table, tuple[str, ...]]:
    """Parse CSV, finding the type of each column. Digits that are codes, such as 02134, stay text.

    Args:
        data: the text as bytes, or the path of an uncompressed file.
        label: the name for messages.
        tabs: the delimiter is a tab; otherwise the header line decides among comma, semicolon, tab and bar.
        decimal: what parts a whole number from its fraction.

    Returns:
        The table, and remarks for the user.

    Raises:
        DataError: not UTF-8, no rows, rows of different length.
    """
    form, notes = _form_of(data, label, tabs, decimal)
    try:
        try:
            table = form.whole()
        except pa.ArrowInvalid as error:
            if not any(phrase in str(error) for phrase in LONG_LINES):
                raise
            # Cells over several lines, or a line beyond a megabyte: read in large pieces, which is slower.
            parse = pacsv.ParseOptions(delimiter=form.parse.delimiter, newlines_in_values=True)
            form = replace(form, read={**form.read, "block_size": LINE_BYTES}, parse=parse)
            table = form.whole()
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise _explain(form, error) from error
    _refuse_open_quote(data, label, table)
    codes = code_columns(data, table.schema, {name: largest(table[i]) for i, name in _once(table.schema)}, form.as_text)
    if codes:
        # Arrow finds no type of a column that has one, so that the codes are read once more beside the others.
        again = form.typed(dict.fromkeys(codes, pa.string())).whole(codes)
        for name in codes:
            table = table.set_column(table.column_names.index(name), name, with_gaps(again[name]))
    return table.rename_columns([name.strip() for name in table.column_names]), notes


def open_csv(path: Path, label: str, *, tabs: bool = False, decimal: str = ".") -> OpenedCsv | None:
    """Find the types of a CSV file's columns in one pass in pieces, so that it can then be read in pieces.

    Args:
        path: a file, which gzip may have packed.
        label: the name for messages.
        tabs: as for `read_csv`.
        decimal: as for `read_csv`.

    Returns:
        The file; None if it has to be read as a whole: its cells hold line ends, or it is at fault, which `read_csv`
        explains.
    """
    form, notes = _form_of(path, label, tabs, decimal)
    sizes: dict[str, float] = {}
    while True:
        try:
            schema = None
            for batch in form.stream():
                schema = batch.schema
                if len(set(schema.names)) < len(schema.names):
                    return None
                for i, name in enumerate(schema.names):
                    sizes[name] = max(sizes.get(name, 0.0), largest(batch.column(i)))
            break
        except pa.ArrowInvalid as error:
            found = re.search(r"In CSV column #(\d+)", str(error))
            if found is None or schema is None or len(form.types) >= MOST_RETYPED:
                return None
            name = schema.names[int(found[1])]
            if name in form.types:
                return None
            form = form.typed({name: form.whole([name]).schema.types[0]})
    if schema is None:
        return None
    codes = code_columns(path, schema, sizes, form.as_text)
    form = form.typed(dict.fromkeys(codes, pa.string()))
    names = [name.strip() for name in schema.names]

    def batches() -> Iterator[pa.RecordBatch]:
        last = None
        try:
            for batch in form.stream():
                columns = [with_gaps(c) if n in codes else c for n, c in zip(schema.names, batch.columns, strict=True)]
                last = pa.RecordBatch.from_arrays(columns, names=names)
                yield last
        except (pa.ArrowInvalid, UnicodeDecodeError) as error:
            raise _explain(form, error) from error
        if last is not None:
            _refuse_open_quote(path, label, pa.Table.from_batches([last]))

    types = [pa.string() if name in codes else schema.field(name).type for name in schema.names]
    return OpenedCsv(pa.schema(list(zip(names, types, strict=True))), batches, notes)


def header_of(text: bytes, label: str) -> tuple[bytes, bytes]:
    """The header line of CSV text, with its end, and what follows it; of text without one, a line of made-up names.

    Args:
        text: The start of the text: its first line or more.
        label: The name for messages.

    Raises:
        DataError: The first line is not UTF-8, or no CSV.
    """
    text = text.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
    names, delimiter = _header(_head(text, label), label, tabs=False)
    if names is not None:
        return (delimiter.join(names) + "\n").encode(), text
    line, _, rest = text.partition(b"\n")
    return line + b"\n", rest


def _form_of(data: bytes | Path, label: str, tabs: bool, decimal: str) -> tuple[_Form, tuple[str, ...]]:
    header, delimiter = _header(_head(data, label), label, tabs)
    read: dict[str, Any] = {"column_names": header} if header is not None else {}
    notes = ()
    if header is not None:
        notes = (
            f"{label} has no header line (the first is all numbers): columns are called {header[0]} to {header[-1]}.",
        )
    return _Form(data, label, read, pacsv.ParseOptions(delimiter=delimiter), {}, decimal), notes


def _once(schema: pa.Schema) -> list[tuple[int, str]]:
    """The positions and names of the columns whose names no other column has."""
    return [(i, name) for i, name in enumerate(schema.names) if schema.names.count(name) == 1]


def _head(data: bytes | Path, label: str) -> str:
    if isinstance(data, bytes):
        raw = data[:HEAD_BYTES]
    else:
        with open_text(data) as file:
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


def _explain(form: _Form, error: Exception) -> DataError:
    label = form.label
    if isinstance(error, UnicodeDecodeError):
        return DataError("encoding", f"{label}: the text is not UTF-8. Save the file as UTF-8.")
    reason = str(error)
    if "Expected" in reason and "columns" in reason:
        try:  # a second, single-threaded pass knows the number of the row
            replace(form, read={**form.read, "use_threads": False}).whole()
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
    with open_text(data) as file:
        while piece := file.read(HEAD_BYTES):
            quotes += piece.count(b'"')
    if quotes % 2:
        raise DataError(
            "ragged", f"{label}: a quote is opened and never closed, so that lines became one cell. Mend it."
        )


def long_integers(label: str, names: list[str]) -> DataError:
    """The error for integers that float64 cannot hold."""
    listed = ", ".join(repr(name) for name in names)
    return DataError(
        "precision",
        f"{label}: column {listed} holds whole numbers beyond 2**53, which float64 rounds, so that distinct values "
        "coincide. They look like identifiers: leave the column out with --columns (columns= in Python), or subtract "
        "an offset.",
    )
