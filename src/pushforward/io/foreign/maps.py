"""Scalar maps as other libraries parametrise them, where that differs from this library's own maps."""

from __future__ import annotations

import math
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.bounded import soft_clamp


class PositiveScaleMap(AbstractScalarMap):
    r"""The affine map $y = s x + t$ with $s = \operatorname{softplus}(a) + \epsilon$ or $\sigma(a + 2) + \epsilon$.

    Args:
        scale: `"softplus"` or `"sigmoid"`.
        order: Which parameter is which: `"scale, shift"` or `"shift, scale"`.
        floor: The smallest scale $\epsilon$.
    """

    scale: Literal["softplus", "sigmoid"] = eqx.field(static=True)
    order: Literal["scale, shift", "shift, scale"] = eqx.field(static=True)
    floor: float = eqx.field(static=True, default=1e-3)
    n_params: int = eqx.field(static=True, default=2, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def _parts(self, params: Array) -> tuple[Array, Array]:
        raw, shift = (params[0], params[1]) if self.order == "scale, shift" else (params[1], params[0])
        positive = jax.nn.softplus(raw) if self.scale == "softplus" else jax.nn.sigmoid(raw + 2)
        return positive + self.floor, shift

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        scale, shift = self._parts(params)
        return x * scale + shift, jnp.broadcast_to(jnp.log(scale), x.shape)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        scale, shift = self._parts(params)
        return (y - shift) / scale, jnp.broadcast_to(-jnp.log(scale), y.shape)


class BoundedLogitSplineMap(AbstractScalarMap):
    r"""The rational-quadratic spline of zuko: widths and heights are softmaxes of bounded logits, slopes exponentials.

    With $b = -\log(\text{slope})$ the logits are clamped to $\pm b / 2$ and the log-slopes to $\pm b$; the outer slopes
    are 1, and outside $[-B, B]$ the map is the identity.

    Args:
        bins: Number of bins.
        bound: Half-width $B$ of the interval.
        slope: The smallest slope.
    """

    bins: int = eqx.field(static=True)
    bound: float = eqx.field(static=True)
    slope: float = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bins: int, bound: float = 5.0, slope: float = 1e-3):
        self.bins, self.bound, self.slope = bins, bound, slope
        self.n_params, self.traits = 3 * bins - 1, Traits()

    def _knots(self, params: Array) -> tuple[Array, Array, Array]:
        """The knots in the domain and the image, and the slopes there, each `(bins + 1, ...)`."""
        limit, k = -math.log(self.slope), self.bins

        def edges(raw: Array) -> Array:
            shares = jax.nn.softmax(soft_clamp(raw, limit / 2), axis=0)
            inner = 2 * jnp.cumsum(shares, axis=0)[:-1] - 1
            end = jnp.ones_like(raw[:1])
            return self.bound * jnp.concatenate([-end, inner, end])

        slopes = jnp.exp(soft_clamp(params[2 * k :], limit))
        end = jnp.ones_like(slopes[:1])
        return edges(params[:k]), edges(params[k : 2 * k]), jnp.concatenate([end, slopes, end])

    def _bin(self, value: Array, params: Array, by_height: bool) -> tuple[Array, ...]:
        """The value within the interval, and the ends of its bin and the slopes there."""
        x, y, slopes = self._knots(params)
        inside = jnp.clip(value, -self.bound, self.bound)
        index = jnp.sum((y if by_height else x)[1:-1] <= inside, axis=0)[None]
        ends = (jnp.take_along_axis(knots, index + n, axis=0)[0] for knots in (x, y, slopes) for n in (0, 1))
        return inside, *ends

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        inside, x0, x1, y0, y1, d0, d1 = self._bin(x, params, False)
        s, t = (y1 - y0) / (x1 - x0), (inside - x0) / (x1 - x0)
        bottom = s + (d0 + d1 - 2 * s) * t * (1 - t)
        y = y0 + (y1 - y0) * (s * t**2 + d0 * t * (1 - t)) / bottom
        outside = jnp.abs(x) >= self.bound
        return jnp.where(outside, x, y), jnp.where(outside, 0, _log_slope(t, s, d0, d1))

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        inside, x0, x1, y0, y1, d0, d1 = self._bin(y, params, True)
        s, rise = (y1 - y0) / (x1 - x0), inside - y0
        bend = rise * (d0 + d1 - 2 * s)
        a, b, c = (y1 - y0) * (s - d0) + bend, (y1 - y0) * d0 - bend, -s * rise
        # Clamped for rounding; the root that stays finite where the bin is straight.
        t = jnp.clip(2 * c / (-b - jnp.sqrt(jnp.maximum(b * b - 4 * a * c, 0))), 0, 1)
        outside = jnp.abs(y) >= self.bound
        x = jnp.where(outside, y, x0 + t * (x1 - x0))
        return x, jnp.where(outside, 0, -_log_slope(t, s, d0, d1))


def _log_slope(t: Array, s: Array, d0: Array, d1: Array) -> Array:
    """The log-slope at the share `t` of a bin with mean slope `s` and the slopes `d0` and `d1` at its ends."""
    top = 2 * jnp.log(s) + jnp.log(d1 * t**2 + 2 * s * t * (1 - t) + d0 * (1 - t) ** 2)
    return top - 2 * jnp.log(s + (d0 + d1 - 2 * s) * t * (1 - t))
