"""From cells to the numbers that a model sees, and back: states first, then values, one column each.

Encoding loses nothing that the density needs: a cell is a state, a value, or a state that says that there is a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.detect import NUMBER, arrow_type, is_text, plain_text, without_blanks
from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.columns import arrow_column
from pushforward.tables.schema import Column, level_key

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# A cell is taken for a multiple of its step if it is one but for this share of a step, or of itself: a decimal fraction
# in float32 is off by that. Never for more than the third share of a step, so that no large number moves.
ROUNDING, ROUNDING_OF_SINGLES, MOST_ROUNDING = 1e-6, 1e-7, 0.1


@dataclass(frozen=True)
class Layout:
    """How columns lie in an event: the states of those that have any, then the values of those that have any.

    Args:
        columns: modelled columns, in the order of the table.
    """

    columns: tuple[Column, ...]

    @cached_property
    def stated(self) -> tuple[int, ...]:
        """Positions of the columns with states."""
        return tuple(i for i, column in enumerate(self.columns) if column.n_states)

    @cached_property
    def valued(self) -> tuple[int, ...]:
        """Positions of the columns with values."""
        return tuple(i for i, column in enumerate(self.columns) if column.valued)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of states of each column that has any."""
        return tuple(self.columns[i].n_states for i in self.stated)

    @property
    def state_of_value(self) -> tuple[int, ...]:
        """For each value, which state says whether it is there; -1 where it always is. It is there in state 0."""
        places = {i: place for place, i in enumerate(self.stated)}
        return tuple(places.get(i, -1) for i in self.valued)

    @property
    def dim(self) -> int:
        """The length of an event."""
        return len(self.stated) + len(self.valued)

    @property
    def drawable(self) -> np.ndarray:
        """`(sum(sizes),)`: which states samples may have. The state of words never seen has no word to show."""
        flags: list[bool] = []
        for i in self.stated:
            column = self.columns[i]
            own = [True] * column.n_states
            if not column.valued and not column.rare:
                own[len(column.levels)] = False
            flags += own
        return np.array(flags, dtype=bool)


@dataclass(frozen=True)
class Encoded:
    """An encoded table.

    Attributes:
        rows: `(n, layout.dim)` float64; a value that is not there is 0.
        within: `(n,)` nats: what the rare level of a cell adds to the mass of the state that it shares.
        unseen: for each column with levels never seen in the fit, some of them.
    """

    rows: np.ndarray
    within: np.ndarray
    unseen: dict[str, list[str]]

    def take(self, places: np.ndarray) -> Encoded:
        """Some of the rows."""
        return Encoded(self.rows[places], self.within[places], {})


def encode(layout: Layout, cells: Cells, *, what: str = "the model") -> Encoded:
    """Cells to numbers.

    Args:
        layout: of the columns.
        cells: with these columns, and perhaps others.
        what: for messages.

    Raises:
        DataError: a column is missing or holds something else than in the schema, or a cell is missing where missing
            values are not modelled.
    """
    cells = cells.select([column.name for column in layout.columns])
    state_places, value_places = places_of(layout)
    rows = np.zeros((len(cells), layout.dim))
    within, unseen = np.zeros(len(cells)), {}
    blanks: list[tuple[str, int]] = []
    for i, column in enumerate(layout.columns):
        if column.valued:
            values = numbers_of(cells, column)
            states = np.zeros(len(values), np.int64)
            blank = np.isnan(values)
            for number, atom in enumerate(column.atoms):
                states[values == in_steps(np.array([atom]), column)[0]] = 1 + number
            there = (states == 0) & ~blank
            rows[:, value_places[i]] = np.where(there, values, 0.0)
        else:
            states, blank, extra, new = _levels(cells, column)
            within += extra
            if new:
                unseen[column.name] = new
        if blank.any() and not column.missing:
            blanks.append((column.name, int(blank.sum())))
        elif column.missing:
            states[blank] = column.missing_state
        if column.n_states:
            rows[:, state_places[i]] = states
    if blanks:
        raise missing_values(cells, blanks)
    return Encoded(rows, within, unseen)


def places_of(layout: Layout) -> tuple[dict[int, int], dict[int, int]]:
    """For each column's position, where its state and where its value lie in an event."""
    states = {i: place for place, i in enumerate(layout.stated)}
    return states, {i: len(states) + place for place, i in enumerate(layout.valued)}


def missing_values(cells: Cells, blanks: Sequence[tuple[str, int]]) -> DataError:
    """The one error for missing cells, with the two ways out."""
    shown = ", ".join(f"'{name}' ({count})" for name, count in blanks[:8])
    shown += f" and {len(blanks) - 8} more columns" if len(blanks) > 8 else ""
    return DataError(
        "missing",
        f"{cells.source}: missing values in {shown}, of {len(cells)} rows. Choose: --missing drop leaves those rows "
        "out, --missing model fits a model in which cells may be missing (missing= in Python).",
    )


