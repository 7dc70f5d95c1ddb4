"""A fixed linear layer, set from a batch, that widens the directions in which rows hardly vary."""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection, along
from pushforward.numerics.triangular import solve_lu

# A direction is widened to this standard deviation, where columns have 1. On eight tables flow matching gained 0 to
# 11.5 nats by it and lost nothing; see docs/explanation/flow_defaults.md.
LEAST = math.sqrt(0.1)
# A coordinate whose variance in the batch is smaller counts as one of variance 1. It is also the smallest variance of a
# direction, and the least share by which correlations are shrunk.
MIN_VARIANCE, MIN_SHARE = 1e-12, 1e-5


class PartialWhitening(AbstractBatchedBijection):
    r"""A fixed linear map, $y = A (x - m) + m$, which is the identity until `initialise` sets it from a batch.

    Let $D^{-1}$ bring the batch's columns to variance 1 and $R = V \Lambda V^T$ be its correlations. Then
    $A = D\, V \min(1, \Lambda^{1/2} / 0.32)\, V^T D^{-1}$: from data to latent a direction narrower than 0.32 becomes
    as wide as that; without such a direction the layer is the identity. A regression on velocities or scores, which
    trains no linear layer, can then resolve columns that all but determine each other. The axes of other columns, along
    which tables have their edges and atoms, are kept.

    Args:
        dim: length of the vector.
        standardises: Whether the layer also brings the columns to mean 0 and variance 1,
            $y = D\, V \min(1, \Lambda^{1/2} / 0.32)\, V^T x + m$, as pixels of unlike spread need it.

    The layer stores $D$ and the Cholesky factor of the matrix between $D$ and $D^{-1}$, so that the two directions
    undo each other to rounding in either floating type.

    Cost: $O(D^2)$ per event in both directions, two products or two triangular solves; log-det exact.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.PartialWhitening(2))
        >>> batch = jax.random.normal(jax.random.key(0), (500, 2)) @ jax.numpy.array([[1.0, 1.0], [0.0, 0.01]])
        >>> latent = pf.initialise(flow, batch).encode(batch)
        >>> bool(jax.numpy.corrcoef(batch.T)[0, 1] > 0.999), bool(jax.numpy.corrcoef(latent.T)[0, 1] < 0.95)
        (True, True)
    """

    factor: Fixed
    scale: Fixed
    loc: Fixed
    standardises: bool = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, dim: int, standardises: bool = False):
        dim = check_int("PartialWhitening", "dim", dim, 1)
        self.factor, self.scale, self.loc = Fixed(jnp.eye(dim)), Fixed(jnp.ones(dim)), Fixed(jnp.zeros(dim))
        self.in_shape = self.out_shape = (dim,)
        self.standardises = standardises

    def _log_det(self, rows: Array) -> Array:
        log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(self.factor.value)))
        if self.standardises:
            log_det = log_det + jnp.sum(jnp.log(self.scale.value))
        return jnp.broadcast_to(log_det, rows.shape[-1:])

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        factor, scale, loc = self.factor.value, along(self.scale.value), along(self.loc.value)
        standard = x if self.standardises else (x - loc) / scale
        return factor @ (factor.T @ standard) * scale + loc, self._log_det(x)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        factor, scale, loc = self.factor.value, along(self.scale.value), along(self.loc.value)
        standard = solve_lu(factor, factor.T, (y - loc) / scale)
        return standard if self.standardises else standard * scale + loc, -self._log_det(y)


def whitened_by(layer: PartialWhitening, rows: Array, forward: bool) -> PartialWhitening:
    r"""The layer set so that no direction of its output of these rows is narrower than `LEAST`.

    The correlations of $n$ rows of $D$ numbers are multiplied by $1 - \min(1, D/n)^2$: few rows are correlated by
    chance, and columns determine each other where there are no more rows than columns.

    Args:
        layer: The layer to set.
        rows: Array of shape `(d, n)`, the inputs of the layer.
        forward: The direction in which the rows go.

    Raises:
        ValueError: The layer standardises, and the rows go forward.
    """
    if forward and layer.standardises:
        fix = "Put it on the data's side of the flow, not under Invert."
        raise ValueError(message("PartialWhitening", "data on its forward side", "data on the other", fix))
    d, n = rows.shape
    mean = jnp.mean(rows, axis=-1)
    covariance = (rows - along(mean)) @ (rows - along(mean)).T / n
    variance = jnp.diagonal(covariance)
    scale = jnp.sqrt(jnp.where(variance > MIN_VARIANCE, variance, 1.0))
    believed = 1 - max(MIN_SHARE, min(1.0, d / n) ** 2)
    correlation = covariance / (scale[:, None] * scale) * believed
    values, vectors = jnp.linalg.eigh(jnp.where(jnp.eye(d, dtype=bool), 1.0, correlation))
    width = jnp.minimum(1.0, jnp.sqrt(jnp.maximum(values, MIN_SHARE)) / LEAST)
    factor = jnp.linalg.cholesky((vectors * (1 / width if forward else width)) @ vectors.T)
    return eqx.tree_at(lambda b: (b.factor.value, b.scale.value, b.loc.value), layer, (factor, scale, mean))
