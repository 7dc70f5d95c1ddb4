"""Bijections: invertible maps of one event with their log-determinants."""

from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.block_autoregressive import BlockAutoregressive
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
    BernsteinMap,
    IntegralMap,
    RationalQuadraticMap,
    SumOfSquaresMap,
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
    "BernsteinMap",
    "BlockAutoregressive",
    "Chain",
    "ColumnUnits",
    "Coupling",
    "Elementwise",
    "EmbedCondition",
    "IntegralMap",
    "Invert",
    "LULinear",
    "Partial",
    "Permutation",
    "RationalQuadraticMap",
    "Reverse",
    "Scan",
    "Standardize",
    "SumOfSquaresMap",
    "Vmap",
    "WithCondition",
    "alternating_split",
    "half_split",
    "initialise",
]
