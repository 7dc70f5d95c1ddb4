"""The builders of flows of velocity fields: neural ODEs trained by likelihood, and fields on paths by regression."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Chain, Continuous, PartialWhitening, Standardize
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.dynamics import (
    AbstractField,
    AbstractSolver,
    Adaptive,
    FixedSteps,
    NetworkField,
    PotentialField,
    PredictionField,
)
from pushforward.dynamics.solvers import FIXED_ALONE
from pushforward.flows.build_plan import Plan
from pushforward.nets import PotentialNet, TimeMLP, TimeResidualMLP
from pushforward.numerics.trace_estimators import ExactTrace, Hutchinson
from pushforward.paths import (
    AbstractPath,
    LinearPath,
    SubVariancePreservingPath,
    TrigonometricPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)


def _network(plan: Plan, key: PRNGKeyArray) -> TimeMLP | TimeResidualMLP:
    """The network of time and event that a field is made of."""
    o = plan.options
    sizes = {"width": o.width, "depth": o.depth, "cond_shape": plan.cond_shape, "mixing": o.mixing}
    sizes |= {"n_frequencies": o.n_frequencies, "activation": o.activation}
    if o.residual:
        return TimeResidualMLP(key, plan.dim, **sizes)
    return TimeMLP(key, plan.dim, frequency=o.frequency, **sizes)


def _solver(plan: Plan) -> AbstractSolver:
    """Steps of equal length if a number of them is given, else as long as the tolerance allows."""
    o = plan.options
    if o.n_steps is None and o.method in FIXED_ALONE:
        expected = f"n_steps with method {o.method!r}, which has no error estimate to choose steps by"
        raise ValueError(message(plan.name, expected, "none", "Set n_steps, such as 16, or take another method."))
    if o.n_steps is not None:
        return FixedSteps(o.method, o.n_steps, o.gradient)
    return Adaptive(o.method, rtol=o.tolerance, atol=o.tolerance, gradient=o.gradient)


def neural_ode(plan: Plan) -> Flow:
    """Layers of networks that are velocities, one after another."""
    o, solver = plan.options, _solver(plan)
    trace = ExactTrace() if o.divergence == "exact" else Hutchinson(o.n_probes)

    def field(key: PRNGKeyArray) -> AbstractField:
        if not plan.option("potential"):
            return NetworkField(_network(plan, key))
        net = PotentialNet(key, plan.dim, width=o.width, depth=o.depth, cond_shape=plan.cond_shape)
        return PotentialField(net)

    layers = [Continuous(field(own), trace, solver) for own in jax.random.split(plan.key, o.n_layers)]
    return Flow(plan.base, layers[0] if len(layers) == 1 else Chain(layers))


def _interpolation(plan: Plan) -> tuple[AbstractPath, str, float]:
    o = plan.options
    paths = {
        "linear": lambda: LinearPath(o.sigma_min),
        "trigonometric": TrigonometricPath,
        "vp": VariancePreservingPath,
    }
    return paths[o.path](), "velocity", 1.0


def _diffusion(plan: Plan) -> tuple[AbstractPath, str, float]:
    o = plan.options
    if o.sde == "ve":
        return VarianceExplodingPath(o.sigma_min, o.sigma_max), o.predicts, o.sigma_max
    kind = VariancePreservingPath if o.sde == "vp" else SubVariancePreservingPath
    return kind(o.beta_min, o.beta_max), o.predicts, 1.0


def _levels(plan: Plan) -> tuple[AbstractPath, str, float]:
    o = plan.options
    return VarianceExplodingPath(o.sigma_min, o.sigma_max, o.n_levels), "noise", o.sigma_max


# The path from noise to data, what the network predicts on it, and the standard deviation of its noise, of a plan with
# the options of the flow of that name.
PATHS: dict[str, Callable[[Any], tuple[AbstractPath, str, float]]] = {
    "flow_matching": _interpolation,
    "rectified_flow": lambda plan: (LinearPath(), "velocity", 1.0),
    "score_sde": _diffusion,
    "ncsn": _levels,
}


def regression(plan: Plan) -> Flow:
    """The flow of a field on a path, which is trained by regression."""
    path, predicts, noise = PATHS[plan.name](plan)
    field = PredictionField(_network(plan, plan.key), path, predicts)  # pyright: ignore[reportArgumentType]
    layers: list[AbstractBijection] = [Continuous(field, solver=_solver(plan))]
    if noise != 1:
        layers.insert(0, Standardize(np.zeros(plan.dim), np.full(plan.dim, float(noise))))
    if plan.options.whiten:
        layers.append(PartialWhitening(plan.dim))
    return Flow(plan.base, layers[0] if len(layers) == 1 else Chain(layers))
