"""Normal distributions whose coordinates depend on each other, or on a condition by way of a network."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from jax.scipy.special import ndtr, ndtri

from pushforward._checks import as_floats, check_shape, check_values, is_traced, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import along
from pushforward.distributions.closed_form import AbstractClosedForm
from pushforward.distributions.of_network import check_network, outputs
from pushforward.distributions.standard import NORMAL_ENTROPY, normals, over_event

# How far a covariance may be from its transpose, as a share of its largest number: it may come from float32.
ASYMMETRY = 1e-5


class MultivariateNormal(AbstractClosedForm):
    r"""The normal with mean $m$ and covariance $\Sigma = L L^T$, both trained.

    $\log p(x) = -\tfrac12 |L^{-1} (x - m)|^2 - \sum_i \log L_{ii} - \tfrac D2 \log 2\pi$. The parameters are the mean
    and, of the lower triangular $L$, the numbers below the diagonal and the logs of those on it.

    Args:
        loc: The mean $m$, `(D,)`, or one number for all.
        cov: The covariance $\Sigma$, `(D, D)`: symmetric and positive definite.
        scale_tril: Instead of `cov`, its lower triangular factor $L$ with a positive diagonal.

    Cost: $O(D^2)$ per row; $O(D^3)$ once, for the factor of `cov`.

    Raises:
        ValueError: Neither or both of `cov` and `scale_tril` are given, shapes do not fit, the covariance is not
            symmetric and positive definite, or the factor is not lower triangular with a positive diagonal.

    Example:
        >>> import pushforward as pf
        >>> normal = pf.MultivariateNormal([0.0, 1.0], [[1.0, 0.8], [0.8, 1.0]])
        >>> normal.log_prob([0.0, 1.0]).round(3).item(), normal.variance().round(3).tolist()
        (-1.327, [1.0, 1.0])
    """

    loc: Array
    entries: Array
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, loc: Any, cov: Any = None, *, scale_tril: Any = None):
        name = "MultivariateNormal"
        if (cov is None) == (scale_tril is None):
            got = "neither" if cov is None else "both"
            raise ValueError(message(name, "cov or scale_tril", got, "Give one of them; for variances DiagonalNormal."))
        matrix = as_floats(scale_tril if cov is None else cov)
        dim = matrix.shape[0] if matrix.ndim else 0
        if matrix.shape != (dim, dim) or not dim:
            raise ValueError(message(name, "a square matrix", f"shape {matrix.shape}", "One row per coordinate."))
        loc = as_floats(loc)
        if loc.shape not in ((), (dim,)):
            raise ValueError(message(name, f"loc of shape ({dim},)", f"{loc.shape}", "One number per coordinate."))
        if cov is None:
            fix = "Take jnp.linalg.cholesky of the covariance, or pass cov."
            check_values(name, "a lower triangle with a diagonal > 0", _is_factor, fix, scale_tril)
            factor = matrix
        else:
            fix = "Add a small multiple of the identity, or take fewer coordinates."
            check_values(name, "a symmetric, positive definite covariance", _is_covariance, fix, cov)
            # In double precision where it can be: the factor of a nearly singular matrix needs the digits.
            known = not is_traced(cov)
            factor = as_floats(np.linalg.cholesky(np.asarray(cov, float))) if known else jnp.linalg.cholesky(matrix)
        diagonal = np.diag_indices(dim)
        factor = factor.at[diagonal].set(jnp.log(jnp.diagonal(factor)))
        self.loc, self.entries = jnp.broadcast_to(loc, (dim,)), factor[np.tril_indices(dim)]
        self.event_shape, self.cond_shape, self.needs_key = (dim,), None, False

    def _packed(self) -> Array:
        """The lower triangle, with logs on its diagonal."""
        (dim,) = self.event_shape
        return jnp.zeros((dim, dim), self.entries.dtype).at[np.tril_indices(dim)].set(self.entries)

    def scale_tril(self) -> Array:
        """The lower triangular factor $L$, `(D, D)`."""
        packed = self._packed()
        return jnp.tril(packed, -1) + jnp.diag(jnp.exp(jnp.diagonal(packed)))

    def covariance(self) -> Array:
        """The covariance $L L^T$, `(D, D)`."""
        factor = self.scale_tril()
        return jnp.matmul(factor, factor.T, precision="highest")

    def _log_prob_of(self, z: Array) -> Array:
        constant = 0.5 * math.log(2 * math.pi) * self.event_shape[0]
        return -0.5 * over_event(z * z) - jnp.sum(jnp.diagonal(self._packed())) - constant

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        # An infinite coordinate has the density 0; in the solve it would be NaN.
        outside = jnp.isinf(jnp.max(jnp.abs(x), axis=0))
        centred = jnp.where(outside, 0, x) - along(self.loc)
        dtype = jnp.result_type(centred, self.entries)
        z = solve_triangular(self.scale_tril().astype(dtype), centred.astype(dtype), lower=True)
        return jnp.where(outside, -jnp.inf, self._log_prob_of(z))

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.sample_and_log_prob_rows(keys, condition)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        z = normals(keys, self.event_shape)
        return along(self.loc) + jnp.matmul(self.scale_tril(), z, precision="highest"), self._log_prob_of(z)

    def mean_rows(self, condition: Array | None) -> Array:
        return along(self.loc)

    def variance_rows(self, condition: Array | None) -> Array:
        return along(jnp.sum(self.scale_tril() ** 2, axis=1))

    def entropy_rows(self, condition: Array | None) -> Array:
        return NORMAL_ENTROPY * self.event_shape[0] + jnp.sum(jnp.diagonal(self._packed()))[None]

    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        return ndtr((x - along(self.loc)) / jnp.sqrt(self.variance_rows(condition)))

    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        return along(self.loc) + jnp.sqrt(self.variance_rows(condition)) * ndtri(p)


class ConditionalNormal(AbstractClosedForm):
    r"""$p(x \mid c) = N(x;\; \mu(c), \sigma(c)^2)$ with independent coordinates, $\mu$ and $\log\sigma$ from a network.

    Args:
        net: A callable (an `eqx.Module`, to be trained along) from **one** condition of `cond_shape` to twice as many
            numbers as an event has: first the means, then the logs of the standard deviations. `pf.MLP` and
            `eqx.nn.MLP` are such networks.
        shape: Event shape.
        cond_shape: Shape of the condition.

    Raises:
        ValueError: The network takes other conditions, or gives another number of outputs.

    Example:
        >>> import equinox as eqx, jax, pushforward as pf
        >>> net = eqx.nn.MLP(in_size=3, out_size=4, width_size=8, depth=1, key=jax.random.key(0))
        >>> base = pf.ConditionalNormal(net, shape=(2,), cond_shape=(3,))
        >>> base.sample(jax.random.key(1), 5, condition=jax.numpy.ones(3)).shape
        (5, 2)
    """

    net: Callable[[Array], Array]
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, net: Callable[[Array], Array], shape: Shape, cond_shape: Shape):
        name = "ConditionalNormal"
        self.net, self.event_shape, self.needs_key = net, check_shape(name, shape), False
        own = self.cond_shape = check_shape(name, cond_shape)
        wanted, fix = 2 * math.prod(self.event_shape), "The means come first, then the logs of the deviations."
        check_network(name, net, own, self.event_shape, wanted, fix)

    def _loc_and_log_scale(self, condition: Array | None) -> tuple[Array, Array]:
        out = outputs(self.net, condition)
        loc, log_scale = out.reshape(2, *self.event_shape, out.shape[-1])
        return loc, log_scale

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        loc, log_scale = self._loc_and_log_scale(condition)
        return self._log_prob_of((x - loc) * jnp.exp(-log_scale), log_scale)

    def _log_prob_of(self, z: Array, log_scale: Array) -> Array:
        constant = 0.5 * math.log(2 * math.pi) * math.prod(self.event_shape)
        return -over_event(0.5 * z * z + log_scale) - constant

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        return self.sample_and_log_prob_rows(keys, condition)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        loc, log_scale = self._loc_and_log_scale(condition)
        z = normals(keys, self.event_shape)
        return loc + jnp.exp(log_scale) * z, self._log_prob_of(z, log_scale)

    def mean_rows(self, condition: Array | None) -> Array:
        return self._loc_and_log_scale(condition)[0]

    def variance_rows(self, condition: Array | None) -> Array:
        return jnp.exp(2 * self._loc_and_log_scale(condition)[1])

    def entropy_rows(self, condition: Array | None) -> Array:
        return NORMAL_ENTROPY * math.prod(self.event_shape) + over_event(self._loc_and_log_scale(condition)[1])

    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        loc, log_scale = self._loc_and_log_scale(condition)
        return ndtr((x - loc) * jnp.exp(-log_scale))

    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        loc, log_scale = self._loc_and_log_scale(condition)
        return loc + jnp.exp(log_scale) * ndtri(p)


def _is_factor(matrix: np.ndarray) -> bool:
    diagonal = np.diagonal(matrix)
    return bool(np.all(np.isfinite(matrix)) and np.all(diagonal > 0) and np.all(np.triu(matrix, 1) == 0))


def _is_covariance(matrix: np.ndarray) -> bool:
    if not np.all(np.isfinite(matrix)) or np.any(np.abs(matrix - matrix.T) > ASYMMETRY * np.abs(matrix).max()):
        return False
    try:
        np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        return False
    return True
