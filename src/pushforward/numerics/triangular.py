"""Triangular systems without LAPACK, whose threads cost more than small systems take.

JAX solves triangular systems on the CPU by the BLAS that SciPy brings. That library shares out even a system of twelve
unknowns among its threads, which wait for each other actively: where two threads of ours drew samples at the same time,
nine tenths of the time went into waiting. Products have no such cost, so the inverse of the matrix is built, applied,
and the residual is corrected once.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.scipy.linalg

from pushforward._meshes import aligned, fori_loop
from pushforward._types import Array

# Blocks of this many rows are inverted by substitution, row by row; larger matrices are put together from them.
BLOCK = 64
# Beyond this many rows the threads of LAPACK are worth their cost.
LARGE = 256


def solve_triangular(matrix: Array, b: Array, *, lower: bool = False) -> Array:
    r"""The solution $x$ of $T x = b$ for a triangular $T$.

    With $X \approx T^{-1}$ it is $x_0 = X b$, $x = x_0 + X (b - T x_0)$. The second step makes the residual as small as
    that of substitution, as long as the condition number of $T$ is far below the reciprocal of the precision.

    Args:
        matrix: The matrix $T$ of `(n, n)`, with zeros in its other triangle.
        b: The right side, `(n,)` or `(n, k)`.
        lower: Whether the matrix is lower triangular.

    Cost: three products of `(n, n)` and `(n, k)`, and $n^3$ once; beyond 256 unknowns LAPACK's substitution.

    Source: Higham, "Accuracy and Stability of Numerical Algorithms", 2002, sections 12.1 and 14.2.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.numerics.triangular import solve_triangular
        >>> solve_triangular(jnp.array([[2.0, 0.0], [1.0, 4.0]]), jnp.array([2.0, 9.0]), lower=True).tolist()
        [1.0, 2.0]
    """
    if len(matrix) > LARGE:
        return jax.scipy.linalg.solve_triangular(matrix, b, lower=lower)
    matrix, b = _alike(matrix, b)
    inverse = inverse_of(matrix) if lower else inverse_of(matrix.T).T
    return _solved(lambda x: matrix @ x, lambda x: matrix.T @ x, inverse, b)


def solve_lu(lower: Array, upper: Array, b: Array) -> Array:
    """The solution of $L U x = b$, by one inverse of the product; see `solve_triangular`.

    Args:
        lower: Lower triangular matrix of `(n, n)`.
        upper: Upper triangular matrix of `(n, n)`.
        b: The right side, `(n,)` or `(n, k)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.numerics.triangular import solve_lu
        >>> lower, upper = jnp.array([[1.0, 0.0], [2.0, 1.0]]), jnp.array([[2.0, 2.0], [0.0, 4.0]])
        >>> solve_lu(lower, upper, jnp.array([4.0, 12.0])).tolist()
        [1.0, 1.0]
    """
    if len(lower) > LARGE:
        return solve_triangular(upper, solve_triangular(lower, b, lower=True))
    lower, upper, b = _alike(lower, upper, b)
    below, above = inverse_of(jnp.stack([lower, upper.T]))
    return _solved(lambda x: lower @ (upper @ x), lambda x: upper.T @ (lower.T @ x), above.T @ below, b)


def _alike(*arrays: Array) -> list[Array]:
    dtype = jnp.result_type(*arrays)
    return aligned(*(array.astype(dtype) for array in arrays))


def _solved(times: Callable, times_transposed: Callable, inverse: Array, b: Array) -> Array:
    inverse = jax.lax.stop_gradient(inverse)

    def solve(matvec: Callable, right: Array) -> Array:
        x = inverse @ right
        return x + inverse @ (right - matvec(x))

    def solve_transposed(_: Callable, right: Array) -> Array:
        x = inverse.T @ right
        return x + inverse.T @ (right - times_transposed(x))

    return jax.lax.custom_linear_solve(times, b, solve, solve_transposed)


def inverse_of(lower: Array) -> Array:
    """The inverses of lower triangular matrices `(*batch, n, n)`, with zeros in their other triangle.

    Up to `BLOCK` rows it is substitution; beyond, neighbouring blocks on the diagonal are joined, two and two.
    """
    n = lower.shape[-1]
    if n <= BLOCK:
        return _substituted(lower)
    half = BLOCK * (-(-n // BLOCK) // 2)
    first, second = inverse_of(lower[..., :half, :half]), inverse_of(lower[..., half:, half:])
    corner = -(second @ lower[..., half:, :half] @ first)
    upper = jnp.zeros((*lower.shape[:-2], half, n - half), lower.dtype)
    return jnp.concatenate(
        [jnp.concatenate([first, upper], axis=-1), jnp.concatenate([corner, second], axis=-1)], axis=-2
    )


def _substituted(lower: Array) -> Array:
    one = jnp.eye(lower.shape[-1], dtype=lower.dtype)

    def row(i: Array, inverse: Array) -> Array:
        own = jnp.take(lower, i, axis=-2)
        rest = one[i] - jnp.einsum("...j,...jk->...k", own, inverse)
        return inverse.at[..., i, :].set(rest / jnp.take(own, i, axis=-1)[..., None])

    return fori_loop(0, lower.shape[-1], row, jnp.zeros_like(lower))
