r"""Integrals of positive Bernstein polynomials, which are increasing, in closed form, and free of cancellation.

With coefficients $\rho_k > 0$ the slope $\sum_k \rho_k B_{n-1,k}(s)$ is a mean of the coefficients, whose weights are
$B_{n,k}(s) = \binom{n}{k} s^k (1 - s)^{n-k} \ge 0$, so that it lies between the smallest and the largest of them.
"""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.numerics.known_slope import known_slope
from pushforward.numerics.product import matrix_product

# Beyond this degree the binomials and the powers leave the range of float32.
MAX_DEGREE = 64


def _powers(s: Array, n: int) -> list[Array]:
    rows = [jnp.ones_like(s)]
    while len(rows) <= n:
        rows.append(rows[-1] * s)
    return rows


def _basis(s: Array, n: int) -> Array:
    """The `n + 1` polynomials of degree `n` at `s`, `(n + 1, *S)`; every factor is positive, so nothing cancels."""
    up, down = _powers(s, n), _powers(1 - s, n)
    return jnp.stack([math.comb(n, k) * up[k] * down[n - k] for k in range(n + 1)])


def _curvature(s: Array, slopes: Array) -> Array:
    n = slopes.shape[0] - 1
    return n * jnp.sum(_basis(s, n - 1) * jnp.diff(slopes, axis=0), axis=0) if n else jnp.zeros_like(s)


mean_slope = known_slope(lambda s, slopes: jnp.sum(_basis(s, slopes.shape[0] - 1) * slopes, axis=0), _curvature)
r"""$\sum_k \rho_k B_{n-1,k}(s)$ of `s` in [0, 1], of shape `S`, and `slopes` $\rho$, `(n, *S)`."""


@functools.lru_cache(maxsize=64)
def _sums(n: int) -> np.ndarray:
    """The matrix `(n + 1, n)` from slopes to the coefficients of their integral from 1/2."""
    running = np.tril(np.ones((n + 1, n)), -1) / n
    middle = np.array([math.comb(n, k) for k in range(n + 1)]) / 2.0**n
    return running - middle @ running


_integral = known_slope(
    lambda s, both: jnp.sum(_basis(s, both[0].shape[0]) * both[1], axis=0), lambda s, both: mean_slope(s, both[0])
)


def integral_coefficients(slopes: Array) -> Array:
    r"""The increasing Bernstein coefficients of $\int_{1/2}^s \sum_k \rho_k B_{n-1,k}$.

    Args:
        slopes: Coefficients $\rho > 0$ of the slope, `(n, *S)`.

    Returns:
        The coefficients, `(n + 1, *S)`.
    """
    n = slopes.shape[0]
    flat = slopes.reshape(n, -1)
    return matrix_product(jnp.asarray(_sums(n), slopes.dtype), flat).reshape(n + 1, *slopes.shape[1:])


def integral(s: Array, slopes: Array, coefficients: Array) -> Array:
    r"""The integral $\int_{1/2}^s \sum_k \rho_k B_{n-1,k}$ for `s` in [0, 1].

    Args:
        s: Array of shape `S`.
        slopes: Array of shape `(n, *S)`.
        coefficients: The result of `integral_coefficients(slopes)`, which all `s` share.
    """
    return _integral(s, (slopes, coefficients))
