"""Bernstein polynomials as a scalar map."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.linear_tails import Inside, forward_with_tails, inverse_with_tails
from pushforward.numerics.bernstein_polynomials import MAX_DEGREE, integral, integral_coefficients, mean_slope
from pushforward.numerics.bounded import soft_clamp

# Bound on the log of every slope: e^5 is as steep as an affine layer gets, and 1e30 still has a finite image.
MAX_LOG_SLOPE = 5.0


class BernsteinMap(AbstractScalarMap):
    r"""An increasing polynomial in Bernstein's form on $[-b, b]$, continued by its tangents.

    $f(x) = \theta_0 + \int_0^x \sum_k \rho_k B_{n-1,k}(s(t))\,dt$ with $\rho_k = e^{\theta_k}$, bounded smoothly, and
    $s$ from 0 to 1 across the interval. So $f$ has increasing Bernstein coefficients, and every slope, including those
    of the tails, lies between the smallest and the largest $\rho$. Parameters of zero give the identity, up to
    rounding.

    Args:
        degree: Degree $n$ of the polynomial, from 1 to 64.
        bound: Half-width $b$ of the interval.

    Cost: $O(n)$ per element; the inverse searches a root, in closed form in the tails. Log-det exact.

    Raises:
        ValueError: a degree is out of bounds, or a bound is not positive.

    Source: Ramasinghe, Fernando, Khan, Barnes, 2021, section 3, arXiv 2102.03509.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> bend = pf.bijections.BernsteinMap(degree=3)
        >>> bend.forward_and_log_det(jnp.array(2.0), jnp.zeros(4))[0].round(4).item()
        2.0
    """

    degree: int = eqx.field(static=True, default=16)
    bound: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(inverse="iterative"), init=False)

    def __init__(self, degree: int = 16, bound: float = 5.0):
        self.degree = check_int("BernsteinMap", "degree", degree, 1, MAX_DEGREE)
        if not 0 < bound < float("inf"):
            raise ValueError(message("BernsteinMap", "bound > 0", repr(bound), "The usual value is 5."))
        self.bound = float(bound)
        self.n_params = self.degree + 1

    def _inside(self, params: Array) -> Inside:
        slopes = jnp.exp(soft_clamp(params[1:], MAX_LOG_SLOPE))
        coefficients, width = integral_coefficients(slopes), 2 * self.bound

        def run(x: Array) -> tuple[Array, Array]:
            s = (x + self.bound) / width
            return params[0] + width * integral(s, slopes, coefficients), mean_slope(s, slopes)

        return run

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return forward_with_tails(self._inside(params), x, self.bound)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return inverse_with_tails(self._inside(params), y, self.bound)
