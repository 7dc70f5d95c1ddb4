"""The distribution function of Student's t for any degrees of freedom, accurate in the tails, without iteration."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.numerics.root import solve_increasing
from pushforward.numerics.special import LARGE, LOG_2, log1p_square, log_cosh, max_exponent

# The square of the rate at which the tail of a normal falls at 0, which is twice its density there.
MILLS = 2 / math.pi
# Place of the median in the search for a quantile: at 0 the search would need digits that probabilities lack.
ORIGIN = 8.0
# Number of terms of the polynomial: log-probabilities are right to 1e-12, for degrees of freedom from 0.05 to 1e8.
TERMS = 18
# Middle of the polynomial's variable, in standard deviations of the normal that is the limit for large df.
MIDDLE = 3.75
# First and last exponent of the double-exponential quadrature, and its number of points: its error is below rounding.
QUADRATURE = (-4.5, 6.5, 441)


class StudentTail(NamedTuple):
    r"""Numbers that depend on the degrees of freedom and give tail probabilities of Student's t, in double precision.

    With $\tau = x/\sqrt{\nu + x^2}$ and $x = \sqrt\nu \sinh u$,

    $P(T > x) = \frac{(1 + x^2/\nu)^{-\nu/2}}{B(\nu/2, 1/2)} \int_0^\infty (\cosh s + \tau \sinh s)^{-\nu} ds$.

    The integral times $\nu\tau + \sqrt{2\nu/\pi}$ lies near 1 and is smooth in $\tau$ between 0 and 1, so that a
    polynomial approximates it.

    Attributes:
        df: Degrees of freedom $\nu$.
        log_beta: The logarithm $\log B(\nu/2, 1/2)$.
        middle: The $\tau$ at the middle of the polynomial's variable.
        coefficients: Coefficients of the polynomial, the constant first, `(TERMS, *df.shape)`.
    """

    df: Array
    log_beta: Array
    middle: Array
    coefficients: Array


def student_tail(df: Any) -> StudentTail:
    """The numbers for these degrees of freedom, in NumPy's float64, or in JAX's type if they are traced.

    Args:
        df: Degrees of freedom above 0, of any shape.

    Cost: a quadrature of `QUADRATURE[2]` points at `TERMS` nodes for each.
    """
    traced = isinstance(df, jax.Array)
    nx: Any = jnp if traced else np  # the same formulas; NumPy keeps float64 where JAX would not
    df = df if traced else np.asarray(df, np.float64)
    middle = MIDDLE / nx.sqrt(df)
    t = np.cos(math.pi * (np.arange(TERMS) + 0.5) / TERMS).reshape(-1, *(1,) * df.ndim)
    t = nx.asarray(t, df.dtype)
    tau = middle * (1 + t) / (1 + 2 * middle - t)
    scale = df * tau + nx.sqrt(2 * df / math.pi)
    exponents, step = np.linspace(*QUADRATURE, retstep=True)
    u, weight = (
        nx.asarray(a.reshape(-1, *(1,) * t.ndim), df.dtype)
        for a in (np.exp(exponents - np.exp(-exponents)), 1 + np.exp(-exponents))
    )
    s = u / scale
    # This is log(cosh s + tau sinh s), written so that no leading terms cancel for large df.
    log_base = s + nx.log1p((1 - tau) / 2 * nx.expm1(-2 * s))
    total = nx.sum(nx.exp(-df * log_base) * u * weight, axis=0)
    coefficients = total * step
    for matrix in _through(TERMS):  # one after the other: their product has large numbers that cancel
        coefficients = nx.tensordot(nx.asarray(matrix, df.dtype), coefficients, 1)
    # The integral at 0 is half the beta function: with this scale the two halves of the distribution add up to 1.
    at_zero = nx.tensordot(nx.asarray((-1.0) ** np.arange(TERMS), df.dtype), coefficients, 1)
    log_beta = nx.log(2 * at_zero) - 0.5 * nx.log(2 * df / math.pi)
    return StudentTail(df, log_beta, middle, coefficients)


def log_tail(size: Array, tail: StudentTail) -> Array:
    r"""The log tail probability $\log P(T > x)$ for $x \ge 0$, right to 1e-12 even where the probability underflows.

    Args:
        size: Numbers $x$, of any shape that the numbers of `tail` broadcast to.
        tail: The result of `student_tail`, in the dtype of `size`.
    """
    ratio = size / jnp.sqrt(tail.df)
    # Where the square would overflow, tau already equals 1.
    bounded = jnp.minimum(ratio, LARGE)
    integral = _log_integral(bounded / jnp.sqrt(1 + bounded**2), tail)
    return integral - tail.log_beta - 0.5 * tail.df * log1p_square(ratio)


def tail_quantile(log_p: Array, tail: StudentTail) -> Array:
    r"""The $x \ge 0$ with this $\log P(T > x)$, which is at most $-\log 2$; $x$ ends near the largest floats.

    The equation is solved for $u = \operatorname{arsinh}(x/\sqrt\nu)$. As a function of $u$ the log-probability is
    smooth, concave and finally linear, and its slope is minus one over the integral.

    Args:
        log_p: Log-probabilities, of any shape that the numbers of `tail` broadcast to.
        tail: The result of `student_tail`, in the dtype of `log_p`.
    """
    unit = jnp.sqrt(1 + tail.df)
    at_zero = jnp.exp(LOG_2 - tail.log_beta)

    def fall(place: Array) -> tuple[Array, Array]:
        u = jnp.maximum((place - ORIGIN) / unit, 0.0)
        integral = _log_integral(jnp.tanh(u), tail)
        # To the left of u = 0 the function is continued as a line.
        line = at_zero * jnp.minimum((place - ORIGIN) / unit, 0.0)
        return line + tail.log_beta + tail.df * log_cosh(u) - integral, -integral - jnp.log(unit)

    # Far out the probability falls by df for each unit of u, and before that like a normal's.
    excess = jax.lax.stop_gradient(-log_p) - LOG_2
    guess = jnp.maximum(excess / tail.df, (jnp.sqrt(MILLS + 2 * excess) - math.sqrt(MILLS)) / jnp.sqrt(tail.df))
    place = solve_increasing(fall, -log_p, ORIGIN + unit * guess).x
    u = (place - ORIGIN) / unit
    # jnp.maximum will not do: it halves the gradient at the median.
    u = jnp.where(u < 0, 0.0, u)
    return jnp.sqrt(tail.df) * jnp.sinh(jnp.minimum(u, max_exponent(log_p.dtype)))


def log_density(x: Array, tail: StudentTail) -> Array:
    """The log-density of Student's t, in nats, for any number."""
    power = 0.5 * (tail.df + 1) * log1p_square(x / jnp.sqrt(tail.df))
    return -power - tail.log_beta - 0.5 * jnp.log(tail.df)


def _log_integral(tau: Array, tail: StudentTail) -> Array:
    """The logarithm of the integral at `tau` in [0, 1]."""
    t = (tau * (1 + 2 * tail.middle) - tail.middle) / (tau + tail.middle)
    value = tail.coefficients[-1]
    for own in tail.coefficients[-2::-1]:
        value = value * t + own
    return jnp.log(value / (tail.df * tau + jnp.sqrt(2 * tail.df / math.pi)))


def _through(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The two matrices that give the coefficients of 1, t, t^2, ... of the polynomial through values at `n` nodes.

    The nodes are Chebyshev's; the first matrix gives coefficients of Chebyshev polynomials, the second those of powers.

    Powers serve as well as Chebyshev's polynomials here: the coefficients add up to less than 5.
    """
    angles = math.pi * (np.arange(n) + 0.5) / n
    chebyshev = 2 / n * np.cos(np.outer(np.arange(n), angles))
    chebyshev[0] /= 2
    powers = np.zeros((n, n))
    for k in range(n):
        powers[: k + 1, k] = np.polynomial.chebyshev.cheb2poly(np.eye(n)[k, : k + 1])
    return chebyshev, powers
