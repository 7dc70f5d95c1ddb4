"""Splines beside the rational-quadratic one, and maps of the circle."""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax

import pushforward as pf
from cases.case import Case, coupled, eye, triangle
from pushforward._types import PRNGKeyArray
from pushforward.bijections import (
    CircularSplineMap,
    CubicSplineMap,
    Elementwise,
    LinearRationalSplineMap,
    LinearSplineMap,
    MoebiusMap,
    QuadraticSplineMap,
    half_split,
)
from pushforward.nets import WithFeatures

# At the start the splines are the identity, with three bins of equal size.
KNOTS = (-5.0, -5.0 / 3, 5.0 / 3, 5.0)
BINS = 3
# The ends are one point of the circle, where an angle may come back as the other end.
CIRCLE = (-math.pi, math.pi)


def elementwise(scalar_map: pf.AbstractScalarMap, size: int = 2) -> Case:
    # Three coordinates on the circle: a normal, which the law of integrals pushes through two, does not end there.
    def make(key: PRNGKeyArray) -> Elementwise:
        params = 0.3 * jax.random.normal(key, (scalar_map.n_params, size))
        return Elementwise(scalar_map, (size,), params)

    if size == 3:
        return Case(make, domain_x=CIRCLE, domain_y=CIRCLE, reach=eye(3))
    return Case(make, reach=eye(size))


def spline(scalar_map: pf.AbstractScalarMap, knots: Sequence[float] = KNOTS) -> Case:
    return Case(lambda key: Elementwise(scalar_map, (1,)), special_x=knots, special_y=knots, reach=eye(1))


# An interval of its own, with tails whose slopes are free.
FREE = pf.RationalQuadraticMap(BINS, low=-1.0, high=2.0, end_slopes="free")

CASES: dict[str, Case] = {
    "Elementwise, rational-quadratic spline with free ends": spline(FREE, (-1.0, 0.0, 1.0, 2.0)),
    "Elementwise, rational-quadratic spline bent at its ends": elementwise(FREE),
    "Elementwise, linear spline": spline(LinearSplineMap(BINS)),
    "Elementwise, quadratic spline": spline(QuadraticSplineMap(BINS)),
    "Elementwise, cubic spline": spline(CubicSplineMap(BINS)),
    "Elementwise, linear-rational spline": spline(LinearRationalSplineMap(BINS)),
    "Elementwise, circular spline": elementwise(CircularSplineMap(BINS), 3),
    "Elementwise, Moebius": elementwise(MoebiusMap(2), 3),
    "Autoregressive, circular spline": Case(
        lambda key: pf.Autoregressive(
            pf.MADE(key, 3, 3 * BINS + 1, width=8, features="circular"), CircularSplineMap(BINS)
        ),
        domain_x=CIRCLE,
        domain_y=CIRCLE,
        reach=triangle(3),
    ),
    "Coupling, Moebius": Case(
        lambda key: pf.Coupling(
            half_split(3),
            WithFeatures(pf.MLP(key, 2, (7, 2), width=8, depth=1), "circular", (7, 2)),
            MoebiusMap(2),
        ),
        domain_x=CIRCLE,
        domain_y=CIRCLE,
        reach=coupled(half_split(3)),
    ),
}
