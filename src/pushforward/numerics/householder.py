"""Products of Householder reflections, as matrices and applied to rows."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray


def compact(vectors: Array) -> tuple[Array, Array]:
    r"""Matrices `U`, `M` of `(k, dim)` with $H_1 \cdots H_k = I - U^\top M$, where $H_i = I - 2 v_i v_i^\top/|v_i|^2$.

    The compact form of the product is $I - U^\top T U$ with the unit vectors as rows of $U$ and $T$ upper triangular.
    The **inverse** of $T$ is known: half the identity, and above the diagonal the inner products of the vectors.

    Args:
        vectors: Array of shape `(k, dim)`, none of them zero (a zero gives NaN).

    Cost: $O(k^2\,\text{dim})$.

    Source: Schreiber and Van Loan, 1989, SIAM J. Sci. Stat. Comput. 10; Joffrain et al., 2006, ACM TOMS 32.
    """
    unit = vectors / jnp.sqrt(jnp.sum(vectors * vectors, axis=1, keepdims=True))
    inverse = jnp.triu(unit @ unit.T, 1) + 0.5 * jnp.eye(len(unit), dtype=unit.dtype)
    return unit, solve_triangular(inverse, unit)


def leading_columns(vectors: Array, n: int) -> Array:
    """The first `n` columns of the product of the reflections, `(dim, n)`: orthonormal.

    Args:
        vectors: Array of shape `(k, dim)`.
        n: Number of columns, up to `dim`.
    """
    unit, mixed = compact(vectors)
    return jnp.eye(vectors.shape[1], n, dtype=vectors.dtype) - unit.T @ mixed[:, :n]


def reflect(vectors: Array, x: Array, transpose: bool = False) -> Array:
    """The product of the reflections times `x`, where each row has its own vectors.

    Args:
        vectors: Array of shape `(k, dim, n)`.
        x: Array of shape `(dim, n)`.
        transpose: Whether to apply the reflections in the other order.

    Cost: `k` steps of `O(dim)` each per row.
    """

    def step(value: Array, vector: Array) -> tuple[Array, None]:
        share = jnp.sum(vector * value, axis=0) / jnp.sum(vector * vector, axis=0)
        return value - 2 * share * vector, None

    return scan(step, x, vectors, reverse=not transpose)[0]


def random_basis(key: PRNGKeyArray, k: int, dim: int) -> Array:
    """Draw `k` vectors `(k, dim)` whose reflections take the first `k` axes to random directions.

    A normal vector `g` alone would, for large `dim`, leave every axis nearly where it is; `g + |g| e_i` takes axis `i`
    to the direction of `g`.
    """
    draws = jax.random.normal(key, (k, dim))
    norms = jnp.sqrt(jnp.sum(draws * draws, axis=1, keepdims=True))
    there, opposite = draws + norms * jnp.eye(k, dim), draws - norms * jnp.eye(k, dim)
    # In one dimension `g + |g|` is 0 for half of all draws, and a reflection by 0 is NaN.
    cancelled = jnp.max(jnp.abs(there), axis=1, keepdims=True) <= jnp.finfo(there.dtype).eps * norms
    return jnp.where(cancelled, opposite, there)
