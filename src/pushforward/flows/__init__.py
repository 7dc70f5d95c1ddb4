"""The zoo: functions that assemble the models of the literature from bijections."""

from collections.abc import Callable

from pushforward.distributions import Flow
from pushforward.flows.autoregressive import iaf, maf
from pushforward.flows.coupling import nice, realnvp
from pushforward.flows.low_rank import planar, radial, sylvester
from pushforward.flows.spline import nsf

# The closed registry: a model file names its flow by one of these, and nothing else is ever looked up.
ZOO: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "realnvp": realnvp,
    "maf": maf,
    "iaf": iaf,
    "nsf": nsf,
    "planar": planar,
    "radial": radial,
    "sylvester": sylvester,
}

__all__ = ["ZOO", "iaf", "maf", "nice", "nsf", "planar", "radial", "realnvp", "sylvester"]
