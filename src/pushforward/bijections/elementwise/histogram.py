"""The map from normal numbers to numbers whose distribution is a histogram, one for each number of an event."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm

from pushforward._checks import check_shape, check_values, is_traced, message, positive
from pushforward._types import Array, Fixed, Shape
from pushforward.bijections.elementwise.fixed import AbstractFixedMap, Formula, as_numbers
from pushforward.numerics.special import max_square

# A value nearer to an end counts as this far from it, as a share of the narrowest bin: uniform noise in float32 has
# steps of twice this size, and may be 0.
LEAST = 2.0**-25


class HistogramQuantile(AbstractFixedMap):
    r"""The quantiles $y = F^{-1}(\Phi(x))$ of a histogram, which give a normal the distribution of the histogram.

    With edges $e_0 < \dots < e_M$ and shares $p_1, \dots, p_M$ of the bins, $F$ rises in the bin $j$ by $p_j$ in a
    straight line, so that $\log |dx/dy| = \log p_j - \log(e_j - e_{j-1}) - \log\phi(x)$. The inverse makes the numbers
    of a histogram exactly normal, whatever atoms, gaps or ends it has, if those of an atom are spread over its bin, as
    those of a pixel's level are by uniform noise. Nothing is trained. Both tails keep their digits. On an
    inner edge the density jumps, and rounding takes that of either side.

    Args:
        edges: Edges of the bins, `(M + 1,)`, increasing. All numbers of an event have the same.
        shares: Shares of the bins, positive, `(..., M)`, where `...` broadcasts to `shape`; they are divided by their
            sum.
        shape: Event shape; None takes that of `shares` without its last axis.

    Cost: $\log_2 M$ comparisons and one normal quantile or distribution function per number; log-det exact.

    Raises:
        ValueError: Edges do not increase, a share is not finite and positive, or the sizes do not fit.
        TypeError: `shape` is an integer.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> histogram = pf.bijections.HistogramQuantile([0.0, 1.0, 3.0], [0.5, 0.5])
        >>> histogram.forward(jnp.array(0.0)).tolist(), round(float(histogram.inverse(2.0)), 4)
        (1.0, 0.6745)
    """

    edges: Fixed
    shares: Fixed
    shape: Shape = eqx.field(static=True)

    def __init__(self, edges: Any, shares: Any, shape: Shape | None = None):
        name = "HistogramQuantile"
        ends, given = as_numbers(edges), as_numbers(shares)
        if ends.ndim != 1 or len(ends) < 2 or given.ndim < 1 or given.shape[-1] != len(ends) - 1:
            fix = "M bins have M + 1 edges and M shares."
            raise ValueError(message(name, "edges (M + 1,), shares (..., M)", f"{ends.shape}, {given.shape}", fix))
        check_values(name, "finite edges that increase", lambda e: positive(np.diff(e)), "Sort them.", ends)
        check_values(name, "finite shares > 0", positive, "Add a small number to the empty bins.", given)
        self.shape = check_shape(name, given.shape[:-1] if shape is None else shape)
        if np.broadcast_shapes(given.shape[:-1], self.shape) != self.shape:
            fix = "Give one histogram, or one for each number of the event."
            raise ValueError(message(name, f"shares that broadcast to {self.shape}", f"{given.shape[:-1]}", fix))
        self.edges, self.shares = Fixed(ends), Fixed(given / given.sum(-1, keepdims=True))

    def formula(self, dtype: Any) -> Formula:
        edges, shares = jnp.asarray(self.edges.value, dtype), jnp.asarray(self.shares.value, dtype)
        widths, n_bins = jnp.diff(edges), shares.shape[-1]
        # The mass below a bin and that above it: summed from both ends, so that both tails keep their digits.
        before = jnp.asarray(np.triu(np.ones((n_bins, n_bins)), 1), dtype)
        below, above = (jnp.matmul(shares, sums, precision="highest") for sums in (before, before.T))
        # Where the row of an element begins in the tables, which may hold one histogram for many elements.
        own = np.broadcast_to(np.arange(shares.size // n_bins).reshape(shares.shape[:-1]), self.shape)

        def at(table: Array, j: Array) -> Array:
            return table.reshape(-1).at[j + n_bins * own[..., None]].get(mode="clip")

        def of_bin(j: Array) -> list[Array]:
            return [at(table, j) for table in (shares, below, above)]

        def log_slope(x: Array, share: Array, width: Array) -> Array:
            return jnp.log(width) - jnp.log(share) + norm.logpdf(x)

        def forward(x: Array) -> tuple[Array, Array]:
            x = jnp.clip(x, -max_square(x.dtype), max_square(x.dtype))
            left = x < 0
            tail = ndtr(jnp.where(left, x, -x))
            # A lower edge is passed if the mass below it is less, or that above the bin before it is more.
            j = _last(n_bins, x, lambda i: jnp.where(left, at(below, i) <= tail, at(above, i - 1) >= tail))
            share, under, over = of_bin(j)
            # The distance from the nearer edge, so that both keep their digits. Rounding may leave the bin; jnp.clip
            # will not do, whose derivative at an end is a half.
            part = jnp.where(left, tail - under, tail - over) / share
            part = jnp.where(part < 0, 0.0, jnp.where(part > 1, 1.0, part)) * widths[j]
            y = jnp.where(left, edges[j] + part, edges[j + 1] - part)
            return y, log_slope(x, share, widths[j])

        def inverse(y: Array) -> tuple[Array, Array]:
            j = _last(n_bins, y, lambda i: edges[i] <= y)
            share, under, over = of_bin(j)
            tail = under + share * ((y - edges[j]) / widths[j])
            other = over + share * ((edges[j + 1] - y) / widths[j])
            left = tail < 0.5
            size = ndtri(jnp.where(left, tail, other))
            x = jnp.where(left, size, -size)
            return x, -log_slope(x, share, widths[j])

        ends = self.edges.value
        least = 0.0 if is_traced(ends) else LEAST * float(np.diff(np.asarray(ends)).min())
        return Formula(forward, inverse, (ends[:1], ends[-1:]), least=least)


def _last(n: int, like: Array, passed: Callable[[Array], Array]) -> Array:
    """The last of `n` bins whose lower edge is passed, by halving; that of the first is always.

    Args:
        n: Number of bins.
        like: An array of the shape of the answer.
        passed: Function from numbers of bins, 1 or more, to whether their lower edges are passed.
    """
    j = jnp.zeros(like.shape, jnp.int32)
    for bit in reversed(range((n - 1).bit_length())):
        ahead = j + 2**bit
        j = jnp.where((ahead < n) & passed(jnp.minimum(ahead, n - 1)), ahead, j)
    return j
