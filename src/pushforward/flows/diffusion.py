"""Diffusions as flows: the probability-flow equations of SDEs and of noise-conditional scores."""

from __future__ import annotations

from typing import Literal, get_args

from pushforward._checks import check_int, message
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
    SubVariancePreservingPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)
from pushforward.paths.base import Prediction

SDE = Literal["vp", "subvp", "ve"]


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
    whiten: bool = False,
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
        whiten: a `PartialWhitening` at the data, which `pf.bijections.initialise` sets from them (`pf.fit` does).
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
    net = network(
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
    return prediction_flow(field, noise, solver_of("score_sde", method, tolerance, n_steps, gradient), whiten, base)


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
    whiten: bool = False,
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
        whiten: a `PartialWhitening` at the data, which `pf.bijections.initialise` sets from them (`pf.fit` does).
        base: distribution of the latent, scaled to the noise of the first level; None is a standard normal.

    Cost:
        scoring iterative, sampling iterative.

    Raises:
        ValueError: a size is out of bounds, or a name unknown.

    Source:
        Song, Ermon, 2019, arXiv 1907.05600; Song, Ermon, 2020, arXiv 2006.09011 (levels).
    """
    net = network(
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
    return prediction_flow(field, sigma_max, solver_of("ncsn", method, tolerance, n_steps, gradient), whiten, base)
