"""The builders of autoregressive layers, of layers that may be either, and of block autoregressive networks."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Autoregressive, BlockAutoregressive, GraphAutoregressive, Invert, RepeatedMap
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.flows.build_plan import Plan
from pushforward.flows.coupling_layers import coupling
from pushforward.flows.stack import stack
from pushforward.nets import MADE, GraphMADE


def autoregressive(plan: Plan) -> Flow:
    """Autoregressive layers, whose parallel direction is the entry's.

    With an adjacency there is one layer along the graph, of `n_layers` scalar maps that all see the original parents.
    In a second layer each parent would bring its own parents along.
    """
    o, map_of = plan.options, plan.scalar_map()
    adjacency = plan.option("adjacency")
    if adjacency is not None:
        if o.linear is not None:
            fix = "A mixing layer would join what the graph keeps apart: pass linear=None."
            raise ValueError(message(plan.name, "linear=None together with an adjacency", repr(o.linear), fix))
        if np.shape(adjacency)[:1] != (plan.dim,):
            fix = "One row per coordinate of an event: entry [i, j] says that i may depend on j."
            raise ValueError(
                message(plan.name, f"an adjacency of {plan.dim} rows", f"shape {np.shape(adjacency)}", fix)
            )
    sizes: dict[str, Any] = {"width": o.width, "depth": o.depth, "residual": o.residual, "activation": o.activation}
    sizes["cond_shape"] = plan.cond_shape

    def make(key: PRNGKeyArray) -> AbstractBijection:
        own = map_of(key)
        if adjacency is None:
            net = MADE(key, plan.dim, own.n_params, features=plan.features, **sizes)
            layer: AbstractBijection = Autoregressive(net, own)
        else:
            own = RepeatedMap(own, o.n_layers)
            layer = GraphAutoregressive(GraphMADE(key, adjacency, own.n_params, **sizes), own)
        return Invert(layer) if plan.entry.fast == "score" else layer

    return stack(plan, make, n_layers=None if adjacency is None else 1)


def arranged(plan: Plan) -> Flow:
    """Autoregressive layers or couplings, as the option says."""
    return autoregressive(plan) if plan.options.autoregressive else coupling(plan)


def block(plan: Plan) -> Flow:
    """Block autoregressive networks, each a layer."""
    o = plan.options

    def make(key: PRNGKeyArray) -> AbstractBijection:
        return Invert(BlockAutoregressive(key, plan.dim, width=o.width, depth=o.depth, cond_shape=plan.cond_shape))

    return stack(plan, make)
