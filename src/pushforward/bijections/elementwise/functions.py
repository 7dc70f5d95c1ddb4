"""Fixed functions of one number: exponentials, sigmoids and rectifiers. `Invert` gives the inverse of each."""

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
from pushforward.numerics.special import log_cosh, softplus_inverse


def exponential(most: float | None = None, least: float = 0.0) -> Formula:
    """The formula of the exponential, constant beyond `most`, by default the logarithm of the largest float."""

    def forward(x: Array) -> tuple[Array, Array]:
        if most is not None:
            x = jnp.minimum(x, most)
            return jnp.exp(x), x
        # Inputs are kept within the logarithms of the least and largest float, because infinities have no gradient.
        limits = jnp.finfo(x.dtype)
        inward = 1 - 4 * float(limits.eps)
        low, high = math.log(float(limits.tiny)) * inward, math.log(float(limits.max)) * inward
        return jnp.exp(jnp.clip(x, low, high)), x

    def inverse(y: Array) -> tuple[Array, Array]:
        x = jnp.log(y)
        return x, -x

    return Formula(forward, inverse, POSITIVE, least=least)


def softplus(least: float = 0.0) -> Formula:
    """The formula of the softplus and its inverse."""
    return Formula(lambda x: (jax.nn.softplus(x), jax.nn.log_sigmoid(x)), softplus_inverse, POSITIVE, least=least)


class Exp(AbstractFixedMap):
    r"""The exponential $y = e^x$ onto the numbers above 0, which makes a normal log-normal.

    The logarithm is `Invert(Exp(shape))`.

    Args:
        shape: Event shape.

    Cost: one exponential or logarithm per number, log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> y, log_det = pf.bijections.Exp((2,)).forward_and_log_det(jnp.array([0.0, 1.0]))
        >>> y.round(4).tolist(), float(log_det)
        ([1.0, 2.7183], 1.0)
    """

    shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape = check_shape("Exp", shape)

    def formula(self, dtype: Any) -> Formula:
        return exponential()


class Softplus(AbstractFixedMap):
    r"""The softplus $y = \log(1 + e^x)$ onto the numbers above 0: like `Exp` far left, like the identity far right.

    Args:
        shape: Event shape.

    Cost: two exponentials and two logarithms per number; log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Softplus((2,)).forward(jnp.array([0.0, 20.0])).round(4).tolist()
        [0.6931, 20.0]
    """

    shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape = check_shape("Softplus", shape)

    def formula(self, dtype: Any) -> Formula:
        return softplus()


class Sigmoid(AbstractFixedMap):
    r"""The sigmoid $y = a + (b - a)/(1 + e^{-x})$ onto the interval between $a$ and $b$.

    The logit is `Invert(Sigmoid())`. Near each end the distance from that end keeps its digits, and so does `y` near an
    end of 0.

    Args:
        low: The lower end $a$, broadcast to `shape`; it is not trained.
        high: The upper end $b > a$, broadcast to `shape`; it is not trained.
        shape: Event shape; None takes the shape to which `low` and `high` broadcast.

    Cost: one exponential, or two logarithms, per number; log-det exact.

    Raises:
        ValueError: an interval is empty or not finite.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Sigmoid(-1.0, [1.0, 3.0]).forward(jnp.zeros(2)).tolist()
        [0.0, 1.0]
    """

    low: Fixed
    high: Fixed
    shape: Shape = eqx.field(static=True)

    def __init__(self, low: Any = 0.0, high: Any = 1.0, shape: Shape | None = None):
        check_values("Sigmoid", "finite low < high", lambda a, b: positive(b - a), "Swap them?", low, high)
        self.shape, (self.low, self.high) = parameters("Sigmoid", shape, low, high)

    def formula(self, dtype: Any) -> Formula:
        ends = along(self.low.value), along(self.high.value)
        low, high = (jnp.asarray(end, dtype) for end in ends)
        width = high - low

        def forward(x: Array) -> tuple[Array, Array]:
            # jnp.abs will not do: its derivative at 0 is 0.
            from_end = width * jax.nn.sigmoid(jnp.where(x < 0, x, -x))
            y = jnp.where(x < 0, low + from_end, high - from_end)
            return y, jnp.log(width) + jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)

        def inverse(y: Array) -> tuple[Array, Array]:
            below, above = jnp.log(y - low), jnp.log(high - y)
            return below - above, jnp.log(width) - below - above

        return Formula(forward, inverse, ends)


