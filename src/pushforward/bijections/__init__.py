"""Bijections: invertible maps of one event with their log-determinants."""

from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.combinators import Chain, Invert, Scan
from pushforward.bijections.coupling import Coupling, alternating_split, half_split
from pushforward.bijections.elementwise import Affine, Elementwise, Standardize
from pushforward.bijections.lifting import EmbedCondition, Partial, Vmap, WithCondition
from pushforward.bijections.linear import LULinear, Permutation, Reverse
from pushforward.bijections.normalization import ActNorm, initialise
from pushforward.bijections.residual import Residual, certificate
from pushforward.bijections.scalar_maps import AbstractScalarMap, AdditiveMap, AffineMap, RationalQuadraticMap
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
    "ColumnUnits",
    "Coupling",
    "Elementwise",
    "EmbedCondition",
    "Invert",
    "LULinear",
    "Partial",
    "Permutation",
    "RationalQuadraticMap",
    "Residual",
    "Reverse",
    "Scan",
    "Standardize",
    "Vmap",
    "WithCondition",
    "alternating_split",
    "certificate",
    "half_split",
    "initialise",
]
