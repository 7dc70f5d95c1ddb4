"""The piecewise-linear spline as a scalar map."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.splines import (
    Bin,
    bin_at,
    bin_sizes,
    check_interval,
    computed_once,
    find_bin,
    hold,
    on_interval,
)


class LinearSplineMap(AbstractScalarMap):
    r"""A piecewise-linear map of $[-b, b]$ onto itself with `bins` bins of equal width, the identity outside.

    $y = y_k + h_k\,(x - x_k)/w$ with heights $h = 2b\,\operatorname{softmax}(\theta)$: a histogram for a density. The
    slope jumps at the knots. A knot belongs to the bin on its right, in both directions: an image never crosses into
    the next bin by rounding. Parameters of zero give the identity to rounding.

    Args:
        bins: Number of bins, 2 or more.
        bound: Half-width $b$ of the interval; rows outside pass unchanged (standardised data need 5 or more).

    Cost: $O(\text{bins})$ per element in both directions.

    Raises:
        ValueError: fewer than 2 bins, more than 256, or a bound that is not positive.

    Source: Müller, McWilliams, Rousselle, Gross, Novák, 2019, section 4, arXiv 1808.03856.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import LinearSplineMap
        >>> y, log_slope = LinearSplineMap(bins=2, bound=1.0).forward_and_log_det(
        ...     jnp.array([0.5, 3.0]), jnp.array([[1.0, 1.0], [0.0, 0.0]])
        ... )
        >>> [round(a, 3) for a in (*y.tolist(), *log_slope.tolist())]
        [0.731, 3.0, -0.618, 0.0]
    """

    bins: int = eqx.field(static=True, default=8)
    bound: float = eqx.field(static=True, default=5.0)
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def __init__(self, bins: int = 8, bound: float = 5.0):
        self.bins, self.bound = check_interval("LinearSplineMap", bins, bound)
        self.n_params = self.bins

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        def run(x: Array) -> tuple[Array, Array]:
            heights = bin_sizes(params, 2 * self.bound)
            index = jnp.zeros(x.shape, jnp.int32)
            for edge in self._edges()[1:-1]:
                index = index + (x >= edge)
            found = bin_at(computed_once(index, heights[0]), heights, self.bound)
            left, _ = self._ends(found, x)
            y = found.left + found.size * ((x - left) / self._width())
            return hold(y, found.left, _below(found, found.left + found.size)), self._log_slope(found)

        return on_interval(x, self.bound, run)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        def run(y: Array) -> tuple[Array, Array]:
            found = find_bin(y, bin_sizes(params, 2 * self.bound), self.bound)
            left, right = self._ends(found, y)
            x = left + self._width() * ((y - found.left) / found.size)
            return hold(x, left, _below(found, right)), -self._log_slope(found)

        return on_interval(y, self.bound, run)

    def _width(self) -> float:
        return 2 * self.bound / self.bins

    def _edges(self) -> list[float]:
        return [self.bound * (2 * k / self.bins - 1) for k in range(self.bins + 1)]

    def _ends(self, found: Bin, like: Array) -> tuple[Array, Array]:
        """The left and the right end of the bin in x."""
        edges = self._edges()
        left, right = jnp.full_like(like, edges[0]), jnp.full_like(like, edges[1])
        for k in range(1, self.bins):
            beyond = found.index >= k
            left, right = jnp.where(beyond, edges[k], left), jnp.where(beyond, edges[k + 1], right)
        return left, right

    def _log_slope(self, found: Bin) -> Array:
        return jnp.log(found.size / self._width())


def _below(found: Bin, end: Array) -> Array:
    """The last number of the bin: the float before its end, or for the last bin the end itself."""
    end = jax.lax.stop_gradient(end)
    # Subnormal floats before 0 count as 0 in arithmetic; this takes the first normal one.
    before = jnp.minimum(jnp.nextafter(end, jnp.full_like(end, -jnp.inf)), end - jnp.finfo(end.dtype).tiny)
    return jnp.where(found.last, end, before)
