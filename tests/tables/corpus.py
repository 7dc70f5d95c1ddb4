"""Generated tables whose true density is known, with the places where a density is easily wrong.

A case is one column: its rows, its true log-density (a log-mass for whole numbers), and a grid that holds edges, seams,
atoms and what lies just beside them.
"""

# Pyright takes a frozen distribution of scipy for one of the other kind.
# pyright: reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats


@dataclass(frozen=True)
class Case:
    """One column with a known density.

    Args:
        rows: Function from a generator and a number of rows to the cells.
        truth: Function from cells to their true log-density, in nats and in the units of the column.
        grid: Cells to compare at.
        name: Name of the column, which may say what it is.
        tolerance: Nats by which the density may miss the truth.
    """

    rows: Callable[[np.random.Generator, int], Any]
    truth: Callable[[np.ndarray], np.ndarray]
    grid: np.ndarray
    name: str
    tolerance: float = 0.1


def _zero_inflated(x: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        return np.where(x == 0, np.log(0.4), np.log(0.6) + stats.gamma(1.0, scale=2.0).logpdf(x))


def _zero_inflated_rows(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.random(n) < 0.4, 0.0, rng.gamma(1.0, 2.0, n))


CASES: dict[str, Case] = {
    "von Mises": Case(
        lambda rng, n: np.degrees(rng.vonmises(0, 1.0, n)) % 360,
        lambda x: stats.vonmises(1.0).logpdf(np.radians(x)) + np.log(np.pi / 180),
        np.array([0.0, 1e-9, 1e-4, 90.0, 179.9999, 180.0, 180.0001, 270.0, 360 - 1e-9]),
        "wind_direction",
    ),
    "uniform interval": Case(
        lambda rng, n: rng.uniform(0, 100, n),
        lambda x: np.full(len(x), -np.log(100.0)),
        np.array([0.0, 1e-9, 1e-3, 1.0, 50.0, 99.0, 100 - 1e-9, 100.0]),
        "percentage",
    ),
    "exponential": Case(
        lambda rng, n: rng.exponential(3.0, n),
        lambda x: stats.expon(scale=3.0).logpdf(x),
        np.array([0.0, 1e-12, 1e-6, 0.01, 1.0, 5.0, 10.0]),
        "waiting",
    ),
    "half-Cauchy": Case(
        lambda rng, n: np.abs(rng.standard_cauchy(n)),
        lambda x: stats.halfcauchy.logpdf(x),
        np.array([0.0, 1e-12, 1e-6, 0.1, 1.0, 10.0, 50.0]),
        "distance",
    ),
    "half-normal": Case(
        lambda rng, n: np.abs(rng.normal(0, 2, n)),
        lambda x: stats.halfnorm(scale=2).logpdf(x),
        np.array([0.0, 1e-9, 0.1, 1.0, 3.0, 5.0]),
        "length",
    ),
    "Poisson": Case(
        lambda rng, n: rng.poisson(4, n),
        lambda x: stats.poisson(4).logpmf(x),
        np.array([0.0, 1, 2, 4, 7, 9]),
        "visits",
    ),
    "zero-inflated gamma": Case(
        _zero_inflated_rows,
        _zero_inflated,
        np.array([0.0, 1e-9, 1e-3, 0.5, 2.0, 6.0]),
        "rain",
    ),
    "rounded normal": Case(
        lambda rng, n: np.floor(rng.normal(20, 2, n) * 2) / 2,
        lambda x: np.log((stats.norm(20, 2).cdf(x + 0.5) - stats.norm(20, 2).cdf(x)) / 0.5),
        np.array([16.0, 18.0, 19.5, 20.0, 23.0, 24.0]),
        "temperature",
    ),
    "Student t": Case(
        lambda rng, n: rng.standard_t(3, n),
        lambda x: stats.t(3).logpdf(x),
        np.array([-8.0, -3.0, -1.0, 0.0, 0.5, 4.0]),
        "change",
    ),
}
