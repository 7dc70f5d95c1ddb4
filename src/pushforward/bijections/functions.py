r"""Fixed functions of one number as bijections of events of any shape: exp, sigmoid, tanh, powers and their like.

The other direction of each is `Invert`: `Invert(Exp())` is the logarithm, `Invert(Sigmoid())` the logit.

**Saturation.** Where a map ends in a flat tail, floats end before it: in float32 `sigmoid(40)` would be 1, whose logit
is infinite. The image is therefore moved to the nearest normal float *inside* the support, and stays finite: whatever
was sampled has a finite log-density. The log-determinant is that of the exact map at the given number. What is lost is
what rounding loses: such a sample comes back as the preimage of the float it was rounded to (16.6 for that sigmoid).

**Outside.** A number outside a map's image has density 0: `inverse` gives the end of the support, and the
log-determinant `-inf`. `forward` of a number outside a map's domain is NaN.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_shape, message
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection, along
from pushforward.numerics.special import keep_inside, keep_positive, log_cosh, softplus_inverse


class AbstractFunction(AbstractBatchedBijection):
    """One function of one number, applied to each number of an event; final subclasses implement the pair for each.

    Attributes:
        shape: of the event.
    """

    shape: eqx.AbstractVar[Shape]

    @property
    def in_shape(self) -> Shape:
        return self.shape

    @property
    def out_shape(self) -> Shape:
        return self.shape

    @property
    def cond_shape(self) -> Shape | None:
        return None

    @abstractmethod
    def each_forward(self, x: Array) -> tuple[Array, Array]:
        """The values `(*shape, n)` and the log-slope of each, in nats."""

    @abstractmethod
    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        """The numbers `(*shape, n)` that have these values, and the log-slope of the inverse at each."""

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        y, log_slope = self.each_forward(x)
        return y, jnp.sum(log_slope, axis=tuple(range(x.ndim - 1)))

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        x, log_slope = self.each_inverse(y)
        return x, jnp.sum(log_slope, axis=tuple(range(y.ndim - 1)))


def density_zero(outside: Array, log_slope: Array) -> Array:
    """`-inf` where the number lies outside the support."""
    return jnp.where(outside, -jnp.inf, log_slope)


def undefined(outside: Array, value: Array) -> Array:
    """NaN where the number lies outside the domain."""
    return jnp.where(outside, jnp.nan, value)


class Exp(AbstractFunction):
    r"""$y = e^x$ onto the numbers above 0; a normal becomes log-normal. The logarithm is `Invert(Exp(shape))`.

    Args:
        shape: event shape.

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
    traits: Traits = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape, self.traits = check_shape("Exp", shape), Traits()

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        # Within rounding of the exponents of the least and the largest float: an infinity would have no gradient.
        limits = jnp.finfo(x.dtype)
        inward = 1 - 4 * float(limits.eps)
        low, high = math.log(float(limits.tiny)) * inward, math.log(float(limits.max)) * inward
        return jnp.exp(jnp.clip(x, low, high)), x

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        x = jnp.log(keep_positive(y))
        return x, density_zero(y < 0, -x)


