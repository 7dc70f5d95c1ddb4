"""Linear layers: permutations and LU."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.core
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection, along
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.permute import permute
from pushforward.numerics.product import dense

# Bound on the log of each diagonal element of an LU layer: the layer stays invertible whatever the optimiser does.
MAX_LOG_DIAGONAL = 10.0
# Size of the off-diagonal elements at the start, relative to 1 / dim.
INITIAL_MIX = 0.1


class Reverse(AbstractBatchedBijection):
    """The coordinates in reverse order; log-determinant 0.

    Args:
        dim: length of the vector.
    """

    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, dim: int):
        self.in_shape = self.out_shape = (check_int("Reverse", "dim", dim, 1),)
        self.cond_shape, self.traits = None, Traits()

    def _forward(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return x[::-1], jnp.zeros(x.shape[-1:], x.dtype)

    def _inverse(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return y[::-1], jnp.zeros(y.shape[-1:], y.dtype)


class Permutation(AbstractBatchedBijection):
    """`y[i] = x[indices[i]]`; log-determinant 0.

    Args:
        indices: a permutation of `0 .. dim - 1`; `Permutation.random(key, dim)` draws one.

    Raises:
        ValueError: `indices` is not a permutation.
    """

    indices: Array
    inverse_indices: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, indices: Sequence[int] | np.ndarray | Array):
        # Inside jit the values are not known; there the only caller is `random`, whose indices are right.
        if not isinstance(indices, jax.core.Tracer):
            values = np.asarray(indices)
            if values.ndim != 1 or not np.array_equal(np.sort(values), np.arange(len(values))) or not len(values):
                fix = "Each index from 0 to dim - 1 occurs once."
                raise ValueError(message("Permutation", "a permutation of 0..dim-1", f"{values.tolist()[:12]}", fix))
        self.indices = jnp.asarray(indices, jnp.int32)
        self.inverse_indices = jnp.argsort(self.indices).astype(jnp.int32)
        self.in_shape = self.out_shape = self.indices.shape
        self.cond_shape, self.traits = None, Traits()

    @staticmethod
    def random(key: PRNGKeyArray, dim: int) -> Permutation:
        """A permutation drawn uniformly."""
        return Permutation(jax.random.permutation(key, check_int("Permutation", "dim", dim, 1)))

    def _forward(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return permute(x, self.indices, self.inverse_indices), jnp.zeros(x.shape[-1:], x.dtype)

    def _inverse(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return permute(y, self.inverse_indices, self.indices), jnp.zeros(y.shape[-1:], y.dtype)


class LULinear(AbstractBatchedBijection):
    r"""$y = L U P x + b$ with a random permutation $P$, unit lower $L$, upper $U$; $\log|\det| = \sum_i \log U_{ii}$.

    The diagonal of $U$ is $e^{d}$ with $d$ bounded, so that the layer cannot become singular.

    Args:
        key: for the permutation and the initial weights, near the permutation alone.
        dim: length of the vector.

    Cost: forward one $D \times D$ product per event (and $D^3$ once per batch), inverse two triangular solves.

    Source: Oliva et al., 2018, section 3.1.1, arXiv 1801.09819; Kingma and Dhariwal, 2018, eq. 10, arXiv 1807.03039.
    """

    lower: Array
    upper: Array
    log_diagonal: Array
    bias: Array
    permutation: Permutation
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, dim: int):
        dim = check_int("LULinear", "dim", dim, 1)
        draw_key, permutation_key = jax.random.split(key)
        self.lower, self.upper = jax.random.uniform(draw_key, (2, dim, dim), minval=-1.0) * (INITIAL_MIX / dim)
        self.log_diagonal, self.bias = jnp.zeros(dim), jnp.zeros(dim)
        self.permutation = Permutation.random(permutation_key, dim)
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape, self.traits = None, Traits()

    def _factors(self) -> tuple[Array, Array, Array]:
        log_diagonal = soft_clamp(self.log_diagonal, MAX_LOG_DIAGONAL)
        lower = jnp.tril(self.lower, -1) + jnp.eye(*self.lower.shape, dtype=self.lower.dtype)
        return lower, jnp.triu(self.upper, 1) + jnp.diag(jnp.exp(log_diagonal)), jnp.sum(log_diagonal)

    def _forward(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        lower, upper, log_det = self._factors()
        # The columns of the matrix are shuffled instead of the rows of the batch, which are more; the bias is one more.
        columns = permute((lower @ upper).T, self.permutation.inverse_indices, self.permutation.indices)
        weight = jnp.concatenate([columns, self.bias[None]]).T
        return dense(weight, x), jnp.broadcast_to(log_det, x.shape[-1:])

    def _inverse(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        lower, upper, log_det = self._factors()
        centred = y - along(self.bias)
        dtype = jnp.result_type(centred, lower)
        z = solve_triangular(lower.astype(dtype), centred.astype(dtype), lower=True, unit_diagonal=True)
        z = solve_triangular(upper.astype(dtype), z)
        x = permute(z, self.permutation.inverse_indices, self.permutation.indices)
        return x, jnp.broadcast_to(-log_det, y.shape[-1:])
