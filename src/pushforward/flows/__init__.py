"""The zoo: functions that assemble the models of the literature from bijections."""

from collections.abc import Callable

from pushforward.distributions import Flow
from pushforward.flows.autoregressive import iaf, maf
from pushforward.flows.coupling import nice, realnvp
from pushforward.flows.residual import iresnet, residual_flow
from pushforward.flows.spline import nsf

# The closed registry: a model file names its flow by one of these, and nothing else is ever looked up.
ZOO: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "realnvp": realnvp,
    "maf": maf,
    "iaf": iaf,
    "nsf": nsf,
    "iresnet": iresnet,
    "residual_flow": residual_flow,
}

__all__ = ["ZOO", "iaf", "iresnet", "maf", "nice", "nsf", "realnvp", "residual_flow"]
