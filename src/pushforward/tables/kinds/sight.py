"""What can be seen in the cells of one column, each thing found once and only when a kind asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables import times
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.atoms import find_atoms, find_codes
from pushforward.tables.kinds.base import MAX_ATOMS, Bounds
from pushforward.tables.kinds.ends import find_ends, tail_index
from pushforward.tables.kinds.steps import clock_step, find_remainders, find_step
from pushforward.tables.kinds.text import in_order, is_text, type_name

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute


@dataclass
class Sight:
    """The cells of a column that is to be detected.

    Attributes:
        source: Name of the table, for messages.
        name: Name of the column.
        array: Its cells, without blanks.
        numbers: The same as float64 with NaN where missing; None for text, booleans, and integers beyond 2**53.
        missing: Whether missing cells are to be modelled.
        bounds: Which bounds the column is to have.
        notes: Remarks for the user; kinds append theirs.
        categories: Of a categorical column, all its categories, also those that no cell has.
        ordered: Whether the categories have an order.
    """

    source: str
    name: str
    array: pa.ChunkedArray
    numbers: np.ndarray | None
    missing: bool
    bounds: Bounds
    notes: list[str]
    categories: tuple[str, ...] = ()
    ordered: bool = False

    @property
    def type(self) -> pa.DataType:
        """The Arrow type."""
        return self.array.type

    @cached_property
    def base(self) -> dict[str, Any]:
        """The fields that every kind has."""
        return {"name": self.name, "type": type_name(self.type), "missing": self.missing and self.n_missing > 0}

    @cached_property
    def n_missing(self) -> int:
        """The number of missing cells."""
        if self.numbers is not None and pa.types.is_floating(self.type):
            return int(np.isnan(self.numbers).sum())
        return self.array.null_count

    @property
    def text(self) -> bool:
        """Whether the cells are text."""
        return is_text(self.type)

    @property
    def time(self) -> bool:
        """Whether the cells are dates, times of day or durations."""
        return times.is_time(self.type)

    @property
    def clock(self) -> bool:
        """Whether the cells are times of day."""
        return pa.types.is_time32(self.type) or pa.types.is_time64(self.type)

    @property
    def plain(self) -> bool:
        """Whether the cells are numbers and no times."""
        return self.numbers is not None and not self.time

    @cached_property
    def present(self) -> Any:
        """The cells that are not missing."""
        return self.array.drop_null()

    @cached_property
    def words(self) -> Any:
        """The different cells of a column of text."""
        return pc.unique(self.present)

    @cached_property
    def format(self) -> str | None:
        """The format of dates or times that are written as text, None if the cells are no such text.

        Raises:
            DataError: they are written in several formats.
        """
        if not self.text or self.categories:
            return None
        form, ambiguous, examples = times.find_format(in_order(self.words))
        if examples:
            raise DataError(
                "dates",
                f"{self.source}: '{self.name}' writes dates in several formats, or some that are no dates: "
                f"{', '.join(examples)}. Write them in one, leave the column out with --columns (columns= in Python), "
                'or name it a category in a schema ("kind": "category").',
            )
        if ambiguous:
            self.notes.append(
                f"{self.source}: '{self.name}' is read as day/month; set \"format\" in a schema if it is month/day."
            )
        return form

    @cached_property
    def values(self) -> np.ndarray:
        """The numbers that are not missing.

        Raises:
            DataError: some are infinite.
        """
        numbers = np.zeros(0) if self.numbers is None else self.numbers
        values = numbers if self.n_missing == 0 else numbers[~np.isnan(numbers)]
        infinite = int(np.isinf(values).sum())
        if infinite:
            row = int(np.flatnonzero(np.isinf(numbers))[0]) + 1
            raise DataError(
                "infinite",
                f"{self.source}: infinite values in '{self.name}': {infinite} of {len(numbers)} rows, the first is row "
                f"{row}. Drop those rows, or leave the column out with --columns (columns= in Python).",
            )
        return values

    @cached_property
    def timed(self) -> np.ndarray:
        """The numbers of dates and times, also of those that are written as text."""
        return self.values if self.format is None else times.parse(self.present, self.format)

    @cached_property
    def counted(self) -> tuple[np.ndarray, np.ndarray]:
        """The different numbers, ascending, and how often each comes."""
        return np.unique(self.timed, return_counts=True)

    @property
    def distinct(self) -> np.ndarray:
        """The different numbers, ascending; those of dates that are written as text."""
        return self.counted[0]

    @property
    def counts(self) -> np.ndarray:
        """How often each of `distinct` comes."""
        return self.counted[1]

    @cached_property
    def whole(self) -> bool:
        """Whether all numbers are whole; beyond 2**53 every float64 is, which says nothing."""
        ends = self.distinct[[0, -1]]
        return bool(np.abs(ends).max() <= 2**53 and np.all(self.distinct == np.rint(self.distinct)))

    @cached_property
    def atoms(self) -> tuple[float, ...]:
        """Numbers that have a probability of their own, such as 0, or -999 for "not known"."""
        codes = () if self.time else (value for value, _ in find_codes(self.distinct, self.counts))
        return tuple(dict.fromkeys((*find_atoms(self.distinct, self.counts), *codes)))[:MAX_ATOMS]

    @cached_property
    def _apart(self) -> np.ndarray:
        """Which of `distinct` are no atoms."""
        return ~np.isin(self.distinct, self.atoms) if self.atoms else np.ones(len(self.distinct), bool)

    @cached_property
    def step(self) -> float | None:
        """What all numbers but the atoms are multiples of; of numbers on a clock, a unit of it."""
        own = self.distinct[self._apart]
        if self.time:
            return clock_step(own)
        return find_step(own, single=self.base["type"] == "float")

    @cached_property
    def remainders(self) -> tuple[float, tuple[float, ...]] | None:
        """A coarse step that most numbers are on, and the remainders of the others."""
        return find_remainders(self.distinct[self._apart], self.counts[self._apart], self.step)

    @cached_property
    def line(self) -> Line:
        """What a density over the numbers has to know."""
        atoms, step = self.atoms, self.step
        rest = self.values[~np.isin(self.values, atoms)] if atoms else self.values
        if float(rest.min()) == 0 and step is None and self.bounds != "none":
            # A log-scale has no 0, so that even a single 0 is an atom.
            atoms, rest = (*atoms, 0.0), rest[rest > 0]
        if len(rest) == 0 or rest.min() == rest.max():
            return Line(rest, tuple(sorted(atoms)), None, None, None)
        low, high = find_ends(self.name, rest, step, self.bounds)
        if self.bounds == "natural" and high is not None and step is None and high == rest.max():
            atoms, rest = (*atoms, high), rest[rest < high]
        heavy = tail_index(rest) if low is None or high is None else None
        return Line(rest, tuple(sorted(atoms)), low, high, heavy)

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of a column of numbers on a line."""
        line, step = self.line, self.step
        made = {**self.base, "low": line.low, "high": line.high, "step": step, "atoms": line.atoms}
        made["tail_index"] = line.heavy
        if self.remainders is not None and step is not None:
            made |= {"step": self.remainders[0], "fine": step, "remainders": self.remainders[1]}
        return made


@dataclass(frozen=True)
class Line:
    """Numbers on a line.

    Attributes:
        rest: Those that are no atoms.
        atoms: Those that have a probability of their own, also at the ends.
        low: Lower bound, or None.
        high: Upper bound, or None.
        heavy: Exponent of heavy tails, or None.
    """

    rest: np.ndarray
    atoms: tuple[float, ...]
    low: float | None
    high: float | None
    heavy: float | None
