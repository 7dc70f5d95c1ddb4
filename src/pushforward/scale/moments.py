"""Sums over rows that come in parts: number, mean, spread, least and most."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Moments:
    """What is known of numbers that come in parts; mean and spread are over the finite ones.

    Attributes:
        rows: Number of all of them.
        finite: Number of the finite ones.
        mean: Mean of these, NaN without any.
        squares: Sum of the squares about the mean.
        least: The smallest of all, infinity without any.
        most: The largest of all, minus infinity without any.
    """

    rows: int = 0
    finite: int = 0
    mean: float = math.nan
    squares: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    @staticmethod
    def of(values: np.ndarray) -> Moments:
        """The moments of numbers.

        Args:
            values: Numbers `(n,)`.
        """
        if not len(values):
            return Moments()
        there = values[np.isfinite(values)]
        mean = float(there.mean()) if len(there) else math.nan
        squares = float(((there - mean) ** 2).sum())
        return Moments(
            len(values), len(there), mean, squares, float(np.fmin.reduce(values)), float(np.fmax.reduce(values))
        )

    def joined(self, other: Moments) -> Moments:
        """The moments of both parts.

        Args:
            other: Those of the second part.

        Source: Chan, Golub, LeVeque, 1983, "Algorithms for computing the sample variance", eq. 1.5.
        """
        finite = self.finite + other.finite
        least, most = float(np.fmin(self.least, other.least)), float(np.fmax(self.most, other.most))
        if not self.finite or not other.finite:
            one = self if self.finite else other
            return Moments(self.rows + other.rows, finite, one.mean, one.squares, least, most)
        share, apart = other.finite / finite, other.mean - self.mean
        squares = self.squares + other.squares + apart**2 * self.finite * share
        return Moments(self.rows + other.rows, finite, self.mean + share * apart, squares, least, most)

    @property
    def error(self) -> float:
        """The standard error of the mean, NaN below two finite numbers."""
        return math.sqrt(self.squares / (self.finite - 1) / self.finite) if self.finite > 1 else math.nan

    def to_json(self) -> dict[str, Any]:
        """The fields with numbers that are not finite as words."""
        return {name: value if math.isfinite(value) else repr(value) for name, value in asdict(self).items()}

    @staticmethod
    def from_json(fields: dict[str, Any]) -> Moments:
        """The moments that `to_json` gave."""
        made: dict[str, Any] = {name: float(v) if isinstance(v, str) else v for name, v in fields.items()}
        return Moments(**made)
