"""What is known of a row: values, ranges and sets, as boxes of numbers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from pushforward._checks import message

# Sets in several columns are taken case by case: at most so many.
MOST_CASES = 256

ConditioningCode = Literal["column", "value", "too-many", "impossible", "not-exact", "unreliable", "unsupported"]


class ConditioningError(ValueError):
    """A model cannot be conditioned as asked, or the draws would not be worth trusting; the message says why.

    Args:
        code: Word for the kind of failure, for programs: `"column"` and `"value"` for what is not in the model,
            `"too-many"` cases, `"impossible"` for what has no probability, `"not-exact"` where exact draws were asked
            for, `"unreliable"` where the diagnostics of the draws are bad, `"unsupported"` for the kind of model.
        text: Sentences for people.

    Attributes:
        code: As given.
    """

    def __init__(self, code: ConditioningCode, text: str):
        super().__init__(text)
        self.code: ConditioningCode = code

    def __reduce__(self) -> tuple:
        return type(self), (self.code, str(self))


class Boxes(NamedTuple):
    """Boxes of rows, in one of which a row is known to lie.

    Attributes:
        low: Lower ends `(m, dim)`; minus infinity where nothing is known.
        high: Upper ends `(m, dim)`; equal to `low` where the number is known.
    """

    low: np.ndarray
    high: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Whether anything is known of each number, `(m, dim)`."""
        return np.isfinite(self.low) | np.isfinite(self.high)

    @property
    def points(self) -> np.ndarray:
        """Whether each number is known, `(m, dim)`."""
        return np.isfinite(self.low) & (self.low == self.high)


def boxes_of(name: str, given: Mapping[int, Any], dim: int) -> Boxes:
    """The boxes that conditions on the numbers of an event describe, one for each choice among the sets.

    Args:
        name: Name of the caller, for messages.
        given: By place of a number: a value; a range as a tuple `(low, high)` with None or infinity for an end that is
            not there; or a set of values, as a set or a list.
        dim: Length of an event.

    Raises:
        ConditioningError: A place is not in the event, a value is not a finite number, a range is empty, or there are
            too many cases.
    """
    if not isinstance(given, Mapping) or not given:
        raise ConditioningError(
            "value", message(name, "conditions as a dict", f"{given!r:.60}", "Write {0: 1.5, 2: (0, None)}.")
        )
    choices: dict[int, list[tuple[float, float]]] = {}
    for place, value in given.items():
        if isinstance(place, bool) or not hasattr(place, "__index__") or not -dim <= place.__index__() < dim:
            fix = "Name numbers of an event by their places."
            raise ConditioningError("column", message(name, f"places from 0 to {dim - 1}", repr(place), fix))
        own = place.__index__() % dim
        if own in choices:
            fix = "Name each place once; a tuple (low, high) is a range, a set {1, 2} a choice."
            raise ConditioningError("column", message(name, "each place once", f"place {own} twice", fix))
        choices[own] = _ranges(name, place, value)
    n_cases = math.prod(len(options) for options in choices.values())
    if n_cases > MOST_CASES:
        fix = "Condition on fewer values, or on ranges."
        raise ConditioningError("too-many", message(name, f"at most {MOST_CASES} cases", f"{n_cases:,}", fix))
    low, high = np.full((n_cases, dim), -np.inf), np.full((n_cases, dim), np.inf)
    for row, case in enumerate(itertools.product(*choices.values())):
        for place, (start, end) in zip(choices, case, strict=True):
            low[row, place], high[row, place] = start, end
    return Boxes(low, high)


def _ranges(name: str, place: Any, value: Any) -> list[tuple[float, float]]:
    if isinstance(value, tuple):
        if len(value) != 2:
            fix = "A range is (low, high); for a set of values write {1, 2, 3}."
            raise ConditioningError("value", message(f"{name}: {place}", "two ends", repr(value), fix))
        low = -math.inf if value[0] is None else _number(name, place, value[0], ends=True)
        high = math.inf if value[1] is None else _number(name, place, value[1], ends=True)
        if not low < high or (low == -math.inf and high == math.inf):
            fix = "Write (low, high), with None for an end that is not there."
            raise ConditioningError("value", message(f"{name}: {place}", "a range low < high", repr(value), fix))
        return [(low, high)]
    if isinstance(value, set | frozenset | list | Sequence) and not isinstance(value, str):
        numbers = sorted({_number(name, place, one) for one in value})
        if not numbers:
            raise ConditioningError("value", message(f"{name}: {place}", "values", "an empty set", "Name a value."))
        return [(number, number) for number in numbers]
    number = _number(name, place, value)
    return [(number, number)]


def _number(name: str, place: Any, value: Any, ends: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number) or (math.isinf(number) and not ends):
        fix = "Give a number, a range (low, high) or a set of numbers."
        raise ConditioningError("value", message(f"{name}: {place}", "a finite number", repr(value), fix))
    return number
