"""Particles in islands that never mix: resampling within them, and errors from how much they differ."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray

# An island is resampled when its weights are worth less than this share of its particles.
LEAST_SHARE = 0.5


def ess_share(log_weights: Array) -> Array:
    """The effective share of weighted particles `(islands, particles)`, of each island; 0 where all weights are 0."""
    top = jnp.max(log_weights, axis=1, keepdims=True)
    weights = jnp.exp(log_weights - jnp.where(jnp.isfinite(top), top, 0))
    total, squares = jnp.sum(weights, axis=1), jnp.sum(weights**2, axis=1)
    return jnp.where(squares > 0, total**2 / jnp.where(squares > 0, squares, 1), 0) / log_weights.shape[1]


def log_mean(log_weights: Array) -> Array:
    """The logarithm of the mean weight of each island, `(islands,)`."""
    return jax.nn.logsumexp(log_weights, axis=1) - jnp.log(log_weights.shape[1])


def chosen(key: PRNGKeyArray, log_weights: Array) -> Array:
    """Numbers `(islands, particles)` of the particles that stay, drawn systematically within each island."""
    from blackjax.smc.resampling import systematic

    n_islands, n = log_weights.shape

    def one(key: PRNGKeyArray, log_weights: Array) -> Array:
        return systematic(key, jax.nn.softmax(log_weights), n)

    # An island all of whose weights are zero keeps its particles, and its own weight is zero.
    alive = jnp.max(log_weights, axis=1, keepdims=True) > -jnp.inf
    return jax.vmap(one)(jax.random.split(key, n_islands), jnp.where(alive, log_weights, 0))


def taken(places: Array, rows: Any) -> Any:
    """The rows `(islands, particles, ...)` at `places`, for each array of a tree."""
    return jax.tree.map(lambda leaf: jax.vmap(lambda rows, at: rows[at])(leaf, places), rows)


def island_counts(log_evidence: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """How many of `n` draws each island gives, `(islands,)`, by its share of the evidence."""
    shares = np.exp(log_evidence - log_evidence.max())
    at = (np.arange(n) + rng.uniform()) / n
    places = np.searchsorted(np.cumsum(shares) / shares.sum(), at)
    return np.bincount(np.minimum(places, len(shares) - 1), minlength=len(shares))


def evidence_of(log_evidence: np.ndarray) -> tuple[float, float]:
    """The logarithm of the mean evidence of the islands, and its standard error."""
    top = log_evidence.max()
    shares = np.exp(log_evidence - top)
    error = shares.std(ddof=1) / np.sqrt(len(shares)) / shares.mean() if len(shares) > 1 else np.nan
    return float(top + np.log(shares.mean())), float(error)


def error_of_mean(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    r"""The standard error of the mean of values `(n, ...)`, of which those of one group depend on one another.

    With the share $s_g$ of group $g$ and its mean $m_g$ it is $\sqrt{\frac{G}{G - 1} \sum_g s_g^2 (m_g - m)^2}$.

    Args:
        values: The values.
        groups: Number of each value's group `(n,)`.
    """
    _, places = np.unique(groups, return_inverse=True)
    n_groups = int(places.max()) + 1
    if n_groups < 2:
        return np.full(values.shape[1:], np.nan)
    sums = np.zeros((n_groups, *values.shape[1:]))
    np.add.at(sums, places, values - values.mean(axis=0))
    return np.sqrt(n_groups / (n_groups - 1) * (sums**2).sum(axis=0)) / len(values)
