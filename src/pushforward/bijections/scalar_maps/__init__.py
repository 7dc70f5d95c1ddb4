"""Monotone maps of one number: what couplings and autoregressions are made of."""

from pushforward.bijections.scalar_maps.affine import AdditiveMap, AffineMap
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.bernstein import BernsteinMap
from pushforward.bijections.scalar_maps.integral import IntegralMap
from pushforward.bijections.scalar_maps.mixture import GaussianMixtureMap, LogisticMixtureMap
from pushforward.bijections.scalar_maps.perturbation import PerturbationMap
from pushforward.bijections.scalar_maps.rational_quadratic import RationalQuadraticMap
from pushforward.bijections.scalar_maps.repeated import RepeatedMap
from pushforward.bijections.scalar_maps.sigmoidal import DenseSigmoidalMap, SigmoidalMap
from pushforward.bijections.scalar_maps.sum_of_squares import SumOfSquaresMap

__all__ = [
    "AbstractScalarMap",
    "AdditiveMap",
    "AffineMap",
    "BernsteinMap",
    "DenseSigmoidalMap",
    "GaussianMixtureMap",
    "IntegralMap",
    "LogisticMixtureMap",
    "PerturbationMap",
    "RationalQuadraticMap",
    "RepeatedMap",
    "SigmoidalMap",
    "SumOfSquaresMap",
]
