"""How a table writes what it holds, where that has to be said: marks of missing values, decimal commas, signs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute
from pydantic import BaseModel, ConfigDict, Field

from pushforward.tables.errors import DataError

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
# With a decimal comma, points part thousands.
COMMA_NUMBER = r"^[+-]?(\d{1,3}(\.\d{3})+|\d+)?(,\d+)?([eE][+-]?\d+)?$"
GROUPED = re.compile(r"^[+-]?\d{1,3}(,\d{3})+(\.\d+)?$")
BLANKS = " \u00a0\u202f"


class Conventions(BaseModel):
    """How the cells of a table are to be read.

    Attributes:
        na: words and numbers that mean that a value is missing.
        decimal: what parts the whole number from its fraction; with a comma, points part thousands.
        strip: characters that are left out of numbers, such as `$` and `%`; 45% is 45.
        columns: the columns of text that became numbers by that; None until a table was read.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    na: Annotated[tuple[Annotated[str, Field(max_length=256)], ...], Field(max_length=256, strict=False)] = ()
    decimal: Literal[".", ","] = "."
    strip: Annotated[str, Field(max_length=32)] = ""
    columns: Annotated[tuple[str, ...] | None, Field(max_length=16384, strict=False)] = None

    @staticmethod
    def of(na: Any = None, decimal: str = ".", strip: str | None = None) -> Conventions:
        """The same from options as people give them: numbers may be among the values that mean missing.

        Raises:
            ValueError: an option is none of those possible.
        """
        values = () if na is None else (na,) if isinstance(na, str | int | float) else tuple(na)
        if decimal not in (".", ","):
            raise ValueError(f"expected decimal '.' or ',', got {decimal!r}.")
        if strip and (re.search(r"[0-9+\-eE]", strip) or decimal in strip):
            raise ValueError(f"expected strip without digits, signs and {decimal!r}, got {strip!r}.")
        return Conventions(na=tuple(map(str, values)), decimal=decimal, strip=strip or "")

    @property
    def usual(self) -> bool:
        """Whether nothing has to be done."""
        return not (self.na or self.strip or self.decimal == ",")

    def of_array(self, values: np.ndarray) -> np.ndarray:
        """An array of numbers with NaN where a value means that it is missing."""
        marks = _numbers(self.na)
        return np.where(np.isin(values, marks), np.nan, values) if marks else values

    def applied(self, table: pa.Table, source: str) -> tuple[pa.Table, Conventions]:
        """A table read by these conventions, and these with the columns that became numbers.

        Raises:
            DataError: a column that was numbers when the conventions were found holds something else.
        """
        if self.usual:
            return table, self
        columns, fields, found = [], [], []
        for field, column in zip(table.schema, table.columns, strict=True):
            made = self._column(field.name, column, source)
            if _is_text(column.type) and not _is_text(made.type):
                found.append(field.name)
            columns.append(made)
            fields.append(field.with_type(made.type))
        own = self if self.columns is not None else self.model_copy(update={"columns": tuple(found)})
        return pa.Table.from_arrays(columns, schema=pa.schema(fields)), own

    def _column(self, name: str, column: pa.ChunkedArray, source: str) -> pa.ChunkedArray:
        if not _is_text(column.type):
            marks = _numbers(self.na)
            plain = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
            if not plain or not marks:
                return column
            blank = pc.is_in(column.cast(pa.float64(), safe=False), value_set=pa.array(marks, pa.float64()))
            return pc.if_else(blank, pa.scalar(None, column.type), column)
        coded = pa.types.is_dictionary(column.type)
        text = column.cast(pa.large_string())
        trimmed = pc.utf8_trim(text, characters=BLANKS)
        blank = pc.is_in(trimmed, value_set=pa.array(self.na, pa.large_string()))
        changed = pc.any(blank).as_py() or self.strip or self.decimal == ","
        if not changed:
            return column
        text = pc.if_else(blank, pa.scalar(None, pa.large_string()), text)
        if self.columns is None or name in self.columns:
            numbers = None if coded else self._to_numbers(text)
            if isinstance(numbers, pa.ChunkedArray):
                return numbers
            if self.columns is not None and numbers is not None:
                raise DataError("non-numeric", f"{source}: '{name}' holds {numbers[:40]!r}; expected a number.")
        return text.dictionary_encode() if coded else text.cast(column.type)

    def _to_numbers(self, text: Any) -> pa.ChunkedArray | str | None:
        """The cells as numbers; else one that is none; None for codes such as 007, and where nothing is left."""
        bare = pc.replace_substring_regex(text, f"[{re.escape(self.strip + BLANKS)}]", "")
        bare = pc.if_else(pc.equal(bare, ""), pa.scalar(None, bare.type), bare)
        fits = pc.match_substring_regex(bare, COMMA_NUMBER if self.decimal == "," else NUMBER)
        odd = pc.index(fits, False).as_py()
        if odd >= 0:
            return text[odd].as_py()
        if bare.null_count == len(bare) or pc.any(pc.match_substring_regex(bare, r"^(0\d|[+-]?\d{16})")).as_py():
            return None
        if self.decimal == ",":
            bare = pc.replace_substring(pc.replace_substring(bare, ".", ""), ",", ".")
        whole = pc.all(pc.match_substring_regex(bare, r"^[+-]?\d+$")).as_py()
        numbers = pc.replace_substring_regex(bare, r"^\+", "").cast(pa.float64())
        return numbers.cast(pa.int64()) if whole else numbers


USUAL = Conventions()


def advice(word: str) -> str:
    """The options that read a number that is written like this word."""
    signs = "".join(sign for sign in dict.fromkeys(word) if not (sign.isdigit() or sign in "+-.,eE" + BLANKS))
    core = "".join(sign for sign in word if sign not in signs + BLANKS)
    signs += "," if GROUPED.match(core) else ""
    comma = "," in core and "," not in signs
    flags = [f'--strip "{signs}"'] if signs else []
    keywords = [f"strip={signs!r}"] if signs else []
    if comma:
        flags, keywords = [*flags, "--decimal ,"], [*keywords, "decimal=','"]
    return f"{' '.join(flags)} ({', '.join(keywords)} in Python)"


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _numbers(words: Iterable[str]) -> list[float]:
    found = []
    for word in words:
        try:
            found.append(float(word))
        except ValueError:
            continue
    return found
