"""The simple densities that a model has to beat: a Gaussian, a Gaussian mixture and a kernel density."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.metrics._arrays import choose, generator, matrix, one_thread, shares
from pushforward.metrics.kernel_baseline import kernel_density
from pushforward.metrics.mixture_baseline import gaussian_mixture
from pushforward.numerics.mean_error import mean_and_error

# Work is planned, not timed, so that a result does not depend on how busy the machine is.
OPERATIONS_PER_SECOND = 5e8
# A correlation matrix whose smallest eigenvalue is below this is singular to float64 once squares are summed.
SINGULAR_BELOW = 1e-10
RIDGES = np.concatenate([np.geomspace(1e-9, 0.1, 17), np.linspace(0.15, 0.95, 17)])
RIDGE_FOLDS = 5


@dataclass(frozen=True)
class Baseline:
    """One simple density and its held-out score.

    Args:
        name: `"Gaussian"`, `"Gaussian mixture"` or `"kernel density"`.
        nats: Mean log-density of the held-out rows, in the units of the input; NaN if it could not be fitted.
        standard_error: Standard error of `nats` over the held-out rows.
        detail: What was fitted, or why nothing could be fitted.
        per_row: Log-density of each held-out row `(m,)`, in nats.
    """

    name: str
    nats: float
    standard_error: float
    detail: str
    per_row: np.ndarray

    @property
    def sentence(self) -> str:
        """The score as a sentence."""
        if math.isnan(self.nats):
            return f"{self.name}: could not be fitted ({self.detail})."
        return f"{self.name}: {self.nats:.4f} +- {self.standard_error:.4f} nats per held-out row ({self.detail})."


def baselines(
    train: Any,
    held_out: Any,
    *,
    seed: int = 0,
    weights: Any = None,
    held_out_weights: Any = None,
    max_rows: int = 5000,
    max_seconds: float = 20.0,
) -> tuple[Baseline, ...]:
    """Fit three simple densities to `train` and score them on `held_out`.

    - **Gaussian**: full covariance, maximum likelihood, all rows. Only where the covariance is singular is it shrunk
      towards its diagonal, by the amount that cross-validation finds best.
    - **Gaussian mixture**: full covariances, by EM, the number of components by BIC.
    - **kernel density**: Gaussian kernels on standardised or on whitened columns and with the bandwidth that score best
      with each row left out in turn.

    Args:
        train: Training rows `(n, d)`, finite.
        held_out: Rows `(m, d)` that no model has seen.
        seed: Seed of the subsample and of the starting points.
        weights: Weights `(n,)` of the training rows, not negative; a weight of 2 counts like the row twice.
        held_out_weights: Weights `(m,)` of the held-out rows.
        max_rows: Largest number of training rows for mixture and kernels; the Gaussian takes all rows.
        max_seconds: Approximate time that the fits may take on one core. It is converted to a number of operations and
            not measured, so that the result does not depend on the machine.

    Returns:
        The three densities in this order; one that could not be fitted has NaN as `nats` and says why.

    Raises:
        ValueError: Shapes do not fit, values are not finite, weights are negative, or columns are constant.
        TypeError: The seed is no integer.

    Example:
        >>> import numpy as np
        >>> from pushforward.metrics import baselines
        >>> rows = np.random.default_rng(0).normal(size=(400, 1))
        >>> [b.name for b in baselines(rows[:300], rows[300:])]
        ['Gaussian', 'Gaussian mixture', 'kernel density']
    """
    x = matrix("baselines: train", train)
    y = matrix("baselines: held_out", held_out, columns=x.shape[1])
    rng = generator("baselines", seed)
    if max_rows < 2 or not max_seconds > 0:
        raise ValueError(f"baselines: expected max_rows >= 2 and max_seconds > 0, got {max_rows}, {max_seconds}.")
    w, v = (
        shares("baselines: weights", weights, len(x)),
        shares("baselines: held_out_weights", held_out_weights, len(y)),
    )
    x, w = x[w > 0], w[w > 0]
    constant = np.flatnonzero(x.min(axis=0) == x.max(axis=0))
    if len(constant):
        raise ValueError(
            f"baselines: expected columns that vary, but train is constant in columns {constant.tolist()[:20]}: "
            "there is no density over a constant. Leave them out."
        )
    # In these units no square overflows or underflows; the density is converted back at the end.
    centre, scale = _units(x, w)
    x, y, back = (x - centre) / scale, (y - centre) / scale, -float(np.log(scale).sum())
    some = choose(rng, len(x), max_rows)
    few, few_w = x[some], w[some] / w[some].sum()
    note = "" if len(some) == len(x) else f", {len(some):,} of {len(x):,} rows"
    budget = max_seconds * OPERATIONS_PER_SECOND / 2
    start = int(rng.integers(2**31))
    fits: dict[str, tuple[Callable[[], tuple[np.ndarray, str]], str]] = {
        "Gaussian": (lambda: _gaussian(x, w, y), ""),
        "Gaussian mixture": (lambda: gaussian_mixture(few, few_w, y, start, budget), note),
        "kernel density": (lambda: kernel_density(few, few_w, y, start, budget), note),
    }
    return tuple(_score(name, fit, back, v, note) for name, (fit, note) in fits.items())


def _score(name: str, fit: Callable[[], tuple[np.ndarray, str]], back: float, v: np.ndarray, note: str) -> Baseline:
    """Run one fit; its warnings and errors become words in `detail`."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"), one_thread():
        warnings.simplefilter("always")
        try:
            log_density, detail = fit()
        except (ValueError, np.linalg.LinAlgError, FloatingPointError) as error:
            return Baseline(name, math.nan, math.nan, str(error), np.full(len(v), math.nan))
    said = sorted({str(w.message).splitlines()[0] for w in caught})
    detail = detail + note + "".join(f"; warning: {text}" for text in said)
    per_row = log_density + back
    nats, error = map(float, mean_and_error(per_row, v))
    return Baseline(name, nats, error, detail, per_row)


