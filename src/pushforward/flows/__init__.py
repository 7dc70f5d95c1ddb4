"""The zoo: functions that assemble the models of the literature from bijections."""

from collections.abc import Callable

from pushforward.distributions import Flow
from pushforward.flows.autoregressive import iaf, maf
from pushforward.flows.bnaf import bnaf
from pushforward.flows.coupling import nice, realnvp
from pushforward.flows.polynomial import bernstein, sos
from pushforward.flows.spline import nsf
from pushforward.flows.umnn import umnn

# The closed registry: a model file names its flow by one of these, and nothing else is ever looked up.
ZOO: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "realnvp": realnvp,
    "maf": maf,
    "iaf": iaf,
    "nsf": nsf,
    "bernstein": bernstein,
    "bnaf": bnaf,
    "sos": sos,
    "umnn": umnn,
}

__all__ = ["ZOO", "bernstein", "bnaf", "iaf", "maf", "nice", "nsf", "realnvp", "sos", "umnn"]
