"""Monotone maps of one number: what couplings and autoregressions are made of."""

from pushforward.bijections.scalar_maps.affine import AdditiveMap, AffineMap
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.bijections.scalar_maps.circular import CircularSplineMap, MoebiusMap
from pushforward.bijections.scalar_maps.cubic_spline import CubicSplineMap
from pushforward.bijections.scalar_maps.linear_rational import LinearRationalSplineMap
from pushforward.bijections.scalar_maps.linear_spline import LinearSplineMap
from pushforward.bijections.scalar_maps.quadratic_spline import QuadraticSplineMap
from pushforward.bijections.scalar_maps.rational_quadratic import RationalQuadraticMap

__all__ = [
    "AbstractScalarMap",
    "AdditiveMap",
    "AffineMap",
    "CircularSplineMap",
    "CubicSplineMap",
    "LinearRationalSplineMap",
    "LinearSplineMap",
    "MoebiusMap",
    "QuadraticSplineMap",
    "RationalQuadraticMap",
]
