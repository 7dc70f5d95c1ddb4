"""Fields of mixtures of normals along a path, whose denoised event is known: priors that need no training."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Continuous
from pushforward.dynamics import PredictionField
from pushforward.inverse_problems.closed_form import normals_of
from pushforward.paths import AbstractPath


class ExactNoise(eqx.Module):
    """The noise to be predicted, from the exact score."""

    path: AbstractPath
    log_weights: Array
    means: Array
    covariances: Array
    dim: int = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        c = self.path.at(t)

        def log_density(x: Array) -> Array:
            total = c.alpha**2 * self.covariances + c.sigma**2 * jnp.eye(self.dim)
            factors = jnp.linalg.cholesky(total)
            z = jax.vmap(lambda L, m: jax.scipy.linalg.solve_triangular(L, x - c.alpha * m, lower=True))(
                factors, self.means
            )
            log_dets = jnp.sum(jnp.log(jnp.diagonal(factors, axis1=1, axis2=2)), axis=-1)
            return jax.nn.logsumexp(self.log_weights - 0.5 * jnp.sum(z * z, axis=-1) - log_dets)

        def one(x: Array) -> Array:
            return -c.sigma * jax.grad(log_density)(x * jnp.sqrt(c.alpha**2 + c.sigma**2))

        return one(x) if x.ndim == 1 else jax.vmap(one, in_axes=-1, out_axes=-1)(x)


def field_flow(prior: Any, path: AbstractPath) -> pf.Flow:
    """The same prior as a model of a field along a path."""
    normals: Any = normals_of(prior)
    net = ExactNoise(path, *(jnp.asarray(value) for value in normals), dim=prior.event_shape[0])
    return pf.Flow(pf.StandardNormal(prior.event_shape), Continuous(PredictionField(net, path, "noise")))
