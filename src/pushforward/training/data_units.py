"""A flow over standardised numbers becomes one in the data's units, conditions included."""

from __future__ import annotations

import equinox as eqx

from pushforward._types import Array
from pushforward.bijections import Chain, EmbedCondition, Standardize
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow


class StandardizeCondition(eqx.Module):
    """The network of an `EmbedCondition` that only brings a raw condition to mean 0 and variance 1.

    Args:
        units: Bijection from standardised conditions to raw ones.
    """

    units: Standardize

    def __call__(self, condition: Array) -> Array:
        return self.units.inverse(condition)


def in_data_units(flow: Flow, units: AbstractBijection | None, condition_units: Standardize | None = None) -> Flow:
    """The flow whose events are `units.forward` of those of `flow`, and whose condition comes as in the data.

    Args:
        flow: Flow over standardised events, given standardised conditions.
        units: Bijection from the flow's events to the data's; None leaves them as they are.
        condition_units: Bijection from standardised conditions to the data's; None leaves them as they are.
    """
    if not isinstance(flow, Flow) and units is not None and condition_units is None:
        return Flow(flow, units)  # the model is another distribution, such as an energy
    bijection = flow.bijection
    if condition_units is not None:
        net = StandardizeCondition(condition_units)
        bijection = EmbedCondition(bijection, net, cond_shape=condition_units.out_shape)
    if units is not None:
        bijection = Chain([bijection, units])
    return Flow(flow.base, bijection)
