"""An inverse problem: a prior, an observation, what was observed, and its noise, checked against one another."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._module import Module
from pushforward._precision import widened
from pushforward._types import Array, Fixed, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.inverse_problems.noise import AbstractNoise, Noiseless, PoissonNoise, as_noise, observation
from pushforward.inverse_problems.operators import AbstractOperator, as_operator, constant

NAME = "inverse_problems.solve"
# Draws of the prior at which the operator is tried before anything else.
TRIED = 64
# An observation without noise may miss the range of its matrix by so much of its size, which is rounding.
OUTSIDE = 1e-6


class Problem(Module):
    """A prior, an observation, the operator that gave it, and its noise; `checked` builds it.

    Attributes:
        prior: The distribution of events.
        y: The observation.
        operator: What was observed.
        noise: Its noise.
    """

    prior: AbstractDistribution
    y: Fixed
    operator: AbstractOperator
    noise: AbstractNoise

    @property
    def observed(self) -> Array:
        """The observation as an array of JAX."""
        return jnp.asarray(self.y.value)

    @property
    def size(self) -> int:
        """The number of numbers of an event."""
        return math.prod(self.prior.event_shape)

    @property
    def noiseless(self) -> bool:
        """Whether the observation has no noise."""
        return isinstance(self.noise, Noiseless)

    def log_likelihood(self, x: Array) -> Array:
        """The log-density of the observation given one event, in nats; minus infinity where it is not a number."""
        mean = self.operator.apply(x)
        value = self.noise.log_likelihood(self.observed.astype(mean.dtype), mean)
        return jnp.where(jnp.isnan(value), -jnp.inf, value)

    def wide(self) -> Problem:
        """The problem in float64."""
        return widened(self)


def checked(prior: Any, y: Any, operator: Any, noise: Any) -> Problem:
    """The problem of these parts.

    Raises:
        TypeError: A part is of the wrong kind.
        ValueError: Shapes do not fit, `y` is not finite or cannot come from the noise, or the prior has a condition.
    """
    if not isinstance(prior, AbstractDistribution):
        fix = "Pass a distribution: a flow, the .flow of a fit, a mixture; of a FlowDensity its flow over numbers."
        raise TypeError(message(NAME, "a distribution as prior", type(prior).__name__, fix))
    if prior.cond_shape is not None:
        fix = "Fix the condition: prior.given(condition)."
        raise ValueError(message(NAME, "a prior without a condition", f"one with conditions {prior.cond_shape}", fix))
    operator, noise = as_operator(NAME, operator, prior.event_shape), as_noise(NAME, noise)
    values = observation(NAME, y, operator.out_shape)
    noise.check(NAME, values)
    if isinstance(noise, Noiseless) and not operator.linear:
        fix = "Without noise only a linear operator can be held exactly: give a small GaussianNoise(sd)."
        raise ValueError(message(NAME, "a linear operator where there is no noise", type(operator).__name__, fix))
    return Problem(prior, constant(values), operator, noise)


def try_operator(problem: Problem, key: PRNGKeyArray) -> np.ndarray:
    """The operator's values `(TRIED, *out_shape)` at draws of the prior.

    Raises:
        ValueError: They are not finite, or no rates though the noise is Poisson's.
    """
    values = np.asarray(_observed(problem, key))
    if not np.isfinite(values).all():
        share = float(np.mean(~np.isfinite(values).reshape(TRIED, -1).all(axis=1)))
        fix = "Look at the operator's domain, and at the prior's draws: prior.sample(key, 64)."
        raise ValueError(message(NAME, "an operator that is finite at the prior's draws", f"{share:.0%} others", fix))
    if isinstance(problem.noise, PoissonNoise) and (values < 0).any():
        share = float(np.mean((values < 0).reshape(TRIED, -1).any(axis=1)))
        fix = "Map the event to rates above 0, such as Function(lambda x: jnp.exp(A @ x), shape)."
        got = f"negative ones at {share:.0%} of the prior's draws"
        raise ValueError(message(NAME, "an operator that gives rates >= 0 for PoissonNoise", got, fix))
    return values


@eqx.filter_jit
def _observed(problem: Problem, key: PRNGKeyArray) -> Array:
    return jax.vmap(problem.operator.apply)(problem.prior.sample(key, TRIED))


def exact_matrix(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    r"""The matrix and the flat observation of a problem without noise, in rows that do not depend on one another.

    Raises:
        ValueError: The observation lies outside the matrix's range, so that no event gives it.
    """
    matrix = np.asarray(problem.operator.matrix(), np.float64)
    y = np.asarray(problem.y.value, np.float64).ravel()
    left, sizes, right = np.linalg.svd(matrix, full_matrices=False)
    kept = sizes > sizes.max() * 1e-10
    outside = y - left[:, kept] @ (left[:, kept].T @ y)
    if np.abs(outside).max() > OUTSIDE * max(np.abs(y).max(), 1e-300):
        fix = "Rounded observations have noise: give GaussianNoise(sd)."
        got = f"one that misses it by {np.abs(outside).max():.3g}"
        raise ValueError(message(NAME, "y in the operator's range, as there is no noise", got, fix))
    return sizes[kept, None] * right[kept], left[:, kept].T @ y


def held(problem: Problem, events: np.ndarray) -> np.ndarray:
    """Events `(n, *shape)` moved by as little as makes an observation without noise hold exactly."""
    matrix, y = exact_matrix(problem)
    rows = events.reshape(len(events), -1)
    return (rows + (y - rows @ matrix.T) @ np.linalg.pinv(matrix).T).reshape(events.shape)
