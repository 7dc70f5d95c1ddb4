"""How far a method that is only approximate is off, here: by the weights of its own paths, or on a normal prior."""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward.inference import Importance as Weighted
from pushforward.inverse_problems.closed_form import Normals, condition_normals
from pushforward.inverse_problems.field_prior import FieldPrior, Moments, NormalField
from pushforward.inverse_problems.guided_sampling import Guided, events_of, run_guided
from pushforward.inverse_problems.methods import DPS, PiGDM
from pushforward.inverse_problems.noise import GaussianNoise
from pushforward.inverse_problems.problem import Problem, exact_matrix
from pushforward.metrics.weights import heavy_tailed
from pushforward.numerics.mean_error import mean_and_error

# Weights tell a bias where they are worth so many draws; they are even where they are worth this share of all.
LEAST_ESS = 100.0
# Deviations of the posterior that are less than this share of the largest count as this share: what an observation
# without noise holds has none.
LEAST_SPREAD = 1e-3


class Bias(NamedTuple):
    """How far means and standard deviations of draws are off, over the numbers of an event.

    Attributes:
        source: `"weights"`: the draws' own weights towards the posterior; `"normal twin"`: the same method on a normal
            prior with the prior's mean and covariance, whose posterior is known.
        mean: Largest distance between means, in standard deviations of the posterior.
        mean_error: Standard error of that distance.
        sd_low, sd_high: Smallest and largest ratio of the draws' standard deviations to the posterior's.
    """

    source: Literal["weights", "normal twin"]
    mean: float
    mean_error: float
    sd_low: float
    sd_high: float

    @property
    def sentence(self) -> str:
        """The bias in words."""
        by = {
            "weights": "By the weights of the draws",
            "normal twin": "On a normal prior with the same mean and covariance, whose posterior is known,",
        }[self.source]
        return (
            f"{by} means are off by up to {self.mean:.2f} +- {self.mean_error:.2f} of the posterior's standard "
            f"deviations, and standard deviations are {self.sd_low:.2f} to {self.sd_high:.2f} times the posterior's."
        )


def _bias(
    source: Literal["weights", "normal twin"],
    rows: np.ndarray,
    mean: np.ndarray,
    sd: np.ndarray,
    error: np.ndarray,
) -> Bias:
    """The bias of rows `(n, d)` towards a mean and standard deviations `(d,)`; `error` is the mean's own."""
    sd = np.maximum(sd, LEAST_SPREAD * max(sd.max(), 1e-300))
    own, own_error = mean_and_error(rows)
    gaps = np.abs(own - mean) / sd
    worst = int(np.argmax(gaps))
    ratios = np.maximum(rows.std(axis=0), LEAST_SPREAD * sd.max()) / sd
    whole = math.hypot(float(own_error[worst]), float(error[worst])) / float(sd[worst])
    return Bias(source, float(gaps[worst]), whole, float(ratios.min()), float(ratios.max()))


def bias_by_weights(weighted: Weighted, rows: np.ndarray) -> Bias | None:
    """The bias of equally weighted rows, by their own weights towards the posterior; None where these tell too little.

    Args:
        weighted: Draws of the method with their weights.
        rows: The same draws as events `(n, d)`.
    """
    if not weighted.ess >= LEAST_ESS or heavy_tailed(weighted.pareto_k, weighted.ess, len(rows)):
        return None
    weights = weighted.weights
    mean, error = mean_and_error(rows, weights)
    sd = np.sqrt(weights @ (rows - mean) ** 2)
    return _bias("weights", rows, mean, sd, error)


def bias_on_normal(
    problem: Problem,
    prior: FieldPrior,
    moments: Moments,
    method: DPS | PiGDM,
    shape: tuple[int, int],
    key: PRNGKeyArray,
) -> Bias | None:
    """The bias of the same method, steps and observation on a normal prior; None for operators that are not linear.

    Args:
        problem: The problem.
        prior: The prior's field.
        moments: Mean and covariance of the field's vectors.
        method: The method.
        shape: Numbers of islands and of particles in each.
        key: JAX key.
    """
    known = isinstance(problem.noise, GaussianNoise) or problem.noiseless
    mean, vectors, variances = moments.arrays()

    if not known or not problem.operator.linear or not _is_affine(prior.event, mean, np.sqrt(variances) @ vectors.T):
        return None
    tail = np.asarray(jax.jacfwd(lambda x: prior.event(x).reshape(-1))(jnp.asarray(mean)), np.float64)
    centre = np.asarray(prior.event(jnp.asarray(mean)), np.float64).ravel()
    normal = Normals(np.zeros(1), centre[None], (tail @ (vectors * variances) @ vectors.T @ tail.T)[None])
    if problem.noiseless:
        matrix, y = exact_matrix(problem)
        noise = np.zeros((len(y), len(y)))
    else:
        matrix, y = np.asarray(problem.operator.matrix(), np.float64), np.asarray(problem.y.value).ravel()
        noise = problem.noise.covariance(np.asarray(problem.y.value))
    exact = condition_normals(normal, matrix, y, noise).normals
    twin = FieldPrior(NormalField(prior.field.path, mean, vectors, variances), None, prior.tail, prior.shape)
    run: Guided = run_guided(problem, twin, moments, method, shape, key)
    rows = events_of(problem, twin, run.x).reshape(-1, problem.size)
    sd = np.sqrt(np.maximum(np.diagonal(exact.covariance()), 0))
    return _bias("normal twin", rows, exact.mean(), sd, np.zeros(problem.size))


def _is_affine(function: Any, centre: np.ndarray, step: np.ndarray) -> bool:
    """Whether a function is affine along one line, as far as rounding tells."""
    low, middle, high = (np.asarray(function(jnp.asarray(centre + k * step)), np.float64) for k in (-1.0, 0.0, 1.0))
    scale = max(np.abs(high - low).max(), np.abs(middle).max(), 1e-30)
    return bool(np.abs(low + high - 2 * middle).max() <= 1e-4 * scale)
