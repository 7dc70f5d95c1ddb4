"""The builders of residual layers: low-rank ones, amortised given a condition, and contractions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from pushforward._checks import check_int
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Cayley, Invert, Planar, Radial, Residual, Sylvester
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.flows.build_plan import Plan
from pushforward.flows.stack import stack
from pushforward.nets import MLP, LipschitzMLP
from pushforward.numerics.log_det_series import AbstractLogDet, Poisson, RussianRoulette, Truncated
from pushforward.numerics.trace_estimators import Hutchinson

# Rank of a Sylvester layer if none is given; beyond it, further layers help more than further hidden units.
DEFAULT_RANK = 8
# A function from a key and the network of the parameters (None without a condition) to a layer.
MakeLayer = Callable[[PRNGKeyArray, Any], AbstractBijection]


def _planar(plan: Plan) -> tuple[int, MakeLayer]:
    ridge = plan.options.ridge
    return 2 * plan.dim + 1, lambda key, net: Planar(key, plan.dim, ridge=ridge, cond_shape=plan.cond_shape, net=net)


def _radial(plan: Plan) -> tuple[int, MakeLayer]:
    return plan.dim + 2, lambda key, net: Radial(key, plan.dim, cond_shape=plan.cond_shape, net=net)


def _sylvester(plan: Plan) -> tuple[int, MakeLayer]:
    o, dim = plan.options, plan.dim
    rank = min(DEFAULT_RANK, dim) if o.rank is None else check_int(plan.name, "rank", o.rank, 1, dim)
    reflected = o.basis == "householder"

    def make(key: PRNGKeyArray, net: Any) -> AbstractBijection:
        basis_key, own_key = jax.random.split(key)
        shared = None if reflected else Cayley(basis_key, dim)
        return Sylvester(own_key, dim, rank, basis=shared, ridge=o.ridge, cond_shape=plan.cond_shape, net=net)

    return rank * (rank + 2) + (rank * dim if reflected else 0), make


# The number of a layer's parameters, and the function that makes the layer from them.
LOW_RANK: dict[str, Callable[[Plan], tuple[int, MakeLayer]]] = {
    "planar": _planar,
    "radial": _radial,
    "sylvester": _sylvester,
}


def low_rank(plan: Plan) -> Flow:
    """Low-rank layers whose closed form is the direction `fast`, amortised if there is a condition."""
    n_params, make = LOW_RANK[plan.name](plan)
    o = plan.options

    def layer(key: PRNGKeyArray) -> AbstractBijection:
        net_key, layer_key = jax.random.split(key)
        net = None
        if plan.cond_shape is not None:
            sizes = {"width": o.width, "depth": o.depth, "activation": o.activation}
            net = MLP(net_key, plan.cond_shape[0], (n_params,), **sizes)
        made = make(layer_key, net)
        return Invert(made) if o.fast == "score" else made

    return stack(plan, layer)


def contractive(plan: Plan) -> Flow:
    """Contractive layers whose forward pass takes data to latents."""
    o = plan.options
    probes, n_exact = Hutchinson(o.n_probes), plan.option("n_exact")
    log_det: AbstractLogDet = (
        Truncated(o.n_terms, probes) if n_exact is None else RussianRoulette(Poisson(2.0), n_exact, probes)
    )
    sizes = {"width": o.width, "depth": o.depth, "lipschitz": o.lipschitz}

    def make(key: PRNGKeyArray) -> AbstractBijection:
        return Invert(Residual(LipschitzMLP(key, plan.dim, cond_shape=plan.cond_shape, **sizes), log_det))

    return stack(plan, make)
