"""The models of the zoo, small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pushforward as pf
from cases.case import Case
from cases.core import BINS, KNOTS
from cases.splines import CIRCLE
from pushforward._types import PRNGKeyArray
from pushforward.distributions import evaluation_form

VELOCITY = ("cnf", "ffjord", "flow_matching", "rectified_flow", "score_sde", "ncsn")
# Laws and round trips are held to 1e-9: the solve must be better than that.
TIGHT: dict[str, Any] = {"method": "dopri8", "tolerance": 1e-11}


def velocity(name: str) -> Callable[..., pf.Flow]:
    """A flow of a velocity field as it is scored; layers are for those that may have some."""

    def make(key: PRNGKeyArray, *, n_layers: int, **options: Any) -> pf.Flow:
        layers = {"n_layers": n_layers} if name in ("cnf", "ffjord") else {}
        whiten = {} if name in ("cnf", "ffjord") else {"whiten": False}
        return evaluation_form(pf.flows.ZOO[name](key, **{**TIGHT, **layers, **whiten, **options}))

    return make


ZOO: dict[str, Callable[..., pf.Flow]] = {
    "nice": pf.flows.nice,
    "realnvp": pf.flows.realnvp,
    "maf": pf.flows.maf,
    "iaf": pf.flows.iaf,
    "flowpp": lambda *args, **kwargs: pf.flows.flowpp(*args, components=2, **kwargs),
    "gaussianization": lambda *args, **kwargs: pf.flows.gaussianization(*args, components=2, **kwargs),
    "naf": lambda *args, **kwargs: pf.flows.naf(*args, components=2, **kwargs),
    "ncsf": lambda *args, **kwargs: pf.flows.ncsf(*args, bins=BINS, **kwargs),
    "nsf": lambda *args, **kwargs: pf.flows.nsf(*args, bins=BINS, autoregressive=False, **kwargs),
    "nsf, autoregressive": lambda *args, **kwargs: pf.flows.nsf(*args, bins=BINS, autoregressive=True, **kwargs),
    "bernstein": lambda *args, **kwargs: pf.flows.bernstein(*args, degree=5, **kwargs),
    "bnaf": pf.flows.bnaf,
    "sos": lambda *args, **kwargs: pf.flows.sos(*args, degree=2, components=2, **kwargs),
    "umnn": lambda *args, **kwargs: pf.flows.umnn(
        *args, embedding=2, integrand_width=4, integrand_depth=1, nodes=6, **kwargs
    ),
    "planar": pf.flows.planar,
    "radial": pf.flows.radial,
    "sylvester": pf.flows.sylvester,
    # As they are scored; their training form is random.
    "iresnet": lambda *args, **kwargs: evaluation_form(pf.flows.iresnet(*args, **kwargs)),
    "residual_flow": lambda *args, **kwargs: evaluation_form(pf.flows.residual_flow(*args, **kwargs)),
    **{name: velocity(name) for name in VELOCITY},
}

SMALL: dict[str, Any] = {"n_layers": 2, "width": 8, "depth": 1}


def small(name: str, key: PRNGKeyArray, **options: object) -> pf.Flow:
    """A zoo member of a size that tests can afford."""
    return ZOO[name](key, **{**SMALL, **options})


def zoo_case(name: str, cost: Literal["low", "thorough"] = "thorough", **options: object) -> Case:
    knots = KNOTS if name.startswith("nsf") else ()
    return Case(lambda key: small(name, key, **options).bijection, special_x=knots, special_y=knots, cost=cost)


CASES: dict[str, Case] = {
    "nice, lu, conditional": zoo_case("nice", dim=3, condition_dim=2, linear="lu"),
    "realnvp, permutation, actnorm": zoo_case("realnvp", dim=2, linear="permutation", actnorm=True),
    "maf": zoo_case("maf", dim=2),
    "maf, lu, residual, conditional": zoo_case("maf", dim=3, condition_dim=2, linear="lu", residual=True),
    "maf, adjacency": zoo_case("maf", dim=2, adjacency=[[0, 0], [1, 0]], linear=None, actnorm=True),
    "iaf, conditional": zoo_case("iaf", dim=2, condition_dim=2),
    "flowpp": zoo_case("flowpp", dim=3),
    "gaussianization, conditional": zoo_case("gaussianization", dim=2, condition_dim=1),
    "naf, conditional": zoo_case("naf", dim=2, condition_dim=1),
    "ncsf": Case(lambda key: small("ncsf", key, dim=2).bijection, domain_x=CIRCLE, domain_y=CIRCLE),
    "nsf, lu": zoo_case("nsf", dim=2, linear="lu"),
    "nsf, autoregressive": zoo_case("nsf, autoregressive", "low", dim=2),
    "bernstein": zoo_case("bernstein", dim=2),
    "bnaf, conditional": zoo_case("bnaf", dim=2, condition_dim=2),
    "sos": zoo_case("sos", dim=2),
    "umnn": zoo_case("umnn", dim=2),
    "planar, to sample, conditional": zoo_case("planar", dim=2, condition_dim=2, fast="sample"),
    "radial, qr, conditional": zoo_case("radial", dim=2, condition_dim=2, linear="qr"),
    "sylvester, cayley": zoo_case("sylvester", dim=3, rank=2, basis="cayley"),
    # As they are trained: the laws are run on their evaluation form.
    "iresnet, actnorm": Case(lambda key: pf.flows.iresnet(key, dim=2, **SMALL, actnorm=True).bijection),
    "residual_flow, conditional": Case(
        lambda key: pf.flows.residual_flow(key, dim=2, condition_dim=2, **SMALL).bijection
    ),
    "cnf, residual": Case(lambda key: pf.flows.cnf(key, dim=2, width=8, depth=1, residual=True).bijection),
    "ffjord, conditional": Case(lambda key: pf.flows.ffjord(key, dim=2, condition_dim=2, **SMALL).bijection),
    "flow_matching": Case(lambda key: pf.flows.flow_matching(key, dim=2, width=8, whiten=False).bijection),
    "rectified_flow, conditional": Case(
        lambda key: pf.flows.rectified_flow(key, dim=2, condition_dim=2, width=8, depth=1, whiten=False).bijection
    ),
    # Little noise: before training the density is as wide as all of it, and the law that sums it up has a grid.
    "score_sde": Case(
        lambda key: pf.flows.score_sde(key, dim=2, width=8, depth=1, beta_max=2.0, whiten=False).bijection
    ),
    "ncsn": Case(lambda key: pf.flows.ncsn(key, dim=2, width=8, depth=1, sigma_max=2.0, whiten=False).bijection),
}