class Tanh(AbstractFixedMap):
    r"""The map $y = \tanh x$ onto the interval between -1 and 1, with $\log y' = -2 \log\cosh x$.

    Args:
        shape: Event shape.

    Cost: two exponentials, or two logarithms, per number; log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Tanh((2,)).forward(jnp.array([0.0, 1.0])).round(4).tolist()
        [0.0, 0.7616]
    """

    shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape = check_shape("Tanh", shape)

    def formula(self, dtype: Any) -> Formula:
        def forward(x: Array) -> tuple[Array, Array]:
            # jnp.tanh will not do, which in float32 is 1 from 7.9 on, nor jnp.abs, whose derivative at 0 is 0.
            sign = jnp.where(x < 0, -1, 1).astype(x.dtype)
            part = jnp.expm1(-2 * sign * x)
            return -sign * part / (2 + part), -2 * log_cosh(x)

        def inverse(y: Array) -> tuple[Array, Array]:
            below, above = jnp.log1p(y), jnp.log1p(-y)
            return 0.5 * (below - above), -below - above

        return Formula(forward, inverse, (-1.0, 1.0))


class ELU(AbstractFixedMap):
    r"""The ELU, $y = x$ for $x \ge 0$ and $\alpha(e^x - 1)$ below, onto the numbers above $-\alpha$.

    Its slope is continuous if $\alpha = 1$.

    Args:
        alpha: $\alpha > 0$, broadcast to `shape`; it is not trained.
        shape: Event shape; None takes that of `alpha`.

    Cost: one exponential or logarithm per number; log-det exact.

    Raises:
        ValueError: `alpha` is not finite and positive.
        TypeError: `shape` is an integer.

    Source: Clevert, Unterthiner and Hochreiter, 2016, section 3, arXiv 1511.07289.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.ELU(shape=(2,)).forward(jnp.array([-1.0, 2.0])).round(4).tolist()
        [-0.6321, 2.0]
    """

    alpha: Fixed
    shape: Shape = eqx.field(static=True)

    def __init__(self, alpha: Any = 1.0, shape: Shape | None = None):
        check_values("ELU", "a finite alpha > 0", positive, "The usual value is 1.", alpha)
        self.shape, (self.alpha,) = parameters("ELU", shape, alpha)

    def formula(self, dtype: Any) -> Formula:
        alpha = along(jnp.asarray(self.alpha.value, dtype))

        # The side is told by the sign bit, which the image of a number keeps even if it rounds to 0.
        def forward(x: Array) -> tuple[Array, Array]:
            negative = jnp.signbit(x)
            below = jnp.where(negative, x, 0.0)
            return jnp.where(negative, alpha * jnp.expm1(below), x), jnp.where(negative, jnp.log(alpha) + below, 0.0)

        def inverse(y: Array) -> tuple[Array, Array]:
            negative = jnp.signbit(y)
            below = jnp.log1p(jnp.where(negative, y, 0.0) / alpha)
            return jnp.where(negative, below, y), jnp.where(negative, -jnp.log(alpha) - below, 0.0)

        return Formula(forward, inverse, (-along(self.alpha.value), np.inf))


class LeakyReLU(AbstractFixedMap):
    r"""The leaky rectifier, $y = x$ for $x \ge 0$ and $a\,x$ below, with $a > 0$.

    Args:
        slope: The slope $a$ below 0, broadcast to `shape`; it is not trained.
        shape: Event shape; None takes that of `slope`.

    Cost: one product per number; log-det exact.

    Raises:
        ValueError: `slope` is not finite and positive.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.LeakyReLU(0.5, (2,)).forward(jnp.array([-1.0, 2.0])).tolist()
        [-0.5, 2.0]
    """

    slope: Fixed
    shape: Shape = eqx.field(static=True)

    def __init__(self, slope: Any = 0.1, shape: Shape | None = None):
        check_values("LeakyReLU", "a finite slope > 0", positive, "With 0 or less there is no inverse.", slope)
        self.shape, (self.slope,) = parameters("LeakyReLU", shape, slope)

    def formula(self, dtype: Any) -> Formula:
        slope = along(jnp.asarray(self.slope.value, dtype))

        def scaled(x: Array, slope: Array) -> tuple[Array, Array]:
            # A number that rounds to 0 keeps its sign bit, and so its side of the bend.
            negative = jnp.signbit(x)
            return x * jnp.where(negative, slope, 1.0), jnp.where(negative, jnp.log(slope), 0.0)

        return Formula(lambda x: scaled(x, slope), lambda y: scaled(y, 1 / slope))
