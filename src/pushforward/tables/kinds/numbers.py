"""Kinds of numbers on a line: any, positive, between bounds, whole."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pushforward.tables.kinds.base import AbstractValues, Axis, Space
from pushforward.tables.kinds.cells import read_numbers, write_numbers
from pushforward.tables.kinds.ends import NAMED_PAIRS, PAIRS, better_scale
from pushforward.tables.kinds.sight import Sight
from pushforward.tables.kinds.steps import snapped, tidied

if TYPE_CHECKING:
    from pushforward.tables.schema import Column


class AbstractNumber(AbstractValues):
    """A kind of numbers on a line, with or without a bound at each end."""

    def read(self, array: pa.ChunkedArray, column: Column, source: str) -> np.ndarray:
        """See `AbstractValues`."""
        return read_numbers(array, column, source)

    def to_model(self, values: np.ndarray, column: Column) -> np.ndarray:
        """See `AbstractValues`."""
        return snapped(values, column.step)

    def to_cells(self, values: np.ndarray, column: Column) -> np.ndarray:
        """See `AbstractValues`."""
        return within(values, column, self.support(column))

    def write(self, values: np.ndarray, column: Column) -> pa.Array:
        """See `AbstractValues`."""
        return write_numbers(values, column)

    def space(self, column: Column) -> Space:
        """See `AbstractKind`."""
        return space_of(self.support(column))


def within(values: np.ndarray, column: Column, support: tuple[float, float]) -> np.ndarray:
    """Numbers on the steps of a column, and not beyond the last one."""
    values = tidied(snapped(values, column.step), column.step)
    return np.clip(values, support[0], math.inf if column.high is None else column.high)


def support_of(column: Column, low: float | None) -> tuple[float, float]:
    """The interval from a low bound to the high one of a column, whose last step belongs to it."""
    high = column.high
    if column.remainders and column.step is not None:  # whole steps are modelled, and remainders beside them
        low = None if low is None else float(snapped(np.array([low]), column.step)[0])
        high = None if high is None else float(snapped(np.array([high]), column.step)[0])
    top = math.inf if high is None else high + (column.step or 0.0)
    return -math.inf if low is None else low, top


def space_of(support: tuple[float, float]) -> Space:
    """What an interval that may have no end is called."""
    n_ends = sum(map(math.isfinite, support))
    return ("line", "half-line", "interval")[n_ends]  # pyright: ignore[reportReturnType]


class Bounded(AbstractNumber):
    """Numbers between two bounds."""

    name = "bounded"
    meaning = "numbers between two bounds"
    counted = False
    closed = False

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        if not sight.plain:
            return None
        # Numbers that merely end sharply are whole, positive or any, with bounds.
        ends = sight.line.low, sight.line.high
        own = sight.bounds == "natural" and ends in (PAIRS if sight.whole else (*PAIRS, *NAMED_PAIRS))
        return sight.fields if own else None

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return "a bounded column needs low and high" if column.low is None or column.high is None else None

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return support_of(column, column.low)

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "linear"


class Positive(AbstractNumber):
    """Numbers above 0, or above another low end."""

    name = "positive"
    meaning = "numbers above 0"
    counted = False
    closed = False

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        if not sight.plain or sight.whole or sight.line.low is None or sight.line.low < 0 or sight.bounds == "observed":
            return None
        return {**sight.fields, "scale": scale_of(sight)}

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return None

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return support_of(column, column.low or 0.0)

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "log" if column.scale == "log" else "linear"


class Count(AbstractNumber):
    """Whole numbers from 0, or from another low end."""

    name = "count"
    meaning = "whole numbers from 0"
    counted = True

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        if not sight.plain or not sight.whole or sight.line.low is None or sight.line.low < 0:
            return None
        return {**sight.fields, "scale": scale_of(sight)}

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return needs_step(column)

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return support_of(column, column.low or 0.0)

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "log" if column.scale == "log" else "linear"


class Integer(AbstractNumber):
    """Whole numbers."""

    name = "integer"
    meaning = "whole numbers"
    counted = True

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        return sight.fields if sight.plain and sight.whole else None

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return needs_step(column)

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return support_of(column, column.low)

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "linear"


class Real(AbstractNumber):
    """Any number."""

    name = "real"
    meaning = "any number"
    counted = False

    def claim(self, sight: Sight) -> dict[str, Any] | None:
        """See `AbstractKind`."""
        return sight.fields if sight.plain else None

    def fault(self, column: Column) -> str | None:
        """See `AbstractKind`."""
        return None

    def support(self, column: Column) -> tuple[float, float]:
        """See `AbstractKind`."""
        return support_of(column, column.low)

    def axis(self, column: Column) -> Axis:
        """See `AbstractKind`."""
        return "linear"


def needs_step(column: Column) -> str | None:
    """What is wrong with a column of whole numbers without a step."""
    return f"a column of kind {column.kind} needs a step (1 for whole numbers)" if column.step is None else None


def scale_of(sight: Sight) -> str:
    """The scale on which positive numbers of a half-line are closer to a normal."""
    line = sight.line
    if line.heavy is not None or line.high is not None:
        return "linear"
    return better_scale(line.rest - (line.low or 0.0) + 0.5 * (sight.step or 0.0))
