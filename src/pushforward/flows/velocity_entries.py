"""The zoo's velocity fields: flows that are solutions of differential equations, declared as those of `entries.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from pushforward.flows import options as declared
from pushforward.flows.registry import entry, make

if TYPE_CHECKING:
    from pushforward._types import PRNGKeyArray
    from pushforward.distributions import Flow


class FFJORD(declared.Event, declared.Solved, total=False):
    """Options of `ffjord`."""


class CNF(FFJORD, declared.Potential, total=False):
    """Options of `cnf`."""


@entry(
    "neural_ode",
    CNF,
    source="Chen, Rubanova, Bettencourt, Duvenaud, 2018, arXiv 1806.07366; Onken, Wu Fung, Li, Ruthotto, 2021, arXiv "
    "2006.00104 (potential)",
    n_layers=1,
    mixing="concat",
    activation="silu",
)
def cnf(key: PRNGKeyArray, **options: Unpack[CNF]) -> Flow:
    r"""Neural ODE flow: $\dot x = v_\theta(t, x)$ from noise to data, with the exact trace, trained by likelihood.

    Each layer is a field, solved from 0 to 1 after the one before. With one or two hidden layers the exact trace costs
    about one evaluation, with more one product per dimension. Activations should be smooth. A potential (OT-Flow) has
    the exact divergence in closed form at any depth; of the network's options it has `width` and `depth`.
    """
    return make("cnf", key, options)


@entry(
    "neural_ode",
    FFJORD,
    source="Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, 2019, arXiv 1810.01367",
    log_det="unbiased",
    n_layers=1,
    mixing="concatsquash",
    n_frequencies=0,
    activation="softplus",
    divergence="hutchinson",
    method="dopri5",
)
def ffjord(key: PRNGKeyArray, **options: Unpack[FFJORD]) -> Flow:
    r"""FFJORD: $\dot x = v_\theta(t, x)$ with Hutchinson's trace in training, one set of probes per solve.

    `log_prob` needs a key. What `pf.fit` returns, and what is saved, is the flow's `evaluation_form`: the same weights,
    scored with the exact trace (up to 64 dimensions, or where it has a closed form).
    `objectives.RegularizedLikelihood` adds the kinetic energy and the Jacobian's norm of RNODE.
    """
    return make("ffjord", key, options)


class FlowMatching(declared.Event, declared.Regressed, declared.Interpolated, declared.LeastNoise, total=False):
    """Options of `flow_matching`."""


class RectifiedFlow(declared.Event, declared.Regressed, total=False):
    """Options of `rectified_flow`."""


class ScoreSDE(declared.Event, declared.Regressed, declared.Diffusion, declared.Noise, total=False):
    """Options of `score_sde`."""


class NCSN(declared.Event, declared.Regressed, declared.Noise, declared.Levels, total=False):
    """Options of `ncsn`."""


@entry(
    "regression",
    FlowMatching,
    source="Lipman, Chen, Ben-Hamu, Nickel, Le, 2023, arXiv 2210.02747",
    sigma_min=1e-4,
)
def flow_matching(key: PRNGKeyArray, **options: Unpack[FlowMatching]) -> Flow:
    r"""Flow matching: the velocity of $x_t = \alpha(t) x_1 + \sigma(t) x_0$, learnt by regression, scored exactly.

    `pf.fit` trains it by `objectives.FlowMatching()` unless another objective is given; no equation is solved in
    training. The linear path is that of conditional optimal transport, and `sigma_min` is its.
    """
    return make("flow_matching", key, options)


@entry(
    "regression",
    RectifiedFlow,
    source="Liu, Gong, Liu, 2023, arXiv 2209.03003",
)
def rectified_flow(key: PRNGKeyArray, **options: Unpack[RectifiedFlow]) -> Flow:
    r"""Rectified flow: the velocity of straight lines $x_t = t x_1 + (1 - t) x_0$, to be straightened by reflow.

    `pf.fit` trains it by `objectives.FlowMatching()` unless another objective is given. Then
    `objectives.Reflow(trained)` trains it on the pairs that it made itself, whose paths are straighter, so that
    `distributions.with_solver(flow, FixedSteps("euler", n))` samples in few steps.
    """
    return make("rectified_flow", key, options)


@entry(
    "regression",
    ScoreSDE,
    source="Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, arXiv 2011.13456",
)
def score_sde(key: PRNGKeyArray, **options: Unpack[ScoreSDE]) -> Flow:
    r"""Score-based diffusion as a flow: the probability-flow equation of a VP, sub-VP or VE SDE.

    `pf.fit` trains it by `objectives.DenoisingScoreMatching()` unless another objective is given. `log_prob` is that
    of the probability flow, exact; `dynamics.draw` samples by the reverse SDE and its relatives. `beta_min` and
    `beta_max` are of VP and sub-VP, `sigma_min` and `sigma_max` of VE. The base is scaled to the noise of the path.
    """
    return make("score_sde", key, options)


@entry(
    "regression",
    NCSN,
    source="Song, Ermon, 2019, arXiv 1907.05600; Song, Ermon, 2020, arXiv 2006.09011 (levels)",
)
def ncsn(key: PRNGKeyArray, **options: Unpack[NCSN]) -> Flow:
    r"""Noise-conditional score network: the score of data with noise at levels in geometric sequence.

    `pf.fit` trains it by `objectives.DenoisingScoreMatching()` at these levels unless another objective is given.
    `dynamics.draw(field, key, n, AnnealedLangevin(n_levels))` is its own sampler; as a flow it is the probability
    flow of the levels' limit, with an exact density. The base is scaled to the noise of the first level.
    """
    return make("ncsn", key, options)
