r"""Rational-quadratic splines of the unit interval with free slopes at its ends, as distribution functions.

Such a spline $S$ is the distribution function of a density $S'$ on $[0, 1]$, which is finite and positive everywhere,
at both ends too. On a circle the slopes at 0 and 1 are one number, so that the density is continuous across the seam.
The mass of an interval is computed without a difference of near numbers: within a bin with the ends $q \le p$ (in
shares of the bin) it is $h\,(p - q)\,s\,B(p, q) / (D(p)\,D(q))$, where $D$ is the denominator of the spline and

$$B(p, q) = a\,(1-p)(1-q) + s\,(p\,(1-q) + q\,(1-p)) + b\,p\,q$$

with the slopes $a, b$ at the bin's ends and $s = h / w$. For $p = q$ that is the density.

Everything is elementwise; the first axis of parameters holds bins or knots, the last is the batch.

Source: Gregory and Delbourgo, 1982; Durkan, Bekasov, Murray, Papamakarios, 2019, arXiv 1906.04032 (the spline).
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.numerics.bounded import hold
from pushforward.numerics.rational_quadratic_spline import MIN_BIN, MIN_SLOPE, SLOPE_ONE
from pushforward.numerics.splines import bin_at, bin_sizes, find_bin, pick, slopes_of, split_rows

HALF = 0.5


class Pieces(NamedTuple):
    """The bins of splines: `widths` and `heights` `(bins, *S)`, `slopes` at the knots `(bins + 1, *S)`."""

    widths: Array
    heights: Array
    slopes: Array


class Within(NamedTuple):
    """The bin of each number, and where the number lies in it.

    Attributes:
        index: Number of the bin.
        share: Share of the bin's width to the left of the number.
        bottom: Value of the spline at the bin's left end.
        width: Width of the bin.
        height: Height of the bin.
        start: Slope at the bin's left end.
        end: Slope at the bin's right end.
    """

    index: Array
    share: Array
    bottom: Array
    width: Array
    height: Array
    start: Array
    end: Array

    @property
    def secant(self) -> Array:
        """The mean slope of the bin."""
        return self.height / self.width

    def denominator(self, share: Array) -> Array:
        """The denominator of the spline at a share of the bin."""
        secant = self.secant
        return secant + (self.start + self.end - 2 * secant) * share * (1 - share)


def n_params(bins: int) -> int:
    """The number of parameters of a spline with that many bins."""
    return 3 * bins + 1


def pieces_of(raw: Array, bins: int, circular: Array | np.ndarray | bool) -> Pieces:
    """The bins that unconstrained parameters describe; parameters of 0 give the identity.

    Args:
        raw: Array of shape `(n_params(bins), *S)`.
        bins: Number of bins.
        circular: Whether the interval is a circle, broadcastable to `(*S)`; the slope at 1 is then that at 0.
    """
    raw_widths, raw_heights, raw_slopes = split_rows(raw, (bins, bins, bins + 1))
    last = jnp.where(jnp.asarray(circular), raw_slopes[0], raw_slopes[-1])
    slopes = slopes_of(jnp.concatenate([raw_slopes[:-1], last[None]]))
    return Pieces(bin_sizes(raw_widths, 1.0), bin_sizes(raw_heights, 1.0), slopes)


def raw_of(widths: np.ndarray, heights: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """Unconstrained parameters whose bins are as near to the given ones as the least sizes and slopes allow.

    Args:
        widths: Array of shape `(bins, *S)` of positive numbers that add up to 1.
        heights: Likewise.
        slopes: Array of shape `(bins + 1, *S)` of positive numbers.
    """
    floor = MIN_BIN * 1.01
    sizes = [np.log(np.maximum(part, floor) - MIN_BIN) for part in (widths, heights)]
    free = np.maximum(slopes - MIN_SLOPE, 1e-3)
    raw_slopes = np.where(free > 30, free, np.log(np.expm1(np.minimum(free, 30)))) - SLOPE_ONE
    return np.concatenate([*sizes, raw_slopes])


def find(pieces: Pieces, value: Array, *, by_height: bool = False) -> Within:
    """The bin that holds each number of $[0, 1]$.

    Args:
        pieces: The splines.
        value: Array of shape `(*S)`.
        by_height: Whether the numbers are values of the spline, whose share is then that of the height.
    """
    sizes, others = (pieces.heights, pieces.widths) if by_height else (pieces.widths, pieces.heights)
    found = find_bin(value - HALF, sizes, HALF)
    other = bin_at(found.index, others, HALF)
    share = hold((value - HALF - found.left) / found.size, 0.0, 1.0)
    across, up = (other, found) if by_height else (found, other)
    start, end = pick(pieces.slopes, found.index), pick(pieces.slopes, found.index + 1)
    return Within(found.index, share, up.left + HALF, across.size, up.size, start, end)


def value_at(place: Within) -> Array:
    """The value of the spline where `find` looked."""
    share, secant = place.share, place.secant
    risen = share * (secant * share + place.start * (1 - share)) / place.denominator(share)
    return hold(place.bottom + place.height * risen, 0.0, 1.0)


def log_mass(pieces: Pieces, low: Array, high: Array, log_size: Array) -> Array:
    """The logarithm of the mass that splines give to intervals, or of their density where an interval is a point.

    Args:
        pieces: The splines.
        low: Lower ends, of shape `(*S)`.
        high: Upper ends; equal to `low` for a point.
        log_size: Logarithms of the intervals' lengths, which may be known better than the difference of the ends. For
            a point it is the logarithm of what the density is to be multiplied by.
    """
    first, second = find(pieces, low), find(pieces, high)
    apart = second.index != first.index
    q, p = first.share, jnp.where(apart, 1.0, second.share)
    secant = first.secant
    blossom = first.start * (1 - p) * (1 - q) + secant * (p * (1 - q) + q * (1 - p)) + first.end * p * q
    below = first.denominator(p) * first.denominator(q)
    within = log_size - jnp.log(first.width) + jnp.log(first.height * secant * blossom / below)
    # Where a knot lies between the ends: the rest of the first bin, whole bins, and the start of the last.
    rest = first.height * (1 - q) * (secant * (1 - q) + first.end * q) / first.denominator(q)
    r = second.share
    begun = second.height * r * (second.start * (1 - r) + second.secant * r) / second.denominator(r)
    between = second.bottom - first.bottom - first.height
    total = jnp.where(apart, rest + begun + jnp.maximum(between, 0.0), 1.0)
    return jnp.where(apart, jnp.log(jnp.maximum(total, jnp.finfo(total.dtype).tiny)), within)


def quantile(pieces: Pieces, probability: Array) -> Array:
    """The number at which splines have these values, which lie in $[0, 1]$."""
    place = find(pieces, probability, by_height=True)
    share, secant = place.share, place.secant
    bend = share * (place.start + place.end - 2 * secant)
    a, b, c = secant - place.start + bend, place.start - bend, -secant * share
    root = 2 * c / (-b - jnp.sqrt(jnp.maximum(b * b - 4 * a * c, 0.0)))
    left = bin_at(place.index, pieces.widths, HALF).left + HALF
    return hold(left + place.width * hold(root, 0.0, 1.0), 0.0, 1.0)
