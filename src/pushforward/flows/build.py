"""A flow is built from an entry of the zoo and its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pushforward._types import PRNGKeyArray
from pushforward.distributions import Flow
from pushforward.flows.autoregressive_layers import arranged, autoregressive, block
from pushforward.flows.build_plan import Plan, plan_of
from pushforward.flows.coupling_layers import coupling
from pushforward.flows.gaussian_layers import elementwise
from pushforward.flows.registry import Entry
from pushforward.flows.residual_layers import contractive, low_rank
from pushforward.flows.velocity import neural_ode, regression

BUILDERS: dict[str, Callable[[Plan], Flow]] = {
    "arranged": arranged,
    "autoregressive": autoregressive,
    "block": block,
    "contractive": contractive,
    "coupling": coupling,
    "elementwise": elementwise,
    "low_rank": low_rank,
    "neural_ode": neural_ode,
    "regression": regression,
}


def build(entry: Entry, key: PRNGKeyArray, given: Mapping[str, Any]) -> Flow:
    """The flow of an entry.

    Args:
        entry: Entry of the zoo.
        key: JAX key for the initial weights.
        given: The length `dim` of an event, and the options that differ from their defaults.
    """
    return BUILDERS[entry.builder](plan_of(entry, key, given))
