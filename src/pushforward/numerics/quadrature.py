r"""Positive, exact integrals of squares of polynomials, and the points at which to sample a function for one.

A quadrature rule integrates the polynomial through the integrand's values at the rule's points. Here it is the **root**
of the integrand that is interpolated: the square of that polynomial is never negative, and its integral from 0 to any
$x$ is again a polynomial, known in closed form. So the integral is increasing and its derivative exact for every
integrand, sampled finely or not, and the samples serve all $x$. Summing the integrand at points that move with $x$
(Wehenkel and Louppe, 2019) costs new samples for each $x$, and the derivative of such a sum may be negative.

Polynomials are in Chebyshev's basis on [-1, 1], in which rounding errors do not grow at any degree used here.

Source: Clenshaw and Curtis, 1960 (indefinite integrals by Chebyshev series); Trefethen, 2008, on both rules.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from numpy.polynomial import chebyshev, legendre

from pushforward._checks import check_int
from pushforward._types import Array
from pushforward.numerics.known_slope import known_slope
from pushforward.numerics.product import matrix_product

# With more points than this the unrolled recurrences take minutes to compile.
MAX_NODES = 128


@dataclass(frozen=True)
class AbstractRule(ABC):
    """Where a quadrature rule samples its integrand.

    Args:
        nodes: Number of points, 2 or more.

    Raises:
        ValueError: fewer than 2 points, or more than 128.
    """

    nodes: int = 16

    def __post_init__(self) -> None:
        check_int(type(self).__name__, "nodes", self.nodes, 2, MAX_NODES)

    @abstractmethod
    def points(self) -> np.ndarray:
        """The points, ascending, within [-1, 1]."""


@dataclass(frozen=True)
class ClenshawCurtis(AbstractRule):
    r"""The Clenshaw-Curtis rule, at the extrema of a Chebyshev polynomial, $-\cos(\pi i / (n - 1))$, ends included.

    Example:
        >>> ClenshawCurtis(3).points().round(3).tolist()
        [-1.0, 0.0, 1.0]
    """

    def points(self) -> np.ndarray:
        half = np.arange(self.nodes) - (self.nodes - 1) / 2
        return np.sin(np.pi * half / (self.nodes - 1))  # symmetric to the last digit, unlike the cosine


@dataclass(frozen=True)
class GaussLegendre(AbstractRule):
    """The Gauss-Legendre rule, at the roots of a Legendre polynomial, ends excluded.

    Example:
        >>> GaussLegendre(2).points().round(4).tolist()
        [-0.5774, 0.5774]
    """

    def points(self) -> np.ndarray:
        return legendre.leggauss(self.nodes)[0]


@functools.lru_cache(maxsize=64)
def _interpolation(rule: AbstractRule) -> np.ndarray:
    """The matrix `(n, n)` from values at the points of the rule to Chebyshev coefficients of their polynomial."""
    return np.linalg.inv(chebyshev.chebvander(rule.points(), rule.nodes - 1))


@functools.lru_cache(maxsize=64)
def _squaring(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The matrices from `n` coefficients to values `(2 n - 1, n)`, and from their squares to coefficients `(2 n, .)`.

    The latter are the coefficients of the integral of the square, from 0.
    """
    points = np.cos(np.pi * (np.arange(2 * n - 1) + 0.5) / (2 * n - 1))
    to_coefficients = np.linalg.inv(chebyshev.chebvander(points, 2 * n - 2))
    return chebyshev.chebvander(points, n - 1), chebyshev.chebint(to_coefficients, lbnd=0, axis=0)


def _apply(matrix: np.ndarray, x: Array) -> Array:
    """Apply a fixed matrix to the first axis."""
    flat = x.reshape(x.shape[0], -1)
    return matrix_product(jnp.asarray(matrix, x.dtype), flat).reshape(matrix.shape[0], *x.shape[1:])


def interpolate(rule: AbstractRule, values: Array) -> Array:
    """Chebyshev coefficients of the polynomial through `values` at the points of `rule`.

    Args:
        rule: Quadrature rule with `n` points.
        values: `(n, *S)`.

    Returns:
        `(n, *S)`.
    """
    return _apply(_interpolation(rule), values)


def _basis(s: Array, n: int) -> Array:
    """The first `n` Chebyshev polynomials at `s`, `(n, *S)`."""
    rows = [jnp.ones_like(s), s]
    while len(rows) < n:
        rows.append(2 * s * rows[-1] - rows[-2])
    return jnp.stack(rows[:n])


def _basis_slopes(s: Array, n: int) -> Array:
    r"""The derivatives of the Chebyshev polynomials, $k\,U_{k-1}(s)$."""
    rows = [jnp.zeros_like(s), jnp.ones_like(s)]
    while len(rows) < n:
        rows.append(2 * s * rows[-1] - rows[-2])
    return jnp.stack([k * row for k, row in enumerate(rows[:n])])


def _sum_of_terms(basis: Array, coefficients: Array) -> Array:
    # The coefficients of several polynomials have one more axis between degree and elements.
    between = (1,) * (coefficients.ndim - basis.ndim)
    return jnp.sum(basis.reshape(basis.shape[0], *between, *basis.shape[1:]) * coefficients, axis=0)


_series = known_slope(
    lambda s, c: _sum_of_terms(_basis(s, c.shape[0]), c),
    lambda s, c: _sum_of_terms(_basis_slopes(s, c.shape[0]), c),
)


def sum_of_squares(s: Array, coefficients: Array) -> Array:
    r"""The sum of squared polynomials, $\sum_k p_k(s)^2$.

    Args:
        s: Points within [-1, 1], of shape `S`.
        coefficients: Coefficients of the polynomials in Chebyshev's basis, `(n, k, *S)`.
    """
    return jnp.sum(_series(s, coefficients) ** 2, axis=0)


_area = known_slope(
    lambda s, both: _sum_of_terms(_basis(s, both[1].shape[0]), both[1]), lambda s, both: sum_of_squares(s, both[0])
)


def area_of_squares(s: Array, coefficients: Array, area: Array) -> Array:
    r"""The integral $\int_0^s \sum_k p_k(t)^2\,dt$ of a sum of squared polynomials.

    Args:
        s: Points within [-1, 1], of shape `S`.
        coefficients: Coefficients of the polynomials, `(n, k, *S)`.
        area: The result of `area_coefficients(coefficients)`, which all `s` share.
    """
    return _area(s, (coefficients, area))


def area_coefficients(coefficients: Array) -> Array:
    r"""The Chebyshev coefficients of $\int_0^s \sum_k p_k(t)^2\,dt$, exact but for rounding.

    Args:
        coefficients: Coefficients of the polynomials, `(n, k, *S)`.

    Returns:
        `(2 n, *S)`.
    """
    to_values, to_area = _squaring(coefficients.shape[0])
    return _apply(to_area, jnp.sum(_apply(to_values, coefficients) ** 2, axis=1))
