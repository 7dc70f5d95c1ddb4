"""Bijections: invertible maps of one event with their log-determinants."""

from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.combinators import Chain, Invert, Scan
from pushforward.bijections.coupling import Coupling, alternating_split, half_split
from pushforward.bijections.elementwise import Affine, Elementwise, Standardize
from pushforward.bijections.lifting import EmbedCondition, Partial, Vmap, WithCondition
from pushforward.bijections.linear import LULinear, Permutation, Reverse
from pushforward.bijections.normalization import ActNorm, initialise
from pushforward.bijections.scalar_maps import (
    AbstractScalarMap,
    AdditiveMap,
    AffineMap,
    CircularSplineMap,
    CubicSplineMap,
    LinearRationalSplineMap,
    LinearSplineMap,
    MoebiusMap,
    QuadraticSplineMap,
    RationalQuadraticMap,
)
from pushforward.bijections.units import ColumnUnits

__all__ = [
    "AbstractBijection",
    "AbstractScalarMap",
    "ActNorm",
    "AdditiveMap",
    "Affine",
    "AffineMap",
    "Autoregressive",
    "Chain",
    "CircularSplineMap",
    "ColumnUnits",
    "Coupling",
    "CubicSplineMap",
    "Elementwise",
    "EmbedCondition",
    "Invert",
    "LULinear",
    "LinearRationalSplineMap",
    "LinearSplineMap",
    "MoebiusMap",
    "Partial",
    "Permutation",
    "QuadraticSplineMap",
    "RationalQuadraticMap",
    "Reverse",
    "Scan",
    "Standardize",
    "Vmap",
    "WithCondition",
    "alternating_split",
    "half_split",
    "initialise",
]
