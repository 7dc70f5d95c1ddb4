"""Smooth bounds for unconstrained numbers, and bounds that take back what rounding did."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from pushforward._types import Array


def soft_clamp(x: Array, bound: float) -> Array:
    r"""$x / (1 + |x| / b)$: the identity near 0, never beyond $\pm b$, with a gradient that fades but never vanishes.

    Args:
        x: any array.
        bound: the limit $b > 0$.
    """
    return x / (1 + jnp.abs(x) / bound)


@jax.custom_jvp
def hold(value: Array, low: Array | float, high: Array | float) -> Array:
    """`value` clipped against what rounding did to it: its derivative stays that of `value`."""
    return jnp.clip(value, low, high)


@hold.defjvp
def _hold_jvp(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    return hold(*primals), tangents[0]
