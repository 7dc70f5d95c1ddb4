"""Modes of the posterior by L-BFGS, the normals at them, and weighted draws of these."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray
from pushforward.inference import Importance as Weighted
from pushforward.inference.ladder import step_of
from pushforward.inverse_problems.closed_form import Normals
from pushforward.inverse_problems.coordinates import AbstractCoordinates
from pushforward.inverse_problems.problem import NAME

# Draws of the start among which the starts of L-BFGS are chosen.
CANDIDATES = 1024
# Hessians take as many gradients as there are numbers, and as much memory as its square.
MOST_NUMBERS = 512
# Two modes are one if they differ by less than this many of their standard deviations, in the root mean square.
SAME_MODE = 0.1
# Modes whose normals have less than this share of the mass of the largest are left out.
LEAST_MASS = 1e-8
# The least eigenvalue of a negated Hessian relative to the largest: a flat direction gets no infinite variance.
LEAST_CURVATURE = 1e-8
# Share of the start among the proposals, which bounds the weights by its inverse times the largest likelihood.
DEFENSIVE = 0.1


class Laplace(NamedTuple):
    """Modes and the normals at them.

    Attributes:
        normals: The normals, weighted by their masses.
        heights: Log-densities of the target at the modes, in nats.
        n_evaluations: Evaluations of the target and its gradient.
    """

    normals: Normals
    heights: np.ndarray
    n_evaluations: int

    @property
    def best(self) -> np.ndarray:
        """The highest mode `(size,)`."""
        return self.normals.means[int(np.argmax(self.heights))]


def laplace(coordinates: AbstractCoordinates, n_starts: int, key: PRNGKeyArray) -> Laplace:
    """The modes that L-BFGS finds from draws of the start, and Laplace's normals there.

    The starts are chosen among draws by a power of their likelihood that leaves half of them effective.

    Args:
        coordinates: The coordinates.
        n_starts: Number of starts.
        key: JAX key.

    Raises:
        ValueError: There are too many numbers for Hessians, or no mode is found.
    """
    from scipy.optimize import minimize

    size = coordinates.size
    if size > MOST_NUMBERS:
        fix = "Use method='hmc'."
        raise ValueError(message(NAME, f"at most {MOST_NUMBERS} numbers for Hessians", f"{size:,}", fix))
    u, ratio = (np.asarray(value, np.float64) for value in _candidates(coordinates, key))
    if not np.isfinite(ratio).any():
        fix = "Look at y, the operator and the noise: no draw of the prior can have given y."
        raise ValueError(message(NAME, "a posterior above zero at some draws of the prior", "zero at all", fix))
    _, powers = step_of(ratio, 1.0)
    shares = np.exp(powers - powers.max())
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    n = min(n_starts, int((shares > 0).sum()))
    starts = u[rng.choice(len(u), n, replace=False, p=shares / shares.sum())]
    n_evaluations = CANDIDATES

    def loss(v: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _value_and_gradient(coordinates, jnp.asarray(v))
        value, slope = float(value), np.asarray(slope, np.float64)
        return (-value, -slope) if math.isfinite(value) and np.isfinite(slope).all() else (1e300, np.zeros_like(v))

    found: list[tuple[float, np.ndarray, np.ndarray]] = []
    ends = []
    for start in starts:
        end: Any = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 500, "maxcor": 20})
        n_evaluations += int(end.nfev)
        if end.fun < 1e299:
            ends.append((-float(end.fun), end.x))
    for height, mode in sorted(ends, key=lambda end: -end[0]):
        gaps = [np.mean(np.linalg.solve(np.linalg.cholesky(cov), mode - old) ** 2) for _, old, cov in found]
        if any(gap < SAME_MODE**2 for gap in gaps):
            continue
        curvature = -np.asarray(_hessian(coordinates, jnp.asarray(mode)), np.float64)
        n_evaluations += size
        values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
        values = np.maximum(values, LEAST_CURVATURE * max(values.max(), 1e-300))
        found.append((height, mode, vectors / values @ vectors.T))
    if not found:
        fix = "Use method='hmc'."
        raise ValueError(message(NAME, "a mode of the posterior", "none: L-BFGS found no finite density", fix))
    heights = np.array([height for height, _, _ in found])
    covariances = np.stack([0.5 * (cov + cov.T) for _, _, cov in found])
    masses = heights + 0.5 * np.linalg.slogdet(covariances)[1]
    kept = masses - masses.max() > math.log(LEAST_MASS)
    normals = Normals(
        masses[kept] - logsumexp(masses[kept]), np.stack([mode for _, mode, _ in found])[kept], covariances[kept]
    )
    return Laplace(normals, heights[kept], n_evaluations)


def weigh(
    coordinates: AbstractCoordinates, normals: Normals, n: int, key: PRNGKeyArray, *, wider: float, defensive: float
) -> Weighted:
    """Weighted draws `(n, size)` of normals that are a little wider, and of the start.

    Args:
        coordinates: The coordinates.
        normals: The normals.
        n: Number of draws.
        key: JAX key.
        wider: Factor of the normals' deviations.
        defensive: Share of the draws that come from the start.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    wide = normals._replace(covariances=wider**2 * normals.covariances)
    n_start = round(defensive * n)
    u = wide.draw(rng, n - n_start)
    if n_start:
        u = np.concatenate([u, np.asarray(_start_draws(coordinates, key, n=n_start), np.float64)])
    factors = np.linalg.cholesky(wide.covariances)
    with jax.enable_x64(True):
        log_target, log_start, log_normals = (
            np.asarray(value, np.float64) for value in _log_densities(coordinates, jnp.asarray(u), *wide[:2], factors)
        )
    log_q = log_normals
    if n_start:
        log_q = np.logaddexp(math.log1p(-n_start / n) + log_normals, math.log(n_start / n) + log_start)
    return Weighted.of(u, log_target, log_q)


