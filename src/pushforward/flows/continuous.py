"""Flows of velocity fields: neural ODE flows, FFJORD, flow matching, rectified flow, diffusions."""

from __future__ import annotations

from typing import Any, Literal, get_args

import jax
import numpy as np

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Chain, Continuous, Standardize
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow, StandardNormal
from pushforward.distributions.base import AbstractDistribution
from pushforward.dynamics import (
    AbstractField,
    AbstractSolver,
    Adaptive,
    FixedSteps,
    NetworkField,
    PotentialField,
    PredictionField,
)
from pushforward.dynamics.solvers import FIXED_ALONE, Gradient, Method
from pushforward.flows.layers import MAX_DIM, condition_shape
from pushforward.nets import PotentialNet, TimeMLP, TimeResidualMLP
from pushforward.nets.time import Mixing
from pushforward.numerics.trace import AbstractTrace, ExactTrace, Hutchinson
from pushforward.paths import (
    AbstractPath,
    LinearPath,
    SubVariancePreservingPath,
    TrigonometricPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)
from pushforward.paths.base import Prediction

PathName = Literal["linear", "trigonometric", "vp"]
SDE = Literal["vp", "subvp", "ve"]
Divergence = Literal["exact", "hutchinson"]


def _network(
    name: str,
    key: PRNGKeyArray,
    dim: int,
    condition_dim: int | None,
    *,
    width: int,
    depth: int,
    mixing: Mixing,
    n_frequencies: int,
    residual: bool,
    activation: str,
    frequency: float,
) -> TimeMLP | TimeResidualMLP:
    if residual and frequency:
        fix = "Leave one of them out."
        raise ValueError(message(name, "a residual network or sines in the first layer", "both", fix))
    key, dim = as_key(name, key), check_int(name, "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape(name, condition_dim)
    common: dict[str, Any] = {"width": width, "depth": depth, "cond_shape": cond_shape, "mixing": mixing}
    common |= {"n_frequencies": n_frequencies, "activation": activation}
    return TimeResidualMLP(key, dim, **common) if residual else TimeMLP(key, dim, frequency=frequency, **common)


def _solver(name: str, method: Method, tolerance: float, n_steps: int | None, gradient: Gradient) -> AbstractSolver:
    if n_steps is None and method in FIXED_ALONE:
        expected = f"n_steps with method {method!r}, which has no error estimate to choose steps by"
        raise ValueError(message(name, expected, "none", "Set n_steps, such as 16, or take another method."))
    if n_steps is not None:
        return FixedSteps(method, n_steps, gradient)
    return Adaptive(method, rtol=tolerance, atol=tolerance, gradient=gradient)


def _divergence(name: str, divergence: Divergence, n_probes: int) -> AbstractTrace:
    if divergence not in get_args(Divergence):
        expected = f"divergence to be one of {', '.join(get_args(Divergence))}"
        raise ValueError(message(name, expected, repr(divergence), "Choose one of them."))
    return ExactTrace() if divergence == "exact" else Hutchinson(n_probes)


def _neural_ode_flow(
    name: str,
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None,
    n_layers: int,
    width: int,
    depth: int,
    mixing: Mixing,
    n_frequencies: int,
    residual: bool,
    activation: str,
    frequency: float,
    divergence: Divergence,
    n_probes: int,
    method: Method,
    tolerance: float,
    n_steps: int | None,
    gradient: Gradient,
    potential: bool,
    base: AbstractDistribution | None,
) -> Flow:
    """Layers of networks that are velocities, one after another."""
    trace, solver = _divergence(name, divergence, n_probes), _solver(name, method, tolerance, n_steps, gradient)

    def field(key: PRNGKeyArray) -> AbstractField:
        if potential:
            cond_shape = condition_shape(name, condition_dim)
            size = check_int(name, "dim", dim, 1, MAX_DIM)
            return PotentialField(PotentialNet(key, size, width=width, depth=depth, cond_shape=cond_shape))
        net = _network(
            name,
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
        return NetworkField(net)

    keys = jax.random.split(as_key(name, key), check_int(name, "n_layers", n_layers, 1, 64))
    layers = [Continuous(field(own), trace, solver) for own in keys]
    return Flow(StandardNormal((dim,)) if base is None else base, layers[0] if n_layers == 1 else Chain(layers))


def cnf(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 1,
    width: int = 64,
    depth: int = 2,
    mixing: Mixing = "concat",
    n_frequencies: int = 3,
    residual: bool = False,
    activation: str = "silu",
    frequency: float = 0.0,
    divergence: Divergence = "exact",
    n_probes: int = 1,
    method: Method = "tsit5",
    tolerance: float = 1e-5,
    n_steps: int | None = None,
    gradient: Gradient = "adjoint",
    potential: bool = False,
    base: AbstractDistribution | None = None,
) -> Flow:
    r"""Neural ODE flow: $\dot x = v_\theta(t, x)$ from noise to data, with the exact trace, trained by likelihood.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: fields, each solved from 0 to 1 after the one before.
        width: units per hidden layer of each network.
        depth: hidden layers; with one or two the exact trace costs about one evaluation, with more one product per
            dimension.
        mixing: how time enters, `"concat"`, `"concatsquash"` or `"film"`.
        n_frequencies: of the embedding of time.
        residual: residual networks of `depth` blocks.
        activation: a smooth one: `"silu"`, `"softplus"`, `"tanh"`, `"gelu"`, `"elu"`.
        frequency: of sines in the first layer, radians per unit of standardised data; 0 for none. Densities with fine
            structure (rings, edges) need them.
        divergence: `"exact"`, or `"hutchinson"` for training by random probes.
        n_probes: of Hutchinson's estimate.
        method: of the solver: `"tsit5"`, `"dopri5"`, `"dopri8"`, `"heun"`, `"kvaerno5"`; with `n_steps` also `"euler"`
            and `"rk4"`.
        tolerance: relative and absolute, of each event.
        n_steps: equal steps instead of adaptive ones; None is adaptive.
        gradient: `"adjoint"`, `"checkpointed"` or `"direct"`; see `dynamics.Adaptive`.
        potential: the velocity is minus the gradient of a potential (OT-Flow), with the exact divergence in closed form
            at any depth; of the network's options it has `width` and `depth`.
        base: distribution of the latent; None is a standard normal.

    Cost:
        scoring iterative, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Chen, Rubanova, Bettencourt, Duvenaud, 2018, arXiv 1806.07366; Onken, Wu Fung, Li, Ruthotto, 2021, arXiv
        2006.00104 (potential).
    """
    return _neural_ode_flow(
        "cnf",
        key,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        mixing=mixing,
        n_frequencies=n_frequencies,
        residual=residual,
        activation=activation,
        frequency=frequency,
        divergence=divergence,
        n_probes=n_probes,
        method=method,
        tolerance=tolerance,
        n_steps=n_steps,
        gradient=gradient,
        potential=potential,
        base=base,
    )


def ffjord(
    key: PRNGKeyArray,
    *,
    dim: int,
    condition_dim: int | None = None,
    n_layers: int = 1,
    width: int = 64,
    depth: int = 2,
    mixing: Mixing = "concatsquash",
    n_frequencies: int = 0,
    residual: bool = False,
    activation: str = "softplus",
    frequency: float = 0.0,
    divergence: Divergence = "hutchinson",
    n_probes: int = 1,
    method: Method = "dopri5",
    tolerance: float = 1e-5,
    n_steps: int | None = None,
    gradient: Gradient = "adjoint",
    base: AbstractDistribution | None = None,
) -> Flow:
    r"""FFJORD: $\dot x = v_\theta(t, x)$ with Hutchinson's trace in training, one set of probes per solve.

    `log_prob` needs a key. What `pf.fit` returns, and what is saved, is the flow's `evaluation_form`: the same weights,
    scored with the exact trace (up to 64 dimensions, or where it has a closed form).
    `objectives.RegularizedLikelihood` adds the kinetic energy and the Jacobian's norm of RNODE.

    Args:
        key: for the initial weights.
        dim: length of an event.
        condition_dim: length of the condition, None for an unconditional flow.
        n_layers: fields, each solved from 0 to 1 after the one before.
        width: units per hidden layer of each network.
        depth: hidden layers of each network.
        mixing: how time enters, `"concat"`, `"concatsquash"` or `"film"`.
        n_frequencies: of the embedding of time.
        residual: residual networks of `depth` blocks.
        activation: a smooth one: `"softplus"`, `"silu"`, `"tanh"`, `"gelu"`, `"elu"`.
        frequency: of sines in the first layer, radians per unit of standardised data; 0 for none. Densities with fine
            structure (rings, edges) need them.
        divergence: of training, `"hutchinson"` or `"exact"`.
        n_probes: of Hutchinson's estimate.
        method: of the solver; see `cnf`.
        tolerance: relative and absolute, of each event.
        n_steps: equal steps instead of adaptive ones; None is adaptive.
        gradient: `"adjoint"`, `"checkpointed"` or `"direct"`; see `dynamics.Adaptive`.
        base: distribution of the latent; None is a standard normal.

    Cost:
        scoring iterative, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, 2019, arXiv 1810.01367.
    """
    return _neural_ode_flow(
        "ffjord",
        key,
        dim=dim,
        condition_dim=condition_dim,
        n_layers=n_layers,
        width=width,
        depth=depth,
        mixing=mixing,
        n_frequencies=n_frequencies,
        residual=residual,
        activation=activation,
        frequency=frequency,
        divergence=divergence,
        n_probes=n_probes,
        method=method,
        tolerance=tolerance,
        n_steps=n_steps,
        gradient=gradient,
        potential=False,
        base=base,
    )


def _prediction_flow(
    field: AbstractField, noise: float, solver: AbstractSolver, base: AbstractDistribution | None
) -> Flow:
    """A flow of a field on a path, whose noise has the standard deviation `noise`."""
    layer: AbstractBijection = Continuous(field, solver=solver)
    if noise != 1:
        layer = Chain([Standardize(np.zeros(field.shape), np.full(field.shape, float(noise))), layer])
    return Flow(StandardNormal(field.shape) if base is None else base, layer)


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
    net = _network(
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
    return _prediction_flow(field, 1.0, _solver("flow_matching", method, tolerance, n_steps, gradient), base)


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
        base: distribution of the latent; None is a standard normal.

    Cost:
        scoring iterative, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Liu, Gong, Liu, 2023, arXiv 2209.03003.
    """
    net = _network(
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
    return _prediction_flow(field, 1.0, _solver("rectified_flow", method, tolerance, n_steps, gradient), base)


def score_sde(
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
    sde: SDE = "vp",
    predicts: Prediction = "noise",
    beta_min: float = 0.1,
    beta_max: float = 20.0,
    sigma_min: float = 0.01,
    sigma_max: float = 20.0,
    method: Method = "tsit5",
    tolerance: float = 1e-5,
    n_steps: int | None = None,
    gradient: Gradient = "adjoint",
    base: AbstractDistribution | None = None,
) -> Flow:
    r"""Score-based diffusion as a flow: the probability-flow equation of a VP, sub-VP or VE SDE.

    `pf.fit` trains it by `objectives.DenoisingScoreMatching()` unless another objective is given. `log_prob` is that
    of the probability flow, exact; `dynamics.draw` samples by the reverse SDE and its relatives.

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
        sde: `"vp"`, `"subvp"` or `"ve"`.
        predicts: what the network says: `"noise"`, `"data"`, `"score"` or `"velocity"`.
        beta_min: of VP and sub-VP, at the data.
        beta_max: of VP and sub-VP, at the noise.
        sigma_min: of VE, at the data.
        sigma_max: of VE, at the noise; for standardised data.
        method: of the solver; see `cnf`.
        tolerance: relative and absolute, of each event.
        n_steps: equal steps instead of adaptive ones; None is adaptive.
        gradient: of a solve, if it is trained by likelihood.
        base: distribution of the latent, scaled to the noise of the path; None is a standard normal.

    Cost:
        scoring iterative, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, 2021, arXiv 2011.13456.
    """
    if sde not in get_args(SDE):
        expected = f"sde to be one of {', '.join(get_args(SDE))}"
        raise ValueError(message("score_sde", expected, repr(sde), "Choose one of them."))
    net = _network(
        "score_sde",
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
    path: AbstractPath
    if sde == "ve":
        path = VarianceExplodingPath(sigma_min, sigma_max)
    else:
        path = (VariancePreservingPath if sde == "vp" else SubVariancePreservingPath)(beta_min, beta_max)
    noise = sigma_max if sde == "ve" else 1.0
    field = PredictionField(net, path, predicts)
    return _prediction_flow(field, noise, _solver("score_sde", method, tolerance, n_steps, gradient), base)


def ncsn(
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
    sigma_min: float = 0.01,
    sigma_max: float = 20.0,
    n_levels: int = 32,
    method: Method = "tsit5",
    tolerance: float = 1e-5,
    n_steps: int | None = None,
    gradient: Gradient = "adjoint",
    base: AbstractDistribution | None = None,
) -> Flow:
    r"""Noise-conditional score network: the score of data with noise at levels in geometric sequence.

    `pf.fit` trains it by `objectives.DenoisingScoreMatching()` at these levels unless another objective is given.
    `dynamics.draw(field, key, n, AnnealedLangevin(n_levels))` is its own sampler; as a flow it is the probability
    flow of the levels' limit, with an exact density.

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
        sigma_min: the least noise.
        sigma_max: the most; for standardised data.
        n_levels: how many levels.
        method: of the solver; see `cnf`.
        tolerance: relative and absolute, of each event.
        n_steps: equal steps instead of adaptive ones; None is adaptive.
        gradient: of a solve, if it is trained by likelihood.
        base: distribution of the latent, scaled to the noise of the first level; None is a standard normal.

    Cost:
        scoring iterative, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Song, Ermon, 2019, arXiv 1907.05600; Song, Ermon, 2020, arXiv 2006.09011 (levels).
    """
    net = _network(
        "ncsn",
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
    path = VarianceExplodingPath(sigma_min, sigma_max, check_int("ncsn", "n_levels", n_levels, 2))
    field = PredictionField(net, path, "noise")
    return _prediction_flow(field, sigma_max, _solver("ncsn", method, tolerance, n_steps, gradient), base)