class Sigmoid(AbstractFunction):
    r"""$y = a + (b - a)/(1 + e^{-x})$ onto the interval between $a$ and $b$. The logit is `Invert(Sigmoid())`.

    Near each end the distance from that end keeps its digits; at an end that is 0, so does `y`.

    Args:
        low: $a$, broadcast to `shape`; not trained.
        high: $b > a$, broadcast to `shape`.
        shape: event shape; None takes that of `low` and `high` together.

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
    traits: Traits = eqx.field(static=True)

    def __init__(self, low: Any = 0.0, high: Any = 1.0, shape: Shape | None = None):
        a, b = np.asarray(low, np.float64), np.asarray(high, np.float64)
        shape = np.broadcast_shapes(a.shape, b.shape) if shape is None else shape
        self.shape, self.traits = check_shape("Sigmoid", shape), Traits()
        a, b = (np.array(np.broadcast_to(end, self.shape)) for end in (a, b))
        if not np.all(np.isfinite(b - a) & (b > a)):
            raise ValueError(message("Sigmoid", "finite low < high", f"low {low}, high {high}", "Swap them?"))
        # NumPy keeps float64 where JAX would not.
        self.low, self.high = Fixed(a), Fixed(b)  # pyright: ignore[reportArgumentType]

    def _ends(self, dtype: Any) -> tuple[Array, Array]:
        return along(jnp.asarray(self.low.value, dtype)), along(jnp.asarray(self.high.value, dtype))

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        low, high = self._ends(x.dtype)
        width = high - low
        # Not jnp.abs, whose derivative at 0 is 0.
        from_end = width * jax.nn.sigmoid(jnp.where(x < 0, x, -x))
        y = keep_inside(jnp.where(x < 0, low + from_end, high - from_end), low, high)
        return y, jnp.log(width) + jax.nn.log_sigmoid(x) + jax.nn.log_sigmoid(-x)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        low, high = self._ends(y.dtype)
        inner = keep_inside(y, low, high)
        below, above = jnp.log(inner - low), jnp.log(high - inner)
        return below - above, density_zero((y < low) | (y > high), jnp.log(high - low) - below - above)


class Tanh(AbstractFunction):
    r"""$y = \tanh x$ onto the interval between -1 and 1, $\log y' = -2 \log\cosh x$.

    Args:
        shape: event shape.

    Cost: two exponentials, or two logarithms, per number; log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Tanh((2,)).forward(jnp.array([0.0, 1.0])).round(4).tolist()
        [0.0, 0.7616]
    """

    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape, self.traits = check_shape("Tanh", shape), Traits()

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        # Not jnp.tanh, which in float32 is 1 from 7.9 on; nor jnp.abs, whose derivative at 0 is 0.
        sign = jnp.where(x < 0, -1, 1).astype(x.dtype)
        part = jnp.expm1(-2 * sign * x)
        return keep_inside(-sign * part / (2 + part), -1.0, 1.0), -2 * log_cosh(x)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        inner = keep_inside(y, -1.0, 1.0)
        below, above = jnp.log1p(inner), jnp.log1p(-inner)
        return 0.5 * (below - above), density_zero(jnp.abs(y) > 1, -below - above)


class Softplus(AbstractFunction):
    r"""$y = \log(1 + e^x)$ onto the numbers above 0: like `Exp` far to the left, like the identity far to the right.

    Args:
        shape: event shape.

    Cost: two exponentials and two logarithms per number; log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Softplus((2,)).forward(jnp.array([0.0, 20.0])).round(4).tolist()
        [0.6931, 20.0]
    """

    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape, self.traits = check_shape("Softplus", shape), Traits()

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        return keep_positive(jax.nn.softplus(x)), jax.nn.log_sigmoid(x)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        x, log_slope = softplus_inverse(keep_positive(y))
        return x, density_zero(y < 0, log_slope)


class ELU(AbstractFunction):
    r"""$y = x$ for $x \ge 0$, $\alpha(e^x - 1)$ below: onto the numbers above $-\alpha$. Smooth if $\alpha = 1$.

    Args:
        alpha: $\alpha > 0$.
        shape: event shape.

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

    alpha: float = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, alpha: float = 1.0, shape: Shape = ()):
        self.shape, self.traits = check_shape("ELU", shape), Traits()
        self.alpha = _positive("ELU", "alpha", alpha, "The usual value is 1.")

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        # By the sign bit, which the image of a number that rounds to 0 keeps.
        negative = jnp.signbit(x)
        below = jnp.where(negative, x, 0.0)
        y = jnp.where(negative, keep_inside(self.alpha * jnp.expm1(below), -self.alpha, 1.0), x)
        return y, jnp.where(negative, math.log(self.alpha) + below, 0.0)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        negative = jnp.signbit(y)
        below = jnp.log1p(jnp.where(negative, keep_inside(y, -self.alpha, 1.0), 0.0) / self.alpha)
        log_slope = jnp.where(negative, -math.log(self.alpha) - below, 0.0)
        return jnp.where(negative, below, y), density_zero(y < -self.alpha, log_slope)


class LeakyReLU(AbstractFunction):
    r"""$y = x$ for $x \ge 0$, $a\,x$ below, with $a > 0$: the simplest bend in a line.

    Args:
        slope: $a$.
        shape: event shape.

    Cost: one product per number; log-det exact.

    Raises:
        ValueError: `slope` is not finite and positive.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.LeakyReLU(0.5, (2,)).forward(jnp.array([-1.0, 2.0])).tolist()
        [-0.5, 2.0]
    """

    slope: float = eqx.field(static=True)
    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, slope: float = 0.1, shape: Shape = ()):
        self.shape, self.traits = check_shape("LeakyReLU", shape), Traits()
        self.slope = _positive("LeakyReLU", "slope", slope, "With 0 or less there is no inverse.")

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        return self._scaled(x, self.slope)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        return self._scaled(y, 1 / self.slope)

    def _scaled(self, x: Array, slope: float) -> tuple[Array, Array]:
        # A number that rounds to 0 keeps its sign bit, and so its side of the bend.
        negative = jnp.signbit(x)
        factor, log_slope = (
            jnp.where(negative, below, above) for below, above in ((slope, 1.0), (math.log(slope), 0.0))
        )
        return x * factor.astype(x.dtype), log_slope.astype(x.dtype)


def _positive(name: str, what: str, value: Any, fix: str) -> float:
    number = float(value)
    if not 0 < number < math.inf:
        raise ValueError(message(name, f"a finite {what} > 0", f"{value}", fix))
    return number
