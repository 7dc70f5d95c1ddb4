"""The monotone cubic spline as a scalar map."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.root import solve_increasing
from pushforward.numerics.splines import bin_at, bin_sizes, check_interval, clamp, find_bin, hold, pick, split_rows

# The slope at a bound is at least this share of the bin's secant, and at most 2 less this (Steffen's own limit is 2).
MIN_END = 1e-2


class _Cubic(NamedTuple):
    """One bin: its left end, its size, and its slopes at both ends relative to the secant (at most 2)."""

    left: Array
    width: Array
    bottom: Array
    height: Array
    start: Array
    end: Array


class CubicSplineMap(AbstractScalarMap):
    r"""A monotone cubic spline by Steffen's method on $[-b, b]$, continued outside with the slopes at its ends.

    In a bin of width $w$ and height $h$ with the slopes $a h/w$ and $b h/w$ at its ends, $y = y_k + h\,(a \xi
    (1 - \xi)^2 + (3 - b)\,\xi^2 (1 - \xi) + \xi^3)$. Widths and heights are softmaxes; the slope at an inner knot is
    $\min(2 s_k, 2 s_{k+1}, p_k)$, where $s$ are the secants beside it and $p_k$ is the slope of the parabola through
    three knots. So $a$ and $b$ are at most 2, every term is positive, and the map is strictly increasing. The slopes at
    the two bounds are parameters between 0 and 2 secants; they are also the slopes of the tails. Parameters of zero
    give the identity to rounding.

    Args:
        bins: Number of bins, 2 or more.
        bound: Half-width $b$ of the interval.

    Cost: $O(\text{bins})$ per element; the inverse finds its bin once, and its root in some six steps of a search
        (`numerics.root.solve_increasing`).

    Raises:
        ValueError: fewer than 2 bins, more than 256, or a bound that is not positive.

    Source: Durkan, Bekasov, Murray, Papamakarios, 2019, section 3, arXiv 1906.02145; Steffen, 1990,
        Astronomy and Astrophysics 239.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import CubicSplineMap
        >>> spline, x = CubicSplineMap(bins=2, bound=1.0), jnp.array([0.5, 3.0])
        >>> params = jnp.ones((spline.n_params, 1)) * jnp.array([1.0, -1.0])
        >>> spline.inverse_and_log_det(spline.forward_and_log_det(x, params)[0], params)[0].round(4).tolist()
        [0.5, 3.0]
    """

    bins: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(inverse="iterative"), init=False)

    def __init__(self, bins: int = 8, bound: float = 5.0):
        self.bins, self.bound = check_interval("CubicSplineMap", bins, bound)
        self.n_params = 2 * self.bins + 2

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        inside, clamped = clamp(x, self.bound)
        piece = self._find(clamped, params, by_height=False)
        xi = hold((clamped - piece.left) / piece.width, 0.0, 1.0)
        share, relative = _within(xi, piece.start, piece.end)
        top = piece.bottom + piece.height
        y = hold(hold(piece.bottom + piece.height * share, piece.bottom, top), -self.bound, self.bound)
        log_slope = _log_secant(piece) + jnp.log(jnp.where(inside, relative, _tail(x, piece)))
        return jnp.where(inside, y, _along_tail(x, clamped, inside, log_slope)), log_slope

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        inside, clamped = clamp(y, self.bound)
        piece = self._find(clamped, params, by_height=True)
        target = hold((clamped - piece.bottom) / piece.height, 0.0, 1.0)

        def increasing(xi: Array) -> tuple[Array, Array]:
            within = jnp.clip(xi, 0.0, 1.0)
            share, relative = _within(within, piece.start, piece.end)
            # The cubic is continued with its end slopes, so that the first bracket of the search holds the root.
            return share + (xi - within) * relative, jnp.log(relative)

        xi = hold(solve_increasing(increasing, target, target, width=1.0).x, 0.0, 1.0)
        right = piece.left + piece.width
        x = hold(hold(piece.left + piece.width * xi, piece.left, right), -self.bound, self.bound)
        relative = _within(xi, piece.start, piece.end)[1]
        log_slope = -_log_secant(piece) - jnp.log(jnp.where(inside, relative, _tail(y, piece)))
        return jnp.where(inside, x, _along_tail(y, clamped, inside, log_slope)), log_slope

    def _find(self, value: Array, params: Array, by_height: bool) -> _Cubic:
        raw_widths, raw_heights, raw_ends = split_rows(params, (self.bins, self.bins, 2))
        widths, heights = bin_sizes(raw_widths, 2 * self.bound), bin_sizes(raw_heights, 2 * self.bound)
        if by_height:
            up = find_bin(value, heights, self.bound)
            across = bin_at(up.index, widths, self.bound)
        else:
            across = find_bin(value, widths, self.bound)
            up = bin_at(across.index, heights, self.bound)
        index, secant = across.index, up.size / across.size

        def joint(beside: Array) -> Array:
            """Steffen's slope at the knot shared with the bin `beside`, relative to this bin's secant."""
            width = pick(widths, beside)
            other = pick(heights, beside) / width / secant
            parabola = (other * across.size + width) / (across.size + width)
            return jnp.minimum(jnp.minimum(2.0, 2 * other), parabola)

        first, second = MIN_END + 2 * (1 - MIN_END) * jax.nn.sigmoid(raw_ends)
        start = jnp.where(index == 0, first, joint(index - 1))
        end = jnp.where(across.last, second, joint(index + 1))
        return _Cubic(across.left, across.size, up.left, up.size, start, end)


def _within(xi: Array, start: Array, end: Array) -> tuple[Array, Array]:
    """The share of the height at a share of the width, and the slope relative to the secant, in Bernstein form."""
    rest = 1 - xi
    share = xi * (start * rest * rest + xi * ((3 - end) * rest + xi))
    # The middle coefficient may be negative, but only where the others are large, of which at least half remains.
    return share, start * rest * rest + 2 * (3 - start - end) * xi * rest + end * xi * xi


def _log_secant(piece: _Cubic) -> Array:
    return jnp.log(piece.height) - jnp.log(piece.width)


def _along_tail(value: Array, clamped: Array, inside: Array, log_slope: Array) -> Array:
    """The tail from the bound, as a product, because the pull-back of a quotient overflows far out."""
    return clamped + (value - clamped) * jnp.exp(jnp.where(inside, 0.0, log_slope))


def _tail(value: Array, piece: _Cubic) -> Array:
    """The slope of the tail on the side of `value`, relative to the secant of the outermost bin."""
    return jnp.where(value < 0, piece.start, piece.end)