def has_blanks(layout: Layout, cells: Cells) -> np.ndarray:
    """Which rows have a missing cell in one of the columns."""
    blank = np.zeros(len(cells), bool)
    for column in layout.columns:
        blank |= np.isnan(numbers_of(cells, column)) if column.valued else _levels(cells, column)[1]
    return blank


def numbers_of(cells: Cells, column: Column) -> np.ndarray:
    """The cells of a column of numbers or dates as float64, NaN where missing.

    Raises:
        DataError: the column holds something else.
    """
    array = cells.table.column(column.name)
    kind = array.type
    if is_text(kind) and (column.kind == "datetime" or column.format is not None):
        text = without_blanks(plain_text(array))
        values = times.parse(text, column.format or "%Y-%m-%d")
        return _no_strangers(cells, column, text, values, f"a date like {column.format or '%Y-%m-%d'}")
    if times.is_time(kind):
        found = times.to_numbers(array)
        if column.format is not None:
            found = times.in_format(found, kind, column.format)
        elif pa.types.is_timestamp(kind) and column.type.startswith("date"):
            found = np.floor(found / times.DAY)
        elif pa.types.is_date(kind) and column.type.startswith("timestamp"):
            found = found * times.DAY
    elif is_text(kind):
        text = without_blanks(plain_text(array))
        numeric = pc.match_substring_regex(text, NUMBER)
        found = np.asarray(
            pc.if_else(numeric, text, None).cast(pa.float64()).to_numpy(zero_copy_only=False), np.float64
        )
        _no_strangers(cells, column, text, found, "a number")
    else:
        found = arrow_column(array)
    if found is None or isinstance(found, str):
        what = "whole numbers beyond 2**53" if found is None else found
        raise DataError(
            "non-numeric", f"{cells.source}: '{column.name}' holds {what}; it is {column.kind} in the schema."
        )
    if np.isinf(found).any():
        row = int(np.flatnonzero(np.isinf(found))[0]) + 1
        raise DataError("infinite", f"{cells.source}: infinite values in '{column.name}', the first is row {row}.")
    return in_steps(found, column)


def in_steps(values: np.ndarray, column: Column) -> np.ndarray:
    """Numbers as the model sees them: on their steps, and on a circle counted from where it is cut."""
    if column.kind == "circular":
        period = column.period or 1.0
        values = (values - turned(column)) % period
        values = snapped(values, column.step)
        return np.where(values >= period, 0.0, values)  # rounding may lead once round
    return snapped(values, column.step)


def turned(column: Column) -> float:
    """Where a circular column is cut open."""
    return (column.low or 0.0) + (column.cut or 0.0)


def _no_strangers(cells: Cells, column: Column, text: Any, values: np.ndarray, what: str) -> np.ndarray:
    odd = np.isnan(values) & ~np.asarray(pc.is_null(text))
    if odd.any():
        row = int(odd.argmax())
        raise DataError(
            "dates" if column.kind == "datetime" else "non-numeric",
            f"{cells.source}: '{column.name}' holds {text[row].as_py()[:40]!r} in row {row + 1}; expected {what}.",
        )
    return values


def snapped(values: np.ndarray, step: float | None) -> np.ndarray:
    """The multiple of the step at or below each value, which stands for the interval up to the next one."""
    if step is None:
        return values
    steps = values / step
    nearest = np.rint(steps)
    close = np.minimum(ROUNDING + ROUNDING_OF_SINGLES * np.abs(steps), MOST_ROUNDING)
    return np.where(np.abs(steps - nearest) <= close, nearest, np.floor(steps)) * step


def _levels(cells: Cells, column: Column) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """States, which cells are missing, what rare levels add in nats, and a few levels never seen."""
    array = cells.table.column(column.name)
    if is_text(array.type):
        array = plain_text(array)
        if not isinstance(column.levels[0], str):
            array = without_blanks(array)
    elif pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    if pa.types.is_decimal(array.type):  # the schema's levels are float64
        array = array.cast(pa.float64())
    try:
        coded = array.combine_chunks().dictionary_encode()
    except pa.ArrowException as error:
        raise DataError(
            "non-numeric", f"{cells.source}: '{column.name}' holds values of type {str(array.type)[:60]}, not levels."
        ) from error
    blank = np.asarray(pc.is_null(coded, nan_is_null=False))
    codes = np.asarray(coded.indices.fill_null(0).to_numpy(zero_copy_only=False), np.int64)
    words = coded.dictionary.to_pylist()
    own = {level_key(level): number for number, level in enumerate(column.levels)}
    rare = {level_key(level): count for level, count in zip(column.rare, column.rare_counts, strict=True)}
    other, total = len(column.levels), sum(column.rare_counts) + 1
    states, extra = np.full(max(len(words), 1), other), np.zeros(max(len(words), 1))
    new, nothing = [], np.zeros(max(len(words), 1), bool)
    for number, word in enumerate(words):
        key = _key_of(column, word)
        if key is None:
            nothing[number] = True
        elif key in own:
            states[number] = own[key]
        else:
            extra[number] = np.log(max(rare.get(key, 0), 1) / total)
            if key not in rare:
                new.append(str(word)[:80])
    blank = blank | nothing[codes]
    return np.where(blank, 0, states[codes]), blank, np.where(blank, 0.0, extra[codes]), new[:8]


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