@eqx.filter_jit
def _candidates(coordinates: AbstractCoordinates, key: PRNGKeyArray) -> tuple[Array, Array]:
    u = coordinates.draw_start(key, CANDIDATES).astype(float)
    return u, jax.vmap(coordinates.log_ratio)(u)


@eqx.filter_jit
def _start_draws(coordinates: AbstractCoordinates, key: PRNGKeyArray, *, n: int) -> Array:
    return coordinates.draw_start(key, n)


@eqx.filter_jit
def _value_and_gradient(coordinates: AbstractCoordinates, u: Array) -> tuple[Array, Array]:
    return jax.value_and_grad(coordinates.log_target)(u)


@eqx.filter_jit
def _hessian(coordinates: AbstractCoordinates, u: Array) -> Array:
    gradient = jax.grad(coordinates.log_target)
    # Column by column, so that memory does not grow with the square of the numbers.
    return jax.lax.map(lambda unit: jax.jvp(gradient, (u,), (unit,))[1], jnp.eye(len(u)), batch_size=32)


@eqx.filter_jit
def _log_densities(
    coordinates: AbstractCoordinates, u: Array, log_weights: Any, means: Any, factors: Any
) -> tuple[Array, Array, Array]:
    def normal(u: Array) -> Array:
        def each(mean: Array, factor: Array) -> Array:
            z = jax.scipy.linalg.solve_triangular(factor, u - mean, lower=True)
            return -0.5 * jnp.sum(z**2) - jnp.sum(jnp.log(jnp.diagonal(factor)))

        constant = 0.5 * u.size * math.log(2 * math.pi)
        return jax.nn.logsumexp(log_weights + jax.vmap(each)(means, factors)) - constant

    return jax.vmap(coordinates.log_target)(u), jax.vmap(coordinates.log_start)(u), jax.vmap(normal)(u)
