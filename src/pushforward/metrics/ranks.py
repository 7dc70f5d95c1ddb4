"""Ranks of true parameters among draws: are they uniform, as those of a calibrated posterior are?"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from pushforward.metrics._arrays import generator

LEVEL = 0.01  # probability that a calibrated posterior fails, over all tests of one call
GRID = 100  # points at which an empirical distribution function is compared with its band
SIMULATED = 2000  # simulated distribution functions from which the width of a band is taken
POWER = 0.95
# Shift, in standard deviations, and shrinkage of the standard deviation that `pairs_needed` asks for.
SHIFT, SHRINKAGE = 0.1, 0.1


@dataclass(frozen=True)
class Uniformity:
    """Whether levels in [0, 1] are uniform.

    Args:
        levels: The levels `(n,)`.
        p_shift: p-value of the mean of the normal scores, which is 0 where nothing is shifted.
        p_spread: p-value of their variance, which is 1 where nothing is too narrow or too wide.
        p_shape: p-value of the Kolmogorov-Smirnov test.
        mean: Mean of the normal scores.
        variance: Variance of the normal scores about 0.
    """

    levels: np.ndarray
    p_shift: float
    p_spread: float
    p_shape: float
    mean: float
    variance: float

    @property
    def p_value(self) -> float:
        """The p-value of all three tests together, by Bonferroni's bound."""
        return min(1.0, 3 * min(self.p_shift, self.p_spread, self.p_shape))


def ranks(draws: Any, truths: Any, *, seed: int = 0) -> np.ndarray:
    """The number of draws below the true value, for each row and each parameter; ties are broken at random.

    Args:
        draws: Draws `(n_draws, n, dim)` from the posterior given each of `n` observations.
        truths: Parameters `(n, dim)` from which the observations were simulated.
        seed: Seed of the ties.

    Returns:
        Integers `(n, dim)` from 0 to `n_draws`: uniform if the posterior is calibrated.

    Raises:
        ValueError: Shapes do not fit, or values are NaN.
        TypeError: The seed is no integer.

    Source: Talts, Betancourt, Simpson, Vehtari, Gelman, 2018, arXiv 1804.06788.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import ranks
        >>> ranks(np.array([[[0.0]], [[1.0]], [[2.0]]]), np.array([[1.5]])).tolist()
        [[2]]
    """
    many, one = np.asarray(draws, np.float64), np.asarray(truths, np.float64)
    if many.ndim != 3 or one.ndim != 2 or many.shape[1:] != one.shape:
        expected = f"draws (n_draws, n, dim) for truths (n, dim) = {one.shape}"
        raise ValueError(f"ranks: expected {expected}, got shape {many.shape}. Draw for every observation.")
    if np.isnan(many).any() or np.isnan(one).any():
        raise ValueError("ranks: expected numbers, got NaN. Leave these rows out.")
    below, equal = (many < one).sum(axis=0), (many == one).sum(axis=0)
    return below + generator("ranks", seed).integers(0, equal + 1)


def rank_levels(values: Any, n_draws: int, *, seed: int = 0) -> np.ndarray:
    """Ranks among `n_draws` draws as levels in (0, 1), uniform within the width of a rank.

    Args:
        values: Ranks of any shape.
        n_draws: Number of draws.
        seed: Seed of the places within ranks.

    Raises:
        ValueError: A rank lies outside 0 to `n_draws`.
        TypeError: The seed is no integer.
    """
    found = np.asarray(values, np.int64)
    if n_draws < 1 or found.min(initial=0) < 0 or found.max(initial=0) > n_draws:
        raise ValueError(f"rank_levels: expected ranks from 0 to n_draws = {n_draws}, got others. Check n_draws.")
    return (found + generator("rank_levels", seed).uniform(size=found.shape)) / (n_draws + 1)


def uniformity(levels: Any) -> Uniformity:
    r"""Test whether levels are uniform, with two tests that see small shifts and spreads, and one that sees any shape.

    The normal scores $z_i = \Phi^{-1}(u_i)$ have the mean 0 and the mean square 1. A posterior shifted by a tenth of
    its standard deviation, or narrowed by a tenth, is seen there with a tenth of the rows that the
    Kolmogorov-Smirnov test needs.

    Args:
        levels: Numbers `(n,)` in [0, 1].

    Raises:
        ValueError: There are fewer than 20 levels, or one lies outside [0, 1].

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import uniformity
        >>> bool(uniformity(np.linspace(0.001, 0.999, 500)).p_value > 0.5)
        True
        >>> bool(uniformity(np.linspace(0.001, 0.9, 500)).p_value < 0.01)
        True
    """
    u = np.asarray(levels, np.float64)
    if u.ndim != 1 or len(u) < 20 or not ((u >= 0) & (u <= 1)).all():
        raise ValueError(f"uniformity: expected 20 or more levels in [0, 1], got shape {u.shape}. Pass more rows.")
    n = len(u)
    least = 1e-9  # keeps the scores finite where a level is 0 or 1
    z = stats.norm.ppf(np.clip(u, least, 1 - least))
    mean, square = float(z.mean()), float((z**2).mean())
    p_shift = float(2 * stats.norm.sf(abs(mean) * math.sqrt(n)))
    p_spread = float(min(1.0, 2 * min(stats.chi2.cdf(n * square, n), stats.chi2.sf(n * square, n))))
    return Uniformity(u, p_shift, p_spread, float(stats.kstest(u, "uniform").pvalue), mean, square)


