"""What importance weights are worth: their effective number, and the tail index that says whether to trust them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pushforward.metrics._arrays import vector

LEAST_TAIL = 5  # weights in the tail at least; the fit of two parameters to fewer says nothing
# The index is drawn towards 1/2 by as much as ten weights in the tail would: a fit to few is noisy.
PRIOR_ROWS, PRIOR_INDEX = 10, 0.5
# Weights are of use up to this index,
MOST_K = 0.7
# and at any index if they are worth this share of as many equal ones: so little of their sum is in a tail that its
# index, which does not depend on the tail's size, says nothing of the draws.
NEARLY_EQUAL = 0.9


def log_weights_of(name: str, values: Any) -> np.ndarray:
    """Log-weights `(n,)` in float64: finite numbers or minus infinity, which is a weight of zero.

    Raises:
        ValueError: A log-weight is NaN or plus infinity, or all weights are zero.
    """
    weights = vector(name, values)
    wrong = np.isnan(weights) | (weights == math.inf)
    if wrong.any():
        raise ValueError(
            f"{name}: expected log-weights below infinity, got NaN or infinity in {int(wrong.sum())} of "
            f"{len(weights)}. Find the draws at which the log-density is undefined."
        )
    if weights.max() == -math.inf:
        raise ValueError(
            f"{name}: expected a weight above zero, got {len(weights)} zeros. The draws miss the target altogether."
        )
    return weights


def effective_sample_size(log_weights: Any) -> float:
    r"""The number of equally weighted draws that weighted ones are worth, $(\sum_i w_i)^2 / \sum_i w_i^2$.

    It says what the weights at hand show. Where the draws miss a part of the target, no weight tells of it; and where
    the weights have heavy tails (`pareto_k`), a few more draws may bring it down.

    Args:
        log_weights: Logarithms `(n,)` of the weights, up to a constant; minus infinity is a weight of zero.

    Raises:
        ValueError: A log-weight is NaN or plus infinity, or all weights are zero.

    Source: Kong, 1992, A note on importance sampling using standardized weights, technical report 348, Chicago.

    Example:
        >>> from pushforward.metrics import effective_sample_size
        >>> effective_sample_size([0.0, 0.0, 0.0, float("-inf")])
        3.0
    """
    weights = log_weights_of("effective_sample_size", log_weights)
    weights = np.exp(weights - weights.max())
    return float(weights.sum() ** 2 / (weights**2).sum())


def pareto_k(log_weights: Any) -> float:
    r"""The index $\hat k$ of the generalised Pareto law of the largest weights: how far a weighted mean may be trusted.

    The law is fitted to what the $\min(n / 5, 3 \sqrt n)$ largest weights exceed the next one by. Weights with index
    $k$ have $1/k$ finite moments. Up to 0.5 their variance is finite, and weighted means have standard errors; up to
    0.7 they are of use with some thousands of draws; above 0.7 they are not reliable, and above 1 the mean of the
    weights does not exist.

    Args:
        log_weights: Logarithms `(n,)` of the weights, up to a constant; minus infinity is a weight of zero.

    Returns:
        The index. It is minus infinity where the largest weights are all equal, infinity where fewer than five weights
        make up the tail and others are zero, and NaN with fewer than 21 draws.

    Raises:
        ValueError: A log-weight is NaN or plus infinity, or all weights are zero.

    Source: Vehtari, Simpson, Gelman, Yao, Gabry, 2024, Pareto smoothed importance sampling, arXiv 1507.02646; the fit:
        Zhang, Stephens, 2009, Technometrics 51.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import pareto_k
        >>> x = np.random.default_rng(0).normal(size=4000)
        >>> pareto_k(-0.1 * x**2) < 0.5 < pareto_k(0.45 * x**2)
        True
    """
    weights = log_weights_of("pareto_k", log_weights)
    n = len(weights)
    n_tail = math.ceil(min(n / 5, 3 * math.sqrt(n)))
    if n_tail < LEAST_TAIL:
        return math.nan
    largest = np.exp(np.sort(np.partition(weights, n - n_tail - 1)[n - n_tail - 1 :]) - weights.max())
    excess = largest[1:] - largest[0]
    excess = excess[excess > 0]
    if not len(excess):
        return -math.inf
    if len(excess) < LEAST_TAIL and largest[0] == 0:
        return math.inf
    return _generalised_pareto_index(excess)


def heavy_tailed(tail_index: Any, ess: Any, n: Any) -> Any:
    """Whether the tail of importance weights is too heavy to believe them, element by element.

    Args:
        tail_index: Pareto's k of the weights.
        ess: Effective number of the weights.
        n: Number of the weights.
    """
    return (np.asarray(tail_index) > MOST_K) & (np.asarray(ess) < NEARLY_EQUAL * n)


def _generalised_pareto_index(excess: np.ndarray) -> float:
    r"""The index $k$ of the law $1 - (1 + k x / \sigma)^{-1/k}$ of positive numbers in ascending order.

    It is the mean of the profile likelihood of $b = -k / \sigma$ over a grid that has the prior of Zhang and Stephens
    in it, drawn a little towards 1/2.
    """
    n = len(excess)
    n_grid = 30 + int(math.sqrt(n))
    quartile = excess[int(n / 4 + 0.5) - 1] if n >= 2 else excess[0]
    b = 1 / excess[-1] + (1 - np.sqrt(n_grid / (np.arange(n_grid) + 0.5))) / (3 * quartile)
    index = np.log1p(-b[:, None] * excess).mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        profile = n * (np.log(-b / index) - index - 1)
    profile = np.where(np.isfinite(profile), profile, -math.inf)
    share = np.exp(profile - profile.max())
    k = float(np.log1p(-(share @ b / share.sum()) * excess).mean())
    return (n * k + PRIOR_ROWS * PRIOR_INDEX) / (n + PRIOR_ROWS)
