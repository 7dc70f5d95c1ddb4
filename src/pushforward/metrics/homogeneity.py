"""Two-sample statistics with p-values, which the tests of columns use: Kolmogorov-Smirnov, Kuiper and chi-square."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import chdtrc, kolmogorov

from pushforward.metrics._arrays import choose

# The asymptotic laws hold for values that do not repeat and samples that are not tiny; otherwise labels are permuted.
LEAST_ROWS = 60
MOST_REPEATED = 0.02
# Asymptotic p-values below this bound are kept, although they are slightly too large if values repeat: the p-value of
# permutations cannot be smaller than one in their number and would hide how certain the difference is.
CERTAIN = 1e-4
PERMUTATIONS = 2000
PERMUTED_ROWS = 5000
ENOUGH_EXCEEDANCES = 20
CHUNK = 100
LEAST_EXPECTED = 5.0


class Outcome(NamedTuple):
    """A statistic, its p-value, and how the p-value was found."""

    statistic: float
    p_value: float
    method: Literal["asymptotic", "permutation"]


def ordered(x: np.ndarray, y: np.ndarray, rng: np.random.Generator, circular: bool = False) -> Outcome:
    r"""Test two samples of numbers by Kolmogorov-Smirnov $\sup |F - G|$ or Kuiper $\sup (F - G) + \sup (G - F)$.

    Both are evaluated at the distinct values of the pooled samples, so that repeated values make no difference.
    """
    n, m = len(x), len(y)
    labels, ends = _layout(x, y)
    statistic = float(_statistics(labels[None], ends, n, circular)[0])
    root = math.sqrt(n * m / (n + m))
    p_value = kuiper_p(statistic, root) if circular else float(kolmogorov((root + 0.12 + 0.11 / root) * statistic))
    repeated = 1 - len(ends) / (n + m)
    if p_value < CERTAIN or (repeated <= MOST_REPEATED and min(n, m) >= LEAST_ROWS):
        return Outcome(statistic, p_value, "asymptotic")
    few = _layout(x[choose(rng, n, PERMUTED_ROWS)], y[choose(rng, m, PERMUTED_ROWS)])
    return Outcome(statistic, _permuted(*few, rng, circular), "permutation")


def _layout(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of the sorted pooled values belong to the first sample, and where each distinct value ends."""
    pooled = np.concatenate([x, y])
    order = np.argsort(pooled, kind="stable")
    return order < len(x), np.flatnonzero(np.append(np.diff(pooled[order]) != 0, True))


def kuiper_p(statistic: float, root: float) -> float:
    r"""The p-value of Kuiper's statistic: $2 \sum_j (4 j^2 \lambda^2 - 1) e^{-2 j^2 \lambda^2}$.

    Here $\lambda = (r + 0.155 + 0.24 / r) V$ with $r$ the `root` of the effective number of rows.

    Source: Stephens, 1965, Biometrika 52.
    """
    scaled = (root + 0.155 + 0.24 / root) * statistic
    if scaled < 0.4:  # the series needs ever more terms, and differs from one by less than 1e-6
        return 1.0
    squares = (np.arange(1, 30) * scaled) ** 2
    return float(np.clip(2 * np.sum((4 * squares - 1) * np.exp(-2 * squares)), 0, 1))


def _statistics(first: np.ndarray, ends: np.ndarray, n: int, circular: bool) -> np.ndarray:
    """The statistic for each row of labels (true for the first sample), with columns in the order of the values."""
    total = first.shape[1]
    counts = np.cumsum(first, axis=1, dtype=np.int32)[:, ends]
    difference = counts / n - (ends + 1 - counts) / (total - n)
    if circular:
        return difference.max(axis=1) - difference.min(axis=1)
    return np.abs(difference).max(axis=1)


def _permuted(labels: np.ndarray, ends: np.ndarray, rng: np.random.Generator, circular: bool) -> float:
    """The p-value by permutation, which stops early if it is large (Besag and Clifford, 1991, Biometrika 78)."""
    n, total = int(labels.sum()), len(labels)
    observed = _statistics(labels[None], ends, n, circular)[0] - 1e-9  # equal up to rounding counts as reached
    hits = 0
    for done in range(0, PERMUTATIONS, CHUNK):
        drawn = rng.permuted(np.broadcast_to(labels, (CHUNK, total)), axis=1)
        reached = np.cumsum(_statistics(drawn, ends, n, circular) >= observed) + hits
        if reached[-1] >= ENOUGH_EXCEEDANCES:
            return ENOUGH_EXCEEDANCES / (done + int(np.argmax(reached >= ENOUGH_EXCEEDANCES)) + 1)
        hits = int(reached[-1])
    return (hits + 1) / (PERMUTATIONS + 1)


def levels(first: np.ndarray, second: np.ndarray, rng: np.random.Generator) -> Outcome:
    r"""Test two rows of counts `(k,)` per level by chi-square, $\sum (O - E)^2 / E$, with rare levels pooled.

    If an expected count is below 5 even then, the p-value comes from tables that are drawn with the same margins.
    """
    n, m = int(first.sum()), int(second.sum())
    pooled = first + second
    rare = pooled * min(n, m) / (n + m) < LEAST_EXPECTED
    if rare.any():
        first, second = (np.append(row[~rare], row[rare].sum()) for row in (first, second))
    pooled = first + second
    keep = pooled > 0
    first, pooled = first[keep].astype(float), pooled[keep]
    if len(pooled) < 2:
        return Outcome(0.0, 1.0, "asymptotic")
    expected = pooled * (n / (n + m))

    def chi_square(counts: np.ndarray) -> np.ndarray:
        # The second sample's deviations are the first's, with the sign turned.
        return ((counts - expected) ** 2 / expected).sum(axis=-1) * ((n + m) / m)

    statistic = float(chi_square(first))
    if (pooled * min(n, m) / (n + m)).min() >= LEAST_EXPECTED:
        return Outcome(statistic, float(chdtrc(len(pooled) - 1, statistic)), "asymptotic")
    drawn = rng.multivariate_hypergeometric(pooled, n, size=10 * PERMUTATIONS, method="marginals")
    hits = int((chi_square(drawn) >= statistic - 1e-9).sum())
    return Outcome(statistic, (hits + 1) / (10 * PERMUTATIONS + 1), "permutation")
