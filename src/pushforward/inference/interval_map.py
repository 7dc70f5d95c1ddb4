"""A monotone map of an interval onto itself that first zooms in on a part of it, for parameters with bounds."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.numerics.rational_quadratic_spline import (
    Spline,
    rational_quadratic_forward,
    rational_quadratic_inverse,
)

# A uniform number on [-HALF_WIDTH, HALF_WIDTH] has the variance 1, as networks like it.
HALF_WIDTH = math.sqrt(3.0)
# The window's rate where its parameter is 0: the map is then the identity to within half a per cent of its slope.
LEAST_RATE = 0.3
# The parameter below which the rate hardly moves, and the largest log-ratio of rates: a window of 1/2000.
RATE_SHIFT, MOST_LOG_RATE = 2.0, math.log(2000.0 / LEAST_RATE)
# The centre of the window stays within this many widths of the interval's centre.
MOST_CENTRE = 1.5
LEAST = 1e-30  # keeps logarithms of shares finite in float32


class IntervalMap(AbstractScalarMap):
    r"""$S(G(x))$ on $[-\sqrt3, \sqrt3]$: a window $G$, then a rational-quadratic spline $S$ with free end slopes.

    In shares $u$ of the interval, $G$ is the distribution function of a logistic with the centre $m$ and the rate $r$,
    cut off at the ends: $G(u) = (\sigma(r(u - m)) - \sigma(-rm)) / (\sigma(r(1 - m)) - \sigma(-rm))$. It spreads a
    narrow part of the interval over the whole of it, so that a spline of few bins describes a density that is a
    thousand times narrower than the interval. Both ends are kept, and the slope there is finite and positive: no mass
    leaves the interval, and a density on its edge is as easy as one in the middle. Parameters of zero give the identity
    to within half a per cent. What lies outside counts as on the edge.

    Args:
        bins: Number of bins of the spline.
    """

    bins: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bins: int = 8):
        self.bins, self.traits = check_int("IntervalMap", "bins", bins, 2, 256), Traits()
        self.n_params = self._spline.n_params + 2

    @property
    def _spline(self) -> Spline:
        return Spline(self.bins, -HALF_WIDTH, HALF_WIDTH, "free")

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        u = jnp.clip(_share(x), 0.0, 1.0)
        centre, rate = _window(params)
        risen = -jnp.expm1(-u * rate) / -jnp.expm1(-rate)
        value = risen * jnp.exp(jax.nn.softplus((centre - 1) * rate) - jax.nn.softplus((centre - u) * rate))
        y, log_det = rational_quadratic_forward(_place(value), params[2:], self._spline)
        return y, log_det + _log_slope(u, centre, rate)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        x, log_det = rational_quadratic_inverse(jnp.clip(y, -HALF_WIDTH, HALF_WIDTH), params[2:], self._spline)
        value = jnp.clip(_share(x), 0.0, 1.0)
        centre, rate = _window(params)
        # With K = exp(rm): exp(-ru) = (1 - q) / (1 + qK), where q is the value times (1 - e^-r) / (1 + K e^-r).
        beyond = (centre - 1) * rate
        log_q = jnp.log(jnp.maximum(value, LEAST)) + jnp.log(-jnp.expm1(-rate)) - jax.nn.softplus(beyond)
        left = jnp.log(jnp.maximum((1 - value) + jnp.exp(-rate) * value, LEAST))
        log_rest = jnp.logaddexp(left, beyond) - jax.nn.softplus(beyond)
        u = jnp.clip((jax.nn.softplus(log_q + centre * rate) - log_rest) / rate, 0.0, 1.0)
        return _place(u), log_det - _log_slope(u, centre, rate)


def _share(x: Array) -> Array:
    return 0.5 + 0.5 * x / HALF_WIDTH


def _place(u: Array) -> Array:
    return HALF_WIDTH * (2 * jnp.clip(u, 0.0, 1.0) - 1)


def _window(params: Array) -> tuple[Array, Array]:
    """The centre, in shares of the interval, and the rate of the window."""
    centre = 0.5 + MOST_CENTRE * jnp.tanh(params[0] / (2 * HALF_WIDTH * MOST_CENTRE))
    grown = jax.nn.softplus(params[1] - RATE_SHIFT) - math.log1p(math.exp(-RATE_SHIFT))
    return centre, LEAST_RATE * jnp.exp(jnp.clip(grown, 0.0, MOST_LOG_RATE))


def _log_slope(u: Array, centre: Array, rate: Array) -> Array:
    """The logarithm of the window's slope at a share `u`."""
    a = (u - centre) * rate
    log_mass = -jax.nn.softplus((centre - 1) * rate) - jax.nn.softplus(-centre * rate) + jnp.log(-jnp.expm1(-rate))
    return jnp.log(rate) - jax.nn.softplus(a) - jax.nn.softplus(-a) - log_mass
