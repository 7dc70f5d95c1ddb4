"""The Gaussian mixture among the baselines: full covariances by EM; BIC chooses the number of components."""

from __future__ import annotations

import math
import warnings

import numpy as np

GRID = (1, 2, 3, 5, 8, 12, 20, 32)
STARTS = 2
MOST_ITERATIONS = 200
RIDGE = 1e-6  # added to variances in columns of about unit scale: a component on repeated rows has none of its own


def gaussian_mixture(x: np.ndarray, w: np.ndarray, y: np.ndarray, seed: int, budget: float) -> tuple[np.ndarray, str]:
    r"""Fit mixtures of growing size and score by the one with the least BIC, $-2 n \bar\ell + p \log n$.

    Sizes grow while the parameters number less than half the rows, until BIC has risen twice in a row.

    Args:
        x: Training rows `(n, d)` in columns of about unit scale.
        w: Weights `(n,)` of the training rows, which sum to one.
        y: Rows to score `(m, d)`.
        seed: Seed of the starting points.
        budget: Number of multiplications after which no larger mixture is tried.

    Returns:
        Log-density of `y` in nats, and a description of what was fitted.

    Raises:
        ValueError: There are too few rows even for one component.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    n_effective = 1 / float((w**2).sum())
    d = x.shape[1]
    rows = x if np.ptp(w) == 0 else _resampled(x, w)
    tried: list[tuple[float, int, GaussianMixture]] = []  # BIC, size, model
    stopped, spent = "", 0.0
    for size in GRID:
        parameters = size * (1 + d + d * (d + 1) // 2) - 1
        # One component is the Gaussian itself, which needs rows that span the space and no more.
        if (size > 1 and parameters >= n_effective / 2) or len(rows) <= max(size, d):
            stopped = f"; {size} or more would have too many parameters for {round(n_effective):,} rows"
            break
        if spent > 0 and spent * 2 > budget:
            stopped = f"; larger ones were not tried, for time (max_seconds), from {size} on"
            break
        model = GaussianMixture(
            size, reg_covar=RIDGE, n_init=STARTS, max_iter=MOST_ITERATIONS, init_params="kmeans", random_state=seed
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # said below, in words of ours
            try:
                model.fit(rows)
            except ValueError:  # a component collapsed; larger mixtures would too
                stopped = f"; with {size} components the covariances collapsed"
                break
        spent += STARTS * model.n_iter_ * size * len(rows) * d * (d + 20.0)
        bic = -2 * n_effective * float(w @ model.score_samples(x)) + parameters * math.log(n_effective)
        tried.append((bic, size, model))
        if len(tried) > 2 and tried[-3][0] < tried[-2][0] < tried[-1][0]:
            break
    if not tried:
        raise ValueError(f"{len(x):,} rows are too few for a full covariance of {d} columns")
    _, best_size, best = min(tried, key=lambda found: found[:2])
    if not stopped and best_size == GRID[-1]:
        stopped = "; BIC still falls at the largest size tried"
    detail = f"{best_size} component{'s' if best_size > 1 else ''}, full covariances, chosen by BIC{stopped}"
    return best.score_samples(y), detail + ("" if best.converged_ else "; EM stopped before it converged")


def _resampled(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Repeat rows in proportion to their weights, by even steps of their sum, because EM takes no weights."""
    total = min(4 * len(x), max(len(x), 20_000))
    places = (np.arange(total) + 0.5) / total
    return x[np.minimum(np.searchsorted(np.cumsum(w), places), len(x) - 1)]
