"""Scalar maps one after another, with parameters of their own from one network."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp

from pushforward._types import Array, Traits
from pushforward.bijections import AbstractScalarMap


class ComposedMap(AbstractScalarMap):
    r"""$y = m_n(\dots m_1(x; \theta_1) \dots; \theta_n)$, such as a scale and then a spline.

    One layer of an affine map and a spline compiles in half the time of two, and takes both a scale that varies over
    orders of magnitude and a shape.

    Args:
        maps: The maps, in the order in which they run forward.
    """

    maps: tuple[AbstractScalarMap, ...]
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, maps: Sequence[AbstractScalarMap]):
        self.maps = tuple(maps)
        self.n_params, self.traits = sum(m.n_params for m in maps), Traits.worst(*(m.traits for m in maps))

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        total, start = jnp.zeros_like(x), 0
        for own in self.maps:
            x, log_slope = own.forward_and_log_det(x, params[start : start + own.n_params])
            total, start = total + log_slope, start + own.n_params
        return x, total

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        total, end = jnp.zeros_like(y), self.n_params
        for own in reversed(self.maps):
            y, log_slope = own.inverse_and_log_det(y, params[end - own.n_params : end])
            total, end = total + log_slope, end - own.n_params
        return y, total
