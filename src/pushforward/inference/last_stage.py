"""The last stage: the flow is fitted to the target itself, and the particles are moved until they have mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward.inference.budget import Budget
from pushforward.inference.candidates import Fitted, Fitter
from pushforward.inference.ladder import Rung, moved
from pushforward.inference.programs import FINISH_COST, MOVE_COST, Training, draw, finish, score
from pushforward.inference.target import Target
from pushforward.inference.weighting import Importance

# Rounds of moves and fits, and calls of `move` in each, whose particles are pooled.
ROUNDS, SWEEPS = 3, 8
# A flow whose draws are as effective as this needs no further fit.
ENOUGH = 0.97
# The reverse divergence: calls, the rate at the first step (it falls to 0 like a cosine), and how many nats of the
# particles an effective flow may lose (it must not drop a mode).
FINISH_CALLS, FINISH_RATE, LOSS = 20, 5e-4, 0.02
FINISH_JUDGED_EVERY = 4
# Calls of `move` in the end, whose particles tell whether the chains have mixed.
POLISH_SWEEPS = 12


@dataclass(frozen=True, eq=False)
class Ending:
    """What the last stage leaves.

    Args:
        rung: The particles.
        weighted: Draws of the flow with their weights.
        n_faults: Draws among them at which the density was not a number.
        sweeps: Particles `(n_sweeps, n, d)` after each call of `move` in the end; None without any.
        rates: Shares of accepted proposals of HMC and of the flow in the end, and of divergent trajectories.
        log_ratio: Log-densities of the target minus those of the flow at the particles `(m,)`.
    """

    rung: Rung
    weighted: Importance
    n_faults: int
    sweeps: np.ndarray | None
    rates: tuple[float, float, float]
    log_ratio: np.ndarray


def weigh(target: Target, kept: Fitted, n: int, key: PRNGKeyArray, budget: Budget) -> tuple[Importance, int]:
    """Draws of the flow with their weights, and at how many of them the density was not a number."""
    u, log_q, log_p, fault = (np.asarray(part) for part in draw(kept.transport, target, key, n))
    budget.spend(n)
    lost = ~np.isfinite(log_q)  # so far out that the flow overflows
    return Importance.of(u, np.where(lost, -np.inf, log_p), np.where(lost, 0.0, log_q)), int(fault.sum())


def last_stage(
    target: Target,
    fitter: Fitter,
    rung: Rung,
    n_draws: int,
    key: PRNGKeyArray,
    budget: Budget,
    share: float,
    report: Callable[[Rung], None],
) -> Rung:
    """Fit the flow to pooled particles, in rounds, and finish it by the reverse divergence.

    Args:
        target: The target.
        fitter: Fits flows.
        rung: The end of the ladder.
        n_draws: Number of draws by which a flow is judged.
        key: JAX key.
        budget: Counts evaluations.
        share: Share of the budget up to which there are more rounds.
        report: Called after each round.
    """
    n = len(rung.u)
    effective = weigh(target, rung.kept, n_draws, jax.random.fold_in(key, 999), budget)[0].ess / n_draws
    for number in range(ROUNDS):
        if effective >= ENOUGH or not budget.allows(n * MOVE_COST * SWEEPS, share):
            return rung
        own = jax.random.fold_in(key, number)
        pool, rates = [], []
        for sweep in range(SWEEPS):
            rung, rate = moved(target, rung, rung.kept, jax.random.fold_in(own, sweep), budget)
            pool.append(rung.u)
            rates.append(rate)
        ancestors = np.tile(np.arange(n), SWEEPS)
        choice = fitter.choose(np.concatenate(pool), ancestors, rung.kept, rung.trained, rung.stage + 1, "last")
        rung = replace(rung, stage=rung.stage + 1, kept=choice.kept, trained=choice.trained)
        before, effective = effective, weigh(target, rung.kept, n_draws, own, budget)[0].ess / n_draws
        rung = told(rung, effective, rates, budget)
        report(rung)
        if effective < before + 0.02 and number > 0:
            break
    if effective < ENOUGH and rung.kept.name != "mixture":
        rung, effective = finished(
            target, fitter, rung, effective, n_draws, jax.random.fold_in(key, 1000), budget, share
        )
        report(told(rung, effective, [(1.0, 1.0, 0.0)], budget))
    return rung


def told(rung: Rung, effective: float, rates: Any, budget: Budget) -> Rung:
    """The rung with one more record in its history."""
    mean = np.mean(rates, axis=0)
    record: Mapping[str, Any] = {
        "stage": rung.stage,
        "temperature": 1.0,
        "ess_fraction": float(effective),
        "log_z": rung.log_z,
        "kept": rung.kept.name,
        "acceptance": float(mean[0]),
        "jump_acceptance": float(mean[1]),
        "divergent": float(mean[2]),
        "evaluations": budget.spent,
        "seconds": budget.elapsed,
    }
    return replace(rung, history=(*rung.history, dict(record)))


def finished(
    target: Target,
    fitter: Fitter,
    rung: Rung,
    effective: float,
    n_draws: int,
    key: PRNGKeyArray,
    budget: Budget,
    share: float,
) -> tuple[Rung, float]:
    """The rung with a flow that the reverse divergence made more effective, if it did, and the effective share.

    It is kept only if it also explains the particles as well as before, up to `LOSS`: the reverse divergence alone
    would not notice a lost mode.
    """
    transport = rung.kept.transport._replace(base=fitter.base)
    if rung.kept.name == "identity":
        transport = transport._replace(bijection=rung.trained)
    state, best = Training.start(transport.bijection), (effective, rung.kept)
    floor = nats(rung.kept, rung.u) - LOSS
    ends = FINISH_RATE * 0.5 * (1 + np.cos(np.pi * np.arange(FINISH_CALLS + 1) / FINISH_CALLS))
    for call in range(FINISH_CALLS):
        if not budget.allows(FINISH_COST, share):
            break
        own = jax.random.fold_in(key, call)
        state = finish(state, transport, target, jnp.asarray(ends[call : call + 2]), own)
        budget.spend(FINISH_COST)
        if (call + 1) % FINISH_JUDGED_EVERY:
            continue
        new = Fitted(transport._replace(bijection=state.bijection), "new flow", rung.kept.nats)
        found = weigh(target, new, n_draws, own, budget)[0].ess / n_draws
        if found > best[0] and nats(new, rung.u) > floor:
            best = found, new
        if best[0] >= ENOUGH:
            break
    return replace(rung, kept=best[1]), best[0]


def nats(kept: Fitted, u: np.ndarray) -> float:
    """The mean log-density of particles."""
    return float(np.mean(np.asarray(score(kept.transport, jnp.asarray(u)))))


def polish(target: Target, rung: Rung, n_draws: int, key: PRNGKeyArray, budget: Budget) -> Ending:
    """Move the particles with the last flow, and weigh fresh draws of it.

    Args:
        target: The target.
        rung: Particles at the temperature 1.
        n_draws: Number of draws of the flow.
        key: JAX key.
        budget: Counts evaluations; as many sweeps are made as it allows, but four at least.
    """
    sweeps, rates, n = [], [], len(rung.u)
    wanted = max(POLISH_SWEEPS, -(-n_draws // n))
    for sweep in range(wanted):
        if sweep >= 4 and not budget.allows(n * MOVE_COST):
            break
        rung, rate = moved(target, rung, rung.kept, jax.random.fold_in(key, sweep), budget)
        sweeps.append(rung.u)
        rates.append(rate)
    mean = np.mean(rates, axis=0)
    return ending_of(target, rung, n_draws, key, budget, np.stack(sweeps), (mean[0], mean[1], mean[2]))


def ending_of(
    target: Target,
    rung: Rung,
    n_draws: int,
    key: PRNGKeyArray,
    budget: Budget,
    sweeps: np.ndarray | None = None,
    rates: tuple[float, float, float] = (np.nan, np.nan, np.nan),
) -> Ending:
    """What there is to tell of a rung, also of one that did not reach the target."""
    weighted, faults = weigh(target, rung.kept, n_draws, jax.random.fold_in(key, 1001), budget)
    log_q = np.asarray(score(rung.kept.transport, jnp.asarray(rung.u)))
    return Ending(rung, weighted, faults, sweeps, rates, rung.log_p - log_q)
