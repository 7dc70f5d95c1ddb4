"""Bijections: invertible maps of one event with their log-determinants."""

from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.batch_norm import BatchNorm, batch_log_prob, update_batch_norm
from pushforward.bijections.boxes import IntoBox
from pushforward.bijections.combinators import Chain, Invert, Scan, with_memory
from pushforward.bijections.convolution import Conv1x1
from pushforward.bijections.coupling import Coupling, alternating_split, half_split
from pushforward.bijections.elementwise import Affine, Elementwise, Standardize
from pushforward.bijections.graph import GraphAutoregressive
from pushforward.bijections.lifting import EmbedCondition, Partial, Vmap, WithCondition
from pushforward.bijections.linear import FullLinear, LULinear, Permutation, Reverse, TriangularLinear
from pushforward.bijections.low_rank_linear import LowRankLinear
from pushforward.bijections.normalization import ActNorm, initialise
from pushforward.bijections.orthogonal import AbstractOrthogonal, Cayley, Householder, MatrixExponential, QRLinear
from pushforward.bijections.planar import Planar
from pushforward.bijections.products import Concatenate
from pushforward.bijections.radial import Radial
from pushforward.bijections.scalar_maps import (
    AbstractScalarMap,
    AdditiveMap,
    AffineMap,
    RationalQuadraticMap,
    RepeatedMap,
)
from pushforward.bijections.simplex import StickBreaking
from pushforward.bijections.supports import (
    AbstractSupport,
    Circle,
    HalfLine,
    Interval,
    Product,
    Real,
    Simplex,
    Sphere,
    Torus,
    biject_to,
)
from pushforward.bijections.sylvester import Sylvester
from pushforward.bijections.units import ColumnUnits

__all__ = [
    "AbstractBijection",
    "AbstractOrthogonal",
    "AbstractScalarMap",
    "AbstractSupport",
    "ActNorm",
    "AdditiveMap",
    "Affine",
    "AffineMap",
    "Autoregressive",
    "BatchNorm",
    "Cayley",
    "Chain",
    "Circle",
    "ColumnUnits",
    "Concatenate",
    "Conv1x1",
    "Coupling",
    "Elementwise",
    "EmbedCondition",
    "FullLinear",
    "GraphAutoregressive",
    "HalfLine",
    "Householder",
    "Interval",
    "IntoBox",
    "Invert",
    "LULinear",
    "LowRankLinear",
    "MatrixExponential",
    "Partial",
    "Permutation",
    "Planar",
    "Product",
    "QRLinear",
    "Radial",
    "RationalQuadraticMap",
    "Real",
    "RepeatedMap",
    "Reverse",
    "Scan",
    "Simplex",
    "Sphere",
    "Standardize",
    "StickBreaking",
    "Sylvester",
    "Torus",
    "TriangularLinear",
    "Vmap",
    "WithCondition",
    "alternating_split",
    "batch_log_prob",
    "biject_to",
    "half_split",
    "initialise",
    "update_batch_norm",
    "with_memory",
]
