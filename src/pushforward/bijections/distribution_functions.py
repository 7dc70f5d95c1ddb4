"""Distribution functions as maps onto the unit interval: what has the distribution becomes uniform."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm

from pushforward._checks import check_shape, message
from pushforward._types import Array, Fixed, Shape, Traits
from pushforward.bijections.base import along
from pushforward.bijections.functions import AbstractFunction, density_zero
from pushforward.numerics.special import keep_inside, max_square
from pushforward.numerics.student_t import StudentTail, log_density, log_tail, student_tail, tail_quantile


class NormalCDF(AbstractFunction):
    r"""$y = \Phi(x)$ onto the interval between 0 and 1, $\log y' = \log\phi(x)$: a normal becomes uniform.

    The left tail keeps its digits down to the least float ($x = -12.9$ in float32, $-37.5$ in float64), the right one
    those that floats have below 1 ($x = 5.4$ and $8.2$).

    Args:
        shape: event shape.

    Cost: one error function or its inverse per number; log-det exact.

    Raises:
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.NormalCDF((2,)).forward(jnp.array([0.0, 2.0])).round(4).tolist()
        [0.5, 0.9772]
    """

    shape: Shape = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, shape: Shape = ()):
        self.shape, self.traits = check_shape("NormalCDF", shape), Traits()

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        inner = jnp.clip(x, -max_square(x.dtype), max_square(x.dtype))
        return keep_inside(ndtr(inner), 0.0, 1.0), norm.logpdf(inner)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        x = ndtri(keep_inside(y, 0.0, 1.0))
        return x, density_zero((y < 0) | (y > 1), -norm.logpdf(x))


class StudentTCDF(AbstractFunction):
    r"""$y = P(T \le x)$ of Student's t, onto the interval between 0 and 1: a Student-t becomes uniform.

    The logarithm of the nearer tail's probability is right to 1e-12 at any distance, for degrees of freedom from 0.05
    to 1e8, from one polynomial whose coefficients are computed at construction. The inverse solves for that logarithm
    in $u = \operatorname{arsinh}(x/\sqrt\nu)$, in which it is nearly a line.

    Args:
        df: degrees of freedom $\nu > 0$, broadcast to `shape`; not trained.
        shape: event shape; None takes that of `df`.

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
        values = np.asarray(df, np.float64)
        if not np.all(np.isfinite(values) & (values > 0)):
            raise ValueError(message("StudentTCDF", "finite df > 0", f"{df}", "The usual value is 5; 1 is Cauchy."))
        shape = values.shape if shape is None else shape
        self.shape, self.traits = check_shape("StudentTCDF", shape), Traits(inverse="iterative")
        # NumPy keeps float64 where JAX would not.
        self.tail = StudentTail(*(Fixed(part) for part in student_tail(np.broadcast_to(values, self.shape))))  # pyright: ignore[reportArgumentType]

    def _numbers(self, dtype: Any) -> StudentTail:
        return StudentTail(*(along(jnp.asarray(part.value, dtype)) for part in self.tail))  # pyright: ignore[reportAttributeAccessIssue]

    def each_forward(self, x: Array) -> tuple[Array, Array]:
        tail = self._numbers(x.dtype)
        # Not jnp.abs, whose derivative at 0 is 0.
        p = jnp.exp(log_tail(jnp.where(x < 0, -x, x), tail))
        return keep_inside(jnp.where(x < 0, p, 1 - p), 0.0, 1.0), log_density(x, tail)

    def each_inverse(self, y: Array) -> tuple[Array, Array]:
        tail = self._numbers(y.dtype)
        inner = keep_inside(y, 0.0, 1.0)
        left = inner < 0.5
        size = tail_quantile(jnp.log(jnp.where(left, inner, 1 - inner)), tail)
        x = jnp.where(left, -size, size)
        return x, density_zero((y < 0) | (y > 1), -log_density(x, tail))
