"""Compositions, couplings, autoregressions, and the first maps and layers."""

from __future__ import annotations

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import pushforward as pf
from cases.case import COND, Case, coupled, eye, full, triangle
from pushforward._types import PRNGKeyArray
from pushforward.bijections import GaussianStart, PartialWhitening, WithCondition, alternating_split, half_split
from pushforward.bijections.elementwise import ColumnUnits, Unit
from pushforward.bijections.gaussian_start import gaussian_of
from pushforward.bijections.whitening import whitened_by

BOUND = 5.0
BINS = 3
# At the start a spline is the identity, with its knots evenly spaced; its bounds stay where they are.
KNOTS = (-5.0, -5.0 / 3, 5.0 / 3, 5.0)
SPLINE = pf.RationalQuadraticMap(bins=BINS, bound=BOUND)


def coupling(
    key: PRNGKeyArray, split: Sequence[bool] | np.ndarray, scalar_map: pf.AbstractScalarMap, conditional: bool = False
) -> pf.Coupling:
    mask = np.asarray(split)
    cond_shape = COND if conditional else None
    sizes = (scalar_map.n_params, int(mask.sum()))
    net = pf.MLP(key, len(mask) - sizes[1], sizes, width=8, depth=1, cond_shape=cond_shape)
    return pf.Coupling(mask, net, scalar_map, cond_shape=cond_shape)


def autoregressive(
    key: PRNGKeyArray,
    dim: int,
    scalar_map: pf.AbstractScalarMap,
    *,
    width: int = 8,
    conditional: bool = False,
    residual: bool = False,
) -> pf.Autoregressive:
    cond_shape = COND if conditional else None
    # A handful of rectifiers may all be dead, and then a dependence is missing that the masks allow.
    activation = "relu" if width > 4 else "softplus"
    net = pf.MADE(
        key, dim, scalar_map.n_params, width=width, cond_shape=cond_shape, residual=residual, activation=activation
    )
    return pf.Autoregressive(net, scalar_map)


def embedded(key: PRNGKeyArray) -> pf.EmbedCondition:
    keys = jax.random.split(key)
    net = eqx.nn.MLP(3, COND[0], 4, 1, activation=jax.nn.softplus, key=keys[0])
    return pf.EmbedCondition(autoregressive(keys[1], 2, pf.AffineMap(), conditional=True), net, (3,))


def rows(key: PRNGKeyArray) -> pf.Vmap:
    make = eqx.filter_vmap(lambda k: autoregressive(k, 2, pf.AffineMap(), width=4, conditional=True))
    return pf.Vmap(make(jax.random.split(key, 3)), 3)


def with_condition(key: PRNGKeyArray) -> WithCondition:
    return WithCondition(autoregressive(key, 2, pf.AffineMap(), conditional=True), jnp.array([0.3, -1.2]))


def whitening(key: PRNGKeyArray, standardises: bool = False) -> PartialWhitening:
    """Set from a batch whose columns have to do with each other."""
    batch = jax.random.normal(key, (3, 40)) + jnp.linspace(-1.0, 2.0, 3)[:, None]
    return whitened_by(PartialWhitening(3, standardises), batch.at[2].add(batch[0] - 2 * batch[1]), False)


def gaussian(key: PRNGKeyArray) -> GaussianStart:
    """Set from a batch whose columns have to do with each other and with the condition."""
    batch = jax.random.normal(key, (3, 40)) + jnp.linspace(-1.0, 2.0, 3)[:, None]
    condition = jax.random.normal(jax.random.fold_in(key, 1), (2, 40)) + 0.5 * batch[:2]
    return gaussian_of(GaussianStart(3, 2), batch.at[2].add(batch[0]), condition)


MASK = np.array([True, False, False, True])
WIDE = np.kron(np.eye(3, dtype=bool), triangle(2))  # three independent rows of two

