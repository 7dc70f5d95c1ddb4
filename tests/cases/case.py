"""A case of the laws: a constructor, and what the laws should know of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

import pushforward as pf
from pushforward._types import PRNGKeyArray
from pushforward.bijections.base import AbstractBijection
from pushforward.testing import Trial

COND = (2,)


@dataclass(frozen=True)
class Case:
    """A constructor, and what the laws should know of it; see `pushforward.testing.Trial`.

    The core laws are run on every case in every run. Those beyond them (float32, inversion, extremes, saving, algebra,
    integrals) are run in every run if `cost` is "low", and otherwise with `--thorough`.
    """

    make: Callable[[PRNGKeyArray], AbstractBijection]
    special_x: Sequence[float] = ()
    special_y: Sequence[float] = ()
    reach: np.ndarray | None = None
    condition_reach: np.ndarray | None = None
    unreached: Sequence[str] = ()
    domain_x: tuple[float, float] | None = None
    domain_y: tuple[float, float] | None = None
    accuracy: float = 0.0
    cost: Literal["low", "thorough"] = "thorough"

    def trial(self, name: str, key: PRNGKeyArray, dtype: type, inverted: bool = False) -> Trial:
        """The case on trial, as it is or under `Invert`."""

        def make(key: PRNGKeyArray) -> AbstractBijection:
            return pf.Invert(self.make(key)) if inverted else self.make(key)

        return Trial(
            make(key),
            key,
            name=f"Invert({name})" if inverted else name,
            dtype=dtype,
            special_x=self.special_y if inverted else self.special_x,
            special_y=self.special_x if inverted else self.special_y,
            domain_x=self.domain_y if inverted else self.domain_x,
            domain_y=self.domain_x if inverted else self.domain_y,
            reach=None if inverted else self.reach,
            condition_reach=self.condition_reach,
            accuracy=self.accuracy,
            unreached=tuple(f".bijection{path}" for path in self.unreached) if inverted else self.unreached,
            rebuild=make,
        )


def eye(n: int) -> np.ndarray:
    return np.eye(n, dtype=bool)


def triangle(n: int) -> np.ndarray:
    return np.tril(np.ones((n, n), bool))


def full(n: int) -> np.ndarray:
    return np.ones((n, n), bool)


def coupled(split: Sequence[bool] | np.ndarray) -> np.ndarray:
    """What a coupling depends on: itself, and for the transformed coordinates all that pass."""
    mask = np.asarray(split)
    return np.eye(len(mask), dtype=bool) | (mask[:, None] & ~mask)