def ecdf_band(n: int, grid: Any, *, confidence: float = 1 - LEVEL, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The band in which the whole empirical distribution function of `n` uniform numbers lies with a probability.

    The pointwise binomial probability is lowered, on simulated functions, until the share of functions that leave the
    band anywhere on the grid is `1 - confidence`.

    Args:
        n: Number of levels.
        grid: Points `(k,)` in [0, 1] at which the function is looked at.
        confidence: Probability that the function stays within the band at all points.
        seed: Seed of the simulated functions.

    Returns:
        The lower and the upper end `(k,)` each.

    Raises:
        ValueError: A number is out of bounds.
        TypeError: The seed is no integer.

    Source: Säilynoja, Bürkner, Vehtari, 2022, "Graphical test for discrete uniformity", arXiv 2103.10522.
    """
    points = np.asarray(grid, np.float64)
    if n < 1 or points.ndim != 1 or not ((points >= 0) & (points <= 1)).all() or not 0 < confidence < 1:
        raise ValueError("ecdf_band: expected n >= 1, points in [0, 1] and confidence in (0, 1). Check them.")
    generator("ecdf_band", seed)
    return _band(int(n), tuple(points.tolist()), float(confidence), int(seed))


@functools.lru_cache(maxsize=64)
def _band(n: int, grid: tuple[float, ...], confidence: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    points, rng = np.array(grid), np.random.default_rng(seed)
    order = np.argsort(points)
    widths = np.diff(np.concatenate([[0.0], points[order], [1.0]]))
    counts = np.cumsum(rng.multinomial(n, widths / widths.sum(), size=SIMULATED)[:, :-1], axis=1)
    at = points[order]
    extreme = 2 * np.minimum(stats.binom.cdf(counts, n, at), stats.binom.sf(counts - 1, n, at))
    gamma = float(np.quantile(extreme.min(axis=1), 1 - confidence))
    return stats.binom.ppf(gamma / 2, n, points) / n, stats.binom.isf(gamma / 2, n, points) / n


def outside_band(levels: Any, *, confidence: float = 1 - LEVEL) -> bool:
    """Whether the empirical distribution function of levels leaves the band of uniform ones.

    Args:
        levels: Numbers `(n,)` in [0, 1].
        confidence: Probability that uniform levels stay within the band.

    Raises:
        ValueError: There are fewer than 20 levels, or one lies outside [0, 1].
    """
    u = uniformity(levels).levels
    grid = np.arange(1, GRID) / GRID
    low, high = ecdf_band(len(u), grid, confidence=confidence)
    function = np.searchsorted(np.sort(u), grid, side="right") / len(u)
    return bool(((function < low) | (function > high)).any())


def pairs_needed(n_tests: int = 1, *, shift: float = SHIFT, shrinkage: float = SHRINKAGE, level: float = LEVEL) -> int:
    r"""The number of held-out pairs with which `uniformity` sees a shift and a shrinkage with a probability of 95 %.

    A shift by $s$ standard deviations needs $((z_{\alpha/2} + z_\beta)/s)^2$ pairs, and a standard deviation that is
    too small by a share $r$ needs $2\,((z_{\alpha/2} + z_\beta)/((1-r)^{-2} - 1))^2$; $\alpha$ is the level over the
    number of tests.

    Args:
        n_tests: Number of levels' sets that are tested together, such as that of parameters.
        shift: Smallest shift to see, in standard deviations of the posterior.
        shrinkage: Smallest share by which the standard deviation is too small.
        level: Probability that a calibrated posterior fails.

    Raises:
        ValueError: A number is out of bounds.

    Example:
        >>> from pushforward.metrics import pairs_needed
        >>> pairs_needed()
        2098
    """
    if n_tests < 1 or not shift > 0 or not 0 < shrinkage < 1 or not 0 < level < 1:
        raise ValueError("pairs_needed: expected n_tests >= 1, shift > 0, shrinkage and level in (0, 1). Check them.")
    reach = stats.norm.isf(level / (3 * n_tests) / 2) + stats.norm.ppf(POWER)
    excess = (1 - shrinkage) ** -2 - 1
    return math.ceil(max((reach / shift) ** 2, 2 * (reach / excess) ** 2))
