"""From cells to the numbers that a model sees, and back: states first, then values, one column each.

Encoding loses nothing that the density needs: a cell is a state, a value, or a state that says that there is a value. A
value that lies on a coarse step with one of a few remainders is two: the multiple and the state of its remainder.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward._words import nearest
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.atoms import is_atom
from pushforward.tables.kinds.base import AbstractAside, AbstractLevels, AbstractValues
from pushforward.tables.kinds.levels import level_key
from pushforward.tables.kinds.steps import between, snapped, split, tidied
from pushforward.tables.kinds.text import arrow_type
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import Column

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute


@dataclass(frozen=True)
class Layout:
    """How columns lie in an event: the states of those that have any, then the values of those that have any.

    Args:
        columns: modelled columns, in the order of the table.
    """

    columns: tuple[Column, ...]

    @cached_property
    def stated(self) -> tuple[int, ...]:
        """Positions of the columns with states, then those of the columns with remainders, which are states too."""
        states = [i for i, column in enumerate(self.columns) if column.n_states]
        return (*states, *(i for i, column in enumerate(self.columns) if column.remainders))

    @cached_property
    def valued(self) -> tuple[int, ...]:
        """Positions of the columns with values."""
        return tuple(i for i, column in enumerate(self.columns) if column.valued)

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """The number of states of each of `stated`."""
        first = [column.n_states for column in self.columns if column.n_states]
        return (*first, *(len(column.remainders) + 1 for column in self.columns if column.remainders))

    @cached_property
    def state_of_value(self) -> tuple[int, ...]:
        """For each value, which state says whether it is there; -1 where it always is. It is there in state 0."""
        places = places_of(self)[0]
        return tuple(places.get(i, -1) for i in self.valued)

    @property
    def dim(self) -> int:
        """The length of an event."""
        return len(self.stated) + len(self.valued)

    @property
    def drawable(self) -> np.ndarray:
        """`(sum(sizes),)`: which states samples may have. The state of words never seen has no word to show."""
        flags: list[bool] = []
        for column in self.columns:
            if column.n_states:
                own = [True] * column.n_states
                if not column.valued:
                    unused = {*map(level_key, column.unused)}
                    own[: len(column.levels)] = [level_key(level) not in unused for level in column.levels]
                    own[len(column.levels)] = bool(column.rare)
                flags += own
        for column in self.columns:
            if column.remainders:
                flags += [True] * len(column.remainders) + [False]
        return np.array(flags, dtype=bool)


@dataclass(frozen=True)
class Encoded:
    """An encoded table.

    Attributes:
        rows: `(n, layout.dim)` float64; a value that is not there is 0.
        within: `(n,)` nats: what the rare level of a cell adds to the mass of the state that it shares.
        unseen: for each column with levels never seen in the fit, some of them.
        strange: `(n,)`: rows in which a column that was constant in the fit has another value, or one of whole numbers
            a fraction; None if there are none or none was looked at.
    """

    rows: np.ndarray
    within: np.ndarray
    unseen: dict[str, list[str]]
    strange: np.ndarray | None = None

    def take(self, places: np.ndarray) -> Encoded:
        """Some of the rows."""
        strange = None if self.strange is None else self.strange[places]
        return Encoded(self.rows[places], self.within[places], {}, strange)


def encode(
    layout: Layout, cells: Cells, *, others: Sequence[Column] = (), unseen: str = "other", gaps: bool = False
) -> Encoded:
    """Cells to numbers.

    Args:
        layout: of the columns.
        cells: with these columns, and perhaps others.
        others: constant columns, to be compared with their value where the cells have them.
        unseen: `"error"` refuses levels that the fit never saw; `"other"` gives them the state that rare levels share.
        gaps: whether cells may be missing where missing values are not modelled; what stands there means nothing.

    Raises:
        DataError: a column is missing or holds something else than in the schema, or a cell is missing where missing
            values are not modelled, or a level is unseen and such are refused.
    """
    own = cells.select([column.name for column in layout.columns])
    state_places, value_places = places_of(layout)
    remainder_places = remainders_of(layout)
    rows = np.zeros((len(cells), layout.dim))
    within, new, odd = np.zeros(len(cells)), {}, np.zeros(len(cells), bool)
    blanks: list[tuple[str, int]] = []
    for i, column in enumerate(layout.columns):
        kind, array = column.family, own.table.column(column.name)
        if isinstance(kind, AbstractLevels):
            found = kind.read(array, column, cells.source)
            states, blank = found.states, found.blank
            within += found.within
            if found.unseen and unseen == "error":
                raise unseen_level(cells.source, column, found.unseen[0])
            if found.unseen:
                new[column.name] = found.unseen
        else:
            raw = numbers_of(own, column)
            blank = np.isnan(raw)
            states = np.zeros(len(raw), np.int64)
            for number, atom in enumerate(column.atoms):
                states[is_atom(raw, atom, column.fine or column.step)] = 1 + number
            there = (states == 0) & ~blank
            if i in remainder_places:
                values, which, extra = _split(column, np.where(there, raw, 0.0))
                rows[:, remainder_places[i]] = np.where(there, which, 0)
                within += np.where(there, extra, 0.0)
            else:
                values = in_steps(raw, column)
                if column.counted and column.step is not None:
                    odd |= there & between(raw, column.step)
            rows[:, value_places[i]] = np.where(there, values, 0.0)
        if blank.any() and not column.missing and not gaps:
            blanks.append((column.name, int(blank.sum())))
        elif column.missing:
            states[blank] = column.missing_state
        if column.n_states:
            rows[:, state_places[i]] = states
    if blanks:
        raise missing_values(cells, blanks)
    strange = _strange(cells, others)
    if odd.any():
        strange = odd if strange is None else odd | strange
    return Encoded(rows, within, new, strange)


def _split(column: Column, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Multiples of the coarse step, remainders, and nats; a density is per unit of the fine step."""
    step, fine = column.step or 1.0, column.fine or 1.0
    whole, which, extra = split(values, step, fine, column.remainders)
    return whole, which, extra + (0.0 if column.counted else math.log(step / fine))


