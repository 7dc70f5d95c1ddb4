"""Powers of the numbers above 0, and signed powers of all numbers."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_shape, check_values, positive
from pushforward._types import Array, Fixed, Shape
from pushforward.bijections.base import along
from pushforward.bijections.elementwise.fixed import (
    POSITIVE,
    AbstractFixedMap,
    Formula,
    parameters,
)
from pushforward.numerics.special import LOG_2

# Where a signed power becomes linear, as a power of the least float: slopes there, and their inverses, are finite.
CORE = 0.5


class Power(AbstractFixedMap):
    r"""The power $y = x^p$ of the numbers above 0 onto themselves, with $\log|y'| = \log|p| + (p - 1)\log x$.

    Args:
        exponent: The exponent $p$, not 0, broadcast to `shape`; it is not trained. With a negative exponent the map is
            decreasing.
        shape: Event shape; None takes that of `exponent`.

    Cost: one power and one logarithm per number; log-det exact.

    Raises:
        ValueError: the exponent is 0 or not finite.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Power(-0.5, (2,)).forward(jnp.array([4.0, 0.25])).tolist()
        [0.5, 2.0]
    """

    exponent: Fixed
    shape: Shape = eqx.field(static=True)

    def __init__(self, exponent: Any, shape: Shape | None = None):
        expected = "an exponent that is finite and not 0"
        check_values("Power", expected, lambda p: np.isfinite(p) & (p != 0), "Try 2 or 0.5.", exponent)
        self.shape, (self.exponent,) = parameters("Power", shape, exponent)

    def formula(self, dtype: Any) -> Formula:
        p = along(jnp.asarray(self.exponent.value, dtype))
        return Formula(lambda x: _power(x, p), lambda y: _power(y, 1 / p), POSITIVE, POSITIVE)


class Square(AbstractFixedMap):
    r"""The square $y = x^2$ of the numbers above 0 onto themselves: a half-normal becomes chi-square with one degree.

    The inverse is a square root, which is right to the last digit; `Power(2.0)` would take a power.

    Args:
        shape: Event shape.

    Cost: one product or root and one logarithm per number; log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Square((2,)).inverse(jnp.array([9.0, 0.25])).tolist()
        [3.0, 0.5]
    """

    shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape = check_shape("Square", shape)

    def formula(self, dtype: Any) -> Formula:
        def inverse(y: Array) -> tuple[Array, Array]:
            x = jnp.sqrt(y)
            return x, -LOG_2 - jnp.log(x)

        return Formula(lambda x: (x * x, LOG_2 + jnp.log(x)), inverse, POSITIVE, POSITIVE)


class SignedPower(AbstractFixedMap):
    r"""The signed power $y = \operatorname{sign}(x)\,|x|^p$, which makes tails heavier ($p > 1$) or lighter ($p < 1$).

    At 0 the slope of a power is 0 or infinite, where a density would be infinite or 0. So within a tiny distance $c$ of
    0 (5e-7 for $p = 3$ in float32, 5e-52 in float64) the map is its own tangent at $c$, shifted through 0. The rest is
    shifted too, by $(p - 1)c^p$, which is below rounding for ordinary numbers.

    Args:
        exponent: The exponent $p > 0$, broadcast to `shape`; it is not trained.
        shape: Event shape; None takes that of `exponent`.

    Cost: one power and one logarithm per number; log-det exact.

    Raises:
        ValueError: the exponent is not finite and positive.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.SignedPower(3.0, (2,)).forward(jnp.array([-2.0, 0.5])).tolist()
        [-8.0, 0.125]
    """

    exponent: Fixed
    shape: Shape = eqx.field(static=True)

    def __init__(self, exponent: Any, shape: Shape | None = None):
        fix = "Power takes negative exponents, for numbers above 0."
        check_values("SignedPower", "a finite exponent > 0", positive, fix, exponent)
        self.shape, (self.exponent,) = parameters("SignedPower", shape, exponent)

    def core(self, dtype: Any) -> tuple[Array, Array]:
        """Half the width of the linear piece in `x`, and in `y`."""
        p = jnp.asarray(self.exponent.value, dtype)
        narrow = float(jnp.finfo(dtype).tiny) ** (CORE / jnp.maximum(p, 1 / p))
        x = jnp.where(p >= 1, narrow, narrow ** (1 / p))
        return x, p * x**p

    def formula(self, dtype: Any) -> Formula:
        p = along(jnp.asarray(self.exponent.value, dtype))
        c, edge = (along(half) for half in self.core(dtype))
        log_slope_in_core = jnp.log(p) + (p - 1) * jnp.log(c)

        def forward(x: Array) -> tuple[Array, Array]:
            sign = jnp.where(x < 0, -1, 1).astype(x.dtype)
            y, log_slope = _power(jnp.maximum(x * sign, c), p)
            linear = x * sign < c
            y = jnp.where(linear, p * c ** (p - 1) * x, sign * (y + (p - 1) * c**p))
            return y, jnp.where(linear, log_slope_in_core, log_slope)

        def inverse(y: Array) -> tuple[Array, Array]:
            sign = jnp.where(y < 0, -1, 1).astype(y.dtype)
            x, log_slope = _power(jnp.maximum(y * sign, edge) - (p - 1) * c**p, 1 / p)
            linear = y * sign < edge
            return jnp.where(linear, y * (c ** (1 - p) / p), sign * x), jnp.where(linear, -log_slope_in_core, log_slope)

        return Formula(forward, inverse)


def _power(x: Array, exponent: Array) -> tuple[Array, Array]:
    """The power of numbers above 0, and its log-slope."""
    # Where the power would overflow the largest float is selected, not computed: slopes would be infinite.
    span = -math.log(float(jnp.finfo(x.dtype).tiny)) * (1 - 4 * float(jnp.finfo(x.dtype).eps))
    fixed = jax.lax.stop_gradient(exponent)
    end = jnp.exp(span / jnp.maximum(1.0, jnp.abs(fixed)))
    small, large = x < 1 / end, x > end
    inner = jnp.where(small | large, 1.0, x) ** exponent
    y = jnp.where(small, (1 / end) ** fixed, jnp.where(large, end**fixed, inner))
    return y, jnp.log(jnp.abs(exponent)) + (exponent - 1) * jnp.log(x)
