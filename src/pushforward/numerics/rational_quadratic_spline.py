r"""The monotone rational-quadratic spline of an interval onto itself, as two elementwise functions.

Both take `x` of any shape and `params` with a leading axis of `Spline.n_params`: widths, heights, inner derivatives and
free end slopes, all unconstrained. They are written for arrays whose last axis is the batch. On a CPU three things
matter for speed, as measured (43 x 512 elements, 8 bins, two cores): bins are selected by comparison instead of
gathering, sums over bins are written out (XLA's reduction over a short leading axis took 3 times as long), and the
backward pass writes the gradient of all parameters as **one** elementwise expression (autodiff through slices took 9
times as long, a concatenation twice). `own_derivatives` adds the other modes of differentiation.

Source: Gregory and Delbourgo, 1982; Durkan, Bekasov, Murray, Papamakarios, 2019, eq. 4-8, arXiv 1906.04032.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from pushforward._types import Array
from pushforward.numerics.bounded import hold
from pushforward.numerics.derivatives import own_derivatives

# Smallest width and height of a bin as a share of the interval, and smallest slope at a knot: they bound every slope
# inside a bin away from 0 and infinity. The values are those of Durkan et al., section 4.
MIN_BIN = 1e-3
MIN_SLOPE = 1e-3
# softplus(SLOPE_ONE) + MIN_SLOPE = 1: parameters of zero give the identity, and meet the tails with a continuous slope.
SLOPE_ONE = math.log(math.expm1(1 - MIN_SLOPE))
# Beyond this a raw slope counts as this, so that its exponential is finite in float32 and wider types.
MAX_RAW_SLOPE = 80.0

Ends = Literal["one", "free", "circular"]
Pair = tuple[Array, Array]


class Spline(NamedTuple):
    """The static facts of a spline.

    Attributes:
        bins: Number of bins.
        low: Left end of the first bin, in the domain and in the image.
        high: Right end of the last bin.
        ends: The slopes at the two ends. With `"one"` they are 1, and the spline is the identity outside. With
            `"free"` they are the last two parameters, that at `high` first, and outside the spline goes on with these
            slopes. With `"circular"` they are the last parameter, because both ends are one point of the circle.
    """

    bins: int
    low: float
    high: float
    ends: Ends = "one"

    @property
    def n_params(self) -> int:
        return 3 * self.bins - 1 + {"one": 0, "circular": 1, "free": 2}[self.ends]

    @property
    def size(self) -> float:
        return self.high - self.low


class SplineBin(NamedTuple):
    """The bin of each element: its number, left knot, size, end slopes less the smallest allowed, and two softmaxes.

    The computation of each but the number ends in a division or a logarithm: XLA then computes it once. A value that
    ends in a cheaper operation is computed again by every user, which here would repeat the search through all bins.
    """

    index: Array
    left: Array
    width: Array
    bottom: Array
    height: Array
    soft_left: Array
    soft_right: Array
    width_top: Array
    width_total: Array
    height_top: Array
    height_total: Array


def _softmax_parts(raw: Array, bins: int) -> tuple[list[Array], Array, Array]:
    """The terms exp(raw - max) of each bin, the max, and the sum of the terms."""
    top = functools.reduce(jnp.maximum, [raw[k] for k in range(bins)])
    exps = jnp.exp(raw - top)
    total = functools.reduce(jnp.add, [exps[k] for k in range(bins)])
    return [exps[k] for k in range(bins)], top, total


def _find_bin(value: Array, params: Array, spline: Spline, by_height: bool) -> SplineBin:
    """The bin that holds `value` (already within the interval), on the x side or, `by_height`, on the y side.

    Distances from the left end are searched in units of the softmax's terms, which saves normalising each of them.
    """
    bins, free_ends = spline.bins, spline.ends == "free"
    size, smallest = spline.size * (1 - bins * MIN_BIN), spline.size * MIN_BIN
    widths, width_top, width_total = _softmax_parts(params[:bins], bins)
    heights, height_top, height_total = _softmax_parts(params[bins : 2 * bins], bins)
    slopes = params[2 * bins :]
    x_unit, y_unit = width_total * (1 / size), height_total * (1 / size)
    x_floor, y_floor = smallest * x_unit, smallest * y_unit
    target = (value - spline.low) * (y_unit if by_height else x_unit)
    edge_x = edge_y = left = bottom = jnp.zeros_like(value)
    width, height = widths[0], heights[0]
    # A raw slope of 0 is a slope of 1: the identity begins at the ends.
    raw_left = jnp.zeros_like(value) if spline.ends == "one" else slopes[bins if free_ends else bins - 1]
    raw_right = slopes[0]
    index, last = jnp.zeros(value.shape, jnp.int32), jnp.zeros(value.shape, bool)
    for k in range(1, bins):
        edge_x = edge_x + (widths[k - 1] + x_floor)
        edge_y = edge_y + (heights[k - 1] + y_floor)
        beyond = target >= (edge_y if by_height else edge_x)
        left, bottom = jnp.where(beyond, edge_x, left), jnp.where(beyond, edge_y, bottom)
        width, height = jnp.where(beyond, widths[k], width), jnp.where(beyond, heights[k], height)
        raw_left = jnp.where(beyond, slopes[k - 1], raw_left)
        raw_right = jnp.where(beyond, slopes[k] if k < bins - 1 or spline.ends != "one" else 0.0, raw_right)
        index, last = index + beyond, beyond
    # The last bin ends at the end, whatever the sums were rounded to.
    width = jnp.where(last, spline.size * x_unit - left, width + x_floor)
    height = jnp.where(last, spline.size * y_unit - bottom, height + y_floor)
    x_side = (left / x_unit + spline.low, width / x_unit)
    y_side = (bottom / y_unit + spline.low, height / y_unit)
    softmaxes = (width_top, width_total, height_top, height_total)
    return SplineBin(index, *x_side, *y_side, _softplus(raw_left), _softplus(raw_right), *softmaxes)


def _softplus(raw: Array) -> Array:
    return jnp.log1p(jnp.exp(hold(raw + SLOPE_ONE, -jnp.inf, MAX_RAW_SLOPE)))


def _slopes(found: SplineBin) -> tuple[Array, Array]:
    """The slopes at the two ends of the bin."""
    return MIN_SLOPE + found.soft_left, MIN_SLOPE + found.soft_right


def _within_bin(
    x: Array, left: Array, width: Array, bottom: Array, height: Array, slope_left: Array, slope_right: Array
) -> tuple[Array, Array]:
    """Durkan et al., eq. 4 and 5: value and log-derivative inside one bin."""
    secant = height / width
    xi = (x - left) / width
    # By rounding x may lie beyond the bin's ends, where the formula of the slope turns negative. The value is clamped
    # but not the gradient, which at the ends is that of the bin.
    xi = xi + jax.lax.stop_gradient(jnp.clip(xi, 0.0, 1.0) - xi)
    rest = 1 - xi
    both = xi * rest
    denominator = secant + (slope_left + slope_right - 2 * secant) * both
    y = bottom + height * (secant * xi * xi + slope_left * both) / denominator
    numerator = slope_right * xi * xi + 2 * secant * both + slope_left * rest * rest
    return y, 2 * jnp.log(secant) + jnp.log(numerator) - 2 * jnp.log(denominator)


def _clamp(x: Array, spline: Spline) -> tuple[Array, Array]:
    # The input is clamped before the search, so that no branch, taken or not, can make a NaN (flowjax issue 239).
    # NaN counts as inside: it has to come out as NaN.
    inside = ~((x < spline.low) | (x > spline.high))
    return inside, jnp.where(inside, x, jnp.where(x < spline.low, spline.low, spline.high))


def _outside(x: Array, clamped: Array, found: SplineBin, spline: Spline, inverse: bool = False) -> Pair:
    """Value and log-slope beyond the ends; within them they are finite but have no meaning."""
    if spline.ends != "free":
        return x, jnp.zeros_like(x)
    slope = jnp.where(x < spline.low, *_slopes(found))
    return clamped + ((x - clamped) / slope if inverse else (x - clamped) * slope), jnp.log(slope)


def _forward_at(x: Array, found: SplineBin, spline: Spline) -> Pair:
    inside, clamped = _clamp(x, spline)
    y, log_slope = _within_bin(clamped, found.left, found.width, found.bottom, found.height, *_slopes(found))
    y = hold(hold(y, found.bottom, found.bottom + found.height), spline.low, spline.high)
    beyond, log_beyond = _outside(x, clamped, found, spline)
    return jnp.where(inside, y, beyond), jnp.where(inside, log_slope, log_beyond)


def _shares(below: Array, own: Array, mean: Array, total: Array) -> tuple[Array, Array, Array]:
    """The cotangents of softmax logits before the bin, of the bin, and after it, without the factor of the term."""
    mean = mean / total
    return below / total - mean, own / total - mean, -mean


def _through_softplus(bar: Array, soft: Array) -> Array:
    """`bar` times the derivative of a softplus, given its value: sigmoid(r) = 1 / (1 + 1 / expm1(softplus(r)))."""
    return bar / (1 + 1 / jnp.maximum(jnp.expm1(soft), 1e-15))


def _pull_back(x: Array, params: Array, found: SplineBin, bar_y: Array, bar_log: Array, spline: Spline) -> Pair:
    """Cotangents of `x` and of all parameters from those of the value and the log-slope."""
    bins = spline.bins
    inside, clamped = _clamp(x, spline)
    within = jnp.where(inside, bar_y, 0.0), jnp.where(inside, bar_log, 0.0)
    _, vjp = jax.vjp(_within_bin, clamped, found.left, found.width, found.bottom, found.height, *_slopes(found))
    bar_x, bar_left, bar_width, bar_bottom, bar_height, bar_slope_left, bar_slope_right = vjp(within)
    bar_x = jnp.where(inside, bar_x, bar_y)
    if spline.ends == "free":
        below, slope = x < spline.low, jnp.where(x < spline.low, *_slopes(found))
        bar_x = jnp.where(inside, bar_x, bar_y * slope)
        bar_end = jnp.where(inside, 0.0, bar_y * (x - clamped) + bar_log / slope)
        bar_slope_left = bar_slope_left + jnp.where(below, bar_end, 0.0)
        bar_slope_right = bar_slope_right + jnp.where(below, 0.0, bar_end)

    # left = low + sum_{j<i} w_j and width = w_i with w_j = size * softmax_j + smallest: the softmax's own pull-back
    # needs sum_j softmax_j * bar_j, which is a function of the knot that is already there.
    size, smallest = spline.size * (1 - bins * MIN_BIN), spline.size * MIN_BIN
    floors = found.index.astype(x.dtype) * smallest
    mean_w = bar_left * (found.left - spline.low - floors) + bar_width * (found.width - smallest)
    mean_h = bar_bottom * (found.bottom - spline.low - floors) + bar_height * (found.height - smallest)
    # What all rows share ends in a division, here by the softmax's sum and the sigmoid's: XLA's fusion then computes it
    # once per element. Anything cheaper it moves into the loop over the rows, and computes 3 * bins - 1 times.
    below_w, own_w, above_w = _shares(size * bar_left, size * bar_width, mean_w, found.width_total)
    below_h, own_h, above_h = _shares(size * bar_bottom, size * bar_height, mean_h, found.height_total)
    # An end of slope 1 has no parameter: no row of the slopes is then `index`, or `index - 1`.
    own_slope = _through_softplus(bar_slope_right, found.soft_right)
    slope_before = _through_softplus(bar_slope_left, found.soft_left)

    row = jnp.arange(spline.n_params, dtype=jnp.int32).reshape((-1,) + (1,) * x.ndim)
    is_width, is_size = row < bins, row < 2 * bins
    k = row - jnp.where(is_width, 0, jnp.where(is_size, bins, 2 * bins))
    below = jnp.where(is_width, below_w, jnp.where(is_size, below_h, 0.0))
    own = jnp.where(is_width, own_w, jnp.where(is_size, own_h, own_slope))
    above = jnp.where(is_width, above_w, jnp.where(is_size, above_h, 0.0))
    bar = jnp.where(k < found.index, below, jnp.where(k == found.index, own, above))
    is_slope = ~is_size
    first = {"one": 0, "circular": bins, "free": bins + 1}[spline.ends]
    before = jnp.where(found.index == 0, first, found.index) - 1
    bar = jnp.where(is_slope & (k == before), slope_before, bar)
    top = jnp.where(is_width, found.width_top, found.height_top)
    share = jnp.where(is_size, jnp.exp(jnp.where(is_size, params - top, 0.0)), 1.0)
    return bar_x, share * bar


def _invert(y: Array, params: Array, spline: Spline) -> tuple[Array, SplineBin]:
    """The preimage and its bin."""
    inside, clamped = _clamp(y, spline)
    found = _find_bin(clamped, params, spline, by_height=True)
    slope_left, slope_right = _slopes(found)
    secant = found.height / found.width
    rise = hold(clamped - found.bottom, 0.0, found.height)
    excess = rise * (slope_left + slope_right - 2 * secant)
    a = found.height * (secant - slope_left) + excess
    b = found.height * slope_left - excess
    c = -secant * rise
    # At a knot the discriminant may be rounded below 0 (nflows issue 87); its true value is a square.
    root = jnp.sqrt(jnp.maximum(b * b - 4 * a * c, jnp.finfo(b.dtype).tiny))
    denominator = -b - root
    xi = hold(2 * c / jnp.where(denominator == 0, -1.0, denominator), 0.0, 1.0)
    # One Newton step in y takes the cancellation in the quadratic formula back to rounding level.
    x = found.left + xi * found.width
    value, log_slope = _within_bin(x, found.left, found.width, found.bottom, found.height, slope_left, slope_right)
    x = hold(x - (value - clamped) * jnp.exp(-log_slope), found.left, found.left + found.width)
    x = hold(x, spline.low, spline.high)
    return jnp.where(inside, x, _outside(y, clamped, found, spline, inverse=True)[0]), found


@functools.cache
def _maps(spline: Spline) -> tuple[Callable[[Array, Array], Pair], Callable[[Array, Array], Pair]]:
    """The spline and its inverse as functions of the value and the parameters."""

    def found_for(value: Array, params: Array, by_height: bool) -> SplineBin:
        return _find_bin(_clamp(value, spline)[1], params, spline, by_height)

    def keep(x: Array, params: Array) -> tuple[Pair, tuple]:
        found = found_for(x, params, False)
        return _forward_at(x, found, spline), ((x, params), found)

    def pull(kept: tuple, bars: Pair) -> Pair:
        (x, params), found = kept
        return _pull_back(x, params, found, *bars, spline)

    def keep_inverse(y: Array, params: Array) -> tuple[Pair, tuple]:
        x, found = _invert(y, params, spline)
        log_slope = _forward_at(x, found, spline)[1]
        return (x, -log_slope), (y, params, x, log_slope, found)

    # y = f(x, p) and the second output is -log f'(x, p): by the implicit function theorem both are derivatives of the
    # forward map. The pull-back is that of f with cotangents (-bar_y, -bar_log), where bar_y is what arrives at x,
    # divided by the slope.
    def push_inverse(kept: tuple, tangents: Pair) -> Pair:
        y, params, x, log_slope, _ = kept
        y_dot, params_dot = tangents

        def forward(x: Array, params: Array) -> Pair:
            return _forward_at(x, found_for(y, params, True), spline)

        by_params = jax.jvp(lambda params: forward(x, params)[0], (params,), (params_dot,))[1]
        x_dot = (y_dot - by_params) * jnp.exp(-log_slope)
        return x_dot, -jax.jvp(forward, (x, params), (x_dot, params_dot))[1][1]

    def pull_inverse(kept: tuple, bars: Pair) -> Pair:
        _, params, x, log_slope, found = kept
        bar_x, bar_log = bars
        from_log, _ = _pull_back(x, params, found, jnp.zeros_like(bar_x), -bar_log, spline)
        bar_y = (bar_x + from_log) * jnp.exp(-log_slope)
        return bar_y, _pull_back(x, params, found, -bar_y, -bar_log, spline)[1]

    inverse = own_derivatives(lambda y, params: keep_inverse(y, params)[0], keep_inverse, pull_inverse, push_inverse)
    return own_derivatives(lambda x, params: keep(x, params)[0], keep, pull), inverse


def rational_quadratic_forward(x: Array, params: Array, spline: Spline) -> Pair:
    """The spline's value and the log of its slope, elementwise.

    Args:
        x: any shape `S`.
        params: Array of shape `(spline.n_params, *S)`, unconstrained; zeros give the identity.
        spline: its bins, interval and ends.

    Cost: `O(bins)` per element.
    """
    return _maps(spline)[0](x, params)


def rational_quadratic_inverse(y: Array, params: Array, spline: Spline) -> Pair:
    """The inverse spline's value and the log of its slope, elementwise; arguments as in the forward function."""
    return _maps(spline)[1](y, params)
