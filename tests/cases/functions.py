"""Fixed functions, powers, heavy tails, distribution functions."""

# Domains end where floats do: beyond them the maps are flat, or jump to the nearest number inside the support.

from __future__ import annotations

import numpy as np

from cases.case import Case, eye
from pushforward.bijections import (
    ELU,
    Exp,
    HistogramQuantile,
    LambertW,
    LeakyReLU,
    NormalCDF,
    PolarToCartesian,
    Power,
    Sigmoid,
    SignedPower,
    SinhArcsinh,
    Softplus,
    Square,
    StudentTCDF,
    Tanh,
)

HALF_LINE = (1e-15, np.inf)
UNIT = (1e-30, 1.0)
# Not the cube, whose density at 0 is too high for the quadrature of the laws; it has the inverse's formulas.
ROOT = SignedPower(0.4, (2,))
CORE = [tuple(float(half[0]) for half in ROOT.core(dtype)) for dtype in (np.float32, np.float64)]

CASES: dict[str, Case] = {
    "Exp": Case(lambda key: Exp((2,)), domain_x=(-10.0, 10.0), domain_y=(1e-34, np.inf), reach=eye(2)),
    "Sigmoid": Case(lambda key: Sigmoid(-1.0, [3.0, 3.0]), domain_x=(-12.0, 12.0), domain_y=(-1.0, 3.0), reach=eye(2)),
    "Tanh": Case(lambda key: Tanh((2,)), domain_x=(-8.5, 8.5), domain_y=(-1.0, 1.0), reach=eye(2)),
    "Softplus": Case(lambda key: Softplus((2,)), domain_x=(-80.0, 1e4), domain_y=(1e-34, np.inf), reach=eye(2)),
    "ELU": Case(
        lambda key: ELU(0.5, (2,)),
        domain_x=(-12.0, 12.0),
        domain_y=(-0.5, np.inf),
        special_x=(0.0,),
        special_y=(0.0,),
        reach=eye(2),
    ),
    # Of one number: the density jumps, and the quadrature of the laws has fewer points in two dimensions.
    "LeakyReLU": Case(lambda key: LeakyReLU(0.2, (1,)), special_x=(0.0,), special_y=(0.0,)),
    "Power": Case(lambda key: Power(-1.5, (2,)), domain_x=HALF_LINE, domain_y=HALF_LINE, reach=eye(2)),
    "Square": Case(lambda key: Square((2,)), domain_x=HALF_LINE, domain_y=HALF_LINE, reach=eye(2)),
    "SignedPower": Case(
        lambda key: ROOT,
        special_x=[x for x, _ in CORE],
        special_y=[y for _, y in CORE],
        reach=eye(2),
    ),
    # Of angles up to half a turn; the other half plane has a test of its own.
    "PolarToCartesian": Case(
        lambda key: PolarToCartesian((2, 2)),
        domain_x=(1e-15, np.pi),
        domain_y=HALF_LINE,
        reach=np.kron(np.eye(2, dtype=bool), np.ones((2, 2), bool)),
    ),
    "NormalCDF": Case(lambda key: NormalCDF((1,)), domain_x=(-9.0, 5.0), domain_y=UNIT),
    # Beside its inner edges, and not on them: the density jumps there, and rounding takes either side.
    "HistogramQuantile": Case(
        lambda key: HistogramQuantile([-1.0, 0.5, 2.0, 3.0], [[0.2, 0.5, 0.3]]),
        domain_x=(-5.0, 5.0),
        domain_y=(-1.0, 3.0),
        special_y=(0.4999, 0.5001, 1.9999, 2.0001),
    ),
    "StudentTCDF": Case(lambda key: StudentTCDF([3.5]), domain_x=(-12.0, 9.0), domain_y=UNIT),
    "SinhArcsinh": Case(lambda key: SinhArcsinh([0.3, 0.0], [1.5, 0.6]), reach=eye(2)),
    "LambertW": Case(lambda key: LambertW([0.2]), domain_x=(-9.0, 9.0)),
}
