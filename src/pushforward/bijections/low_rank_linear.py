"""A diagonal plus low rank layer, invertible by construction."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection, along
from pushforward.bijections.linear import INITIAL_MIX, MAX_LOG_DIAGONAL, triangular
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.householder import leading_columns, random_basis
from pushforward.numerics.product import matrix_product
from pushforward.numerics.triangular import solve_lu


class LowRankLinear(AbstractBatchedBijection):
    r"""$y = D (I + U V^\top) x + b$ with $D$ diagonal and $U, V$ of shape `(dim, rank)`.

    By the determinant lemma $\log|\det| = \sum_i \log D_{ii} + \log\det C$ with $C = I + V^\top U$, and by Woodbury's
    identity $(I + U V^\top)^{-1} = I - U C^{-1} V^\top$. The parameters are such that $C$ cannot become singular: $V$
    has orthonormal columns (by reflections), $C$ is trained as an LU decomposition with a bounded positive diagonal,
    and $U = V (C - I) + U_\perp$, where $V^\top U_\perp = 0$. A new layer is near the identity.

    Args:
        key: JAX key for the initial weights.
        dim: length of the vector.
        rank: Number of columns of $U$ and $V$, up to `dim`.

    Cost: $O(\text{rank} \cdot \text{dim})$ per event in both directions, $O(\text{rank}^2\,\text{dim})$ once per batch;
    log-det exact.

    Raises:
        ValueError: a size is out of bounds.

    Source: Woodbury, 1950; the determinant lemma is Harville, 1997, theorem 18.1.1.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> layer = pf.bijections.LowRankLinear(jax.random.key(0), 100, 2)
        >>> x = jnp.ones(100)
        >>> bool(jnp.allclose(layer.inverse(layer.forward(x)), x, atol=1e-5))
        True
    """

    log_scale: Array
    bias: Array
    vectors: Array
    outside: Array
    core: Array
    log_core: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int, rank: int):
        dim = check_int("LowRankLinear", "dim", dim, 1)
        rank = check_int("LowRankLinear", "rank", rank, 1, dim)
        keys = jax.random.split(key, 3)
        self.log_scale, self.bias, self.log_core = jnp.zeros(dim), jnp.zeros(dim), jnp.zeros(rank)
        self.vectors = random_basis(keys[0], rank, dim)
        self.outside = jax.random.uniform(keys[1], (dim, rank), minval=-1.0) * (INITIAL_MIX / dim)
        self.core = jax.random.uniform(keys[2], (rank, rank), minval=-1.0) * (INITIAL_MIX / rank)
        self.in_shape = self.out_shape = (dim,)

    def _parts(self, dtype: Any) -> tuple[Array, Array, Array, Array, Array]:
        """The log-scales, U, V, and the triangular factors of C."""
        lower = jnp.tril(self.core.astype(dtype), -1) + jnp.eye(len(self.core), dtype=dtype)
        upper, _ = triangular(self.core, self.log_core, False, dtype)
        v = leading_columns(self.vectors.astype(dtype), len(self.core))
        outside = self.outside.astype(dtype)
        u = outside + v @ (lower @ upper - jnp.eye(len(lower), dtype=dtype) - v.T @ outside)
        return soft_clamp(self.log_scale.astype(dtype), MAX_LOG_DIAGONAL), u, v, lower, upper

    def _log_det(self, log_scale: Array) -> Array:
        return jnp.sum(log_scale) + jnp.sum(soft_clamp(self.log_core.astype(log_scale.dtype), MAX_LOG_DIAGONAL))

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(x, self.outside)
        log_scale, u, v, _, _ = self._parts(dtype)
        x = x.astype(dtype)
        y = along(jnp.exp(log_scale)) * (x + matrix_product(u, matrix_product(v.T, x))) + along(self.bias)
        return y, jnp.broadcast_to(self._log_det(log_scale), x.shape[-1:])

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        dtype = jnp.result_type(y, self.outside)
        log_scale, u, v, lower, upper = self._parts(dtype)
        z = (y.astype(dtype) - along(self.bias)) * along(jnp.exp(-log_scale))
        x = z - matrix_product(u, solve_lu(lower, upper, matrix_product(v.T, z)))
        return x, jnp.broadcast_to(-self._log_det(log_scale), y.shape[-1:])
