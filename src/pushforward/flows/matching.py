"""Flows trained by regression on velocities: flow matching and rectified flow."""

from __future__ import annotations

from typing import Literal, get_args

from pushforward._checks import message
from pushforward._types import PRNGKeyArray
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution
from pushforward.dynamics import (
    PredictionField,
)
from pushforward.dynamics.solvers import Gradient, Method
from pushforward.flows.velocity import network, prediction_flow, solver_of
from pushforward.nets.time import Mixing
from pushforward.paths import (
    AbstractPath,
    LinearPath,
    TrigonometricPath,
    VariancePreservingPath,
)

PathName = Literal["linear", "trigonometric", "vp"]


def flow_matching(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    width: int = 128,
    depth: int = 2,
    mixing: Mixing = "film",
    n_frequencies: int = 3,
    residual: bool = False,
    activation: str = "silu",
    frequency: float = 0.0,
    path: PathName = "linear",
    sigma_min: float = 1e-4,
    method: Method = "tsit5",
    tolerance: float = 1e-5,
    n_steps: int | None = None,
    gradient: Gradient = "adjoint",
    whiten: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    r"""Flow matching: the velocity of $x_t = \alpha(t) x_1 + \sigma(t) x_0$, learnt by regression, scored exactly.

    `pf.fit` trains it by `objectives.FlowMatching()` unless another objective is given; no equation is solved in
    training.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        width: units per hidden layer of the network.
        depth: hidden layers; with one or two the exact trace costs about one evaluation.
        mixing: how time enters, `"concat"`, `"concatsquash"` or `"film"`.
        n_frequencies: of the embedding of time.
        residual: a residual network of `depth` blocks.
        activation: a smooth one: `"silu"`, `"softplus"`, `"tanh"`, `"gelu"`, `"elu"`.
        frequency: of sines in the first layer, radians per unit of standardised data; 0 for none. Densities with fine
            structure (rings, edges) need them.
        path: `"linear"` (conditional optimal transport), `"trigonometric"` or `"vp"`.
        sigma_min: noise that the linear path leaves at the data.
        method: of the solver; see `cnf`.
        tolerance: relative and absolute, of each event.
        n_steps: equal steps instead of adaptive ones; None is adaptive.
        gradient: of a solve, if it is trained by likelihood.
        whiten: a `PartialWhitening` at the data, which `pf.bijections.initialise` sets from them (`pf.fit` does).
        base: distribution of the latent; None is a standard normal.

    Cost:
        scoring iterative, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Lipman, Chen, Ben-Hamu, Nickel, Le, 2023, arXiv 2210.02747.
    """
    if path not in get_args(PathName):
        expected = f"path to be one of {', '.join(get_args(PathName))}"
        raise ValueError(message("flow_matching", expected, repr(path), "Choose one of them."))
    net = network(
        "flow_matching",
        key,
        dim,
        condition_dim,
        width=width,
        depth=depth,
        mixing=mixing,
        n_frequencies=n_frequencies,
        residual=residual,
        activation=activation,
        frequency=frequency,
    )
    chosen: AbstractPath = LinearPath(sigma_min)
    if path != "linear":
        chosen = TrigonometricPath() if path == "trigonometric" else VariancePreservingPath()
    field = PredictionField(net, chosen, "velocity")
    return prediction_flow(field, 1.0, solver_of("flow_matching", method, tolerance, n_steps, gradient), whiten, base)


def rectified_flow(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    width: int = 128,
    depth: int = 2,
    mixing: Mixing = "film",
    n_frequencies: int = 3,
    residual: bool = False,
    activation: str = "silu",
    frequency: float = 0.0,
    method: Method = "tsit5",
    tolerance: float = 1e-5,
    n_steps: int | None = None,
    gradient: Gradient = "adjoint",
    whiten: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    r"""Rectified flow: the velocity of straight lines $x_t = t x_1 + (1 - t) x_0$, to be straightened by reflow.

    `pf.fit` trains it by `objectives.FlowMatching()` unless another objective is given. Then
    `objectives.Reflow(trained)` trains it on the pairs that it made itself, whose paths are straighter, so that
    `distributions.with_solver(flow, FixedSteps("euler", n))` samples in few steps.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        width: units per hidden layer of the network.
        depth: hidden layers; with one or two the exact trace costs about one evaluation.
        mixing: how time enters, `"concat"`, `"concatsquash"` or `"film"`.
        n_frequencies: of the embedding of time.
        residual: a residual network of `depth` blocks.
        activation: a smooth one: `"silu"`, `"softplus"`, `"tanh"`, `"gelu"`, `"elu"`.
        frequency: of sines in the first layer, radians per unit of standardised data; 0 for none. Densities with fine
            structure (rings, edges) need them.
        method: of the solver; see `cnf`.
        tolerance: relative and absolute, of each event.
        n_steps: equal steps instead of adaptive ones; None is adaptive.
        gradient: of a solve, if it is trained by likelihood.
        whiten: a `PartialWhitening` at the data, which `pf.bijections.initialise` sets from them (`pf.fit` does).
        base: distribution of the latent; None is a standard normal.

    Cost:
        scoring iterative, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Liu, Gong, Liu, 2023, arXiv 2209.03003.
    """
    net = network(
        "rectified_flow",
        key,
        dim,
        condition_dim,
        width=width,
        depth=depth,
        mixing=mixing,
        n_frequencies=n_frequencies,
        residual=residual,
        activation=activation,
        frequency=frequency,
    )
    field = PredictionField(net, LinearPath(), "velocity")
    return prediction_flow(field, 1.0, solver_of("rectified_flow", method, tolerance, n_steps, gradient), whiten, base)
