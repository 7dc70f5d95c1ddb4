"""The distribution of one column, or of two, given some cells: on numbers, and on labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from pushforward._checks import message

Method = Literal["exact", "grid", "draws", "importance"]
# A density below this share of its peak is left out of the picture.
VISIBLE = 1e-4


class How(NamedTuple):
    """How a conditional density was found.

    Attributes:
        method: `"exact"`: the joint density along the column, normalised. `"grid"`: the same, summed over a grid of
            the one column that is not held. `"draws"`: averaged over exact draws of the columns that are not held.
            `"importance"`: over draws of these that were resampled by their weights.
        sentence: The same in words.
    """

    method: Method
    sentence: str


@dataclass(frozen=True)
class Curve:
    """The distribution of a column given some cells.

    Attributes:
        name: Name of the column.
        numbers: Numbers `(g,)`, increasing; dates count from 1970. Empty for a column of levels.
        density: Densities at these `(g,)`, in one over the unit of the column.
        mass: Probabilities that they stand for, `(g,)`.
        labels: Levels; or the numbers with a probability of their own. `"missing"` is a missing cell.
        places: What each label is on the axis of the numbers, `(k,)`; NaN where it has no place there.
        masses: Their probabilities `(k,)`. All of them and all of `mass` add up to 1.
        how: How it was found.
    """

    name: str
    numbers: np.ndarray
    density: np.ndarray
    mass: np.ndarray
    labels: tuple[str, ...]
    places: np.ndarray
    masses: np.ndarray
    how: How

    def probability(self, label: Any) -> float:
        """The probability of a level, of a number that has one, or of `"missing"`; 0 of what is none of these."""
        return float(sum(m for name, m in zip(self.labels, self.masses, strict=True) if name == str(label)))

    def quantile(self, p: Any) -> np.ndarray:
        """The numbers below which the column lies with these probabilities, given that it is a number.

        Raises:
            ValueError: The column has levels, which have no order.
        """
        if not len(self.numbers):
            fix = "Use probability(level)."
            raise ValueError(message("Curve.quantile", "a column of numbers", f"{self.name!r}, of levels", fix))
        own = np.isfinite(self.places)
        x = np.concatenate([self.numbers, self.places[own]])
        mass = np.concatenate([self.mass, self.masses[own]])
        order = np.argsort(x, kind="stable")
        x, mass = x[order], mass[order]
        # Half of the mass of a point lies on each side of it.
        below = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
        return np.interp(p, below, x)

    @property
    def median(self) -> float:
        """The median of the numbers."""
        return float(self.quantile(0.5))

    def interval(self, level: float = 0.9) -> tuple[float, float]:
        """The central interval of the numbers that holds this probability."""
        low, high = self.quantile([0.5 - level / 2, 0.5 + level / 2])
        return float(low), float(high)


@dataclass(frozen=True)
class Surface:
    """The distribution of two columns given some cells.

    Attributes:
        first: The first column given the same cells, with its numbers and labels.
        second: The second one.
        mass: Probabilities `(g1 + k1, g2 + k2)` of each number or label of one with each of the other: the numbers
            first, then the labels.
        how: How it was found.
    """

    first: Curve
    second: Curve
    mass: np.ndarray
    how: How


def widths(points: np.ndarray) -> np.ndarray:
    """What each of some numbers, increasing, stands for by the trapezium rule: half the way to its neighbours."""
    steps = np.diff(points)
    return 0.5 * (np.append(steps, 0.0) + np.insert(steps, 0, 0.0))


def masses_of(log_density: np.ndarray, weights: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Masses of cells `(m, c1, ..., ck)`, up to one factor for each row, and their sums with axes kept.

    Args:
        log_density: Log-densities of the cells for each row.
        weights: What the cells along each of the `k` axes count.
    """
    axes = tuple(range(1, log_density.ndim))
    top = log_density.max(axis=axes, keepdims=True)
    mass = np.exp(log_density - np.where(np.isfinite(top), top, 0.0))
    for axis, own in enumerate(weights, start=1):
        mass = mass * own.reshape([-1 if i == axis else 1 for i in range(log_density.ndim)])
    return mass, mass.sum(axis=axes, keepdims=True)


def visible(heights: np.ndarray) -> tuple[int, int] | None:
    """The first and the last place of what can be seen of a density, and one beyond; None where it is 0 everywhere."""
    seen = np.flatnonzero(heights > VISIBLE * heights.max(initial=0.0))
    return (max(int(seen[0]) - 1, 0), min(int(seen[-1]) + 1, len(heights) - 1)) if len(seen) else None
