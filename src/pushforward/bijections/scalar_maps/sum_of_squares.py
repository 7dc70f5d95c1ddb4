"""The integral of a sum of squared polynomials as a scalar map."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.linear_tails import Inside, forward_with_tails, inverse_with_tails
from pushforward.numerics.bounded import soft_clamp
from pushforward.numerics.quadrature import area_coefficients, area_of_squares, sum_of_squares

# A sum of squares may be 0; this share of the slope is not its own, and keeps the inverse's slope below 1000.
MIN_SLOPE = 1e-3
# Bound on each coefficient: the steepest slope is then some 1e4, and 1e30 still has a finite image in float32.
MAX_COEFFICIENT = 8.0
MAX_SIZE = 64


def integrated_squares(shift: Array, coefficients: Array, bound: float) -> Inside:
    r"""Value and slope of $c + \int_0^x \epsilon + (1 - \epsilon) \sum_k p_k(t/b)^2\,dt$ for $x$ within $\pm b$.

    Args:
        shift: $c$, of shape `S`.
        coefficients: Coefficients of the polynomials in Chebyshev's basis, `(degree + 1, k, *S)`.
        bound: $b$.
    """
    area = area_coefficients(coefficients)

    def run(x: Array) -> tuple[Array, Array]:
        s = x / bound
        rise = bound * area_of_squares(s, coefficients, area)
        slope = MIN_SLOPE + (1 - MIN_SLOPE) * sum_of_squares(s, coefficients)
        return shift + MIN_SLOPE * x + (1 - MIN_SLOPE) * rise, slope

    return run


class SumOfSquaresMap(AbstractScalarMap):
    r"""$f(x) = \theta_0 + \int_0^x \epsilon + (1 - \epsilon) \sum_k p_k(t)^2\,dt$ on $[-b, b]$, then its tangents.

    The polynomials $p_k$ are free, in Chebyshev's basis of $t/b$, and the integral is in closed form. With two or more
    of degree $r$ every positive polynomial of degree $2r$ is such a sum. The bounds on interval and coefficients
    keep values finite: a polynomial of degree 9 overflows at 1e30 even in float64. Parameters of zero give the
    identity, up to rounding.

    Args:
        degree: $r$ of each polynomial; the map has degree $2r + 1$.
        components: how many polynomials.
        bound: half-width $b$ of the interval.

    Cost: $O(r \cdot \text{components} + r^2)$ per element; the inverse searches a root, in closed form in the tails.
        Log-det exact.

    Raises:
        ValueError: a size is out of bounds, or a bound is not positive.

    Source: Jaini, Selby, Yu, 2019, eq. 7-8, arXiv 1905.02325.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> bend = pf.bijections.SumOfSquaresMap(degree=2, components=3)
        >>> bend.forward_and_log_det(jnp.array(2.0), jnp.zeros(bend.n_params))[0].round(4).item()
        2.0
    """

    degree: int = eqx.field(static=True, default=4)
    components: int = eqx.field(static=True, default=3)
    bound: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(inverse="iterative"), init=False)

    def __init__(self, degree: int = 4, components: int = 3, bound: float = 5.0):
        self.degree = check_int("SumOfSquaresMap", "degree", degree, 1, MAX_SIZE)
        self.components = check_int("SumOfSquaresMap", "components", components, 1, MAX_SIZE)
        if not 0 < bound < float("inf"):
            raise ValueError(message("SumOfSquaresMap", "bound > 0", repr(bound), "The usual value is 5."))
        self.bound = float(bound)
        self.n_params = 1 + (self.degree + 1) * self.components

    def _inside(self, params: Array) -> Inside:
        free = params[1:].reshape(self.degree + 1, self.components, *params.shape[1:])
        # All squares share the slope of the identity: a polynomial of 0 would have no gradient.
        identity = jnp.zeros((self.degree + 1, *(1,) * (free.ndim - 1)), params.dtype).at[0].set(self.components**-0.5)
        coefficients = identity + soft_clamp(free, MAX_COEFFICIENT)
        return integrated_squares(params[0], coefficients, self.bound)

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return forward_with_tails(self._inside(params), x, self.bound)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return inverse_with_tails(self._inside(params), y, self.bound)
