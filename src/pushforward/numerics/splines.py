r"""Shared parts of the splines on $[-b, b]$: sizes of bins, the bin of each element, and tails.

Everything is elementwise over arrays `(rows, *S)` whose first axis holds bins or knots and whose last is the batch.
Bins are chosen by comparison instead of gathers, sums over them are written out, and each pull-back is one elementwise
expression over all rows; `rational_quadratic_spline` gives the measurements.

Knots are running sums of the sizes, and the search compares with these same numbers: an input on a knot lies in the bin
that begins there, in both directions. The computation of a knot has no product followed by a sum, which a compiler may
round once in one program and twice in another.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array
from pushforward.numerics.bounded import hold
from pushforward.numerics.derivatives import own_derivatives
from pushforward.numerics.rational_quadratic_spline import MAX_RAW_SLOPE, MIN_BIN, MIN_SLOPE, SLOPE_ONE

# Most bins: 1000 bins of the smallest size allowed would fill the interval.
MAX_BINS = 256


class Bin(NamedTuple):
    """The bin of each element: its number, whether it is the last, its left knot and its size."""

    index: Array
    last: Array
    left: Array
    size: Array


def bin_sizes(raw: Array, total: float) -> Array:
    r"""Sizes above `MIN_BIN * total` that add up to `total`: a softmax over the first axis.

    Args:
        raw: Unconstrained numbers `(bins, *S)`; zeros give equal sizes.
        total: Sum of all sizes.
    """
    return _bin_sizes(total)(raw)


def _unit(raw: Array, total: float) -> tuple[Array, Array]:
    """The terms of the softmax, and their divisor, with which the free parts of the sizes have the right sum."""
    top = functools.reduce(jnp.maximum, list(raw))
    exps = jnp.exp(raw - top)
    return exps, functools.reduce(jnp.add, list(exps)) / (total * (1 - raw.shape[0] * MIN_BIN))


@functools.cache
def _bin_sizes(total: float) -> Callable[[Array], Array]:
    def keep(raw: Array) -> tuple[Array, tuple]:
        exps, unit = _unit(raw, total)
        return (exps + unit / (1 / (total * MIN_BIN))) / unit, ((raw,), exps, unit)

    def pull(kept: tuple, bar: Array) -> tuple[Array]:
        _, exps, unit = kept
        free = total * (1 - exps.shape[0] * MIN_BIN)
        mean = functools.reduce(jnp.add, [b * e for b, e in zip(bar, exps, strict=True)]) / (unit * free)
        return (exps * ((bar - mean) / unit),)

    return own_derivatives(lambda raw: keep(raw)[0], keep, pull)


def pick(rows: Array, index: Array) -> Array:
    """Row `index` of each element; beyond the ends the nearest row, which then has no gradient.

    Args:
        rows: Array of shape `(n, *S)`.
        index: Array of shape `(*S)`, integers.
    """
    return _pick(rows, index)


def _pick_value(rows: Array, index: Array) -> Array:
    out = rows[0]
    for k in range(1, rows.shape[0]):
        out = jnp.where(index >= k, rows[k], out)
    return out


def _pick_pull(kept: tuple[Array, Array], bar: Array) -> tuple[Array, None]:
    index, numbers = kept
    return jnp.where(numbers == index, bar, 0), None


def _pick_push(kept: tuple[Array, Array], tangents: tuple) -> Array:
    # Beyond the ends the pull-back is 0.
    index, numbers = kept
    return jnp.where((index >= 0) & (index < len(numbers)), _pick_value(tangents[0], index), 0)


_pick = own_derivatives(
    _pick_value,
    lambda rows, index: (_pick_value(rows, index), (index, _numbers(rows))),
    _pick_pull,
    _pick_push,
)


def knot(sizes: Array, index: Array, start: float) -> Array:
    """The left end of bin `index`: `start` plus the running sum of the sizes before it.

    Args:
        sizes: Array of shape `(bins, *S)`.
        index: Array of shape `(*S)`, integers from 0 to `bins - 1`.
        start: The first knot.
    """
    return _knot(start)(sizes, index)


@functools.cache
def _knot(start: float) -> Callable[[Array, Array], Array]:
    def value(sizes: Array, index: Array, start: float = start) -> Array:
        out = edge = jnp.full_like(sizes[0], start)
        for k in range(1, sizes.shape[0]):
            edge = edge + sizes[k - 1]
            out = jnp.where(index >= k, edge, out)
        return out

    return own_derivatives(
        value,
        lambda sizes, index: (value(sizes, index), (index, _numbers(sizes))),
        lambda kept, bar: (jnp.where(kept[1] < kept[0], bar, 0), None),
        lambda kept, tangents: value(tangents[0], kept[0], 0.0),
    )


def _numbers(rows: Array) -> Array:
    """The number of each row, in a shape that broadcasts."""
    return jnp.arange(rows.shape[0], dtype=jnp.int32).reshape((-1,) + (1,) * (rows.ndim - 1))


def find_bin(value: Array, sizes: Array, bound: float) -> Bin:
    """The bin that holds `value`, among bins of these sizes from `-bound` to `bound`.

    Args:
        value: Array of shape `(*S)`, within the bounds.
        sizes: Array of shape `(bins, *S)`.
        bound: Right end of the last bin; the first one begins at `-bound`.
    """
    edge, index = jnp.full_like(value, -bound), jnp.zeros(value.shape, jnp.int32)
    for k in range(1, sizes.shape[0]):
        edge = edge + sizes[k - 1]
        index = index + (value >= edge)
    return bin_at(computed_once(index, sizes[0]), sizes, bound)


def computed_once(value: Array, like: Array) -> Array:
    """Return `value` so that XLA computes it once for all its users, by a division by 1 at its end.

    XLA may compute a value that ends in a cheaper operation again in each fused loop, and round it differently there.
    On a knot one loop then chose the bin for the left end, another the next bin for the size, and the result was wrong
    by a whole bin. So a value that decides between formulas is computed once.

    Args:
        value: Numbers or indices.
        like: Finite numbers of the same shape, whose values XLA does not know.
    """
    # A division by exp(0) will not do: XLA turns it into a product.
    exact = value / jnp.maximum(1.0, 0 * jax.lax.stop_gradient(like))
    return exact.astype(value.dtype)


def bin_at(index: Array, sizes: Array, bound: float) -> Bin:
    """The bin with this number, as in `find_bin`; the last one ends at the bound, whatever the rounding of sums."""
    left, size, last = knot(sizes, index, -bound), pick(sizes, index), index == sizes.shape[0] - 1
    rounded = jax.lax.stop_gradient(jnp.where(last, bound - left - size, 0.0))
    return Bin(index, last, left, size + rounded)


def slopes_of(raw: Array) -> Array:
    """Slopes above `MIN_SLOPE` from unconstrained numbers; 0 gives a slope of 1."""
    return MIN_SLOPE + jnp.log1p(jnp.exp(jnp.minimum(raw + SLOPE_ONE, MAX_RAW_SLOPE)))


def split_rows(params: Array, sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """Split rows into consecutive groups; the pull-back is one concatenation, where slices would give a sum."""
    return _split(sizes)(params)


@functools.cache
def _split(sizes: tuple[int, ...]) -> Callable[[Array], tuple[Array, ...]]:
    def value(params: Array) -> tuple[Array, ...]:
        starts = [sum(sizes[:n]) for n in range(len(sizes))]
        return tuple(params[start : start + size] for start, size in zip(starts, sizes, strict=True))

    return own_derivatives(
        value,
        lambda params: (value(params), ()),
        lambda kept, bars: (jnp.concatenate(bars),),
        lambda kept, tangents: value(tangents[0]),
    )


def clamp(value: Array, bound: float) -> tuple[Array, Array]:
    """Whether `value` lies within the bounds, and `value` clamped to them.

    The input is clamped before the search, so that no branch, taken or not, can make a NaN (flowjax issue 239). NaN
    counts as inside, so that the result is NaN.
    """
    inside = ~((value < -bound) | (value > bound))
    return inside, jnp.where(inside, value, jnp.where(value < 0, -bound, bound))


def on_interval(value: Array, bound: float, run: Callable[[Array], tuple[Array, Array]]) -> tuple[Array, Array]:
    """Values and log-slopes of `run` within the bounds, and of the identity outside."""
    inside, clamped = clamp(value, bound)
    out, log_slope = run(clamped)
    return jnp.where(inside, hold(out, -bound, bound), value), jnp.where(inside, log_slope, 0.0)


def check_interval(name: str, bins: int, bound: float, least: int = 2) -> tuple[int, float]:
    """Check a number of bins and a bound, and return both.

    Raises:
        TypeError: `bins` is not an integer.
        ValueError: there are fewer than `least` bins or more than 256, or the bound is not positive.
    """
    if not 0 < bound < float("inf"):
        raise ValueError(message(name, "bound > 0", f"{bound}", "The usual value is 5."))
    return check_int(name, "bins", bins, least, MAX_BINS), float(bound)
