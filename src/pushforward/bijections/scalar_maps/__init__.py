"""Monotone maps of one number, from which coupling and autoregressive layers are built."""

from pushforward.bijections.scalar_maps.affine_map import AdditiveMap, AffineMap, SigmoidAffineMap
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.bernstein import BernsteinMap
from pushforward.bijections.scalar_maps.circular import CircularSplineMap, MoebiusMap
from pushforward.bijections.scalar_maps.cubic_spline import CubicSplineMap
from pushforward.bijections.scalar_maps.guided import ExtrapolatedMap, ProductOfNormalsMap
from pushforward.bijections.scalar_maps.integral import IntegralMap
from pushforward.bijections.scalar_maps.inverted import InvertedMap
from pushforward.bijections.scalar_maps.linear_rational import LinearRationalSplineMap
from pushforward.bijections.scalar_maps.linear_spline import LinearSplineMap
from pushforward.bijections.scalar_maps.mixture_cdf import GaussianMixtureMap, LogisticMixtureMap
from pushforward.bijections.scalar_maps.perturbation import PerturbationMap
from pushforward.bijections.scalar_maps.quadratic_spline import QuadraticSplineMap
from pushforward.bijections.scalar_maps.rational_quadratic import RationalQuadraticMap
from pushforward.bijections.scalar_maps.repeated import RepeatedMap
from pushforward.bijections.scalar_maps.sigmoidal import DenseSigmoidalMap, SigmoidalMap
from pushforward.bijections.scalar_maps.sum_of_squares import SumOfSquaresMap

__all__ = [
    "AbstractScalarMap",
    "AdditiveMap",
    "AffineMap",
    "BernsteinMap",
    "CircularSplineMap",
    "CubicSplineMap",
    "DenseSigmoidalMap",
    "ExtrapolatedMap",
    "GaussianMixtureMap",
    "IntegralMap",
    "InvertedMap",
    "LinearRationalSplineMap",
    "LinearSplineMap",
    "LogisticMixtureMap",
    "MoebiusMap",
    "PerturbationMap",
    "ProductOfNormalsMap",
    "QuadraticSplineMap",
    "RationalQuadraticMap",
    "RepeatedMap",
    "SigmoidAffineMap",
    "SigmoidalMap",
    "SumOfSquaresMap",
]
