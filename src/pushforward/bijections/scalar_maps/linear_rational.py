"""The linear-rational spline as a scalar map."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.splines import (
    Bin,
    bin_at,
    bin_sizes,
    check_interval,
    find_bin,
    hold,
    on_interval,
    pick,
    slopes_of,
    split_rows,
)

# Least distance of a bin's split from either end, as a share of its width: no piece may have width 0.
MIN_SPLIT = 0.025
# Beyond this a raw split counts as this, so that its exponential is finite in every floating type.
MAX_RAW = 80.0


class _Pieces(NamedTuple):
    r"""A bin with end slopes $d_0, d_1$, split at the share $\lambda$ of its width and $\alpha$ of its height."""

    split: Array
    rise: Array
    first_weight: Array
    second_weight: Array
    log_start: Array
    log_middle: Array


class LinearRationalSplineMap(AbstractScalarMap):
    r"""A monotone spline of linear-rational pieces, two in each of `bins` bins on $[-b, b]$; the identity outside.

    A piece maps the share $u$ of its width to the share $v = r u/(1 - u + r u)$ of its height. The inverse,
    $u = v/(v + r (1 - v))$, is as simple: it has no root, and sums of positive numbers alone. A bin with the secant $s$
    and the slopes $d_0, d_1$ at its ends is split at the share $\lambda$ of its width, a parameter. With
    $m = \lambda\sqrt{d_0} + (1 - \lambda)\sqrt{d_1}$ the split lies at the share $\alpha = \lambda\sqrt{d_0}/m$ of
    its height, the slope there is $s^2/m^2$, and the weights are $r = \sqrt{d_0}\,m/s$ and $s/(m\sqrt{d_1})$. The
    slopes at the bounds are 1. Zeros give the identity to rounding.

    Args:
        bins: Number of bins, 2 or more.
        bound: Half-width $b$ of the interval; rows outside pass unchanged (standardised data need 5 or more).

    Cost: $O(\text{bins})$ per element in both directions.

    Raises:
        ValueError: fewer than 2 bins, more than 256, or a bound that is not positive.

    Source: Dolatabadi, Erfani, Leckie, 2020, algorithm 1, arXiv 2001.05168.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import LinearRationalSplineMap
        >>> spline, x = LinearRationalSplineMap(bins=2, bound=1.0), jnp.array([0.5, 3.0])
        >>> params = jnp.ones((spline.n_params, 1)) * jnp.ones(2)
        >>> spline.inverse_and_log_det(spline.forward_and_log_det(x, params)[0], params)[0].round(4).tolist()
        [0.5, 3.0]
    """

    bins: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def __init__(self, bins: int = 8, bound: float = 5.0):
        self.bins, self.bound = check_interval("LinearRationalSplineMap", bins, bound)
        self.n_params = 4 * self.bins - 1

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        def run(x: Array) -> tuple[Array, Array]:
            raw_widths, raw_heights, raw_slopes, raw_splits = self._rows(params)
            across = find_bin(x, bin_sizes(raw_widths, 2 * self.bound), self.bound)
            up = bin_at(across.index, bin_sizes(raw_heights, 2 * self.bound), self.bound)
            pieces = self._pieces(across, up, raw_slopes, raw_splits)
            share = hold((x - across.left) / across.size, 0.0, 1.0)
            second, u = _within(share, pieces.split)
            weight = jnp.where(second, pieces.second_weight, pieces.first_weight)
            scale = (1 - u) + weight * u
            v = weight * u / scale
            # The rest of the height is used instead of the share, so that nothing cancels near the top.
            share = jnp.where(second, pieces.rise + (1 - pieces.rise) * v, pieces.rise * v)
            y = hold(up.left + up.size * share, up.left, up.left + up.size)
            log_start = jnp.where(second, pieces.log_middle, pieces.log_start)
            return y, log_start - 2 * jnp.log(scale)

        return on_interval(x, self.bound, run)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        def run(y: Array) -> tuple[Array, Array]:
            raw_widths, raw_heights, raw_slopes, raw_splits = self._rows(params)
            up = find_bin(y, bin_sizes(raw_heights, 2 * self.bound), self.bound)
            across = bin_at(up.index, bin_sizes(raw_widths, 2 * self.bound), self.bound)
            pieces = self._pieces(across, up, raw_slopes, raw_splits)
            share = hold((y - up.left) / up.size, 0.0, 1.0)
            second, v = _within(share, pieces.rise)
            weight = jnp.where(second, pieces.second_weight, pieces.first_weight)
            scale = v + weight * (1 - v)
            u = v / scale
            share = jnp.where(second, pieces.split + (1 - pieces.split) * u, pieces.split * u)
            x = hold(across.left + across.size * share, across.left, across.left + across.size)
            # (1 - u) + r u = r / (v + r (1 - v))
            log_start = jnp.where(second, pieces.log_middle, pieces.log_start)
            return x, 2 * (jnp.log(weight) - jnp.log(scale)) - log_start

        return on_interval(y, self.bound, run)

    def _rows(self, params: Array) -> tuple[Array, ...]:
        return split_rows(params, (self.bins, self.bins, self.bins - 1, self.bins))

    def _pieces(self, across: Bin, up: Bin, raw_slopes: Array, raw_splits: Array) -> _Pieces:
        index, secant = across.index, up.size / across.size
        # A raw slope of 0 is a slope of 1, as in the tails.
        start = slopes_of(jnp.where(index == 0, 0.0, pick(raw_slopes, index - 1)))
        end = slopes_of(jnp.where(across.last, 0.0, pick(raw_slopes, index)))
        # A sigmoid between MIN_SPLIT and 1 - MIN_SPLIT that ends in a division: see `computed_once`.
        odds = jnp.exp(jnp.clip(pick(raw_splits, index), -MAX_RAW, MAX_RAW))
        split = (MIN_SPLIT + (1 - MIN_SPLIT) * odds) / (1 + odds)
        root_start, root_end = jnp.sqrt(start), jnp.sqrt(end)
        mean = split * root_start + (1 - split) * root_end
        first_weight, second_weight = root_start * mean / secant, secant / (mean * root_end)
        rise = split * root_start / mean
        return _Pieces(split, rise, first_weight, second_weight, jnp.log(start), 2 * (jnp.log(secant) - jnp.log(mean)))


def _within(share: Array, split: Array) -> tuple[Array, Array]:
    """Whether a share of the bin lies in its second piece, and which share of that piece it is."""
    second = share >= split
    return second, hold(jnp.where(second, (share - split) / (1 - split), share / split), 0.0, 1.0)
