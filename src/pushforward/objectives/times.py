"""How the times of a batch are drawn."""

from __future__ import annotations

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray


def stratified(key: PRNGKeyArray, n: int, dtype: jnp.dtype | type) -> Array:
    """Numbers strictly inside (0, 1), equally spaced from one random start: each stretch of time has its rows."""
    start = jax.random.uniform(key, (), dtype)
    # Strictly inside: quantile functions are infinite at 0 and 1.
    return ((jnp.arange(n) + 0.5 * (1 + start)) / (n + 1)).astype(dtype)


class AbstractTimes(eqx.Module):
    """How the times of a batch are drawn, from uniform numbers."""

    @abstractmethod
    def __call__(self, uniform: Array) -> Array:
        """Times in (0, 1) from numbers in (0, 1), by the quantile function."""


class UniformTimes(AbstractTimes):
    """Every time alike."""

    def __call__(self, uniform: Array) -> Array:
        return uniform


class LogitNormalTimes(AbstractTimes):
    r"""$t = \operatorname{sigmoid}(m + s\,\epsilon)$: more of the times in between, where the velocity is hard.

    Args:
        loc: $m$.
        scale: $s$.

    Source: Esser et al., 2024, section 3.1, arXiv 2403.03206.
    """

    loc: float = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(self, loc: float = 0.0, scale: float = 1.0):
        if not scale > 0:
            raise ValueError(message("LogitNormalTimes", "scale > 0", repr(scale), "1 is usual."))
        self.loc, self.scale = float(loc), float(scale)

    def __call__(self, uniform: Array) -> Array:
        return jax.nn.sigmoid(self.loc + self.scale * jax.scipy.special.ndtri(uniform))
