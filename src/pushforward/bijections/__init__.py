"""Bijections: invertible maps of one event with their log-determinants."""

from pushforward.bijections.autoregressive import Autoregressive
from pushforward.bijections.base import (
    AbstractBatchedBijection,
    AbstractBijection,
    AbstractComposite,
    AbstractSolvedBijection,
    AbstractTwoWayBijection,
    Layout,
)
from pushforward.bijections.block_autoregressive import BlockAutoregressive
from pushforward.bijections.boxes import IntoBox
from pushforward.bijections.combinators import Chain, Invert, Scan, with_memory
from pushforward.bijections.continuous import Continuous
from pushforward.bijections.convolution import Conv1x1
from pushforward.bijections.coupling import Coupling, alternating_split, half_split
from pushforward.bijections.distribution_functions import NormalCDF, StudentTCDF
from pushforward.bijections.elementwise import Affine, Elementwise, Standardize
from pushforward.bijections.functions import ELU, Exp, LeakyReLU, Sigmoid, Softplus, Tanh
from pushforward.bijections.graph import GraphAutoregressive
from pushforward.bijections.heavy_tails import LambertW, SinhArcsinh
from pushforward.bijections.lifting import EmbedCondition, Partial, Vmap, WithCondition
from pushforward.bijections.linear import FullLinear, LULinear, Permutation, Reverse, TriangularLinear
from pushforward.bijections.low_rank_linear import LowRankLinear
from pushforward.bijections.normalization import ActNorm, initialise
from pushforward.bijections.orthogonal import AbstractOrthogonal, Cayley, Householder, MatrixExponential, QRLinear
from pushforward.bijections.planar import Planar
from pushforward.bijections.powers import PolarToCartesian, Power, SignedPower, Square
from pushforward.bijections.products import Concatenate
from pushforward.bijections.radial import Radial
from pushforward.bijections.residual import Residual, certificate
from pushforward.bijections.scalar_maps import (
    AbstractScalarMap,
    AdditiveMap,
    AffineMap,
    BernsteinMap,
    CircularSplineMap,
    CubicSplineMap,
    DenseSigmoidalMap,
    GaussianMixtureMap,
    IntegralMap,
    LinearRationalSplineMap,
    LinearSplineMap,
    LogisticMixtureMap,
    MoebiusMap,
    PerturbationMap,
    QuadraticSplineMap,
    RationalQuadraticMap,
    RepeatedMap,
    SigmoidalMap,
    SumOfSquaresMap,
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
from pushforward.bijections.units import ColumnUnits, Unit
from pushforward.bijections.whitening import PartialWhitening

__all__ = [
    "ELU",
    "AbstractBatchedBijection",
    "AbstractBijection",
    "AbstractComposite",
    "AbstractOrthogonal",
    "AbstractScalarMap",
    "AbstractSolvedBijection",
    "AbstractSupport",
    "AbstractTwoWayBijection",
    "ActNorm",
    "AdditiveMap",
    "Affine",
    "AffineMap",
    "Autoregressive",
    "BernsteinMap",
    "BlockAutoregressive",
    "Cayley",
    "Chain",
    "Circle",
    "CircularSplineMap",
    "ColumnUnits",
    "Concatenate",
    "Continuous",
    "Conv1x1",
    "Coupling",
    "CubicSplineMap",
    "DenseSigmoidalMap",
    "Elementwise",
    "EmbedCondition",
    "Exp",
    "FullLinear",
    "GaussianMixtureMap",
    "GraphAutoregressive",
    "HalfLine",
    "Householder",
    "IntegralMap",
    "Interval",
    "IntoBox",
    "Invert",
    "LULinear",
    "LambertW",
    "Layout",
    "LeakyReLU",
    "LinearRationalSplineMap",
    "LinearSplineMap",
    "LogisticMixtureMap",
    "LowRankLinear",
    "MatrixExponential",
    "MoebiusMap",
    "NormalCDF",
    "Partial",
    "PartialWhitening",
    "Permutation",
    "PerturbationMap",
    "Planar",
    "PolarToCartesian",
    "Power",
    "Product",
    "QRLinear",
    "QuadraticSplineMap",
    "Radial",
    "RationalQuadraticMap",
    "Real",
    "RepeatedMap",
    "Residual",
    "Reverse",
    "Scan",
    "Sigmoid",
    "SigmoidalMap",
    "SignedPower",
    "Simplex",
    "SinhArcsinh",
    "Softplus",
    "Sphere",
    "Square",
    "Standardize",
    "StickBreaking",
    "StudentTCDF",
    "SumOfSquaresMap",
    "Sylvester",
    "Tanh",
    "Torus",
    "TriangularLinear",
    "Unit",
    "Vmap",
    "WithCondition",
    "alternating_split",
    "biject_to",
    "certificate",
    "half_split",
    "initialise",
    "with_memory",
]
