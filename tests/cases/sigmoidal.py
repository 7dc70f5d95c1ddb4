"""Maps made of sigmoids and of mixtures."""

from __future__ import annotations

import jax

import pushforward as pf
from cases.case import Case
from pushforward._types import PRNGKeyArray
from pushforward.bijections import (
    DenseSigmoidalMap,
    Elementwise,
    GaussianMixtureMap,
    LogisticMixtureMap,
    PerturbationMap,
    SigmoidalMap,
)


def elementwise(scalar_map: pf.AbstractScalarMap) -> Case:
    """The map with parameters of its own, far from 0, where it is nearly the identity."""

    def make(key: PRNGKeyArray) -> Elementwise:
        return Elementwise(scalar_map, (1,), jax.random.normal(key, (scalar_map.n_params, 1)))

    return Case(make)


# With networks for their parameters, which run wild, they are tried in the zoo: naf, flowpp, gaussianization.
CASES: dict[str, Case] = {
    "Elementwise, dense sigmoidal": elementwise(DenseSigmoidalMap((2, 2))),
    "Elementwise, logistic mixture": elementwise(LogisticMixtureMap(2)),
    "Elementwise, normal mixture": elementwise(GaussianMixtureMap(2)),
    "Elementwise, perturbation": elementwise(PerturbationMap()),
    "Elementwise, sigmoidal": elementwise(SigmoidalMap(2, depth=2, conic=True)),
}
