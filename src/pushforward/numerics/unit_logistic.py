r"""Logistic distributions cut to the unit interval, as distribution functions with a location and a scale.

With the location $b$ and the scale $a$ the function is

$$T(u) = \frac{\sigma((u - b) / a) - \sigma(-b / a)}{\sigma((1 - b) / a) - \sigma(-b / a)}$$

whose density is finite and positive on all of $[0, 1]$, at both ends too. A large scale gives the identity. The mass of
an interval is computed without a difference of near numbers:
$\sigma(q) - \sigma(p) = \sinh\frac{q - p}{2} / (2 \cosh\frac p2 \cosh\frac q2)$.

Everything is elementwise.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.numerics.bounded import hold

# The location and the logarithm of the scale that parameters of 0 give: the density then varies by half a percent.
MIDDLE, WIDE = 0.5, 1.5
# Scales lie above the first number, and below the exponential of the second.
LEAST_SCALE, WIDEST = 1e-4, 3.0
N_PARAMS = 2


class Cut(NamedTuple):
    """Logistic distributions of the unit interval: their locations and scales, `(*S)`."""

    loc: Array
    scale: Array


def cut_of(raw: Array, circular: Array | np.ndarray | bool) -> Cut:
    """The distributions that unconstrained parameters describe.

    Args:
        raw: Array of shape `(2, *S)`.
        circular: Where the interval is a circle, whose distribution has no ends to cut at: the scale is the widest.
    """
    closed = jnp.asarray(circular)
    log_scale = jnp.where(closed, WIDEST, jnp.minimum(WIDE + raw[1], WIDEST))
    return Cut(jnp.where(closed, MIDDLE, MIDDLE + raw[0]), LEAST_SCALE + jnp.exp(log_scale))


def _log_cosh(x: Array) -> Array:
    size = jnp.abs(x)
    return size + jnp.log1p(jnp.exp(-2 * size)) - jnp.log(2.0).astype(x.dtype)


def _log_sinhc(x: Array) -> Array:
    r"""$\log(\sinh(x) / x)$ for $x \ge 0$."""
    small = x < 0.1
    large = jnp.where(small, 1.0, x)
    series = x * x / 6 - x**4 / 180 + x**6 / 2835
    return jnp.where(small, series, large + jnp.log(-jnp.expm1(-2 * large)) - jnp.log(2 * large))


def _log_difference(cut: Cut, low: Array, high: Array, log_size: Array) -> Array:
    p, q = (low - cut.loc) / cut.scale, (high - cut.loc) / cut.scale
    slope = log_size - jnp.log(4 * cut.scale) + _log_sinhc(0.5 * jnp.maximum(q - p, 0.0))
    return slope - _log_cosh(0.5 * p) - _log_cosh(0.5 * q)


def log_cut_mass(cut: Cut, low: Array, high: Array, log_size: Array) -> Array:
    """The logarithm of the mass of intervals, or of the density where an interval is a point.

    Args:
        cut: The distributions.
        low: Lower ends, of shape `(*S)`.
        high: Upper ends; equal to `low` for a point.
        log_size: Logarithms of the intervals' lengths, which may be known better than the difference of the ends. For
            a point it is the logarithm of what the density is to be multiplied by.
    """
    zero = jnp.zeros_like(low)
    return _log_difference(cut, low, high, log_size) - _log_difference(cut, zero, zero + 1, zero)


def cut_value(cut: Cut, u: Array) -> Array:
    """The value of the distribution function at numbers of $[0, 1]$."""
    safe = jnp.where(u > 0, u, 1.0)
    mass = jnp.exp(log_cut_mass(cut, jnp.zeros_like(u), safe, jnp.log(safe)))
    return hold(jnp.where(u > 0, mass, 0.0), 0.0, 1.0)


def cut_quantile(cut: Cut, probability: Array) -> Array:
    """The number at which the distribution function has these values, which lie in $[0, 1]$."""
    start, end = -cut.loc / cut.scale, (1 - cut.loc) / cut.scale
    shares = jnp.log1p(-probability), jnp.log(probability)
    above = jnp.logaddexp(shares[0] + jax.nn.log_sigmoid(start), shares[1] + jax.nn.log_sigmoid(end))
    below = jnp.logaddexp(shares[0] + jax.nn.log_sigmoid(-start), shares[1] + jax.nn.log_sigmoid(-end))
    return hold(cut.loc + cut.scale * (above - below), 0.0, 1.0)
