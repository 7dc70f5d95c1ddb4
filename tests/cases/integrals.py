"""Maps made of integrals and polynomials, and the block neural autoregressive layer."""

from __future__ import annotations

import pushforward as pf
from cases.case import COND, Case, coupled, eye, triangle
from cases.core import autoregressive, coupling
from pushforward._types import PRNGKeyArray
from pushforward.bijections import (
    BernsteinMap,
    BlockAutoregressive,
    Elementwise,
    IntegralMap,
    SumOfSquaresMap,
    half_split,
)
from pushforward.numerics.quadrature import GaussLegendre

ENDS = (-5.0, 5.0)
BERNSTEIN = BernsteinMap(degree=4)
SQUARES = SumOfSquaresMap(degree=2, components=2)


def integral(key: PRNGKeyArray) -> IntegralMap:
    return IntegralMap(key, 2, width=4, depth=2, rule=GaussLegendre(6))


def of_integral(key: PRNGKeyArray, conditional: bool = False) -> pf.Autoregressive:
    return autoregressive(key, 2, integral(key), conditional=conditional)


CASES: dict[str, Case] = {
    "Elementwise, integral": Case(lambda key: Elementwise(integral(key), (1,)), ENDS, ENDS, reach=eye(1)),
    "Elementwise, sum of squares": Case(lambda key: Elementwise(SQUARES, (1,)), ENDS, ENDS, reach=eye(1)),
    "Elementwise, Bernstein": Case(lambda key: Elementwise(BERNSTEIN, (1,)), ENDS, ENDS, reach=eye(1)),
    "Coupling, Bernstein": Case(
        lambda key: coupling(key, half_split(3), BERNSTEIN), ENDS, reach=coupled(half_split(3))
    ),
    "Autoregressive, integral, conditional": Case(lambda key: of_integral(key, True), ENDS, reach=triangle(2)),
    "Autoregressive, sum of squares": Case(lambda key: autoregressive(key, 2, SQUARES), ENDS, reach=triangle(2)),
    "BlockAutoregressive": Case(lambda key: BlockAutoregressive(key, 3, width=3, depth=2), reach=triangle(3)),
    "BlockAutoregressive of a number, conditional": Case(
        lambda key: BlockAutoregressive(key, 1, width=4, depth=1, cond_shape=COND, cond_width=4)
    ),
}
