"""Pure mathematics without a model or a state: traces, log-determinants, fixed points, roots, quadrature."""

from pushforward.numerics.fixed_point import AbstractFixedPoint, Anderson, PlainIteration, solve_contraction
from pushforward.numerics.log_det_series import (
    AbstractCount,
    AbstractLogDet,
    ExactLogDet,
    Geometric,
    Poisson,
    RussianRoulette,
    Truncated,
    truncation_bound,
)
from pushforward.numerics.quadrature import AbstractRule, ClenshawCurtis, GaussLegendre
from pushforward.numerics.root import Root, solve_increasing
from pushforward.numerics.spectral import conv_bound, spectral_bound
from pushforward.numerics.trace_estimators import AbstractTrace, ExactTrace, Hutchinson, HutchPlusPlus

__all__ = [
    "AbstractCount",
    "AbstractFixedPoint",
    "AbstractLogDet",
    "AbstractRule",
    "AbstractTrace",
    "Anderson",
    "ClenshawCurtis",
    "ExactLogDet",
    "ExactTrace",
    "GaussLegendre",
    "Geometric",
    "HutchPlusPlus",
    "Hutchinson",
    "PlainIteration",
    "Poisson",
    "Root",
    "RussianRoulette",
    "Truncated",
    "conv_bound",
    "solve_contraction",
    "solve_increasing",
    "spectral_bound",
    "truncation_bound",
]
