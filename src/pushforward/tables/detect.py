"""What each column of a table is, found from its cells: the first kind that claims it has it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.atoms import find_codes
from pushforward.tables.kinds.base import Bounds
from pushforward.tables.kinds.registry import KINDS
from pushforward.tables.kinds.sight import Sight
from pushforward.tables.kinds.text import BLANKS, NUMBER, in_order, is_text, plain_text, without_blanks
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.columns import arrow_column, listed
from pushforward.tables.reading.conventions import advice
from pushforward.tables.schema import Column, TableSchema

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Numbers as people write them and no program reads, 1,5 or 1,234 or 45% or $3, and what tells them from other digits.
LOCAL_NUMBER = r"^[€$£¥]? ?[+-]?(\d+,\d+|\d{1,3}([,'. ]\d{3})+([.,]\d+)?|\d+([.,]\d+)?) ?[€$£¥%]?$"
LOCAL_MARK = r"[,'€$£¥%]"
LONG_NUMBER = r"^[+-]?\d{16,}$"
# Ratio of the cells of a text column that must be numbers for the others to count as faults in a column of numbers.
MOSTLY_NUMBERS = 0.5


def detect_schema(
    table: Any, *, missing: bool = False, bounds: Bounds = "natural"
) -> tuple[TableSchema, Cells, list[str]]:
    """The schema of a table.

    Args:
        table: a table of any kind that `read_cells` reads: a data frame, an array, a dict of columns, a path, `Cells`.
        missing: model missing values as a state of their own.
        bounds: `"natural"` bounds numbers where a bound is plausible, by their name or by how they end; `"observed"`
            bounds them by the smallest and the largest; `"none"` leaves them unbounded.

    Returns:
        The schema; the cells with blanks such as `""` in columns of text made missing values and numbers written as
        text made numbers; and remarks for the user, a sentence each.

    Raises:
        DataError: a column holds numbers and words, dates of several formats, or nested values.
    """
    cells = read_cells(table)
    columns, arrays, notes = [], [], []
    for name, column in zip(cells.names, cells.table.columns, strict=True):
        categories, ordered = _categories(column)
        column, found = _tidied(cells.source, name, column, notes)
        sight = Sight(cells.source, name, column, found, missing, bounds, notes, categories, ordered)
        columns.append(_detect(sight))
        arrays.append(column)
    tidy = replace(cells, table=pa.Table.from_arrays(arrays, names=list(cells.names)))
    return TableSchema(rows=len(cells), reading=cells.conventions, columns=tuple(columns)), tidy, notes


def _detect(sight: Sight) -> Column:
    claims = ((name, kind.claim(sight)) for name, kind in KINDS.items())
    name, fields = next((name, fields) for name, fields in claims if fields is not None)
    local = sight.text and name in ("category", "identifier") and not sight.categories
    marked: Any = sight.words.filter(pc.match_substring_regex(sight.words, LOCAL_MARK)) if local else ()
    if len(marked) and pc.all(pc.match_substring_regex(sight.words, LOCAL_NUMBER)).as_py():
        raise DataError(
            "non-numeric",
            f"{sight.source}: '{sight.name}' writes numbers as {marked[0].as_py()[:40]!r}. Read them with "
            f"{advice(marked[0].as_py())}, write them with a point and no other marks (1234.5), or name the column a "
            'category in a schema ("kind": "category").',
        )
    column = Column(kind=name, **fields)
    if sight.plain and column.modelled:
        sight.notes += [_code_note(sight, value, n) for value, n in find_codes(*sight.counted)]
    return column


def _code_note(sight: Sight, value: float, count: int) -> str:
    return (
        f"{sight.source}: '{sight.name}' is {value:g} in {count:,} rows, far from its other values, as codes for "
        f"missing answers are. If it is one, read it as missing with --na {value:g}."
    )


def _categories(column: pa.ChunkedArray) -> tuple[tuple[str, ...], bool]:
    """The categories of a categorical column of text, all of them, and whether they have an order."""
    if not pa.types.is_dictionary(column.type) or not is_text(column.type):
        return (), False
    words: dict[str, None] = {}
    for chunk in column.chunks:
        words |= dict.fromkeys(word.strip() for word in chunk.dictionary.to_pylist() if word and word.strip())
    return tuple(words), column.type.ordered


def _tidied(source: str, name: str, column: pa.ChunkedArray, notes: list[str]) -> tuple[pa.ChunkedArray, Any]:
    """The column without blanks, and its cells as numbers where it is one of numbers."""
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        raise DataError(
            "non-numeric", f"{source}: '{name}' has the extension type {str(kind)[:60]}. Save plain columns."
        )
    if pa.types.is_dictionary(kind) and not is_text(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if isinstance(kind, pa.BaseExtensionType):  # of the values of a dictionary
        return _tidied(source, name, column, notes)
    if is_text(kind):
        return _tidied_text(source, name, plain_text(column), kind, notes)
    if times.is_time(kind):
        return column, times.to_numbers(column)
    if pa.types.is_boolean(kind):
        return column, None
    numbers = arrow_column(column)
    if isinstance(numbers, str):
        fix = "Leave it out with --columns (columns= in Python), or turn it into numbers or text."
        raise DataError("non-numeric", f"{source}: '{name}' holds {numbers}, which is not modelled. {fix}")
    return column, numbers


def _tidied_text(source: str, name: str, text: Any, kind: pa.DataType, notes: list[str]) -> tuple[Any, Any]:
    words = pc.unique(text.drop_null())
    if len(words) == 0 or pa.types.is_dictionary(kind):
        return text, None
    blank = pc.is_in(pc.utf8_lower(words), value_set=pa.array(BLANKS, words.type))
    blanks, words = words.filter(blank), words.filter(pc.invert(blank))
    if len(words) == 0:
        return text, None
    numeric = pc.match_substring_regex(words, NUMBER)
    counted = pc.sum(pc.is_in(text, value_set=words.filter(numeric))).as_py() or 0
    share = counted / pc.sum(pc.is_in(text, value_set=words)).as_py()
    # Codes such as 00501, and whole numbers that somebody keeps as text, mean nothing as numbers.
    padded = pc.any(pc.match_substring_regex(words, r"^0\d")).as_py()
    digits = not len(blanks) and pc.all(pc.match_substring_regex(words, r"^\d+$")).as_py()
    if share <= MOSTLY_NUMBERS or padded or digits:
        if len(blanks) and times.find_format(in_order(words))[0] is not None:
            return _blanked(source, name, text, blanks, "dates", notes), None
        return text, None
    odd = words.filter(pc.invert(numeric))
    if len(odd):
        first = odd[0].as_py()
        row = pc.index(text, first).as_py() + 1
        raise DataError(
            "non-numeric",
            f"{source}: '{name}' holds numbers and words: {first[:40]!r} in row {row} ({1 - share:.1%} of its cells "
            "are no numbers). Mend those cells, leave the column out with --columns (columns= in Python), or name it a "
            'category in a schema ("kind": "category").',
        )
    if len(blanks):
        text = _blanked(source, name, text, blanks, "numbers", notes)
    if pc.any(pc.match_substring_regex(words, LONG_NUMBER)).as_py():  # float64 would round them
        return text, None
    whole = pc.all(pc.match_substring_regex(words, r"^[+-]?\d{1,15}$")).as_py()
    numbers = pc.replace_substring_regex(text, r"^\+", "").cast(pa.float64())
    numbers = numbers.cast(pa.int64()) if whole else numbers
    return numbers, arrow_column(numbers)


def _blanked(source: str, name: str, text: Any, blanks: Any, what: str, notes: list[str]) -> Any:
    notes.append(
        f"{source}: '{name}': {listed(sorted(blanks.to_pylist()), 4)} among its {what} count as missing values."
    )
    return without_blanks(text)
