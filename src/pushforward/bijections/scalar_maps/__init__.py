"""Monotone maps of one number: what couplings and autoregressions are made of."""

from pushforward.bijections.scalar_maps.affine import AdditiveMap, AffineMap
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.rational_quadratic import RationalQuadraticMap
from pushforward.bijections.scalar_maps.repeated import RepeatedMap

__all__ = ["AbstractScalarMap", "AdditiveMap", "AffineMap", "RationalQuadraticMap", "RepeatedMap"]
