"""Polar coordinates of pairs of numbers."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_shape, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.numerics.special import inside


class PolarToCartesian(AbstractBatchedBijection):
    r"""Polar to Cartesian coordinates, $(r, \varphi) \mapsto (r\cos\varphi, r\sin\varphi)$ with $\log|\det| = \log r$.

    Pairs are on the last axis of the event. The map is one-to-one from radii above 0 and angles in $(-\pi, \pi]$, in
    radians, onto the plane without its origin. Other angles count modulo $2\pi$, and the inverse returns them within
    this interval. A radius below 0 gives NaN.

    Args:
        shape: Event shape, whose last axis has length 2.

    Cost: a sine and a cosine, or an arc tangent and a root, per pair; log-det exact.

    Raises:
        ValueError: the last axis has another length.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.PolarToCartesian().inverse(jnp.array([0.0, 2.0])).round(4).tolist()
        [2.0, 1.5708]
    """

    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape = (2,)):
        shape = check_shape("PolarToCartesian", shape)
        if shape[-1:] != (2,):
            fix = "Each pair is a radius and an angle."
            raise ValueError(message("PolarToCartesian", "a shape that ends in 2", f"{shape}", fix))
        self.in_shape = self.out_shape = shape

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        radius, angle = x[..., 0, :], x[..., 1, :]
        inner = jnp.where(radius < 0, jnp.nan, inside(radius, 0.0, np.inf))
        y = jnp.stack([inner * jnp.cos(angle), inner * jnp.sin(angle)], axis=-2)
        return y, _over_pairs(jnp.log(inner))

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        # In units of the larger coordinate no square overflows or vanishes. The angle does not depend on the unit, and
        # the radius is proportional to it, so that derivatives are right although the unit counts as a constant.
        unit = inside(jax.lax.stop_gradient(jnp.max(jnp.abs(y), axis=-2)), 0.0, np.inf)
        a, b = y[..., 0, :] / unit, y[..., 1, :] / unit
        # The origin counts as the point with the least positive number on the first axis.
        origin = (a == 0) & (b == 0)
        a = jnp.where(origin, 1.0, a)
        radius = inside(unit * jnp.sqrt(a * a + b * b), 0.0, np.inf)
        angle = jnp.arctan2(b, a)
        # A negative zero lies on the other side of the cut.
        angle = jnp.where(angle <= -math.pi, angle + 2 * math.pi, angle)
        return jnp.stack([radius, angle], axis=-2), -_over_pairs(jnp.log(radius))


def _over_pairs(log_slope: Array) -> Array:
    return jnp.sum(log_slope, axis=tuple(range(log_slope.ndim - 1)))
