"""Increasing functions on an interval, continued by straight lines, so that they map R onto R."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from pushforward._types import Array
from pushforward.numerics.root import solve_increasing

# From x within the interval to value and slope.
Inside = Callable[[Array], tuple[Array, Array]]


def _between(x: Array, low: Array | float, high: Array | float) -> Array:
    # `jnp.clip` will not do: its gradient at the ends is halved.
    return jnp.where(x < low, low, jnp.where(x > high, high, x))


def forward_with_tails(inside: Inside, x: Array, bound: float) -> tuple[Array, Array]:
    r"""The function on $[-b, b]$, continued by the tangents at its ends, and the log of its slope.

    Args:
        inside: Function that gives the value and the positive slope; it is never called beyond the bounds.
        x: Array of any shape.
        bound: The bound $b$.
    """
    within = _between(x, -bound, bound)
    value, slope = inside(within)
    return value + slope * (x - within), jnp.log(slope)


def inverse_with_tails(inside: Inside, y: Array, bound: float) -> tuple[Array, Array]:
    """The inverse of `forward_with_tails`: in closed form in the tails, and by a root search between them."""
    low, low_slope = inside(jnp.full_like(y, -bound))
    high, high_slope = inside(jnp.full_like(y, bound))
    within = _between(y, jax.lax.stop_gradient(low), jax.lax.stop_gradient(high))
    guess = bound * (2 * (within - low) / (high - low) - 1)
    root = solve_increasing(lambda x: forward_with_tails(inside, x, bound), within, guess, width=bound / 4).x
    below, above = y < low, y > high
    x = jnp.where(below, (y - low) / low_slope - bound, jnp.where(above, (y - high) / high_slope + bound, root))
    _, log_slope = forward_with_tails(inside, x, bound)
    return x, -log_slope
