"""Bijections: invertible maps of one event with their log-determinants."""

from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.batch_norm import BatchNorm, batch_log_prob, update_batch_norm
from pushforward.bijections.combinators import Chain, Invert, Scan
from pushforward.bijections.convolution import Conv1x1
from pushforward.bijections.coupling import Coupling, alternating_split, half_split
from pushforward.bijections.elementwise import Affine, Elementwise, Standardize
from pushforward.bijections.lifting import EmbedCondition, Partial, Vmap, WithCondition
from pushforward.bijections.linear import FullLinear, LULinear, Permutation, Reverse, TriangularLinear
from pushforward.bijections.low_rank_linear import LowRankLinear
from pushforward.bijections.normalization import ActNorm, initialise
from pushforward.bijections.orthogonal import AbstractOrthogonal, Cayley, Householder, MatrixExponential, QRLinear
from pushforward.bijections.planar import Planar
from pushforward.bijections.radial import Radial
from pushforward.bijections.scalar_maps import AbstractScalarMap, AdditiveMap, AffineMap, RationalQuadraticMap
from pushforward.bijections.sylvester import Sylvester
from pushforward.bijections.units import ColumnUnits

__all__ = [
    "AbstractBijection",
    "AbstractOrthogonal",
    "AbstractScalarMap",
    "ActNorm",
    "AdditiveMap",
    "Affine",
    "AffineMap",
    "Autoregressive",
    "BatchNorm",
    "Cayley",
    "Chain",
    "ColumnUnits",
    "Conv1x1",
    "Coupling",
    "Elementwise",
    "EmbedCondition",
    "FullLinear",
    "Householder",
    "Invert",
    "LULinear",
    "LowRankLinear",
    "MatrixExponential",
    "Partial",
    "Permutation",
    "Planar",
    "QRLinear",
    "Radial",
    "RationalQuadraticMap",
    "Reverse",
    "Scan",
    "Standardize",
    "Sylvester",
    "TriangularLinear",
    "Vmap",
    "WithCondition",
    "alternating_split",
    "batch_log_prob",
    "half_split",
    "initialise",
    "update_batch_norm",
]