CASES: dict[str, Case] = {
    "Affine": Case(lambda key: pf.Affine([0.5, -1.0], [2.0, -0.3]), reach=eye(2), cost="low"),
    "Affine of a number": Case(lambda key: pf.Affine(loc=1.0, scale=-0.5)),
    "Affine of a matrix": Case(lambda key: pf.Affine(scale=2.0, shape=(2, 3)), reach=eye(6)),
    "Standardize": Case(lambda key: pf.Standardize([2.0, -3.0], [0.3, 4.0]), reach=eye(2)),
    "Elementwise": Case(
        lambda key: pf.bijections.Elementwise(SPLINE, (2,)), special_x=KNOTS, special_y=KNOTS, reach=eye(2)
    ),
    "Reverse": Case(lambda key: pf.Reverse(3), reach=eye(3)[::-1]),
    "Permutation": Case(lambda key: pf.Permutation([2, 0, 3, 1]), reach=eye(4)[[2, 0, 3, 1]]),
    "Permutation.random": Case(lambda key: pf.Permutation.random(key, 5)),
    "LULinear": Case(lambda key: pf.LULinear(key, 4), reach=full(4), cost="low"),
    "LULinear of a number": Case(lambda key: pf.LULinear(key, 1), unreached=(".lower", ".upper")),
    "GaussianStart": Case(gaussian, reach=full(3)),
    "PartialWhitening": Case(whitening, reach=full(3)),
    "PartialWhitening, standardises": Case(lambda key: whitening(key, True), reach=full(3)),
    "ActNorm": Case(lambda key: pf.ActNorm(3), reach=eye(3)),
    "Coupling, additive": Case(
        lambda key: coupling(key, half_split(3), pf.AdditiveMap()), reach=coupled(half_split(3))
    ),
    "Coupling, affine, alternating": Case(
        lambda key: coupling(key, alternating_split(5), pf.AffineMap()), reach=coupled(alternating_split(5))
    ),
    "Coupling, affine, mask, conditional": Case(
        lambda key: coupling(key, MASK, pf.AffineMap(), conditional=True),
        reach=coupled(MASK),
        condition_reach=MASK,
        cost="low",
    ),
    "Coupling, affine, all transformed": Case(
        lambda key: coupling(key, [True, True], pf.AffineMap(), conditional=True), reach=eye(2)
    ),
    "Coupling, spline": Case(
        lambda key: coupling(key, half_split(2), SPLINE), special_x=KNOTS, special_y=KNOTS, reach=coupled(half_split(2))
    ),
    "Coupling, spline, a number, conditional": Case(
        lambda key: coupling(key, half_split(1), SPLINE, conditional=True), special_x=KNOTS, special_y=KNOTS
    ),
    "Autoregressive, additive": Case(lambda key: autoregressive(key, 2, pf.AdditiveMap()), reach=triangle(2)),
    "Autoregressive, affine, conditional": Case(
        lambda key: autoregressive(key, 4, pf.AffineMap(), conditional=True), reach=triangle(4), cost="low"
    ),
    "Autoregressive, affine, narrow": Case(
        lambda key: autoregressive(key, 7, pf.AffineMap(), width=2), reach=triangle(7)
    ),
    "Autoregressive, affine, residual": Case(
        lambda key: autoregressive(key, 3, pf.AffineMap(), residual=True), reach=triangle(3)
    ),
    "Autoregressive, spline": Case(
        lambda key: autoregressive(key, 2, SPLINE), special_x=KNOTS, special_y=KNOTS, reach=triangle(2)
    ),
    "Autoregressive, spline, a number, conditional": Case(
        lambda key: autoregressive(key, 1, SPLINE, conditional=True), special_x=KNOTS, special_y=KNOTS
    ),
    "Chain": Case(
        lambda key: pf.Chain([autoregressive(key, 2, pf.AffineMap()), pf.Reverse(2), pf.ActNorm(2)]),
        reach=triangle(2)[::-1],
        cost="low",
    ),
    "Invert": Case(lambda key: pf.Invert(autoregressive(key, 3, pf.AffineMap(), conditional=True)), reach=triangle(3)),
    "Scan": Case(
        lambda key: pf.Scan.of(lambda k: autoregressive(k, 3, pf.AffineMap(), conditional=True), key, n_layers=3),
        reach=triangle(3),
    ),
    "Scan, reversible": Case(
        lambda key: pf.Scan.of(
            lambda k: pf.Chain([coupling(k, half_split(3), pf.AffineMap(), conditional=True), pf.Reverse(3)]),
            key,
            n_layers=3,
            memory="reversible",
        )
    ),
    "Partial": Case(
        lambda key: pf.Partial(autoregressive(key, 2, SPLINE), [3, 0], dim=4),
        special_x=KNOTS,
        special_y=KNOTS,
        reach=eye(4) | (np.arange(4) == 0)[:, None] & (np.arange(4) == 3),
    ),
    "Vmap": Case(rows, reach=WIDE),
    "Vmap, shared": Case(lambda key: pf.Vmap(autoregressive(key, 2, pf.AffineMap()), 3, in_axes=None), reach=WIDE),
    "EmbedCondition": Case(embedded, reach=triangle(2)),
    "WithCondition": Case(with_condition, reach=triangle(2)),
    # Beyond these domains the maps are flat, for float64 holds no more.
    "ColumnUnits": Case(
        lambda key: ColumnUnits([Unit("real", 5.0, 2.0), Unit("real", -1.0, 0.5, tail=4.0)]),
        domain_x=(-9.0, 9.0),
        reach=eye(2),
    ),
    "ColumnUnits of half lines": Case(
        lambda key: ColumnUnits(
            [
                Unit("log", 0.0, 2.0, centre=0.3, spread=0.7),
                Unit("softplus", 0.0, 1.5, centre=-0.2, spread=0.8),
                Unit("softplus", 0.0, 1.5, tail=4.0),
            ]
        ),
        special_y=(1e-20,),
        domain_x=(-3.0, 8.0),
        domain_y=(1e-25, np.inf),
        reach=eye(3),
    ),
    "ColumnUnits of intervals": Case(
        lambda key: ColumnUnits([Unit("interval", -1.0, 3.0, centre=0.2, spread=0.8)] * 2),
        domain_x=(-6.0, 5.0),
        domain_y=(-1.0, 2.0),
        reach=eye(2),
    ),
}
