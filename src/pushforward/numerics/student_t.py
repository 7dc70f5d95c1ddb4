"""The distribution function of Student's t for any degrees of freedom, with its tails, without an iteration."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.numerics.special import (
    LARGE,
    chebyshev,
    chebyshev_coefficients,
    chebyshev_nodes,
    log1p_square,
)

# Terms of the polynomial: its error is below 1e-14 for degrees of freedom from 0.05 to 1e8.
TERMS = 24
# Where the middle of the polynomial's variable lies, in standard deviations of the normal that large df give.
MIDDLE = 3.75
# Exponents of the double-exponential quadrature, whose error with these is below rounding.
QUADRATURE = np.linspace(-4.5, 6.5, 441)


class StudentTail(NamedTuple):
    r"""What the tail probability of Student's t needs of the degrees of freedom, in double precision.

    With $\tau = x/\sqrt{\nu + x^2}$ and $x = \sqrt\nu \sinh u$,

    $P(T > x) = \frac{(1 + x^2/\nu)^{-\nu/2}}{B(\nu/2, 1/2)} \int_0^\infty (\cosh s + \tau \sinh s)^{-\nu} ds$.

    The integral times $\nu\tau + \sqrt{2\nu/\pi}$ lies near 1 and is smooth in $\tau$ between 0 and 1: a polynomial.

    Attributes:
        df: degrees of freedom $\nu$.
        log_beta: $\log B(\nu/2, 1/2)$.
        middle: the $\tau$ at the middle of the polynomial's variable.
        coefficients: of the polynomial, `(TERMS, *df.shape)`.
    """

    df: Array
    log_beta: Array
    middle: Array
    coefficients: Array


def student_tail(df: np.ndarray) -> StudentTail:
    """The numbers for these degrees of freedom, as NumPy's float64.

    Args:
        df: above 0, any shape.
    """
    df = np.asarray(df, np.float64)
    middle = MIDDLE / np.sqrt(df)
    t = chebyshev_nodes(TERMS).reshape(-1, *(1,) * df.ndim)
    tau = middle * (1 + t) / (1 + 2 * middle - t)
    scale = df * tau + np.sqrt(2 * df / math.pi)
    total = np.zeros_like(scale)
    for h in QUADRATURE:
        u = math.exp(h - math.exp(-h))
        s = u / scale
        # log(cosh s + tau sinh s), whose leading terms cancel for large df.
        log_base = s + np.log1p((1 - tau) / 2 * np.expm1(-2 * s))
        total += np.exp(-df * log_base) * u * (1 + math.exp(-h))
    coefficients = chebyshev_coefficients(total * (QUADRATURE[1] - QUADRATURE[0]))
    # The integral at 0 is half the beta function: so scaled, the two halves of the distribution add up to 1.
    at_zero = np.polynomial.chebyshev.chebval(-1.0, coefficients)
    log_beta = np.log(2 * at_zero) - 0.5 * np.log(2 * df / math.pi)
    return StudentTail(df, log_beta, middle, coefficients)  # pyright: ignore[reportArgumentType]


def log_tail(size: Array, tail: StudentTail) -> Array:
    r"""$\log P(T > x)$ of numbers $x \ge 0$: right to rounding, also where the probability underflows.

    Args:
        size: any shape that the numbers of `tail` broadcast to.
        tail: from `student_tail`, in the dtype of `size`.
    """
    ratio = size / jnp.sqrt(tail.df)
    # Where the square would overflow, tau is 1 already.
    bounded = jnp.minimum(ratio, LARGE)
    tau = bounded / jnp.sqrt(1 + bounded**2)
    t = (tau * (1 + 2 * tail.middle) - tail.middle) / (tau + tail.middle)
    scale = tail.df * tau + jnp.sqrt(2 * tail.df / math.pi)
    return jnp.log(chebyshev(t, tail.coefficients) / scale) - tail.log_beta - 0.5 * tail.df * log1p_square(ratio)


def log_density(x: Array, tail: StudentTail) -> Array:
    """The log-density of Student's t, in nats, for any number."""
    power = 0.5 * (tail.df + 1) * log1p_square(x / jnp.sqrt(tail.df))
    return -power - tail.log_beta - 0.5 * jnp.log(tail.df)
