"""Bijections onto supports, and several side by side."""

from __future__ import annotations

import numpy as np

import pushforward as pf
from cases.case import Case, eye, triangle
from cases.core import autoregressive
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Concatenate, HalfLine, IntoBox, Product, Simplex, StickBreaking, biject_to

BLOCKS = np.zeros((5, 5), bool)
BLOCKS[:2, :2], BLOCKS[2, 2], BLOCKS[3:, 3:] = triangle(2), True, eye(2)[::-1]


def concatenated(key: PRNGKeyArray) -> Concatenate:
    return Concatenate([autoregressive(key, 2, pf.AffineMap(), conditional=True), pf.Affine(2.0, -0.5), pf.Reverse(2)])


CASES: dict[str, Case] = {
    "Concatenate": Case(concatenated, reach=BLOCKS, condition_reach=np.arange(5) < 2),
    # Beyond these domains the maps are flat, for float64 holds no more.
    "IntoBox of intervals": Case(
        lambda key: IntoBox([-1.0, -1.0], [2.0, 2.0]), domain_x=(-6.0, 5.0), domain_y=(-1.0, 2.0), reach=eye(2)
    ),
    "IntoBox of half lines": Case(
        lambda key: IntoBox([0.0, 0.0], [np.inf, np.inf], ["exp", "softplus"]),
        special_y=(1e-20,),
        domain_x=(-3.0, 8.0),
        domain_y=(1e-25, np.inf),
        reach=eye(2),
    ),
    "IntoBox of lower half lines": Case(
        lambda key: IntoBox([-np.inf, -np.inf], [0.0, 0.0], ["exp", "softplus"]),
        special_y=(-1e-20,),
        domain_x=(-8.0, 3.0),
        domain_y=(-np.inf, -1e-25),
        reach=eye(2),
    ),
    "IntoBox of all kinds": Case(
        lambda key: IntoBox([-np.inf, 0.0, 0.0, -np.inf], [np.inf, 1.0, np.inf, 1.0]),
        domain_x=(-3.0, 3.0),
        domain_y=(1e-3, 1.0),
        reach=eye(4),
    ),
    "StickBreaking": Case(
        lambda key: StickBreaking(3), domain_x=(-5.0, 5.0), domain_y=(1e-6, 1 / 3), reach=triangle(3)
    ),
    "biject_to a product": Case(
        lambda key: biject_to(Product([HalfLine(), Simplex(2)])),
        domain_x=(-3.0, 3.0),
        domain_y=(1e-6, 0.5),
        reach=np.block([[eye(1), np.zeros((1, 2), bool)], [np.zeros((2, 1), bool), triangle(2)]]),
    ),
}