def _strange(cells: Cells, others: Sequence[Column]) -> np.ndarray | None:
    odd = None
    for column in others:
        if isinstance(column.family, AbstractAside) and column.name in cells.names:
            own = column.family.strange(cells.table.column(column.name), column)
            odd = own if odd is None else odd | own
    return odd


def places_of(layout: Layout) -> tuple[dict[int, int], dict[int, int]]:
    """For each column's position, where its state and where its value lie in an event."""
    states = [i for i, column in enumerate(layout.columns) if column.n_states]
    first = len(layout.stated)
    return (
        {i: place for place, i in enumerate(states)},
        {i: first + place for place, i in enumerate(layout.valued)},
    )


def remainders_of(layout: Layout) -> dict[int, int]:
    """For the position of each column with remainders, where the state of its remainder lies in an event."""
    first = sum(column.n_states > 0 for column in layout.columns)
    return {i: first + place for place, i in enumerate(layout.stated[first:])}


def missing_values(cells: Cells, blanks: Sequence[tuple[str, int]], n: int | None = None) -> DataError:
    """The one error for missing cells, with the two ways out.

    Args:
        cells: The table.
        blanks: Names of columns, and how many of their cells are missing.
        n: Number of rows that were looked at; None for those of `cells`.
    """
    shown = ", ".join(f"'{name}' ({count})" for name, count in blanks[:8])
    shown += f" and {len(blanks) - 8} more columns" if len(blanks) > 8 else ""
    return DataError(
        "missing",
        f"{cells.source}: missing values in {shown}, of {n or len(cells)} rows. Choose: --missing drop leaves those "
        "rows out, --missing model fits a model in which cells may be missing (missing= in Python).",
    )


def unseen_level(source: str, column: Column, word: str) -> DataError:
    """The error for a condition that the fit never saw, with the nearest level that it knows."""
    known = [str(level) for level in (*column.levels, *column.rare)]
    return DataError(
        "unseen",
        f"{source}: '{column.name}' is a condition, and {word[:40]!r} is none of its {len(known):,} levels."
        f"{nearest(word, known)} Mend it, or have it scored as a level never seen: fit with --unseen other "
        "(unseen='other' in Python).",
    )