def _units(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale of each column; the scale is the smaller of two, so that outliers do not dominate it."""
    peak = np.abs(x).max(axis=0)
    small = x / peak
    centre = w @ small
    deviation = np.sqrt(w @ (small - centre) ** 2)
    low, high = np.quantile(small, [0.25, 0.75], axis=0)
    quartiles = (high - low) / 1.349  # for a normal column this is the standard deviation
    # Quartiles below a hundredth of the deviation are a sign of repeated values rather than of outliers.
    scale = np.where(quartiles > 0.01 * deviation, np.minimum(quartiles, deviation), deviation)
    scale = np.maximum(scale, 4 * np.finfo(float).eps)  # of the peak: the resolution of the numbers
    return centre * peak, scale * peak


def _gaussian(x: np.ndarray, w: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, str]:
    """Log-density of the maximum-likelihood Gaussian, whose covariance is shrunk to its diagonal if it is singular."""
    mean = w @ x
    deviation = np.sqrt(w @ (x - mean) ** 2)
    a, b = (x - mean) / deviation, (y - mean) / deviation
    back = -float(np.log(deviation).sum())
    correlation = (a * w[:, None]).T @ a
    if len(x) > x.shape[1] and np.linalg.eigvalsh(correlation)[0] > SINGULAR_BELOW:
        return _normal_log_density(b, correlation) + back, f"full covariance, {len(x):,} rows"
    ridge = _best_ridge(a, w)
    shrunk = (1 - ridge) * correlation + ridge * np.eye(len(correlation))
    why = f"{len(x):,} rows for {x.shape[1]} columns" if len(x) <= x.shape[1] else "columns depend on one another"
    detail = f"covariance singular ({why}), shrunk to its diagonal by {ridge:.2g}, which cross-validation chose"
    return _normal_log_density(b, shrunk) + back, detail


def _normal_log_density(b: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    from scipy.stats import Covariance, multivariate_normal

    normal: Any = multivariate_normal(cov=Covariance.from_cholesky(np.linalg.cholesky(covariance)))  # pyright: ignore
    return np.atleast_1d(normal.logpdf(b))


def _best_ridge(a: np.ndarray, w: np.ndarray) -> float:
    """The shrinkage that scores best on the folds left out of cross-validation."""
    folds = np.arange(len(a)) % min(RIDGE_FOLDS, len(a))
    totals = np.zeros(len(RIDGES))
    for fold in range(folds.max() + 1):
        kept, left = folds != fold, folds == fold
        share = w[kept] / w[kept].sum()
        mean = share @ a[kept]
        covariance = ((a[kept] - mean) * share[:, None]).T @ (a[kept] - mean)
        values, vectors = np.linalg.eigh(covariance)
        squares = ((a[left] - mean) @ vectors) ** 2
        for i, ridge in enumerate(RIDGES):
            spectrum = (1 - ridge) * np.maximum(values, 0) + ridge  # columns have variance one here
            totals[i] += w[left] @ (-0.5 * (squares / spectrum).sum(axis=1) - 0.5 * np.log(spectrum).sum())
    return float(RIDGES[int(np.argmax(totals))])
