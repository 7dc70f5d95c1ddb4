"""Functions of one number that keep their digits near 0, in the tails, and at the end of the floats."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from pushforward._types import Array

# This is no NumPy number, which would make float32 a double where JAX has doubles.
LOG_2 = math.log(2.0)
# Beyond this the 1 in 1 + x^2 is below rounding in either type, and x^2 has not overflowed yet.
LARGE = 1e10
# Share of the logarithm of the largest float: e to that power leaves room for slopes, and for products with them.
EXPONENT_SHARE = 0.78
# Share of the square root of the largest float: squares of such numbers leave room for a factor of 1e6.
SQUARE_SHARE = 1e-3
# Below this number z, Lambert's W(z) is z to within z^2 = 4e-18.
SMALL_LOG = -20.0


def max_exponent(dtype: Any) -> float:
    """The exponent at which maps that grow like exponentials end: 1e30 in float32, 1e240 in float64."""
    return EXPONENT_SHARE * math.log(float(jnp.finfo(dtype).max))


def max_square(dtype: Any) -> float:
    """The largest number whose square can be multiplied once more without overflow."""
    return SQUARE_SHARE * math.sqrt(float(jnp.finfo(dtype).max))


def first_and_last(low: Array, high: Array) -> tuple[Array, Array]:
    """The first and the last float between two numbers, both excluded, elementwise.

    Denormals are left out, because XLA's CPU backend treats them as 0.

    Args:
        low: Any floats.
        high: Larger floats.
    """
    low, high = jax.lax.stop_gradient(low), jax.lax.stop_gradient(high)
    tiny = float(jnp.finfo(low.dtype).tiny)
    first, last = jnp.nextafter(low, high), jnp.nextafter(high, low)
    return jnp.where(jnp.abs(first) < tiny, tiny, first), jnp.where(jnp.abs(last) < tiny, -tiny, last)


def inside(x: Array, low: Array | float, high: Array | float, least: float = 0.0) -> Array:
    """Numbers moved to the nearest normal float strictly between two ends; NaN stays NaN.

    The derivative is 0 where a number is moved. It is selected and not multiplied by 0, because later derivatives may
    overflow.

    Args:
        x: Any numbers.
        low: The lower end, or `-inf`.
        high: The upper end, or `inf`.
        least: Least distance of a number from an end; 0 takes the next float.
    """
    low, high = jnp.asarray(low, x.dtype), jnp.asarray(high, x.dtype)
    first, last = first_and_last(low, high)
    if least:
        first, last = (
            jnp.maximum(first, jax.lax.stop_gradient(low) + least),
            jnp.minimum(last, jax.lax.stop_gradient(high) - least),
        )
    return jnp.where(x < first, first, jnp.where(x > last, last, x))


def log_cosh(x: Array) -> Array:
    r"""The function $\log\cosh x$ without overflow, and with its digits near 0."""
    size = jnp.abs(x)
    near = 0.5 * jnp.log1p(jnp.sinh(jnp.minimum(size, 1.0)) ** 2)
    return jnp.where(size < 1, near, size + jnp.log1p(jnp.exp(-2 * size)) - LOG_2)


def log1p_square(x: Array) -> Array:
    r"""The function $\log(1 + x^2)$, also where $x^2$ overflows."""
    large = jnp.abs(x) > min(LARGE, 0.5 * math.sqrt(float(jnp.finfo(x.dtype).max)))  # float16 ends early
    return jnp.where(large, 2 * jnp.log(jnp.where(large, jnp.abs(x), 1.0)), jnp.log1p(jnp.where(large, 0.0, x) ** 2))


def softplus_inverse(y: Array) -> tuple[Array, Array]:
    r"""The inverse softplus $\log(e^y - 1)$ of numbers above 0, and the log of its slope, $-\log(1 - e^{-y})$."""
    log_slope = -jnp.log(-jnp.expm1(-y))
    return y - log_slope, log_slope


@jax.custom_jvp
def lambert_w_of_square(y: Array, factor: Array) -> Array:
    r"""The $w \ge 0$ with $w e^w = a y^2$: the principal branch of Lambert's function, at the square of any number.

    Fritsch's iteration, which multiplies the number of right digits by four, runs on the logarithm of $a y^2$, which
    does not overflow. The derivatives are $\partial w/\partial y = 2 a y e^{-w}/(1 + w)$ and
    $\partial w/\partial a = y^2 e^{-w}/(1 + w)$, which are finite at $y = 0$ and $a = 0$ too.

    Args:
        y: Any numbers.
        factor: Factor $a \ge 0$, of the same shape.

    Source: Fritsch, Shafer and Crowley, 1973, algorithm 443; Winitzki, 2003 (first guess).
    """
    tiny = float(jnp.finfo(y.dtype).tiny)
    log_z = jnp.log(jnp.maximum(factor, tiny)) + 2 * jnp.log(jnp.maximum(jnp.abs(y), tiny))
    ordinary = jnp.maximum(log_z, SMALL_LOG)
    part = jax.nn.softplus(ordinary)
    w = part * (1 - jnp.log1p(part) / (2 + part))
    for _ in range(2):
        error = ordinary - jnp.log(w) - w
        scale = 2 * (1 + w) * (1 + w + 2 / 3 * error)
        w = w * (1 + error / (1 + w) * (scale - error) / (scale - 2 * error))
    w = jnp.where(log_z < SMALL_LOG, jnp.exp(log_z), w)
    return jnp.where((factor == 0) | (y == 0), 0.0, w)


@lambert_w_of_square.defjvp
def _lambert_w_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (y, factor), (by_y, by_factor) = primals, tangents
    w = lambert_w_of_square(y, factor)
    # x^2 = y^2 e^-w is finite where y^2 is not, unless the factor is 0.
    half, end = jnp.exp(-w / 2), max_square(w.dtype)
    x = jnp.clip(y * half, -end, end)
    return w, (2 * factor * x * half * by_y + x * x * by_factor) / (1 + w)