def as_asked(layout: Layout, cells: Cells, times_each: int) -> dict[str, pa.Array]:
    """The cells of conditions as they were asked for, each row so many times, in the types of the schema.

    An encoded condition has lost the label of a level that shares its state with others, so that the cells are kept.

    Args:
        layout: of the conditions.
        cells: with these columns.
        times_each: draws for each row.
    """
    rows = pa.array(np.repeat(np.arange(len(cells)), times_each))
    made = {}
    for column in layout.columns:
        array = cells.table.column(column.name).combine_chunks()
        if pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        kind = arrow_type(column.type)
        with contextlib.suppress(pa.ArrowException):  # such as a half under whole numbers
            array = _coded(array.cast(pa.string()), column) if pa.types.is_dictionary(kind) else array.cast(kind)
        made[column.name] = array.take(rows)
    return made


def _coded(words: pa.Array, column: Column) -> pa.DictionaryArray:
    """Words as a categorical that begins with the levels of the column."""
    known = [*map(str, (*column.levels, *column.rare))]
    new = [word for word in pc.unique(words.drop_null()).to_pylist() if word not in {*known}]
    every = pa.array([*known, *new], pa.string())
    return pa.DictionaryArray.from_arrays(pc.index_in(words, value_set=every), every, ordered=column.ordered)


def has_blanks(layout: Layout, cells: Cells) -> np.ndarray:
    """Which rows have a missing cell in one of the columns."""
    return np.any(gaps_of(layout, cells), axis=1)


def gaps_of(layout: Layout, cells: Cells) -> np.ndarray:
    """Which cells of the columns are missing, `(n, n_columns)`."""
    found = np.zeros((len(cells), len(layout.columns)), bool)
    for i, column in enumerate(layout.columns):
        kind = column.family
        if isinstance(kind, AbstractLevels):
            found[:, i] = kind.read(cells.table.column(column.name), column, cells.source).blank
        else:
            found[:, i] = np.isnan(numbers_of(cells, column))
    return found


def numbers_of(cells: Cells, column: Column) -> np.ndarray:
    """The cells of a column of numbers or dates as float64, NaN where missing.

    Raises:
        DataError: the column holds something else.
    """
    return _values_of(column).read(cells.table.column(column.name), column, cells.source)


def _values_of(column: Column) -> AbstractValues:
    kind = column.family
    if not isinstance(kind, AbstractValues):
        raise TypeError(f"encode: expected {column.name!r} to hold numbers, got kind {column.kind}.")
    return kind


def in_steps(values: np.ndarray, column: Column) -> np.ndarray:
    """Numbers as the model sees them: on their steps, and on a circle counted from its low end."""
    return _values_of(column).to_model(values, column)


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
    remainder_places = remainders_of(layout)
    rng = np.random.default_rng(seed)
    for i, column in enumerate(layout.columns):
        kind, states = column.family, np.zeros(len(rows), np.int64)
        if column.n_states:
            states = np.rint(rows[:, state_places[i]]).astype(np.int64)
        if isinstance(kind, AbstractLevels):
            made[column.name] = kind.write(states, column, rng)
        elif isinstance(kind, AbstractValues):
            values = within_bounds(rows[:, value_places[i]].copy(), column)
            if i in remainder_places:
                values = _joined(column, rows[:, value_places[i]], rows[:, remainder_places[i]])
            for number, atom in enumerate(column.atoms):
                values[states == 1 + number] = atom
            if column.missing:
                values[states == column.missing_state] = np.nan
            made[column.name] = kind.write(values, column)
    for column in others:
        if isinstance(column.family, AbstractAside):
            cells = column.family.write(column, len(rows))
            if cells is not None:
                made[column.name] = cells
    return made


def _joined(column: Column, values: np.ndarray, remainders: np.ndarray) -> np.ndarray:
    """Multiples of a coarse step with their remainders, within bounds."""
    known = np.array(column.remainders)[np.minimum(np.rint(remainders).astype(np.int64), len(column.remainders) - 1)]
    found = tidied(snapped(values, column.step) + known, column.fine)
    return np.clip(found, column.low, column.high)


def within_bounds(values: np.ndarray, column: Column) -> np.ndarray:
    """The numbers as cells hold them: on their steps, and not beyond the last one."""
    return _values_of(column).to_cells(values, column)
