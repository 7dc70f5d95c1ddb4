"""The zoo: functions that assemble the models of the literature from bijections."""

from collections.abc import Callable

from pushforward.distributions import Flow
from pushforward.flows.autoregressive import iaf, maf
from pushforward.flows.coupling import nice, realnvp
from pushforward.flows.flowpp import flowpp
from pushforward.flows.gaussianization import gaussianization
from pushforward.flows.neural_autoregressive import naf
from pushforward.flows.spline import nsf

# The closed registry: a model file names its flow by one of these, and nothing else is ever looked up.
ZOO: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "realnvp": realnvp,
    "maf": maf,
    "iaf": iaf,
    "nsf": nsf,
    "naf": naf,
    "flowpp": flowpp,
    "gaussianization": gaussianization,
}

__all__ = ["ZOO", "flowpp", "gaussianization", "iaf", "maf", "naf", "nice", "nsf", "realnvp"]
