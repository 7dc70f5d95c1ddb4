"""The zoo: functions that assemble the models of the literature from bijections."""

from collections.abc import Callable

from pushforward.distributions import Flow
from pushforward.flows.autoregressive import iaf, maf
from pushforward.flows.bnaf import bnaf
from pushforward.flows.circular import ncsf
from pushforward.flows.continuous import cnf, ffjord
from pushforward.flows.coupling import nice, realnvp
from pushforward.flows.describe import Description, describe_zoo
from pushforward.flows.diffusion import ncsn, score_sde
from pushforward.flows.flowpp import flowpp
from pushforward.flows.gaussianization import gaussianization
from pushforward.flows.low_rank import planar, radial, sylvester
from pushforward.flows.matching import flow_matching, rectified_flow
from pushforward.flows.neural_autoregressive import naf
from pushforward.flows.polynomial import bernstein, sos
from pushforward.flows.residual import iresnet, residual_flow
from pushforward.flows.spline import nsf
from pushforward.flows.umnn import umnn

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
    "bernstein": bernstein,
    "bnaf": bnaf,
    "sos": sos,
    "umnn": umnn,
    "planar": planar,
    "radial": radial,
    "sylvester": sylvester,
    "iresnet": iresnet,
    "residual_flow": residual_flow,
    "ncsf": ncsf,
    "cnf": cnf,
    "ffjord": ffjord,
    "flow_matching": flow_matching,
    "rectified_flow": rectified_flow,
    "score_sde": score_sde,
    "ncsn": ncsn,
}


def describe() -> Description:
    """What every model of the zoo costs, how exact it is and where it comes from, as a table.

    Costs are those of a log-density and of a sample: `parallel` is one pass, `sequential` one step per dimension,
    `iterative` a solver that runs to its tolerance. They are read from the models' `traits`; nothing is computed.

    Example:
        >>> import pushforward as pf
        >>> [row.sampling for row in pf.flows.describe() if row.call == "maf"]
        ['sequential']
    """
    return describe_zoo(ZOO)


__all__ = [
    "ZOO",
    "bernstein",
    "bnaf",
    "cnf",
    "describe",
    "ffjord",
    "flow_matching",
    "flowpp",
    "gaussianization",
    "iaf",
    "iresnet",
    "maf",
    "naf",
    "ncsf",
    "ncsn",
    "nice",
    "nsf",
    "planar",
    "radial",
    "realnvp",
    "rectified_flow",
    "residual_flow",
    "score_sde",
    "sos",
    "sylvester",
    "umnn",
]
