"""Posteriors in closed form: normals and mixtures of normals, seen through a matrix with normal noise or none."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from pushforward.distributions import (
    AbstractDistribution,
    DiagonalNormal,
    Mixture,
    MultivariateNormal,
    StandardNormal,
)
from pushforward.inverse_problems.noise import GaussianNoise, Noiseless
from pushforward.inverse_problems.problem import Problem, exact_matrix


class Normals(NamedTuple):
    """A mixture of normals over flat events.

    Attributes:
        log_weights: Logarithms of the weights `(k,)`, which sum to 1.
        means: `(k, d)`.
        covariances: `(k, d, d)`.
    """

    log_weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray

    def mean(self) -> np.ndarray:
        """The mean `(d,)`."""
        return np.exp(self.log_weights) @ self.means

    def covariance(self) -> np.ndarray:
        """The covariance `(d, d)`."""
        weights, gaps = np.exp(self.log_weights), self.means - self.mean()
        return np.einsum("k,kij->ij", weights, self.covariances + gaps[:, :, None] * gaps[:, None, :])

    def draw(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Draws `(n, d)`."""
        weights = np.exp(self.log_weights)
        weights = weights / weights.sum()
        which = rng.choice(len(weights), n, p=weights)
        factors = []
        for cov in self.covariances:
            # Directions without variance, which an observation without noise leaves, have eigenvalues of rounding.
            values, vectors = np.linalg.eigh(cov)
            factors.append(vectors * np.sqrt(np.maximum(values, 0)))
        noise = rng.standard_normal((n, self.means.shape[1]))
        return self.means[which] + np.einsum("nij,nj->ni", np.stack(factors)[which], noise)


def normals_of(prior: AbstractDistribution) -> Normals | None:
    """The prior as a mixture of normals; None if it is not one."""
    shape = prior.event_shape
    if isinstance(prior, StandardNormal | DiagonalNormal):
        mean, variance = (np.asarray(value, np.float64).ravel() for value in (prior.mean(), prior.variance()))
        return Normals(np.zeros(1), mean[None], np.diag(variance)[None])
    if isinstance(prior, MultivariateNormal):
        mean, cov = np.asarray(prior.mean(), np.float64), np.asarray(prior.covariance(), np.float64)
        return Normals(np.zeros(1), mean.reshape(1, math.prod(shape)), cov[None])
    if not isinstance(prior, Mixture):
        return None
    parts = [normals_of(component) for component in prior.components]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    logits = np.asarray(prior.logits, np.float64)
    total: Any = logsumexp(logits)
    logits = logits - total
    return Normals(
        np.concatenate([logit + part.log_weights for logit, part in zip(logits, known, strict=True)]),
        np.concatenate([part.means for part in known]),
        np.concatenate([part.covariances for part in known]),
    )


class Posterior(NamedTuple):
    """The posterior in closed form, and the log-density of the observation in nats."""

    normals: Normals
    log_evidence: float


def posterior_of(problem: Problem) -> Posterior | None:
    r"""The posterior of a mixture of normals, $p(x \mid y) = \sum_k w'_k\, N(m'_k, C'_k)$; None for other problems.

    With $S_k = A C_k A^T + \Sigma$ and the gain $K_k = C_k A^T S_k^{-1}$: $m'_k = m_k + K_k (y - A m_k)$,
    $C'_k = C_k - K_k A C_k$ and $w'_k \propto w_k\, N(y; A m_k, S_k)$.

    Args:
        problem: The problem, in float64.
    """
    if not problem.operator.linear or not isinstance(problem.noise, GaussianNoise | Noiseless):
        return None
    normals = normals_of(problem.prior)
    if normals is None:
        return None
    if isinstance(problem.noise, Noiseless):
        matrix, y = exact_matrix(problem)
        noise = np.zeros((len(y), len(y)))
    else:
        matrix, y = np.asarray(problem.operator.matrix(), np.float64), np.asarray(problem.y.value).ravel()
        noise = problem.noise.covariance(np.asarray(problem.y.value))
    return condition_normals(normals, matrix, y, noise)


def condition_normals(normals: Normals, matrix: np.ndarray, y: np.ndarray, noise: np.ndarray) -> Posterior:
    """A mixture of normals given an observation of it through a matrix.

    Args:
        normals: The mixture.
        matrix: `(m, d)`.
        y: `(m,)`.
        noise: Covariance of the noise `(m, m)`.
    """
    log_weights, means, covariances = [], [], []
    for log_weight, mean, cov in zip(*normals, strict=True):
        total = matrix @ cov @ matrix.T + noise
        factor = np.linalg.cholesky(0.5 * (total + total.T))
        half = np.linalg.solve(factor, matrix @ cov)
        gap = np.linalg.solve(factor, y - matrix @ mean)
        log_weights.append(
            log_weight - 0.5 * gap @ gap - np.log(np.diag(factor)).sum() - 0.5 * len(y) * math.log(2 * math.pi)
        )
        means.append(mean + half.T @ gap)
        left = cov - half.T @ half
        covariances.append(0.5 * (left + left.T))
    evidence: Any = logsumexp(log_weights)
    found = Normals(np.array(log_weights) - evidence, np.stack(means), np.stack(covariances))
    return Posterior(found, float(evidence))
