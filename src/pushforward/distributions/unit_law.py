"""Distribution functions of the unit interval with a shape, a location and a scale of their own."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pushforward._types import Array
from pushforward.numerics.unit_logistic import N_PARAMS, Cut, cut_of, cut_quantile, cut_value, log_cut_mass
from pushforward.numerics.unit_spline import Pieces, find, log_mass, n_params, pieces_of, quantile, value_at


class UnitLaw(NamedTuple):
    r"""Distribution functions $T(S(u))$: a spline $S$ for the shape, then a cut logistic $T$ for place and width.

    A spline alone has to narrow one of its bins where a number is nearly known; a location and a scale say it at once.

    Attributes:
        pieces: The splines.
        cut: The logistic distributions.
    """

    pieces: Pieces
    cut: Cut

    @staticmethod
    def of(raw: Array, bins: int, circular: Array | np.ndarray | bool) -> UnitLaw:
        """The functions that unconstrained parameters `(law_params(bins), *S)` describe."""
        own = n_params(bins)
        return UnitLaw(pieces_of(raw[:own], bins, circular), cut_of(raw[own:], circular))

    def value(self, u: Array) -> Array:
        """The values at numbers of $[0, 1]$."""
        return cut_value(self.cut, value_at(find(self.pieces, u)))

    def log_mass(self, low: Array, high: Array, log_size: Array) -> Array:
        """The logarithm of masses or densities, with the arguments of `unit_spline.log_mass`."""
        ends = value_at(find(self.pieces, low)), value_at(find(self.pieces, high))
        return log_cut_mass(self.cut, *ends, log_mass(self.pieces, low, high, log_size))

    def quantile(self, probability: Array) -> Array:
        """The numbers at which the functions have these values."""
        return quantile(self.pieces, cut_quantile(self.cut, probability))


def law_params(bins: int) -> int:
    """The number of parameters of a function whose spline has that many bins."""
    return n_params(bins) + N_PARAMS
