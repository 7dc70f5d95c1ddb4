"""The unconstrained vectors in which events are sought: latents of a flow, events, or what an observation leaves."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._module import Module
from pushforward._types import Array, Fixed, PRNGKeyArray
from pushforward.distributions import AbstractDistribution, Flow, MultivariateNormal
from pushforward.inverse_problems.operators import constant
from pushforward.inverse_problems.problem import NAME, Problem, exact_matrix

# Draws of the prior from which a normal is made to start from, and by how much it is wider than they are.
MOMENT_DRAWS, WIDER = 2048, 1.5


class AbstractCoordinates(Module):
    """Vectors of `size` numbers that stand for events, with a density to start from and the posterior's.

    Both log-densities are in nats. The start's integrates to 1, and the target's to the density of the observation.
    """

    problem: eqx.AbstractVar[Problem]
    size: eqx.AbstractVar[int]

    @abstractmethod
    def event(self, u: Array) -> Array:
        """The event of one vector."""

    @abstractmethod
    def log_start(self, u: Array) -> Array:
        """The log-density of one vector at the start."""

    @abstractmethod
    def log_ratio(self, u: Array) -> Array:
        """The log-density of the target less that of the start; minus infinity where it is not a number."""

    @abstractmethod
    def draw_start(self, key: PRNGKeyArray, n: int) -> Array:
        """Draws `(n, size)` of the start."""

    def log_target(self, u: Array) -> Array:
        """The log-density of one vector and the observation."""
        return finite_or_none(self.log_start(u) + self.log_ratio(u))


def finite_or_none(value: Array) -> Array:
    """A log-density, or minus infinity where it is NaN or infinite."""
    return jnp.where(value < jnp.inf, value, -jnp.inf)


class Latents(AbstractCoordinates):
    r"""Latents of a flow: $\tilde p(z) = p_Z(z)\, p(y \mid f(z))$, in which no log-determinant occurs.

    Args:
        problem: The problem, whose prior is a flow that can be drawn from.
    """

    problem: Problem
    size: int = eqx.field(static=True)

    def __init__(self, problem: Problem):
        self.problem, self.size = problem, problem.size

    def _latent(self, u: Array) -> Array:
        return u.reshape(self._flow.base.event_shape)

    @property
    def _flow(self) -> Flow:
        return cast(Flow, self.problem.prior)

    def event(self, u: Array) -> Array:
        bijection = self._flow.bijection
        # The value does not depend on the key: only the log-determinant, which is not needed, would.
        return bijection.forward(self._latent(u), key=jax.random.key(0) if bijection.traits.needs_key else None)

    def log_start(self, u: Array) -> Array:
        return self._flow.base.log_prob(self._latent(u))

    def log_ratio(self, u: Array) -> Array:
        return finite_or_none(self.problem.log_likelihood(self.event(u)))

    def draw_start(self, key: PRNGKeyArray, n: int) -> Array:
        return self._flow.base.sample(key, n).reshape(n, self.size)


class Events(AbstractCoordinates):
    r"""Events themselves: $\tilde p(x) = p(x)\, p(y \mid x)$, for priors without latents.

    Args:
        problem: The problem.
    """

    problem: Problem
    size: int = eqx.field(static=True)

    def __init__(self, problem: Problem):
        self.problem, self.size = problem, problem.size

    def event(self, u: Array) -> Array:
        return u.reshape(self.problem.prior.event_shape)

    def log_start(self, u: Array) -> Array:
        return self.problem.prior.log_prob(self.event(u))

    def log_ratio(self, u: Array) -> Array:
        return finite_or_none(self.problem.log_likelihood(self.event(u)))

    def draw_start(self, key: PRNGKeyArray, n: int) -> Array:
        return self.problem.prior.sample(key, n).reshape(n, self.size)


class Remainder(AbstractCoordinates):
    r"""What an observation without noise leaves: $x = A^+ y + N u$, with an orthonormal basis $N$ of the null space.

    The density is that of the prior, $\tilde p(u) = p(A^+ y + N u) / \sqrt{|A A^T|}$, and $A x = y$ holds exactly. The
    start is a normal: that of the prior's mean and covariance given $y$, with 1.5 times the deviations.

    Args:
        problem: The problem, whose operator is linear.
        key: JAX key for the draws that tell mean and covariance.

    Raises:
        ValueError: Nothing is left, or no event gives the observation.
    """

    problem: Problem
    particular: Fixed
    basis: Fixed
    log_volume: float
    start: AbstractDistribution
    size: int = eqx.field(static=True)

    def __init__(self, problem: Problem, key: PRNGKeyArray):
        matrix, y = exact_matrix(problem)
        full, sizes, right = np.linalg.svd(matrix, full_matrices=True)
        rank = len(sizes)
        if rank == problem.size:
            fix = "Solve it: numpy.linalg.solve(operator.matrix(), y)."
            raise ValueError(message(NAME, "an operator that leaves something open", "one that leaves nothing", fix))
        particular, basis = right[:rank].T @ ((full.T @ y) / sizes), right[rank:].T
        rows = np.asarray(problem.prior.sample(key, MOMENT_DRAWS), np.float64).reshape(MOMENT_DRAWS, -1)
        mean, cov = rows.mean(axis=0), shrunk_covariance(rows)
        precision = np.linalg.inv(cov)
        own = np.linalg.inv(basis.T @ precision @ basis)
        centre = own @ basis.T @ precision @ (mean - particular)
        self.problem, self.size = problem, problem.size - rank
        self.particular, self.basis = constant(particular), constant(basis)
        self.log_volume = float(np.log(sizes).sum())
        self.start = MultivariateNormal(centre, WIDER**2 * 0.5 * (own + own.T))

    def event(self, u: Array) -> Array:
        basis = jnp.asarray(self.basis.value, u.dtype)
        x = jnp.asarray(self.particular.value, u.dtype) + jnp.matmul(basis, u, precision="highest")
        return x.reshape(self.problem.prior.event_shape)

    def log_start(self, u: Array) -> Array:
        return self.start.log_prob(u)

    def log_ratio(self, u: Array) -> Array:
        return finite_or_none(self.problem.prior.log_prob(self.event(u)) - self.log_volume - self.log_start(u))

    def draw_start(self, key: PRNGKeyArray, n: int) -> Array:
        return self.start.sample(key, n)


def shrunk_covariance(rows: np.ndarray) -> np.ndarray:
    """The covariance `(d, d)` of rows `(n, d)`, drawn towards a multiple of the identity so that it has an inverse.

    Source: Ledoit, Wolf, 2004, Journal of Multivariate Analysis 88 (as in scikit-learn).
    """
    from sklearn.covariance import ledoit_wolf

    scale = rows.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    cov: Any = ledoit_wolf((rows - rows.mean(axis=0)) / scale)[0]
    return (cov + 1e-9 * np.eye(len(scale))) * np.outer(scale, scale)


def coordinates_of(problem: Problem, key: PRNGKeyArray) -> AbstractCoordinates:
    """The coordinates that suit a problem: what is left, latents where the flow gives events, or events.

    Args:
        problem: The problem, in float64.
        key: JAX key.

    Raises:
        ValueError: The prior's log-density is needed and is random, or nothing is left open.
    """
    prior = problem.prior
    if not problem.noiseless and isinstance(prior, Flow) and prior.bijection.traits.forward != "absent":
        if prior.base.needs_key:
            fix = "Take pf.distributions.evaluation_form of the flow."
            raise ValueError(message(NAME, "a base whose log-density is not random", "one that needs a key", fix))
        return Latents(problem)
    if prior.needs_key:
        fix = "Take pf.distributions.evaluation_form of the flow, or give noise to draw in its latent space."
        raise ValueError(message(NAME, "a prior whose log-density is not random", "one that needs a key", fix))
    return Remainder(problem, key) if problem.noiseless else Events(problem)
