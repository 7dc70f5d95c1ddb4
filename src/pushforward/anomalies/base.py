"""What a score of unusual rows is: its settings, what a fit makes of them, and its parts in a model folder."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from pushforward.tables.estimators import FlowDensity


@dataclass(frozen=True)
class ScoreParts:
    """A fitted score as a model folder holds it: JSON, arrays and fitted densities, and no code.

    Attributes:
        name: Name of the score in `SCORES`; it chooses the class that reads the parts.
        settings: What JSON can hold: names, numbers, lists and dicts of them.
        arrays: Arrays of numbers by name; floats are finite.
        densities: Fitted densities by name.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    densities: Mapping[str, FlowDensity] = field(default_factory=dict)


class FittedScore(abc.ABC):
    """A score that has seen ordinary rows. A higher value is a more unusual row.

    The value of a row depends on that row alone, so that tables larger than memory are scored batch by batch.
    """

    @abc.abstractmethod
    def __call__(self, X: Any) -> np.ndarray:
        """The score of each row, `(n,)` in float64; plus infinity is a row that cannot be.

        Args:
            X: Rows of the kind that the fit had, in any form that `FlowDensity.score_samples` takes.
        """

    @abc.abstractmethod
    def describe(self) -> str:
        """What the score is, in one sentence."""

    @abc.abstractmethod
    def to_parts(self) -> ScoreParts:
        """The parts of a model folder that holds the score."""

    @classmethod
    @abc.abstractmethod
    def from_parts(cls, parts: ScoreParts) -> FittedScore:
        """The score that `to_parts` gave.

        Args:
            parts: Parts of a folder, whose types `to_parts` of the same class would give. Nothing in them is trusted:
                a wrong key or shape is an `UntrustedModelError`.
        """


class AbstractScore(abc.ABC):
    """The settings of a score that says how unusual a row is; a subclass is a frozen dataclass.

    A higher score is a more unusual row. Scores of one fit compare with each other, and with nothing else: what a value
    means, p-values say (`pf.FlowOutlierDetector`).

    Attributes:
        misled_by_levels: Whether the score is a density alone. In a table of levels and of numbers with few values such
            a score says which combinations are rare, and rare is not the same as wrong; a detector warns of it.
    """

    misled_by_levels: ClassVar[bool] = False

    @abc.abstractmethod
    def fit(self, X: Any, *, weights: np.ndarray | None = None, random_state: int = 0) -> FittedScore:
        """Learn what ordinary rows are like.

        Args:
            X: Clean or mostly clean rows: an array `(n, d)` of real numbers, or a table of any kind that
                `FlowDensity.fit` takes.
            weights: Weights of the rows `(n,)`, not negative; None weighs all alike.
            random_state: Seed of everything random, from 0 to 2**32 - 1.
        """
