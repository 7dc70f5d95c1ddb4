"""The rational-quadratic spline as a scalar map."""

from __future__ import annotations

import math
from typing import Literal, get_args

import equinox as eqx

from pushforward._checks import check_int, message
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.rational_quadratic_spline import (
    Spline,
    rational_quadratic_forward,
    rational_quadratic_inverse,
)

EndSlopes = Literal["one", "free"]


class RationalQuadraticMap(AbstractScalarMap):
    r"""A monotone rational-quadratic spline with `bins` bins on an interval, which it maps onto itself.

    The interval is $[-b, b]$, or $[l, h]$ if `low` and `high` are given. Outside it the map is the identity or, with
    free slopes at the ends, a straight line with the slope of that end. Its inverse has a closed form. Value, log-slope
    and gradients are finite for every finite input and parameter: inputs are clamped before the bin search, the
    discriminant is clamped at 0, and the root to its bin. Parameters of zero give the identity.

    Args:
        bins: Number of bins, 2 or more.
        bound: Half-width $b$ of the interval (standardised data need 5 or more).
        low: The lower end $l$; None takes $-b$.
        high: The upper end $h$; None takes $b$.
        end_slopes: Slopes at the ends: with `"one"` rows outside pass unchanged, with `"free"` each end has one more
            parameter.

    Cost: $O(\text{bins})$ per element in both directions.

    Raises:
        ValueError: fewer than 2 bins, more than 256, an empty interval, or unknown `end_slopes`.

    Source: Durkan, Bekasov, Murray, Papamakarios, 2019, section 3.1, arXiv 1906.04032.

    Example:
        >>> import jax.numpy as jnp
        >>> from pushforward.bijections import RationalQuadraticMap
        >>> spline = RationalQuadraticMap(bins=4, low=0.0, high=1.0, end_slopes="free")
        >>> params = jnp.zeros((spline.n_params, 1)).at[-2].set(2.0)
        >>> spline.forward_and_log_det(jnp.array([2.0]), params)[0].round(3).tolist()
        [3.617]
    """

    bins: int = eqx.field(static=True, default=8)
    low: float = eqx.field(static=True, default=-5.0)
    high: float = eqx.field(static=True, default=5.0)
    end_slopes: EndSlopes = eqx.field(static=True, default="one")
    n_params: int = eqx.field(static=True, default=0, init=False)
    traits: Traits = eqx.field(static=True, default=Traits(), init=False)

    def __init__(
        self,
        bins: int = 8,
        bound: float = 5.0,
        *,
        low: float | None = None,
        high: float | None = None,
        end_slopes: EndSlopes = "one",
    ):
        name = "RationalQuadraticMap"
        self.bins = check_int(name, "bins", bins, 2, 256)
        if not 0 < bound < math.inf:
            raise ValueError(message(name, "bound > 0", f"{bound}", "The usual value is 5."))
        self.low, self.high = float(-bound if low is None else low), float(bound if high is None else high)
        if not -math.inf < self.low < self.high < math.inf:
            raise ValueError(message(name, "low < high, both finite", f"{self.low}, {self.high}", "Name both ends."))
        if end_slopes not in get_args(EndSlopes):
            raise ValueError(message(name, "end_slopes 'one' or 'free'", repr(end_slopes), "The usual is 'one'."))
        self.end_slopes = end_slopes
        self.n_params = self._spline.n_params

    @property
    def _spline(self) -> Spline:
        return Spline(self.bins, self.low, self.high, self.end_slopes)

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return rational_quadratic_forward(x, params, self._spline)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return rational_quadratic_inverse(y, params, self._spline)
