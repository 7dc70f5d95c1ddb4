"""Chains that go from the prior to the posterior: tempered particles in islands, moved by HMC or by MALA."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message, package_of
from pushforward._types import Array, PRNGKeyArray
from pushforward.inference.ladder import step_of
from pushforward.inverse_problems.coordinates import AbstractCoordinates, finite_or_none, shrunk_covariance
from pushforward.inverse_problems.islands import chosen, evidence_of, island_counts, log_mean, taken
from pushforward.inverse_problems.methods import HMC, MALA
from pushforward.inverse_problems.problem import NAME

MOST_STAGES = 200
# Acceptance to which the step adapts (for MALA the optimum in many dimensions), how fast, and the jitter of its log.
ACCEPTANCE = {"hmc": 0.8, "mala": 0.574}
RATE, JITTER = 0.5, 0.4


class Tempered(NamedTuple):
    """What the chains gave.

    Attributes:
        u: Vectors `(n, size)`.
        groups: Number of each one's island `(n,)`.
        log_evidence: Log-density of the observation, in nats.
        log_evidence_error: Its standard error.
        diagnostics: Acceptance, nested R-hat, effective islands, stages.
        n_evaluations: Evaluations of the target, a value with its gradient counting as one.
    """

    u: np.ndarray
    groups: np.ndarray
    log_evidence: float
    log_evidence_error: float
    diagnostics: dict[str, float]
    n_evaluations: int


def run_tempered(coordinates: AbstractCoordinates, method: HMC | MALA, n: int, key: PRNGKeyArray) -> Tempered:
    r"""Draws of the posterior by sequential Monte Carlo along $p_0^{1 - \beta}\,\tilde p^\beta$, and then chains.

    Each step of $\beta$ leaves half of the particles effective; islands are resampled on their own, and particles are
    moved by a kernel of blackjax in coordinates in which their covariance is 1. At $\beta = 1$ the chains go on,
    first to adapt the step and then with a fixed one, and these positions are the draws.

    Args:
        coordinates: The coordinates.
        method: Numbers of islands, particles and moves.
        n: Number of draws.
        key: JAX key.

    Raises:
        ImportError: blackjax is not installed.
        ValueError: The posterior is zero at all draws of the start.

    Source: Del Moral, Doucet, Jasra, 2006, J. R. Stat. Soc. B 68; Hoffman et al., 2019, arXiv 1903.03704 (latents);
        Margossian et al., 2024, arXiv 2110.13017 (nested R-hat).
    """
    package_of(NAME, "blackjax", "inference")
    shape, size = (method.n_islands, method.n_particles), coordinates.size
    start_key, stage_key, end_key = jax.random.split(key, 3)
    u = _start(coordinates, start_key, n=shape[0] * shape[1])
    ratio = np.asarray(_ratios(coordinates, u))
    if not np.isfinite(ratio).any():
        fix = "Look at y, the operator and the noise: no draw of the prior can have given y."
        raise ValueError(message(NAME, "a posterior above zero at some draws of the prior", "zero at all", fix))
    frame = _frame(np.asarray(u))
    temperature, log_step, stage = 0.0, float(np.log(method.first_step(size))), 0
    log_evidence = np.zeros(shape[0])
    static: dict[str, Any] = {"kind": method.kind, "n_leapfrogs": method.n_leapfrogs}
    while temperature < 1 and stage < MOST_STAGES:
        own = jax.random.fold_in(stage_key, stage)
        step, _ = step_of(ratio, 1 - temperature)
        log_weights = jnp.asarray(step * ratio).reshape(shape)
        log_evidence += np.asarray(log_mean(log_weights))
        places = chosen(own, log_weights)
        u = taken(places, u.reshape(*shape, size)).reshape(-1, size)
        temperature = min(temperature + step, 1.0) if step < 1 - temperature else 1.0
        frame = _frame(np.asarray(u))
        moved = _moves(
            coordinates, u, _numbers(temperature, log_step, RATE), frame, own, n_moves=method.n_moves, **static
        )
        u, log_step, ratio, stage = moved.u, float(moved.log_step), np.asarray(moved.ratio), stage + 1
    # The same program as before, as often as it takes: first to adapt the step and the frame, then with both fixed.
    n_calls = -(-method.n_rounds // method.n_moves)
    collected, acceptance = [], []
    for call in range(2 * n_calls):
        rate = RATE if call < n_calls else 0.0
        frame = _frame(np.asarray(u)) if call <= n_calls else frame
        own = jax.random.fold_in(end_key, call)
        moved = _moves(coordinates, u, _numbers(1.0, log_step, rate), frame, own, n_moves=method.n_moves, **static)
        u, log_step = moved.u, float(moved.log_step)
        if call >= n_calls:
            collected.append(np.asarray(moved.positions))
            acceptance.append(float(moved.acceptance))
    positions = np.concatenate(collected).reshape(-1, *shape, size)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    drawn, groups = _drawn(positions, log_evidence, n, rng)
    value, error = evidence_of(log_evidence)
    shares = np.exp(log_evidence - log_evidence.max())
    diagnostics = {
        "acceptance": float(np.mean(acceptance)),
        "nested_r_hat": nested_r_hat(positions),
        "effective_islands": float(shares.sum() ** 2 / (shares**2).sum()),
        "islands": float(shape[0]),
        "stages": float(stage),
    }
    moves = (stage + 2 * n_calls) * method.n_moves
    return Tempered(drawn, groups, value, error, diagnostics, u.shape[0] * (1 + moves * method.n_leapfrogs))


def _drawn(
    positions: np.ndarray, log_evidence: np.ndarray, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws `(n, size)` of positions `(rounds, islands, particles, size)`, and the islands they come from."""
    counts = island_counts(log_evidence, n, rng)
    rows, groups = [], []
    for island, count in enumerate(counts):
        own = positions[:, island].reshape(-1, positions.shape[-1])
        rows.append(own[rng.choice(len(own), count, replace=count > len(own))])
        groups.append(np.full(count, island))
    order = rng.permutation(n)
    return np.concatenate(rows)[order], np.concatenate(groups)[order]


