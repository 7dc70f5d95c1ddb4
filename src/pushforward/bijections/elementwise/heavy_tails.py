"""Maps that change tails: distribution functions onto the unit interval, and trained maps that bend normal tails."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm

from pushforward._checks import as_floats, check_shape, check_values, positive
from pushforward._types import Array, Fixed, Shape, Traits
from pushforward.bijections.base import along
from pushforward.bijections.elementwise.fixed import (
    UNIT,
    AbstractFixedMap,
    Formula,
    parameters,
)
from pushforward.numerics.special import (
    lambert_w_of_square,
    log1p_square,
    log_cosh,
    max_exponent,
    max_square,
    softplus_inverse,
)
from pushforward.numerics.student_t import StudentTail, log_density, log_tail, student_tail, tail_quantile


def normal_cdf(least: float = 0.0) -> Formula:
    """The formula of the normal's distribution function and its quantile function."""

    def forward(x: Array) -> tuple[Array, Array]:
        inner = jnp.clip(x, -max_square(x.dtype), max_square(x.dtype))
        return ndtr(inner), norm.logpdf(inner)

    def inverse(y: Array) -> tuple[Array, Array]:
        x = ndtri(y)
        return x, -norm.logpdf(x)

    return Formula(forward, inverse, UNIT, least=least)


class NormalCDF(AbstractFixedMap):
    r"""The normal's distribution function $y = \Phi(x)$ onto the interval between 0 and 1: a normal becomes uniform.

    The log-slope is $\log\phi(x)$. The left tail keeps its digits down to the least float ($x = -12.9$ in float32,
    $-37.5$ in float64), the right tail as far as floats below 1 resolve it ($x = 5.4$ and $8.2$).

    Args:
        shape: Event shape.

    Cost: one error function or its inverse per number; log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.NormalCDF((2,)).forward(jnp.array([0.0, 2.0])).round(4).tolist()
        [0.5, 0.9772]
    """

    shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape = check_shape("NormalCDF", shape)

    def formula(self, dtype: Any) -> Formula:
        return normal_cdf()


class StudentTCDF(AbstractFixedMap):
    r"""The distribution function $y = P(T \le x)$ of Student's t: a Student-t becomes uniform between 0 and 1.

    The logarithm of the nearer tail's probability is right to 1e-12 at any distance, for degrees of freedom from 0.05
    to 1e8. It comes from one polynomial whose coefficients are computed at construction. The inverse solves for that
    logarithm in $u = \operatorname{arsinh}(x/\sqrt\nu)$, of which it is nearly a linear function.

    Args:
        df: Degrees of freedom $\nu > 0$, broadcast to `shape`; they are not trained.
        shape: Event shape; None takes that of `df`.

    Cost: a polynomial of degree 17, two logarithms and an exponential per number; the inverse a handful of them.

    Raises:
        ValueError: a `df` is not finite and positive.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.StudentTCDF(1.0, (2,)).forward(jnp.array([0.0, 1.0])).round(4).tolist()
        [0.5, 0.75]
    """

    tail: StudentTail
    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, df: Any, shape: Shape | None = None):
        check_values("StudentTCDF", "finite df > 0", positive, "The usual value is 5; 1 is Cauchy.", df)
        self.shape, (freedom,) = parameters("StudentTCDF", shape, df)
        self.traits = Traits(inverse="iterative")
        self.tail = StudentTail(*(Fixed(part) for part in student_tail(freedom.value)))  # pyright: ignore[reportArgumentType]

    def formula(self, dtype: Any) -> Formula:
        tail = StudentTail(*(along(jnp.asarray(part.value, dtype)) for part in self.tail))  # pyright: ignore[reportAttributeAccessIssue]

        def forward(x: Array) -> tuple[Array, Array]:
            # jnp.abs will not do: its derivative at 0 is 0.
            p = jnp.exp(log_tail(jnp.where(x < 0, -x, x), tail))
            return jnp.where(x < 0, p, 1 - p), log_density(x, tail)

        def inverse(y: Array) -> tuple[Array, Array]:
            left = y < 0.5
            size = tail_quantile(jnp.log(jnp.where(left, y, 1 - y)), tail)
            x = jnp.where(left, -size, size)
            return x, -log_density(x, tail)

        return Formula(forward, inverse, UNIT)