def decode(layout: Layout, rows: np.ndarray, others: Sequence[Column] = (), seed: int = 0) -> dict[str, pa.Array]:
    """Numbers to cells, in the types of the schema: within bounds, on steps, of known levels.

    Args:
        layout: of the columns.
        rows: `(n, layout.dim)`, as a model draws them.
        others: constant columns, which come back as they were.
        seed: for the choice among rare levels.

    Returns:
        Arrow arrays by name.
    """
    made: dict[str, pa.Array] = {}
    state_places, value_places = places_of(layout)
    rng = np.random.default_rng(seed)
    for i, column in enumerate(layout.columns):
        states = None
        if column.n_states:
            states = np.rint(rows[:, state_places[i]]).astype(np.int64)
        if column.valued:
            values = within_bounds(rows[:, value_places[i]].copy(), column)
            if states is not None:
                for number, atom in enumerate(column.atoms):
                    values[states == 1 + number] = atom
                if column.missing:
                    values[states == column.missing_state] = np.nan
            made[column.name] = _typed(values, column)
        elif states is not None:
            made[column.name] = _words(states, column, rng)
    for column in others:
        if column.kind == "constant":
            made[column.name] = _constant(column, len(rows))
    return made


def within_bounds(values: np.ndarray, column: Column) -> np.ndarray:
    """The numbers as cells hold them: on their steps, and not beyond the last one."""
    if column.step is not None:
        values = snapped(values, column.step)
        digits = -int(Decimal(f"{column.step:.12g}").normalize().as_tuple().exponent)
        if 0 < digits <= 15:  # 3 * 0.1 is not 0.3
            few = np.abs(values) < 2.0**52 / 10.0**digits
            values = np.where(few, np.round(np.where(few, values, 0.0), digits), values)
    if column.kind == "circular":
        start, period = column.low or 0.0, column.period or 1.0
        return (values + turned(column) - start) % period + start
    return np.clip(values, column.support[0], np.inf if column.high is None else column.high)


def _typed(values: np.ndarray, column: Column) -> pa.Array:
    if column.type == "string" and (column.kind == "datetime" or column.format is not None):
        return times.write(values, column.format or "%Y-%m-%d")
    kind = arrow_type(column.type)
    if times.is_time(kind):
        return times.from_numbers(values, kind)
    blank = np.isnan(values)
    if pa.types.is_integer(kind):
        limits = np.iinfo(kind.to_pandas_dtype())
        # The largest number of 64 bits is no float64; the next one below is.
        most = np.nextafter(limits.max, 0) if limits.max > 2**53 else float(limits.max)
        whole = np.clip(np.where(blank, 0, np.rint(values)), float(limits.min), most)
        return pa.array(whole.astype(np.float64), mask=blank).cast(kind, safe=False)
    if pa.types.is_string(kind):  # numbers that came as text
        return pa.array([None if np.isnan(v) else f"{v:.15g}" for v in values], pa.string())
    if pa.types.is_decimal(kind):
        most = 10.0 ** (kind.precision - kind.scale) - 10.0**-kind.scale
        values = np.clip(values, -most, most)
    return pa.array(values, mask=blank).cast(kind, safe=False)


def _words(states: np.ndarray, column: Column, rng: np.random.Generator) -> pa.Array:
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
        return pa.DictionaryArray.from_arrays(indices, pa.array(words, kind.value_type))
    return pa.DictionaryArray.from_arrays(indices, levels_as(words, kind)).cast(kind)


def _constant(column: Column, n: int) -> pa.Array:
    kind = arrow_type(column.type)
    value = column.value
    if value is not None and times.is_time(kind):
        return times.from_numbers(np.full(n, float(value)), kind)
    return levels_as([value] * n, kind)


def levels_as(levels: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Levels as a column of this type: those of decimals are numbers in a schema."""
    return pa.array(levels, pa.float64()).cast(kind) if pa.types.is_decimal(kind) else pa.array(levels, kind)