def nested_r_hat(positions: np.ndarray) -> float:
    r"""The largest nested R-hat $\sqrt{1 + B / W}$ of positions `(rounds, islands, particles, size)`.

    $B$ is the variance of the islands' means, and $W$ the mean variance within an island. It is infinite where a number
    never moves.
    """
    within = positions.var(axis=(0, 2)).mean(axis=0)
    between = positions.mean(axis=(0, 2)).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.max(np.nan_to_num(np.sqrt(1 + between / within), nan=np.inf, posinf=np.inf)))


@eqx.filter_jit
def _start(coordinates: AbstractCoordinates, key: PRNGKeyArray, *, n: int) -> Array:
    return coordinates.draw_start(key, n).astype(float)


@eqx.filter_jit
def _ratios(coordinates: AbstractCoordinates, u: Array) -> Array:
    return jax.vmap(coordinates.log_ratio)(u)


class Frame(NamedTuple):
    """Mean and lower triangular factor of the particles, in which they are standardised."""

    mean: Array
    factor: Array


def _frame(u: np.ndarray) -> Frame:
    return Frame(jnp.asarray(u.mean(axis=0)), jnp.asarray(np.linalg.cholesky(shrunk_covariance(u))))


def _numbers(temperature: float, log_step: float, rate: float) -> Array:
    """What changes from call to call, as an array: a number would be a part of the program, and compile it anew."""
    return jnp.array([temperature, log_step, rate])


class Moved(NamedTuple):
    """Vectors after the moves, their log-ratios, the step, the mean acceptance, and the vectors after each move."""

    u: Array
    ratio: Array
    log_step: Array
    acceptance: Array
    positions: Array


@eqx.filter_jit
def _moves(
    coordinates: AbstractCoordinates,
    u: Array,
    numbers: Array,
    frame: Frame,
    key: PRNGKeyArray,
    *,
    n_moves: int,
    kind: str,
    n_leapfrogs: int,
) -> Moved:
    import blackjax

    (n, size), mean, factor = u.shape, *frame
    temperature, log_step, rate = numbers

    def to_u(v: Array) -> Array:
        return mean + factor @ v

    def log_density(v: Array) -> Array:
        own = to_u(v)
        return finite_or_none(coordinates.log_start(own) + temperature * coordinates.log_ratio(own))

    hmc, mala = blackjax.hmc.build_kernel(), blackjax.mala.build_kernel()

    def move(key: PRNGKeyArray, state: Any, length: Array) -> tuple[Any, Any]:
        if kind == "hmc":
            return hmc(key, state, log_density, length, jnp.ones(size), n_leapfrogs)
        return mala(key, state, log_density, length)

    def one(carry: tuple[Any, Array], key: PRNGKeyArray) -> tuple[Any, tuple[Array, Array]]:
        states, log_step = carry
        jitter_key, own_key = jax.random.split(key)
        length = jnp.exp(log_step + JITTER * (jax.random.uniform(jitter_key) - 0.5))
        states, info = jax.vmap(move, (0, 0, None))(jax.random.split(own_key, n), states, length)
        accepted = jnp.mean(jnp.where(info.acceptance_rate >= 0, info.acceptance_rate, 0))
        log_step = log_step + rate * (accepted - ACCEPTANCE[kind])
        return (states, log_step), (accepted, states.position)

    v = jax.scipy.linalg.solve_triangular(factor, (u - mean).T, lower=True).T
    start = blackjax.hmc.init if kind == "hmc" else blackjax.mala.init
    states = jax.vmap(lambda v: start(v, log_density))(v)
    carry, (accepted, positions) = jax.lax.scan(one, (states, log_step), jax.random.split(key, n_moves))
    positions = jax.vmap(jax.vmap(to_u))(positions)
    last = positions[-1]
    return Moved(last, jax.vmap(coordinates.log_ratio)(last), carry[1], jnp.mean(accepted), positions)
