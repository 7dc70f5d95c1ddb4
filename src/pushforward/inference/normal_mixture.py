"""A mixture of normals with full covariances as one set of arrays: the base of flows over separate modes."""

from __future__ import annotations

import math
import warnings
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.distributions import AbstractDistribution

# The log-weight of a component that fills up the arrays: it is never drawn and counts for nothing.
ABSENT = -1e4
# The variance added to each coordinate of standardised rows, so that no component collapses onto one of them.
RIDGE = 1e-6
# Converging further took 40 times as long on a mixture of 40 modes, and explained fresh rows no better.
MOST_ITERATIONS, TOLERANCE = 200, 1e-3


class NormalMixture(AbstractDistribution):
    r"""$p(y) = \sum_k w_k\, N(y; m_k, L_k L_k^T)$, with numbers that are fitted at once and not trained by gradients.

    Args:
        log_weights: Logs of the weights `(k,)`.
        loc: Means `(k, d)`.
        factor: Lower triangular factors `(k, d, d)`.
    """

    log_weights: Fixed
    loc: Fixed
    factor: Fixed
    inverse: Fixed
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, log_weights: Any, loc: Any, factor: Any):
        self.log_weights, self.loc, self.factor = Fixed(log_weights), Fixed(loc), Fixed(factor)
        self.inverse = Fixed(jnp.asarray(np.linalg.inv(np.asarray(factor, float)), jnp.asarray(factor).dtype))
        self.event_shape, self.cond_shape, self.needs_key = (loc.shape[1],), None, False

    @staticmethod
    def standard(dim: int, size: int, dtype: Any) -> NormalMixture:
        """The standard normal, as a mixture of `size` components of which one counts."""
        weights = np.full(size, ABSENT, dtype)
        weights[0] = 0
        return NormalMixture(
            weights, np.zeros((size, dim), dtype), np.broadcast_to(np.eye(dim, dtype=dtype), (size, dim, dim))
        )

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        inverse = jnp.asarray(self.inverse.value)
        z = jnp.einsum("kij,kjn->kin", inverse, x[None] - jnp.asarray(self.loc.value)[..., None])
        log_det = jnp.sum(jnp.log(jnp.diagonal(inverse, axis1=1, axis2=2)), axis=1)
        constant = 0.5 * math.log(2 * math.pi) * self.event_shape[0]
        each = -0.5 * jnp.sum(z * z, axis=1) + (jnp.asarray(self.log_weights.value) + log_det - constant)[:, None]
        return jax.nn.logsumexp(each, axis=0)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        dtype = self.loc.value.dtype

        def draw(key: PRNGKeyArray) -> Array:
            choice_key, own_key = jax.random.split(key)
            k = jax.random.categorical(choice_key, jnp.asarray(self.log_weights.value))
            z = jax.random.normal(own_key, self.event_shape, dtype)
            return jnp.asarray(self.loc.value)[k] + jnp.asarray(self.factor.value)[k] @ z

        return jax.vmap(draw, out_axes=-1)(keys)

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, None)


def fitted_mixture(
    rows: np.ndarray, size: int, n_components: int, n_starts: int, seed: int, dtype: Any
) -> NormalMixture | None:
    """The mixture of `n_components` normals that expectation and maximisation find; None if it collapses.

    Args:
        rows: Standardised rows `(n, d)`.
        size: Number of components of the arrays, at least `n_components`.
        n_components: Number of components to fit.
        n_starts: Number of starts, by k-means, of which the best is kept.
        seed: Seed of the starts.
        dtype: Type of the arrays.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model: Any = GaussianMixture(
        n_components, reg_covar=RIDGE, max_iter=MOST_ITERATIONS, tol=TOLERANCE, n_init=n_starts, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the held-out rows judge what came out
        try:
            model.fit(rows)
        except ValueError:
            return None
    made = NormalMixture.standard(rows.shape[1], size, dtype)
    weights, loc, factor = (np.array(part.value) for part in (made.log_weights, made.loc, made.factor))
    with np.errstate(divide="ignore"):
        weights[:n_components] = np.maximum(np.log(model.weights_), ABSENT)
    loc[:n_components] = model.means_
    factor[:n_components] = np.linalg.cholesky(model.covariances_)
    return NormalMixture(weights, loc, factor)
