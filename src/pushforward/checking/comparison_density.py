"""A mixture of normals that is fitted to rows: the normalised density with which models are compared."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

MAX_COMPONENTS = 12
ROWS_PER_PARAMETER = 4  # rows for each number in a covariance, at least
STEPS = 20
RIDGE = (
    1e-4  # added to each variance of standardised rows, because a component on one point would have an infinite density
)


@dataclass(frozen=True)
class NormalMixture:
    """A mixture of normals with full covariances.

    Args:
        mixture: The `GaussianMixture` of scikit-learn for rows in units of `centre` and `spread`.
        centre: Centre `(d,)` of the rows.
        spread: Scale `(d,)` of the rows.
    """

    mixture: Any
    centre: np.ndarray
    spread: np.ndarray

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-densities `(n,)` in nats of rows `(n, d)`."""
        return self.mixture.score_samples((x - self.centre) / self.spread) - np.log(self.spread).sum()

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw `n` rows `(n, d)`."""
        self.mixture.set_params(random_state=int(rng.integers(2**31)))
        rows = self.mixture.sample(n)[0]  # one component after the other
        return rng.permutation(rows) * self.spread + self.centre

    @staticmethod
    def fit(x: np.ndarray, rng: np.random.Generator) -> NormalMixture:
        """Fit a mixture to rows `(n, d)`; the number of components follows from the number of rows."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        n, d = x.shape
        centre, spread = np.median(x, axis=0), np.maximum(x.std(axis=0), np.finfo(float).tiny)
        k = int(np.clip(n // (ROWS_PER_PARAMETER * d * (d + 1)), 1, MAX_COMPONENTS))
        seed = int(rng.integers(2**31))
        mixture = GaussianMixture(k, reg_covar=RIDGE, max_iter=STEPS, init_params="k-means++", random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it needs only be close to the rows
            mixture.fit((x - centre) / spread)
        return NormalMixture(mixture, centre, spread)
