"""The piecewise-quadratic spline as a scalar map."""

from __future__ import annotations

import functools

import equinox as eqx
import jax.numpy as jnp

from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.rational_quadratic_spline import MIN_SLOPE
from pushforward.numerics.splines import (
    bin_at,
    bin_sizes,
    check_interval,
    find_bin,
    hold,
    on_interval,
    pick,
    split_rows,
)


class QuadraticSplineMap(AbstractScalarMap):
    r"""A piecewise-quadratic map of $[-b, b]$ onto itself, whose slope is piecewise linear; the identity outside.

    In a bin of width $w$ with slopes $s_k, s_{k+1}$ at its ends, $y = y_k + w\,(s_k \xi + (s_{k+1} - s_k)\,\xi^2/2)$,
    where $\xi = (x - x_k)/w$. The widths are a softmax; the inner slopes are positive numbers, scaled so that the
    interval is mapped onto itself and the slopes at its ends are 1, like those of the tails. Parameters of zero give
    the identity to rounding.

    Args:
        bins: Number of bins, 3 or more: with 2 the slopes at the ends leave no freedom.
        bound: Half-width $b$ of the interval; rows outside pass unchanged (standardised data need 5 or more).

    Cost: $O(\text{bins})$ per element in both directions.

    Raises:
        ValueError: fewer than 3 bins, more than 256, or a bound that is not positive.

    Source: Müller, McWilliams, Rousselle, Gross, Novák, 2019, section 4, arXiv 1808.03856.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import QuadraticSplineMap
        >>> spline = QuadraticSplineMap(bins=3, bound=1.0)
        >>> y, log_slope = spline.forward_and_log_det(jnp.array([0.0]), jnp.array([[0.0, 0.0, 0.0, 1.0, 0.0]]).T)
        >>> round(y.item(), 3), round(abs(log_slope.item()), 3)
        (0.231, 0.0)
    """

    bins: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def __init__(self, bins: int = 8, bound: float = 5.0):
        self.bins, self.bound = check_interval("QuadraticSplineMap", bins, bound, 3)
        self.n_params = 2 * self.bins - 1

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        def run(x: Array) -> tuple[Array, Array]:
            widths, slopes, heights = self._pieces(params)
            found = find_bin(x, widths, self.bound)
            rise = bin_at(found.index, heights, self.bound)
            start, end = pick(slopes, found.index), pick(slopes, found.index + 1)
            xi = hold((x - found.left) / found.size, 0.0, 1.0)
            slope = start * (1 - xi) + end * xi
            y = rise.left + found.size * xi * (0.5 * (start + slope))
            return hold(y, rise.left, rise.left + rise.size), jnp.log(slope)

        return on_interval(x, self.bound, run)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        def run(y: Array) -> tuple[Array, Array]:
            widths, slopes, heights = self._pieces(params)
            rise = find_bin(y, heights, self.bound)
            found = bin_at(rise.index, widths, self.bound)
            start, end = pick(slopes, rise.index), pick(slopes, rise.index + 1)
            area = hold(y - rise.left, 0.0, rise.size) / found.size
            # This is the square of the slope at the root, which rounding may take below that of the smallest slope.
            square = hold(start * start + 2 * (end - start) * area, MIN_SLOPE**2, jnp.inf)
            xi = hold(2 * area / (start + jnp.sqrt(square)), 0.0, 1.0)
            x = hold(found.left + found.size * xi, found.left, found.left + found.size)
            return x, -jnp.log(start * (1 - xi) + end * xi)

        return on_interval(y, self.bound, run)

    def _pieces(self, params: Array) -> tuple[Array, Array, Array]:
        """The widths `(bins, *S)`, the slopes at all knots `(bins + 1, *S)`, and the heights `(bins, *S)`."""
        raw_widths, raw_slopes = split_rows(params, (self.bins, self.bins - 1))
        widths = bin_sizes(raw_widths, 2 * self.bound)
        # By the trapezoid rule the heights add up to 2 b if the inner slopes, each weighted with the mean width beside
        # it, add up to what the halves of the outer bins, with their slopes of 1, leave.
        beside = 0.5 * (widths[:-1] + widths[1:])
        left_over = 2 * self.bound - 0.5 * (widths[0] + widths[-1])
        free = jnp.exp(raw_slopes - functools.reduce(jnp.maximum, list(raw_slopes)))
        total = functools.reduce(jnp.add, list(free * beside))
        inner = MIN_SLOPE + (1 - MIN_SLOPE) * free * (left_over / total)
        one = jnp.ones_like(inner[:1])
        slopes = jnp.concatenate([one, inner, one])
        return widths, slopes, widths * (0.5 * (slopes[:-1] + slopes[1:]))
