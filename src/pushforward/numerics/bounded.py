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


@jax.custom_jvp
def hold(value: Array, low: Array | float, high: Array | float) -> Array:
    """`value` clipped to bounds that only rounding can exceed; the derivative stays that of `value`."""
    return jnp.clip(value, low, high)


@hold.defjvp
def _hold_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return hold(*primals), tangents[0]
