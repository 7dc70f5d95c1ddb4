"""The zoo: functions that assemble the models of the literature from bijections."""

from collections.abc import Callable

from pushforward.distributions import Flow
from pushforward.flows.autoregressive import iaf, maf
from pushforward.flows.circular import ncsf
from pushforward.flows.coupling import nice, realnvp
from pushforward.flows.spline import nsf

# The closed registry: a model file names its flow by one of these, and nothing else is ever looked up. A model file
# holds columns in standard units, over the real line: `ncsf`, for angles, is not among them.
ZOO: dict[str, Callable[..., Flow]] = {"nice": nice, "realnvp": realnvp, "maf": maf, "iaf": iaf, "nsf": nsf}

__all__ = ["ZOO", "iaf", "maf", "ncsf", "nice", "nsf", "realnvp"]
