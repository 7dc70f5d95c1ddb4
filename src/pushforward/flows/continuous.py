"""Neural ODE flows trained by likelihood: with the exact trace, and FFJORD."""

from __future__ import annotations

from typing import Literal, get_args

import jax

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Chain, Continuous
from pushforward.distributions import Flow, StandardNormal
from pushforward.distributions.base import AbstractDistribution
from pushforward.dynamics import (
    AbstractField,
    NetworkField,
    PotentialField,
)
from pushforward.dynamics.solvers import Gradient, Method
from pushforward.flows.layers import MAX_DIM, condition_shape
from pushforward.flows.velocity import network, solver_of
from pushforward.nets import PotentialNet
from pushforward.nets.time import Mixing
from pushforward.numerics.trace import AbstractTrace, ExactTrace, Hutchinson

Divergence = Literal["exact", "hutchinson"]


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
    trace, solver = _divergence(name, divergence, n_probes), solver_of(name, method, tolerance, n_steps, gradient)

    def field(key: PRNGKeyArray) -> AbstractField:
        if potential:
            cond_shape = condition_shape(name, condition_dim)
            size = check_int(name, "dim", dim, 1, MAX_DIM)
            return PotentialField(PotentialNet(key, size, width=width, depth=depth, cond_shape=cond_shape))
        net = network(
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
