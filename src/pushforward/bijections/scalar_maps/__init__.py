"""Monotone maps of one number: what couplings and autoregressions are made of."""

from pushforward.bijections.scalar_maps.affine import AdditiveMap, AffineMap
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.rational_quadratic import RationalQuadraticMap

__all__ = ["AbstractScalarMap", "AdditiveMap", "AffineMap", "RationalQuadraticMap"]
