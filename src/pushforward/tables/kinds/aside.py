"""Kinds of columns that are set aside: constants and identifiers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.kinds.base import MAX_WORD, AbstractAside, Axis, Space
from pushforward.tables.kinds.levels import OWN_STATE_FIRST, level_key, levels_as
from pushforward.tables.kinds.sight import Sight
from pushforward.tables.kinds.text import arrow_type, is_text, plain_text, type_name

if TYPE_CHECKING:
    from pushforward.tables.schema import Column

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Text of which more than this share is distinct names its rows, from this many rows on; codes of digits repeat less.
UNIQUE_SHARE, UNIQUE_SHARE_OF_CODES = 0.5, 0.95
UNIQUE_FROM_ROWS = 50
CODE_OF_DIGITS = r"^\d{1,12}$"
# Whole numbers that never repeat name their rows, from this many rows on, if they are consecutive or called so.
IDENTIFIER_FROM_ROWS = 20
IDENTIFIER = re.compile(
    r"(^|[_ .-])(id|ids|uuid|guid|key|row|rownum|no|nr|number)$|^(index|idx)$|^(id|index)[_ .-]", re.IGNORECASE
)
# Times that are listed once each are no row numbers.
TIME = re.compile(r"(^|[^a-z])(year|yr|month|week|day|date|hour|time|period|quarter|age)s?([^a-z]|$)", re.IGNORECASE)
YEARS = (1700, 2100)


class Constant(AbstractAside):
    """A column that is always the same."""

    name = "constant"
    meaning = "set aside: always the same"

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        base = {**sight.base, "missing": False}
        if sight.n_missing == len(sight.array):
            return {**base, "value": None}
        if sight.n_missing:  # gaps are news, and what happens to them was asked
            return None
        if sight.text or sight.numbers is None:
            words = sight.words
            return {**base, "value": words[0].as_py()} if len(words) == 1 else None
        first, last = sight.distinct[[0, -1]]
        if first != last:
            return None
        whole = sight.base["type"].startswith(("int", "uint"))
        return {**base, "value": int(first) if whole else float(first)}

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return None

    def strange(self, array: pa.ChunkedArray, column: Column) -> np.ndarray:
        """See `AbstractAside`."""
        if is_text(array.type):
            array = plain_text(array)
        elif pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        if pa.types.is_decimal(array.type):
            array = array.cast(pa.float64())
        if times.is_time(array.type):
            numbers = times.to_numbers(array)
            return numbers != column.value if column.value is not None else ~np.isnan(numbers)
        own = None if column.value is None else level_key(column.value)
        coded = array.combine_chunks().dictionary_encode(null_encoding="encode")
        odd = np.array([_key(word) != own for word in coded.dictionary.to_pylist()], bool)
        return odd[np.asarray(coded.indices.to_numpy(zero_copy_only=False), np.int64)]

    def write(self, column: Column, n: int) -> pa.Array:
        """See `AbstractAside`."""
        kind, value = arrow_type(column.type), column.value
        if value is not None and times.is_time(kind):
            return times.from_numbers(np.full(n, float(value)), kind)
        return levels_as([value] * n, kind)

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return -np.inf, np.inf

    def space(self, column: Column) -> Space:
        """See `AbstractKind`."""
        return "none"

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "levels"


class Identifier(AbstractAside):
    """A column that names each row."""

    name = "identifier"
    meaning = "set aside: names each row"

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        what = _names_rows(sight)
        if what is None:
            return None
        sight.notes.append(f"{sight.source}: '{sight.name}' {what}")
        return {**sight.base, "type": type_name(sight.type), "missing": False}

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return None

    def strange(self, array: pa.ChunkedArray, column: Column) -> np.ndarray:
        """See `AbstractAside`."""
        return np.zeros(len(array), bool)

    def write(self, column: Column, n: int) -> None:
        """See `AbstractAside`."""

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return -np.inf, np.inf

    def space(self, column: Column) -> Space:
        """See `AbstractKind`."""
        return "none"

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "levels"


def _key(word: Any) -> tuple[str, Any] | None:
    return None if word is None or word != word else level_key(word)


def _names_rows(sight: Sight) -> str | None:
    """Why cells name their rows, None if they do not."""
    if sight.text:
        n, words = len(sight.present), sight.words
        long = pc.max(pc.utf8_length(words)).as_py() > MAX_WORD
        digits = pc.all(pc.match_substring_regex(words, CODE_OF_DIGITS)).as_py()
        share = UNIQUE_SHARE_OF_CODES if digits else UNIQUE_SHARE
        unique = len(words) > share * n and n >= UNIQUE_FROM_ROWS
        if sight.categories or not (long or unique or (len(words) == n and n > OWN_STATE_FIRST)):
            return None
        what = "long text" if long else f"{len(words):,} different words in {n:,} rows"
        return f"holds {what}, which look like identifiers or free text: set aside."
    if pa.types.is_boolean(sight.type) or sight.time:
        return None
    if sight.numbers is None:  # float64 rounds them
        return (
            "holds whole numbers beyond 2**53, which look like identifiers: set aside. Subtract an offset to model it."
        )
    n, distinct = len(sight.values), sight.distinct
    if len(distinct) < n or n < IDENTIFIER_FROM_ROWS or not sight.whole:
        return None
    named = bool(IDENTIFIER.search(sight.name))
    timed = TIME.search(sight.name) or (YEARS[0] <= distinct[0] and distinct[-1] <= YEARS[1])
    consecutive = distinct[-1] / 2 - distinct[0] / 2 == (n - 1) / 2  # halves, which cannot overflow
    return "numbers its rows, as identifiers do: set aside." if named or (consecutive and not timed) else None
