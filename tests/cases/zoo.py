"""The models of the zoo, small."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pushforward as pf
from cases.case import Case
from cases.core import BINS, KNOTS
from pushforward._types import PRNGKeyArray
from pushforward.distributions import evaluation_form

ZOO: dict[str, Callable[..., pf.Flow]] = {
    "nice": pf.flows.nice,
    "realnvp": pf.flows.realnvp,
    "maf": pf.flows.maf,
    "iaf": pf.flows.iaf,
    "nsf": lambda *args, **kwargs: pf.flows.nsf(*args, bins=BINS, **kwargs),
    "nsf, autoregressive": lambda *args, **kwargs: pf.flows.nsf(*args, bins=BINS, autoregressive=True, **kwargs),
    # As they are scored; their training form is random.
    "iresnet": lambda *args, **kwargs: evaluation_form(pf.flows.iresnet(*args, **kwargs)),
    "residual_flow": lambda *args, **kwargs: evaluation_form(pf.flows.residual_flow(*args, **kwargs)),
}

SMALL: dict[str, Any] = {"n_layers": 2, "width": 8, "depth": 1}


def small(name: str, key: PRNGKeyArray, **options: object) -> pf.Flow:
    """A zoo member of a size that tests can afford."""
    return ZOO[name](key, **{**SMALL, **options})


def zoo_case(name: str, **options: object) -> Case:
    knots = KNOTS if name.startswith("nsf") else ()
    return Case(lambda key: small(name, key, **options).bijection, special_x=knots, special_y=knots)


CASES: dict[str, Case] = {
    "nice, lu, conditional": zoo_case("nice", dim=3, condition_dim=2, linear="lu"),
    "realnvp, permutation, actnorm": zoo_case("realnvp", dim=2, linear="permutation", actnorm=True),
    "maf": zoo_case("maf", dim=2),
    "maf, lu, residual, conditional": zoo_case("maf", dim=3, condition_dim=2, linear="lu", residual=True),
    "iaf, conditional": zoo_case("iaf", dim=2, condition_dim=2),
    "nsf, lu": zoo_case("nsf", dim=2, linear="lu"),
    "nsf, autoregressive": zoo_case("nsf, autoregressive", dim=2),
    # As they are trained: the laws are run on their evaluation form.
    "iresnet, actnorm": Case(lambda key: pf.flows.iresnet(key, dim=2, **SMALL, actnorm=True).bijection),
    "residual_flow, conditional": Case(
        lambda key: pf.flows.residual_flow(key, dim=2, condition_dim=2, **SMALL).bijection
    ),
}
