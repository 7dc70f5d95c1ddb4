"""Bijections: invertible maps of one event with their log-determinants."""

from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.combinators import Chain, Invert, Scan
from pushforward.bijections.coupling import Coupling, alternating_split, half_split
from pushforward.bijections.distribution_functions import NormalCDF, StudentTCDF
from pushforward.bijections.elementwise import Affine, Elementwise, Standardize
from pushforward.bijections.functions import ELU, Exp, LeakyReLU, Sigmoid, Softplus, Tanh
from pushforward.bijections.heavy_tails import LambertW, SinhArcsinh
from pushforward.bijections.lifting import EmbedCondition, Partial, Vmap, WithCondition
from pushforward.bijections.linear import LULinear, Permutation, Reverse
from pushforward.bijections.normalization import ActNorm, initialise
from pushforward.bijections.powers import PolarToCartesian, Power, SignedPower, Square
from pushforward.bijections.scalar_maps import AbstractScalarMap, AdditiveMap, AffineMap, RationalQuadraticMap
from pushforward.bijections.units import ColumnUnits

__all__ = [
    "ELU",
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
    "Exp",
    "Invert",
    "LULinear",
    "LambertW",
    "LeakyReLU",
    "NormalCDF",
    "Partial",
    "Permutation",
    "PolarToCartesian",
    "Power",
    "RationalQuadraticMap",
    "Reverse",
    "Scan",
    "Sigmoid",
    "SignedPower",
    "SinhArcsinh",
    "Softplus",
    "Square",
    "Standardize",
    "StudentTCDF",
    "Tanh",
    "Vmap",
    "WithCondition",
    "alternating_split",
    "half_split",
    "initialise",
]
