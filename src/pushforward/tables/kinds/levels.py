"""Kinds of levels, each of which has a probability: words, yes or no, few distinct numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.base import (
    MAX_LEVELS,
    MAX_RARE,
    AbstractLevels,
    Axis,
    Space,
    States,
)
from pushforward.tables.kinds.sight import Sight
from pushforward.tables.kinds.text import arrow_type, is_text, plain_text, without_blanks

if TYPE_CHECKING:
    from pushforward.tables.schema import Column

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Whole numbers of at most this many levels, or others of at most the second, count as levels, if each was seen often.
MOST_LEVELS, MOST_LEVELS_OF_REALS = 100, 20
ROWS_PER_LEVEL = 20
# Few numbers that repeat this often and share no step, or one this much finer than they are, count as levels too.
ROWS_PER_TIE, FINE_STEP = 3, 1000
# A level has a state of its own if it was seen this often, or is among the commonest few.
OWN_STATE_COUNT = 5
OWN_STATE_FIRST = 32
# Names of columns whose whole numbers are codes, which mean nothing as numbers.
CODE = re.compile(
    r"(^|[^a-z])(zip|zip_?code|postal|post_?code|postal_?code|plz|fips|sku|ean|isbn|phone|code|codes)([^a-z]|$)",
    re.IGNORECASE,
)
# Words for levels that the rows of the fit lacked, among those that a message shows.
SHOWN_LEVELS = 8


class AbstractListed(AbstractLevels):
    """A kind whose levels stand in the schema, one by one."""

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return None

    def read(self, array: pa.ChunkedArray, column: Column, source: str) -> States:
        """See `AbstractLevels`."""
        return read_levels(array, column, source)

    def write(self, states: np.ndarray, column: Column, rng: np.random.Generator) -> pa.Array:
        """See `AbstractLevels`."""
        return write_levels(states, column, rng)

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return -np.inf, np.inf

    def space(self, column: Column) -> Space:
        """See `AbstractKind`."""
        return "levels"

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "levels"


class Category(AbstractListed):
    """Words, and numbers that are codes."""

    name = "category"
    meaning = "words, each with a probability"

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        if not sight.text and not (sight.plain and CODE.search(sight.name) and sight.whole):
            return None
        # The commonest first; words of one count in alphabetical order, so that the order of the rows has no say.
        levels, rare, rare_counts = levels_of(sight.present if sight.text else _present(sight))
        made = {**sight.base, "levels": levels, "rare": rare, "rare_counts": rare_counts}
        if sight.categories:
            made |= {"type": "dictionary"}
            if sight.ordered and len(sight.categories) <= MAX_LEVELS:
                seen = {*levels, *rare}
                unused = tuple(word for word in sight.categories if word not in seen)
                made |= {"levels": sight.categories, "unused": unused, "rare": (), "rare_counts": (), "ordered": True}
                return made
        if rare:
            n_levels = len(sight.words if sight.text else sight.distinct)
            sight.notes.append(
                f"{sight.source}: '{sight.name}' has {n_levels:,} levels: the commonest {len(levels)} "
                "have a probability each, the others share one."
            )
        return made


class Ordinal(AbstractListed):
    """Few distinct numbers, or times, each with a probability."""

    name = "ordinal"
    meaning = "few distinct numbers, each with a probability"

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        if sight.numbers is None or not _few(sight):
            return None
        whole = sight.base["type"].startswith(("int", "uint"))
        levels = tuple(int(value) if whole else float(value) for value in sight.distinct)
        return {**sight.base, "levels": levels}


class Boolean(AbstractListed):
    """Yes or no."""

    name = "boolean"
    meaning = "yes or no"

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        return {**sight.base, "levels": (False, True)} if pa.types.is_boolean(sight.type) else None


def _few(sight: Sight) -> bool:
    """Whether numbers are so few that each can have a probability of its own."""
    n, n_distinct = len(sight.values), len(sight.distinct)
    if n_distinct == 1:
        return True
    if sight.time:
        return False
    most = MOST_LEVELS if sight.whole else MOST_LEVELS_OF_REALS
    if (n_distinct <= 2 and n >= ROWS_PER_LEVEL) or (n_distinct <= most and n >= ROWS_PER_LEVEL * n_distinct):
        return True
    if n_distinct > MOST_LEVELS_OF_REALS:
        return len(sight.line.rest) == 0 or sight.line.rest.min() == sight.line.rest.max()
    fine = sight.step is None or sight.step * FINE_STEP < np.diff(sight.distinct).min(initial=np.inf)
    if fine and n >= ROWS_PER_TIE * n_distinct:
        return True  # a density would stand on a few points
    # Two values, one of them common.
    return len(sight.line.rest) == 0 or bool(sight.line.rest.min() == sight.line.rest.max())


def _present(sight: Sight) -> Any:
    kind = sight.type.value_type if pa.types.is_dictionary(sight.type) else sight.type
    numbers = pa.array(sight.values)
    return pa.chunked_array([numbers.cast(kind, safe=False) if pa.types.is_integer(kind) else numbers])


def levels_of(column: Any) -> tuple[tuple, tuple, tuple[int, ...]]:
    """The levels of a column: those with a state of their own, the commonest first; the rare ones; and their counts.

    Levels of one count are in their own order, so that the order of the rows has no say.
    """
    counted = pc.value_counts(column.drop_null())
    return levels_counted(counted.field("values"), np.asarray(counted.field("counts")))


def levels_counted(words: pa.Array, numbers: np.ndarray) -> tuple[tuple, tuple, tuple[int, ...]]:
    """The same from different words and how often each comes."""
    # Arrow sorts: a NumPy array of text is as wide as its longest word.
    by_count = pa.table(
        {"count": pa.array(-numbers), "word": words.cast(pa.int8()) if words.type == pa.bool_() else words}
    )
    order = np.asarray(pc.sort_indices(by_count, sort_keys=[("count", "ascending"), ("word", "ascending")]))
    order = order[: MAX_LEVELS + MAX_RARE]
    own = sum(numbers[i] >= OWN_STATE_COUNT or place < OWN_STATE_FIRST for place, i in enumerate(order[:MAX_LEVELS]))
    rare = order[own : own + MAX_RARE]
    own_words, rare_words = (tuple(words.take(pa.array(part)).to_pylist()) for part in (order[:own], rare))
    return own_words, rare_words, tuple(int(numbers[i]) for i in rare)


def coded_levels(
    array: pa.ChunkedArray, column: Column, source: str
) -> tuple[np.ndarray, list[tuple[str, Any] | None], list[Any]]:
    """Cells as codes `(n,)` of different words, with the key of each word, None for what is missing; and the words.

    Raises:
        DataError: the cells are no levels.
    """
    if is_text(array.type):
        array = plain_text(array)
        if not isinstance(column.levels[0], str):
            array = without_blanks(array)
    elif pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_decimal(array.type):  # the schema's levels are float64
        array = array.cast(pa.float64())
    if times.is_time(array.type) and not isinstance(column.levels[0], str):
        numbers = times.to_numbers(array)
        array = pa.chunked_array([pa.array(numbers, mask=np.isnan(numbers))])
    try:
        coded = array.combine_chunks().dictionary_encode()
    except pa.ArrowException as error:
        raise DataError(
            "non-numeric", f"{source}: '{column.name}' holds values of type {str(array.type)[:60]}, not levels."
        ) from error
    blank = np.asarray(pc.is_null(coded, nan_is_null=False))
    codes = np.asarray(coded.indices.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    words = coded.dictionary.to_pylist()
    keys = [_key_of(column, word) for word in words]
    return np.where(blank, len(words), codes), [*keys, None], words


def read_levels(array: pa.ChunkedArray, column: Column, source: str) -> States:
    """The states of cells.

    Raises:
        DataError: the cells are no levels.
    """
    codes, keys, words = coded_levels(array, column, source)
    own = {level_key(level): number for number, level in enumerate(column.levels)}
    rare = {level_key(level): count for level, count in zip(column.rare, column.rare_counts, strict=True)}
    other, total = len(column.levels), sum(column.rare_counts) + 1
    states, extra = np.full(len(keys), other), np.zeros(len(keys))
    new, nothing = [], np.zeros(len(keys), bool)
    for number, key in enumerate(keys):
        if key is None:
            states[number], nothing[number] = 0, True
        elif key in own:
            states[number] = own[key]
        else:
            extra[number] = np.log(max(rare.get(key, 0), 1) / total)
            if key not in rare:
                new.append(str(words[number])[:80])
    return States(states[codes], nothing[codes], extra[codes], new[:SHOWN_LEVELS])


def write_levels(states: np.ndarray, column: Column, rng: np.random.Generator) -> pa.Array:
    """The cells of states; the state that rare levels share gives each by its frequency."""
    words: list[Any] = [*column.levels, *column.rare]
    other = states == len(column.levels)
    if column.rare:
        weights = np.array(column.rare_counts, float)
        chosen = rng.choice(len(column.rare), size=len(states), p=weights / weights.sum())
        states = np.where(other, len(column.levels) + chosen, np.where(states > len(column.levels), -1, states))
    else:
        states = np.where(states > len(column.levels), -1, np.minimum(states, len(column.levels) - 1))
    kind = arrow_type(column.type)
    indices = pa.array(np.where(states < 0, 0, states).astype(np.int32), mask=states < 0)
    if pa.types.is_dictionary(kind):
        return pa.DictionaryArray.from_arrays(indices, pa.array(words, kind.value_type), ordered=column.ordered)
    if times.is_time(kind):
        return times.from_numbers(np.array(words, float), kind).take(indices)
    return pa.DictionaryArray.from_arrays(indices, levels_as(words, kind)).cast(kind)


def levels_as(levels: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Levels as a column of this type: those of decimals are numbers in a schema."""
    return pa.array(levels, pa.float64()).cast(kind) if pa.types.is_decimal(kind) else pa.array(levels, kind)


def _key_of(column: Column, word: Any) -> tuple[str, Any] | None:
    """A level's key, by the type that the schema's levels have; None for a missing value."""
    if word is None or (isinstance(word, float) and np.isnan(word)):
        return None
    example = column.levels[0]
    if isinstance(example, str):
        return level_key(str(word))
    if isinstance(example, bool) and not isinstance(word, bool):
        if isinstance(word, float | int) and word in (0, 1):
            return level_key(bool(word))
        truth = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
        return level_key(truth.get(str(word).lower(), str(word)))
    if isinstance(word, bool) and not isinstance(example, bool):
        return level_key(int(word))
    if isinstance(word, str):
        try:
            return level_key(float(word))
        except ValueError:
            return level_key(word)
    return level_key(word)


def level_key(level: Any) -> tuple[str, Any]:
    """A key under which equal levels meet whatever their Python type: 1 and 1.0 are one level, True and "1" others."""
    if isinstance(level, bool):
        return "bool", level
    if isinstance(level, int | float):
        return "number", float(level) if abs(level) <= 2**53 else level
    return "text", str(level)
