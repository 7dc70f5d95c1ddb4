"""Angles: numbers modulo a turn."""

from __future__ import annotations

import math

import jax.numpy as jnp

from pushforward._types import Array

TURN = 2 * math.pi


def wrap(x: Array) -> Array:
    r"""The angle in $[-\pi, \pi)$ that equals `x` modulo $2\pi$, with derivative 1; angles in it are unchanged.

    Args:
        x: Finite angles in radians. The result has an error of $\epsilon |x|$, which is that of `x` itself.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.numerics.angles import wrap
        >>> [round(angle, 3) for angle in wrap(jnp.array([1.0, 4.0, -jnp.pi, jnp.pi])).tolist()]
        [1.0, -2.283, -3.142, -3.142]
    """
    turns = jnp.floor((x + math.pi) / TURN)
    out = x - TURN * turns
    # Rounding may take the result one float beyond either end.
    out = jnp.where(out >= math.pi, out - TURN, jnp.where(out < -math.pi, out + TURN, out))
    return jnp.where((x >= -math.pi) & (x < math.pi), x, out)
