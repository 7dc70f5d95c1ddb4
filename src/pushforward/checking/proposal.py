"""A normalised density close to given rows: a mixture of normals, fitted by expectation-maximisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import logsumexp

MAX_COMPONENTS = 12
ROWS_PER_PARAMETER = 4  # rows for each number in a covariance, at least
STEPS = 20
RIDGE = 1e-4  # added to each variance, in units of the whole: a component on one point would have a density without end


@dataclass(frozen=True)
class NormalMixture:
    """A mixture of normals with full covariances, in the units of the rows.

    Args:
        logits: logs of the weights, `(k,)`.
        means: `(k, d)`.
        factors: lower Cholesky factors of the covariances, `(k, d, d)`.
    """

    logits: np.ndarray
    means: np.ndarray
    factors: np.ndarray

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Log-densities `(n,)` in nats of rows `(n, d)`."""
        return np.asarray(logsumexp(self._joint(x), axis=1))

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """`n` draws `(n, d)`."""
        which = rng.choice(len(self.logits), n, p=np.exp(self.logits))
        noise = rng.standard_normal((n, self.means.shape[1]))
        return self.means[which] + np.einsum("nij,nj->ni", self.factors[which], noise)

    def _joint(self, x: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), len(self.logits)))
        constant = 0.5 * x.shape[1] * np.log(2 * np.pi)
        for k, (mean, factor) in enumerate(zip(self.means, self.factors, strict=True)):
            z = (x - mean) @ np.linalg.inv(factor).T
            square = np.einsum("nd,nd->n", z, z)
            out[:, k] = self.logits[k] - 0.5 * square - np.log(np.diag(factor)).sum() - constant
        return out

    @staticmethod
    def fit(x: np.ndarray, rng: np.random.Generator) -> NormalMixture:
        """Fitted to rows `(n, d)`; the number of components follows from the number of rows.

        Source: Dempster, Laird, Rubin, 1977, "Maximum likelihood from incomplete data via the EM algorithm".
        """
        n, d = x.shape
        centre, spread = np.median(x, axis=0), np.maximum(x.std(axis=0), np.finfo(float).tiny)
        rows = (x - centre) / spread
        k = int(np.clip(n // (ROWS_PER_PARAMETER * d * (d + 1)), 1, MAX_COMPONENTS))
        means = _spread_out(rows, k, rng)
        whole = np.cov(rows, rowvar=False).reshape(d, d) + RIDGE * np.eye(d)
        mixture = NormalMixture(np.full(k, -np.log(k)), means, np.repeat(np.linalg.cholesky(whole)[None], k, axis=0))
        for _ in range(STEPS if k > 1 else 1):
            joint = mixture._joint(rows)
            share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
            mixture = _maximise(rows, share)
        return NormalMixture(mixture.logits, mixture.means * spread + centre, mixture.factors * spread[:, None])


def _maximise(rows: np.ndarray, share: np.ndarray) -> NormalMixture:
    d = rows.shape[1]
    counts = share.sum(axis=0) + 1e-9  # a component that lost all its rows keeps a weight, if a tiny one
    means = share.T @ rows / counts[:, None]
    factors = np.empty((len(counts), d, d))
    for k, count in enumerate(counts):
        centred = rows - means[k]
        factors[k] = np.linalg.cholesky((share[:, k, None] * centred).T @ centred / count + RIDGE * np.eye(d))
    return NormalMixture(np.log(counts / counts.sum()), means, factors)


def _spread_out(rows: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:
    """`k` of the rows, each drawn in proportion to its squared distance from those before."""
    chosen = [rows[rng.integers(len(rows))]]
    distance = np.full(len(rows), np.inf)
    for _ in range(k - 1):
        distance = np.minimum(distance, ((rows - chosen[-1]) ** 2).sum(axis=1))
        total = distance.sum()
        chosen.append(rows[rng.choice(len(rows), p=distance / total)] if total > 0 else chosen[-1])
    return np.array(chosen)
