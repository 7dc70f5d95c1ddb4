"""Powers of numbers, and polar coordinates, which are a power's cousins: maps of and onto half lines."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_shape, message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.bijections.functions import AbstractFunction, density_zero, undefined
from pushforward.numerics.special import keep_positive

# Where a signed power is linear, as a power of the least float: slopes there, and their inverses, are numbers.
CORE = 0.5


class Power(AbstractFunction):
    r"""$y = x^p$ of the numbers above 0, onto themselves, $\log|y'| = \log|p| + (p - 1)\log x$.

    Args:
        exponent: $p$, not 0; a negative one turns large into small.
        shape: event shape.

    Cost: one power and one logarithm per number; log-det exact.

    Raises:
        ValueError: the exponent is 0 or not finite.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Power(-0.5, (2,)).forward(jnp.array([4.0, 0.25])).tolist()
        [0.5, 2.0]
    """

    exponent: float = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, exponent: float, shape: Shape = ()):
        self.exponent, self.shape, self.traits = float(exponent), check_shape("Power", shape), Traits()
        if not (math.isfinite(self.exponent) and self.exponent):
            raise ValueError(message("Power", "an exponent that is finite and not 0", f"{exponent}", "Try 2 or 0.5."))

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        y, log_slope = _power(keep_positive(x), self.exponent)
        return undefined(x < 0, y), undefined(x < 0, log_slope)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        x, log_slope = _power(keep_positive(y), 1 / self.exponent)
        return x, density_zero(y < 0, log_slope)


class Square(AbstractFunction):
    r"""$y = x^2$ of the numbers above 0, onto themselves: a half-normal becomes chi-square with one degree of freedom.

    The inverse is a square root, right to the last digit, where `Power(2.0)` would take a power.

    Args:
        shape: event shape.

    Cost: one product or root and one logarithm per number; log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Square((2,)).inverse(jnp.array([9.0, 0.25])).tolist()
        [3.0, 0.5]
    """

    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape, self.traits = check_shape("Square", shape), Traits()

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        inner = keep_positive(x)
        return undefined(x < 0, keep_positive(inner * inner)), undefined(x < 0, jnp.log(2 * inner))

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        x = jnp.sqrt(keep_positive(y))
        return x, density_zero(y < 0, -jnp.log(2 * x))


class SignedPower(AbstractFunction):
    r"""$y = \operatorname{sign}(x)\,|x|^p$ of all numbers: tails that are heavier ($p > 1$) or lighter ($p < 1$).

    At 0 the slope of a power is 0 or infinite, which no density survives. So within a tiny distance $c$ of 0 (5e-7 for
    $p = 3$ in float32, 5e-52 in float64) the map is its own tangent at $c$, shifted through 0, and the rest is shifted
    along: by $(p - 1)c^p$, which is below rounding for ordinary numbers.

    Args:
        exponent: $p > 0$.
        shape: event shape.

    Cost: one power and one logarithm per number; log-det exact.

    Raises:
        ValueError: the exponent is not finite and positive.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.SignedPower(3.0, (2,)).forward(jnp.array([-2.0, 0.5])).tolist()
        [-8.0, 0.125]
    """

    exponent: float = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, exponent: float, shape: Shape = ()):
        self.exponent, self.shape, self.traits = float(exponent), check_shape("SignedPower", shape), Traits()
        if not 0 < self.exponent < math.inf:
            fix = "Of all numbers only odd, rising powers have an inverse; Power takes negative exponents."
            raise ValueError(message("SignedPower", "a finite exponent > 0", f"{exponent}", fix))

    def core(self, dtype: Any) -> tuple[float, float]:
        """Half the width of the linear piece, in `x` and in `y`."""
        p = self.exponent
        narrow = float(jnp.finfo(dtype).tiny) ** (CORE / max(p, 1 / p))
        x = narrow if p >= 1 else narrow ** (1 / p)
        return x, p * x**p

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        p, c = self.exponent, self.core(x.dtype)[0]
        sign = jnp.where(x < 0, -1, 1).astype(x.dtype)
        size = jnp.maximum(x * sign, c)
        y, log_slope = _power(size, p)
        linear = x * sign < c
        y = jnp.where(linear, p * c ** (p - 1) * x, sign * (y + (p - 1) * c**p))
        return y, jnp.where(linear, math.log(p) + (p - 1) * math.log(c), log_slope)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        p, (c, edge) = self.exponent, self.core(y.dtype)
        sign = jnp.where(y < 0, -1, 1).astype(y.dtype)
        size = jnp.maximum(y * sign, edge) - (p - 1) * c**p
        x, log_slope = _power(size, 1 / p)
        linear = y * sign < edge
        x = jnp.where(linear, y * (c ** (1 - p) / p), sign * x)
        return x, jnp.where(linear, -math.log(p) - (p - 1) * math.log(c), log_slope)


class PolarToCartesian(AbstractBatchedBijection):
    r"""$(r, \varphi) \mapsto (r\cos\varphi, r\sin\varphi)$, $\log|\det| = \log r$: pairs on the last axis of the event.

    One-to-one from radii above 0 and angles in $(-\pi, \pi]$, in radians, onto the plane without its origin; angles
    beyond go around again, and come back from within. A radius below 0 gives NaN.

    Args:
        shape: event shape; the last axis has length 2.

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
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, shape: Shape = (2,)):
        shape = check_shape("PolarToCartesian", shape)
        if shape[-1:] != (2,):
            fix = "Each pair is a radius and an angle."
            raise ValueError(message("PolarToCartesian", "a shape that ends in 2", f"{shape}", fix))
        self.in_shape = self.out_shape = shape
        self.cond_shape, self.traits = None, Traits()

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        radius, angle = x[..., 0, :], x[..., 1, :]
        inner = undefined(radius < 0, keep_positive(radius))
        y = jnp.stack([inner * jnp.cos(angle), inner * jnp.sin(angle)], axis=-2)
        return y, _over_pairs(jnp.log(inner))

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        # In units of the larger coordinate no square overflows or vanishes. To the angle the unit makes no difference,
        # and the radius is proportional to it: as a constant it gives the right derivatives.
        unit = keep_positive(jax.lax.stop_gradient(jnp.max(jnp.abs(y), axis=-2)))
        a, b = y[..., 0, :] / unit, y[..., 1, :] / unit
        # The origin counts as the least number on the first axis.
        origin = (a == 0) & (b == 0)
        a = jnp.where(origin, 1.0, a)
        radius = keep_positive(unit * jnp.sqrt(a * a + b * b))
        angle = jnp.arctan2(b, a)
        # A negative zero lies on the other side of the cut.
        angle = jnp.where(angle <= -math.pi, angle + 2 * math.pi, angle)
        return jnp.stack([radius, angle], axis=-2), -_over_pairs(jnp.log(radius))


def _power(x: Array, exponent: float) -> tuple[Array, Array]:
    """The power of numbers above 0, and its log-slope."""
    # Where the power would leave the floats it stays at their end: an infinity would have no gradient.
    span = -math.log(float(jnp.finfo(x.dtype).tiny)) * (1 - 4 * float(jnp.finfo(x.dtype).eps))
    end = math.exp(span / max(1.0, abs(exponent)))
    return jnp.clip(x, 1 / end, end) ** exponent, math.log(abs(exponent)) + (exponent - 1) * jnp.log(x)


def _over_pairs(log_slope: Array) -> Array:
    return jnp.sum(log_slope, axis=tuple(range(log_slope.ndim - 1)))