class SinhArcsinh(AbstractFixedMap):
    r"""The map $y = \sinh(\delta (\operatorname{arsinh} x + \epsilon))$ with trained skewness and weight of the tails.

    $\log y' = \log\delta + \log\cosh(\delta(\operatorname{arsinh} x + \epsilon)) - \tfrac12\log(1 + x^2)$. With
    $\epsilon > 0$ the right tail is the longer one; with $\delta > 1$ both tails are heavier than those of a normal,
    with $\delta < 1$ lighter. The map ends near 1e30 in float32 and near 1e240 in float64.

    Args:
        skewness: Initial value of $\epsilon$, broadcast to `shape`.
        tailweight: Initial value of $\delta > 0$, broadcast to `shape`; the trained parameter is its log.
        shape: Event shape; None takes the shape to which both broadcast.

    Cost: two hyperbolic functions and two logarithms per number; log-det exact. The defaults give the identity.

    Raises:
        ValueError: a tail weight is not positive, or a number is not finite.
        TypeError: `shape` is an integer.

    Source: Jones and Pewsey, 2009, section 1; $\delta$ here is the reciprocal of theirs.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> heavy = pf.bijections.SinhArcsinh(skewness=0.0, tailweight=2.0, shape=(2,))
        >>> heavy.forward(jnp.array([0.0, 3.0])).round(4).tolist()
        [0.0, 18.9737]
    """

    skewness: Array
    log_tailweight: Array
    shape: Shape = eqx.field(static=True)

    def __init__(self, skewness: Any = 0.0, tailweight: Any = 1.0, shape: Shape | None = None):
        check_values("SinhArcsinh", "a finite skewness", np.isfinite, "Start with 0.", skewness)
        check_values("SinhArcsinh", "a finite tailweight > 0", positive, "Start with 1.", tailweight)
        self.shape, (skew, weight) = parameters("SinhArcsinh", shape, skewness, tailweight)
        self.skewness, self.log_tailweight = as_floats(skew.value), jnp.log(as_floats(weight.value))

    def formula(self, dtype: Any) -> Formula:
        skewness, log_weight = along(self.skewness), along(self.log_tailweight)

        def through(x: Array, line: Any, log_factor: Array) -> tuple[Array, Array]:
            # The map is the hyperbolic sine of a linear function of the inverse hyperbolic sine.
            end = max_exponent(x.dtype)
            inner = line(jnp.arcsinh(x))
            return jnp.sinh(jnp.clip(inner, -end, end)), log_factor + log_cosh(inner) - 0.5 * log1p_square(x)

        return Formula(
            lambda x: through(x, lambda u: jnp.exp(log_weight) * (u + skewness), log_weight),
            lambda y: through(y, lambda u: jnp.exp(-log_weight) * u - skewness, -log_weight),
        )


class LambertW(AbstractFixedMap):
    r"""The trained map $y = x\,e^{\delta x^2/2}$, which gives a normal tails that fall like $|y|^{-1/\delta}$.

    $\log y' = \tfrac12\delta x^2 + \log(1 + \delta x^2)$, and the inverse is $x = y\,e^{-W(\delta y^2)/2}$ with
    Lambert's $W$, so that nothing is divided by $\delta$ and the map becomes the identity as $\delta \to 0$. Moments
    of order $1/\delta$ and above are infinite. The map ends near 1e30 in float32 and near 1e240 in float64.

    Args:
        tail: Initial value of $\delta > 0$, broadcast to `shape`; a softplus keeps it above 0.
        shape: Event shape; None takes that of `tail`.

    Cost: an exponential and a logarithm forward, two steps of Fritsch's iteration for $W$ back; log-det exact.

    Raises:
        ValueError: a `tail` is not finite and positive.
        TypeError: `shape` is an integer.

    Source: Goerg, 2015, section 2, arXiv 1010.2265.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.LambertW(0.5, shape=(2,)).forward(jnp.array([0.0, -2.0])).round(4).tolist()
        [0.0, -5.4366]
    """

    raw_tail: Array
    shape: Shape = eqx.field(static=True)

    def __init__(self, tail: Any = 0.1, shape: Shape | None = None):
        fix = "The usual value is 0.1; training can bring it near 0."
        check_values("LambertW", "a finite tail > 0", positive, fix, tail)
        self.shape, (start,) = parameters("LambertW", shape, tail)
        self.raw_tail = softplus_inverse(as_floats(start.value))[0]

    def formula(self, dtype: Any) -> Formula:
        tail = along(jax.nn.softplus(self.raw_tail))

        def forward(x: Array) -> tuple[Array, Array]:
            inner = jnp.clip(x, -max_square(x.dtype), max_square(x.dtype))
            square = tail * inner * inner
            # Beyond the end of the map its factor is constant, so that numbers grow no further.
            room = max_exponent(x.dtype) - jnp.log(jnp.maximum(jnp.abs(jax.lax.stop_gradient(x)), 1.0))
            return x * jnp.exp(jnp.minimum(square / 2, jnp.maximum(room, 0.0))), square / 2 + jnp.log1p(square)

        def inverse(y: Array) -> tuple[Array, Array]:
            w = lambert_w_of_square(y, jnp.broadcast_to(tail, y.shape))
            # This takes two steps, because the largest floats times a slope would overflow.
            root = jnp.exp(-w / 4)
            return y * root * root, -w / 2 - jnp.log1p(w)

        return Formula(forward, inverse)
