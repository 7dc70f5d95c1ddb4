"""What flows of velocity fields share: their network, their solver, the flow of a prediction on a path."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Chain, Continuous, PartialWhitening, Standardize
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow, StandardNormal
from pushforward.distributions.base import AbstractDistribution
from pushforward.dynamics import (
    AbstractField,
    AbstractSolver,
    Adaptive,
    FixedSteps,
)
from pushforward.dynamics.solvers import FIXED_ALONE, Gradient, Method
from pushforward.flows.layers import MAX_DIM, condition_shape
from pushforward.nets import TimeMLP, TimeResidualMLP
from pushforward.nets.time import Mixing


def network(
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
    """The network of time and event that a field is made of, its arguments checked."""
    if residual and frequency:
        fix = "Leave one of them out."
        raise ValueError(message(name, "a residual network or sines in the first layer", "both", fix))
    key, dim = as_key(name, key), check_int(name, "dim", dim, 1, MAX_DIM)
    cond_shape = condition_shape(name, condition_dim)
    common: dict[str, Any] = {"width": width, "depth": depth, "cond_shape": cond_shape, "mixing": mixing}
    common |= {"n_frequencies": n_frequencies, "activation": activation}
    return TimeResidualMLP(key, dim, **common) if residual else TimeMLP(key, dim, frequency=frequency, **common)


def solver_of(name: str, method: Method, tolerance: float, n_steps: int | None, gradient: Gradient) -> AbstractSolver:
    """Steps of equal length if a number of them is given, else as long as the tolerance allows."""
    if n_steps is None and method in FIXED_ALONE:
        expected = f"n_steps with method {method!r}, which has no error estimate to choose steps by"
        raise ValueError(message(name, expected, "none", "Set n_steps, such as 16, or take another method."))
    if n_steps is not None:
        return FixedSteps(method, n_steps, gradient)
    return Adaptive(method, rtol=tolerance, atol=tolerance, gradient=gradient)


def prediction_flow(
    field: AbstractField, noise: float, solver: AbstractSolver, whiten: bool, base: AbstractDistribution | None
) -> Flow:
    """A flow of a field on a path, whose noise has the standard deviation `noise`."""
    layers: list[AbstractBijection] = [Continuous(field, solver=solver)]
    if noise != 1:
        layers.insert(0, Standardize(np.zeros(field.shape), np.full(field.shape, float(noise))))
    if whiten:
        layers.append(PartialWhitening(*field.shape))
    chain = layers[0] if len(layers) == 1 else Chain(layers)
    return Flow(StandardNormal(field.shape) if base is None else base, chain)
