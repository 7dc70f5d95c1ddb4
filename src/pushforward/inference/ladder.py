"""The ladder of tempered targets: particles are weighted, resampled and moved, and a flow learns them on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import PRNGKeyArray
from pushforward.bijections.base import AbstractBijection
from pushforward.inference.budget import Budget
from pushforward.inference.candidates import Choice, Fitted, Fitter
from pushforward.inference.programs import MOVE_COST, draw_start, evaluate, move, resampled, start_rows
from pushforward.inference.target import Target
from pushforward.inference.transport import DTYPE

# The share of effective particles that a step of the temperature leaves.
ESS_SHARE = 0.5
# Calls of `move` at a stage: more where proposals are refused.
LEAST_MOVES, MOST_MOVES = 1, 3
ENOUGH = 0.5  # acceptance of independent proposals with which one call is enough
# Where as many independent proposals were accepted, no new flow is trained on the way: a target that is nearly normal
# compiles no flow at all.
GOOD = 0.6
# A proper target of many dimensions takes some dozens of stages; a ladder that does not end belongs to no density.
MOST_STAGES = 300
# Batches of draws of the start that are tried until a particle has a density above 0.
STARTS = 8
START_LOG_STEP = -1.0


@dataclass(frozen=True, eq=False)
class Rung:
    """Where the ladder is: a value, from which another process can go on.

    Args:
        u: Particles `(n, d)`, equally weighted at this temperature.
        log_p: Log-densities `(n,)` of the target there.
        temperature: The power of the target, from 0 to 1.
        log_z: Estimate of the log of the normalising constant so far.
        log_step: Log of the step of HMC.
        stage: Number of the stage.
        kept: The flow that the stage kept.
        trained: The bijection from which training goes on.
        n_evaluated: Points at which the target was evaluated and looked at, without those within moves.
        n_faults: Those among them at which it was not a number.
        history: What each stage tells.
    """

    u: np.ndarray
    log_p: np.ndarray
    temperature: float
    log_z: float
    log_step: float
    stage: int
    kept: Fitted
    trained: AbstractBijection
    n_evaluated: int
    n_faults: int
    history: tuple[dict[str, Any], ...] = field(default=())


class DensityError(ValueError):
    """A target has no point of positive density among those that were tried, so that nothing can be inferred."""


def first_rung(target: Target, fitter: Fitter, n: int, key: PRNGKeyArray, budget: Budget) -> Rung:
    """Particles of the start at which the target has a density.

    Args:
        target: The target.
        fitter: Fits flows.
        n: Number of particles.
        key: JAX key.
        budget: Counts evaluations.

    Raises:
        DensityError: The target is 0 or not a number everywhere.
    """
    found: list[np.ndarray] = []
    values: list[np.ndarray] = []
    tried, faults = 0, 0
    for batch in range(STARTS):
        u = draw_start(jax.random.fold_in(key, batch), n, target.dim)
        log_p, fault = (np.asarray(part) for part in evaluate(target, u))
        budget.spend(n)
        tried, faults = tried + n, faults + int(fault.sum())
        alive = log_p > -np.inf
        found.append(np.asarray(u)[alive])
        values.append(log_p[alive])
        if batch > 0 and sum(map(len, found)) >= n:
            break
    u, log_p = np.concatenate(found), np.concatenate(values)
    if not len(u):
        what = "not a number (NaN or infinite)" if faults == tried else "0 (its logarithm -inf) or not a number"
        fix = "Check the signs and the supports, and evaluate target(jax.numpy.zeros(target.dim))."
        got = f"a density that is {what} at all {tried:,} points tried"
        raise DensityError(message("infer", "a point of positive density", got, fix))
    places = np.asarray(jax.random.permutation(jax.random.fold_in(key, STARTS), max(len(u), n)))[:n] % len(u)
    plain = fitter.plain(u[places])
    kept = Fitted(plain, "identity", float("nan"))
    log_z = float(np.log(len(u) / tried))
    return Rung(u[places], log_p[places], 0.0, log_z, START_LOG_STEP, 0, kept, fitter.start, tried, faults)


def climb(
    target: Target,
    fitter: Fitter,
    rung: Rung,
    key: PRNGKeyArray,
    budget: Budget,
    share: float,
    report: Callable[[Rung], None],
    most_stages: int = MOST_STAGES,
) -> Rung:
    """Go up the ladder until the temperature is 1, or the budget or the stages are used up.

    Args:
        target: The target.
        fitter: Fits flows.
        rung: Where to start.
        key: JAX key.
        budget: Counts evaluations.
        share: Share of the budget that the ladder may use.
        report: Called after each stage, to show and to store it.
        most_stages: Number of stages at most.
    """
    while rung.temperature < 1 and rung.stage < most_stages and budget.allows(len(rung.u) * MOVE_COST, share):
        rung = next_rung(target, fitter, rung, jax.random.fold_in(key, rung.stage), budget)
        report(rung)
    return rung


def next_rung(target: Target, fitter: Fitter, rung: Rung, key: PRNGKeyArray, budget: Budget) -> Rung:
    """One stage: weigh, resample, fit, move."""
    n = len(rung.u)
    log_start = np.asarray(start_rows(jnp.asarray(rung.u)))
    delta, log_weights = step_of(rung.log_p - log_start, 1 - rung.temperature)
    temperature = 1.0 if delta == 1 - rung.temperature else rung.temperature + delta
    top = log_weights.max()
    weights = np.exp(log_weights - top)
    ess = weights.sum() ** 2 / (weights**2).sum()
    resample_key, move_key = jax.random.split(key)
    ancestors = np.asarray(resampled(resample_key, jnp.asarray(weights / weights.sum())))
    rung = replace(
        rung,
        u=rung.u[ancestors],
        log_p=rung.log_p[ancestors],
        temperature=temperature,
        log_z=rung.log_z + float(top + np.log(weights.mean())),
        stage=rung.stage + 1,
    )
    told = rung.history[-1]["jump_acceptance"] if rung.history else 1.0
    effort = "none" if told > GOOD else "stage"
    choice = fitter.choose(rung.u, ancestors, rung.kept, rung.trained, rung.stage, effort)
    rung, rates = moves(target, rung, choice, move_key, budget)
    record = {
        "stage": rung.stage,
        "temperature": temperature,
        "ess_fraction": float(ess / n),
        "log_z": rung.log_z,
        "kept": choice.kept.name,
        **rates,
        "evaluations": budget.spent,
        "seconds": budget.elapsed,
    }
    return replace(rung, history=(*rung.history, record))


def moves(
    target: Target, rung: Rung, choice: Choice, key: PRNGKeyArray, budget: Budget
) -> tuple[Rung, dict[str, float]]:
    """Move the particles until enough proposals were accepted, with the flow that was chosen."""
    rates: list[tuple[float, float, float]] = []
    for call in range(MOST_MOVES):
        rung, rate = moved(target, rung, choice.kept, jax.random.fold_in(key, call), budget)
        rates.append(rate)
        if call + 1 >= LEAST_MOVES and sum(rate[1] for rate in rates) > ENOUGH:
            break
    mean = np.mean(rates, axis=0)
    told = {"acceptance": float(mean[0]), "jump_acceptance": float(mean[1]), "divergent": float(mean[2])}
    return replace(rung, kept=choice.kept, trained=choice.trained), told


def moved(
    target: Target, rung: Rung, kept: Fitted, key: PRNGKeyArray, budget: Budget
) -> tuple[Rung, tuple[float, float, float]]:
    """One call of `move`: the rung with moved particles, and the shares of accepted and of divergent proposals."""
    n = len(rung.u)
    out = move(
        kept.transport,
        target,
        jnp.asarray(rung.u),
        jnp.asarray(rung.temperature),
        jnp.asarray(rung.log_step, DTYPE),
        key,
    )
    budget.spend(n * MOVE_COST)
    log_p = np.asarray(out.log_p)
    # The way back and forth through float32 can push a particle over an edge: it stays where it was.
    alive = (log_p > -np.inf) & np.isfinite(np.asarray(out.u)).all(axis=1)
    u = np.where(alive[:, None], np.asarray(out.u), rung.u)
    rung = replace(rung, u=u, log_p=np.where(alive, log_p, rung.log_p), log_step=float(out.log_step))
    return rung, (float(out.hmc), float(out.independent), float(out.divergent))


def step_of(log_ratio: np.ndarray, most: float) -> tuple[float, np.ndarray]:
    """The step of the temperature that leaves `ESS_SHARE` of the particles, and the log-weights that it gives.

    Args:
        log_ratio: Log-densities of the target minus those of the start `(n,)`.
        most: The largest step.
    """
    goal = np.log(ESS_SHARE * len(log_ratio))

    def log_ess(log_delta: float) -> float:
        weights = np.exp(log_delta) * log_ratio
        return float(2 * _logsumexp(weights) - _logsumexp(2 * weights))

    high = np.log(most)
    if log_ess(high) >= goal:
        return most, most * log_ratio
    low = high - 80.0  # a log-density of 1e34 takes so small a first step
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if log_ess(middle) >= goal else (low, middle)
    return float(np.exp(low)), np.exp(low) * log_ratio


def _logsumexp(values: np.ndarray) -> float:
    top = values.max()
    return float(top + np.log(np.exp(values - top).sum()))
