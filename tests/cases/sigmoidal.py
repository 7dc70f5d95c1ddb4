"""Maps made of sigmoids and of mixtures: elementwise, and in couplings and autoregressions whose networks run wild."""

from __future__ import annotations

import jax

import pushforward as pf
from cases.case import Case, coupled, eye, triangle
from cases.core import autoregressive, coupling
from pushforward._types import PRNGKeyArray
from pushforward.bijections import (
    DenseSigmoidalMap,
    Elementwise,
    GaussianMixtureMap,
    LogisticMixtureMap,
    PerturbationMap,
    SigmoidalMap,
    half_split,
)


def elementwise(scalar_map: pf.AbstractScalarMap) -> Case:
    """The map with parameters of its own, far from 0, where it is nearly the identity."""

    def make(key: PRNGKeyArray) -> Elementwise:
        return Elementwise(scalar_map, (1,), jax.random.normal(key, (scalar_map.n_params, 1)))

    return Case(make)


# Inverted, or in three dimensions: the quadrature of two runs the inverse a million times.
CASES: dict[str, Case] = {
    "Elementwise, perturbation": elementwise(PerturbationMap()),
    "Elementwise, sigmoidal": elementwise(SigmoidalMap(3, depth=2)),
    "Elementwise, sigmoidal, conic": elementwise(SigmoidalMap(3, conic=True)),
    "Elementwise, dense sigmoidal": elementwise(DenseSigmoidalMap((3, 2))),
    "Elementwise, logistic mixture": elementwise(LogisticMixtureMap(3)),
    "Elementwise, normal mixture": elementwise(GaussianMixtureMap(3)),
    "Autoregressive, sigmoidal, conditional": Case(
        lambda key: pf.Invert(autoregressive(key, 2, SigmoidalMap(3), conditional=True)), reach=triangle(2)
    ),
    "Coupling, perturbation": Case(
        lambda key: coupling(key, half_split(3), PerturbationMap()), reach=coupled(half_split(3))
    ),
    "Coupling, logistic mixture": Case(
        lambda key: coupling(key, half_split(3), LogisticMixtureMap(3)), reach=coupled(half_split(3))
    ),
    "Coupling, normal mixture, conditional": Case(
        lambda key: pf.Invert(coupling(key, [True, True], GaussianMixtureMap(3), conditional=True)), reach=eye(2)
    ),
}
