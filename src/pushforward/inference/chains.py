"""Chains of blackjax for what is unknown of a row, in coordinates in which it is nearly normal."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import package_of
from pushforward._programs import program
from pushforward._types import Array
from pushforward.inference.surrogate import Asked, Surrogate, density, ordered, propose
from pushforward.inference.weighted import Report
from pushforward.numerics.triangular import solve_triangular

CHAINS = 32
# Steps of one round: two rounds set the normal that the ellipses are drawn from, and then rows are kept.
WARM_UP, ROUNDS = 100, 2
# Steps between rows that are kept, and rows of a chain at least.
THIN, LEAST_KEPT = 5, 100
# The normal is so much wider than the rows of the chains.
WIDER = 1.2


class Problem(NamedTuple):
    """What is known of one row, in the order in which known numbers come first; see `surrogate.Asked`.

    Attributes:
        order: Places of the numbers in that order, `(dim,)`.
        low: Lower ends `(dim,)` in that order.
        high: Upper ends `(dim,)`.
        n_points: Number of known ones.
        n_ranges: Number of ranges.
    """

    order: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_points: int
    n_ranges: int


class Chained(NamedTuple):
    """Rows of chains in the coordinates of the core, `(n, dim)`, and their report."""

    rows: np.ndarray
    report: Report


def run_chains(
    core: Any, surrogate: Surrogate, problem: Problem, starts: np.ndarray, seed: np.ndarray, n: int
) -> Chained:
    r"""Rows of the conditional distribution by elliptical slices and independent proposals.

    A step is an elliptical slice, whose normal has the mean and covariance of the chains' own rows, and a Metropolis
    step with a proposal of the surrogate, which goes from mode to mode. Both leave $p(x_{\text{free}} \mid
    x_{\text{known}})$ as it is.

    Args:
        core: A distribution with a density for all numbers of the line.
        surrogate: A mixture that resembles it.
        problem: What is known.
        starts: Rows `(CHAINS, dim)` of the core's coordinates.
        seed: Two words.
        n: Rows to return.

    Raises:
        ImportError: blackjax is not installed.

    Source: Murray, Adams, MacKay, 2010, "Elliptical slice sampling", arXiv 1001.0175; Hoffman et al., 2019,
        arXiv 1903.03704 (chains in coordinates in which the target is nearly normal).
    """
    blackjax = package_of("condition_on", "blackjax", "inference")
    k = problem.n_points
    positions = starts[:, problem.order[k:]]
    run = program(_chains, core, n_points=k, n_ranges=problem.n_ranges)
    fixed = (tuple(surrogate), problem.order, problem.low, problem.high)
    for number in range(ROUNDS):
        mean, cov = _moments(positions)
        kept = run(seed, np.uint32(number), fixed, positions, mean, cov)
        positions = np.asarray(kept)[-WARM_UP // 2 :: 5].reshape(-1, positions.shape[1])
        mean, cov = _moments(positions)
        positions = np.asarray(kept)[-1]
    blocks = math.ceil(max(math.ceil(n / CHAINS), LEAST_KEPT) * THIN / WARM_UP)
    found = []
    for number in range(ROUNDS, ROUNDS + blocks):
        block = np.asarray(run(seed, np.uint32(number), fixed, positions, mean, cov))
        positions = block[-1]
        found.append(block[THIN - 1 :: THIN])
    kept = np.concatenate(found)
    by_chain = np.swapaxes(kept, 0, 1)
    with jax.enable_x64(True):
        # A number that never moves has an effective number of zero, and no R-hat.
        ess = float(np.min(np.asarray(blackjax.ess(jnp.asarray(by_chain)))))
        r_hat = float(np.max(np.nan_to_num(np.asarray(blackjax.rhat(jnp.asarray(by_chain))), nan=np.inf)))
    everything = kept.reshape(-1, kept.shape[-1])
    rng = np.random.default_rng([*seed.tolist(), 3])
    chosen = everything[np.sort(rng.choice(len(everything), size=n, replace=False))]
    rows = np.empty((n, len(problem.order)))
    rows[:, problem.order[:k]] = problem.low[:k]
    rows[:, problem.order[k:]] = rng.permutation(chosen)
    report = Report("mcmc", ess, math.nan, blocks * WARM_UP * CHAINS, r_hat, math.nan, math.nan)
    return Chained(rows, report)


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    dim = rows.shape[1]
    cov = WIDER**2 * np.cov(rows.T).reshape(dim, dim)
    return rows.mean(axis=0), cov + np.diag(1e-6 * np.diag(cov) + 1e-12)


def _chains(
    core: Any,
    seed: Array,
    number: Array,
    fixed: Any,
    starts: Array,
    mean: Array,
    cov: Array,
    *,
    n_points: int,
    n_ranges: int,
) -> Array:
    """Positions after each step, `(WARM_UP, n_chains, n_free)`."""
    import blackjax

    (mixture, order, low, high) = fixed
    dim = low.shape[0]
    asked = Asked(low[:, None], high[:, None], jnp.asarray(n_points), jnp.asarray(n_ranges))
    parts = ordered(Surrogate(*mixture), order)
    back = jnp.zeros(dim, int).at[order].set(jnp.arange(dim))
    factor = jnp.linalg.cholesky(cov)

    def whole(position: Array) -> Array:
        return jnp.concatenate([low[:n_points], position])

    def target(position: Array) -> Array:
        row = whole(position)
        inside = jnp.all((row >= low) & (row <= high))
        log_prob = core.log_prob_rows(row[back][:, None], None, None)[0]
        return jnp.where(inside & ~jnp.isnan(log_prob), log_prob, -jnp.inf)

    def beyond_normal(position: Array) -> Array:
        t = solve_triangular(factor, position - mean, lower=True)
        return target(position) + 0.5 * jnp.sum(t * t)

    ellipse: Any = blackjax.elliptical_slice(beyond_normal, mean=mean, cov=cov)

    def proposed(key: Any) -> Array:
        return propose(parts, key[None], asked)[0][n_points:, 0]

    def log_proposed(origin: Any, new: Any) -> Array:
        return density(parts, whole(new.position)[:, None], asked)[0]

    jump: Any = blackjax.irmh(target, proposed, log_proposed)

    def one(key: Any, position: Array) -> Array:
        first, second = jax.random.split(key)
        position = ellipse.step(first, ellipse.init(position))[0].position
        return jump.step(second, jump.init(position))[0].position

    key = jax.random.fold_in(jax.random.wrap_key_data(seed, impl="threefry2x32"), number)

    def step(positions: Array, i: Array) -> tuple[Array, Array]:
        keys = jax.random.split(jax.random.fold_in(key, i), len(positions))
        positions = jax.vmap(one)(keys, positions)
        return positions, positions

    return jax.lax.scan(step, starts, jnp.arange(WARM_UP))[1]
