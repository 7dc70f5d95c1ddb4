"""Smooth bounds for unconstrained numbers."""

from __future__ import annotations

import jax.numpy as jnp

from pushforward._types import Array


def soft_clamp(x: Array, bound: float) -> Array:
    r"""$x / (1 + |x| / b)$: the identity near 0, never beyond $\pm b$, with a gradient that fades but never vanishes.

    Args:
        x: any array.
        bound: the limit $b > 0$.
    """
    return x / (1 + jnp.abs(x) / bound)
