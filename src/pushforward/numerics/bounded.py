"""Smooth bounds for unconstrained numbers, and bounds that undo rounding."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pushforward._types import Array


def soft_clamp(x: Array, bound: float) -> Array:
    r"""The soft clamp $x / (1 + |x| / b)$: the identity near 0, within $\pm b$, with a gradient that never vanishes.

    Args:
        x: Any array.
        bound: The limit $b > 0$.
    """
    return x / (1 + jnp.abs(x) / bound)


def soft_clamp_inverse(y: Array, bound: float) -> Array:
    r"""The number that `soft_clamp` takes to `y`: $y / (1 - |y| / b)$, for $|y| < b$.

    Args:
        y: Any array within $\pm b$.
        bound: The limit $b > 0$.
    """
    return y / (1 - jnp.abs(y) / bound)


def tamed(x: Array, bound: float) -> Array:
    r"""The number itself within $\pm b$, and $\pm b\,(1 + \log(|x| / b))$ beyond: smooth to first order, and unbounded.

    A network of tamed inputs does not hang on the last digits of a large one.

    Args:
        x: Any array.
        bound: The number $b > 0$ up to which nothing changes.
    """
    size = jnp.abs(x)
    return jnp.where(size <= bound, x, jnp.sign(x) * bound * (1 + jnp.log(jnp.maximum(size, bound) / bound)))


def zero_moving_as(value: Array) -> Array:
    """The number 0 with the derivative of `value`; without one where `value` is not finite."""
    finite = jnp.where(jnp.isfinite(value), value, 0.0)
    return finite - jax.lax.stop_gradient(finite)


def hold(value: Array, low: Array | float, high: Array | float) -> Array:
    """`value` clipped to bounds that only rounding can exceed; the derivative stays that of `value`.

    No `jax.custom_jvp` says so, because JAX drops such a rule where it linearises a scan.
    """
    low, high = jax.lax.stop_gradient((jnp.asarray(low, value.dtype), jnp.asarray(high, value.dtype)))
    zero = zero_moving_as(value)
    return jnp.where(value < low, low + zero, jnp.where(value > high, high + zero, value))
