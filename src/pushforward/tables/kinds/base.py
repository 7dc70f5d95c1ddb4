"""What a kind of column is, whatever its cells hold."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from pushforward.tables.kinds.sight import Sight
    from pushforward.tables.schema import Column

# What the numbers of a column fill, and what its axis shows.
Space = Literal["line", "half-line", "interval", "circle", "levels", "none"]
Axis = Literal["linear", "log", "date", "levels", "circle"]
# Which bounds a detected column has: those of its rows, plausible ones, or none.
Bounds = Literal["observed", "natural", "none"]
# Levels that have a state of their own; rarer ones share one. A file may not ask for more.
MAX_LEVELS = 256
MAX_RARE = 4096
MAX_ATOMS = 16
# Remainders that have a state of their own.
MAX_REMAINDERS = 100
# Longer words make a column one of free text.
MAX_WORD = 4096


class AbstractKind(abc.ABC):
    """A kind of column.

    Attributes:
        name: As the schema has it.
        meaning: A few words for people.
        holds: Whether its cells are numbers with a density, levels with a probability each, or not modelled.
        counted: Whether its numbers count by their mass, as whole numbers do.
        closed: Whether a number that is not rounded may lie at its bound, as the smallest of all does.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]
    holds: ClassVar[Literal["values", "levels", "nothing"]]
    counted: ClassVar[bool]
    closed: ClassVar[bool] = True

    @abc.abstractmethod
    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """The fields of `Column` if the cells are of this kind, else None."""

    @abc.abstractmethod
    def fault(self, column: Column) -> str | None:
        """What is wrong with the fields of a column of this kind, None if nothing is."""

    @abc.abstractmethod
    def support(self, column: Column) -> tuple[float, float]:
        """The interval that the model's numbers fill: a rounded `x` stands for `[x, x + step)`."""

    @abc.abstractmethod
    def space(self, column: Column) -> Space:
        """What the model's numbers fill."""

    @abc.abstractmethod
    def axis(self, column: Column) -> Axis:
        """The axis of a figure."""


@dataclass(frozen=True)
class Numbers:
    """The cells of a column of numbers.

    Attributes:
        states: `(n,)`: 0 where there is a number, `1 + i` at atom `i`.
        values: `(n,)` as the model sees them; 0 where there is none.
        blank: `(n,)`: where a cell is missing.
        remainders: `(n,)`: which remainder each number has, for columns that have any.
        within: `(n,)` nats: what a remainder without a state of its own adds to the mass of the state that it shares.
    """

    states: np.ndarray
    values: np.ndarray
    blank: np.ndarray
    remainders: np.ndarray | None
    within: np.ndarray | None


@dataclass(frozen=True)
class States:
    """The cells of a column of levels.

    Attributes:
        states: `(n,)`; the one after the levels is that of all others.
        blank: `(n,)`: where a cell is missing.
        within: `(n,)` nats: what a rare level adds to the mass of the state that it shares.
        unseen: a few levels that the schema lacks.
    """

    states: np.ndarray
    blank: np.ndarray
    within: np.ndarray
    unseen: list[str]


class AbstractValues(AbstractKind):
    """A kind whose cells are numbers with a density."""

    holds = "values"

    @abc.abstractmethod
    def read(self, array: pa.ChunkedArray, column: Column, source: str) -> np.ndarray:
        """The cells as float64, NaN where missing; a DataError if they are something else."""

    @abc.abstractmethod
    def to_model(self, values: np.ndarray, column: Column) -> np.ndarray:
        """Numbers of cells as the model sees them: on their steps, on a circle from its low end."""

    @abc.abstractmethod
    def to_cells(self, values: np.ndarray, column: Column) -> np.ndarray:
        """Numbers of the model on their steps and within bounds; on a circle, between its ends."""

    @abc.abstractmethod
    def write(self, values: np.ndarray, column: Column) -> pa.Array:
        """What `to_cells` gave, NaN where missing, in the type of the column."""


class AbstractLevels(AbstractKind):
    """A kind whose cells are levels with a probability each."""

    holds = "levels"
    counted = True

    @abc.abstractmethod
    def read(self, array: pa.ChunkedArray, column: Column, source: str) -> States:
        """The states of the cells; a DataError if they are no levels."""

    @abc.abstractmethod
    def write(self, states: np.ndarray, column: Column, rng: np.random.Generator) -> pa.Array:
        """The cells of states, in the type of the column."""


class AbstractAside(AbstractKind):
    """A kind whose cells are not modelled."""

    holds = "nothing"
    counted = False

    @abc.abstractmethod
    def strange(self, array: pa.ChunkedArray, column: Column) -> np.ndarray:
        """`(n,)`: which cells are unlike all that the fit saw."""

    @abc.abstractmethod
    def write(self, column: Column, n: int) -> pa.Array | None:
        """`n` cells, None if a sample has none."""
