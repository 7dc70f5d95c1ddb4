"""The end of a round of steps: score the averaged weights, keep the best, rewind after trouble, decide how to go on."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions.scoring_form import evaluation_form
from pushforward.objectives import weighted_mean
from pushforward.training.prepare import Problem
from pushforward.training.rows import Rows
from pushforward.training.state import (
    CONVERGED,
    DIVERGED,
    OUT_OF_STEPS,
    OUT_OF_TIME,
    RUNNING,
    Counters,
    FitState,
    Packed,
    Scores,
    Tally,
)
from pushforward.training.step import select

REWIND_SHARE = 0.1  # training goes back if more than this share of steps, rows or held-out rows fails
REWIND_RATE = 0.3  # the learning rate is multiplied by this at each rewind
MAX_REWINDS = 5  # then the fit has failed
PROGRESS_NATS = 1e-4  # a rise of the held-out score below this does not renew the patience


def end_of_round(state: FitState, problem: Problem, time_up: Array, key: PRNGKeyArray) -> tuple[FitState, Array, Array]:
    """The state after a validation, the mean score of the training rows since the last one, and the held-out score."""
    plan, held_out = problem.plan, problem.held_out
    tally, before, scores = state.tally.named, state.counters.named, state.scores.named
    train = -tally.loss / jnp.where(tally.weight > 0, tally.weight, jnp.nan)
    average = state.now.average
    attempted = before.step - before.validated_at
    rows_met = attempted * (problem.rows.n / plan.steps_per_epoch)
    sound = jnp.all(jnp.isfinite(average))
    sound &= (tally.skipped <= REWIND_SHARE * attempted) & (tally.left_out <= REWIND_SHARE * rows_met)
    if held_out is None:
        nats, error, n_unscored = jnp.float32(jnp.nan), jnp.float32(jnp.nan), jnp.int32(0)
        better = progress = sound
    else:
        flow = evaluation_form(problem.build(average))
        nats, error, n_unscored = score(flow, problem, held_out, key)
        sound &= jnp.isfinite(nats) & (n_unscored <= REWIND_SHARE * held_out.n)
        # A model that fails on more of the held-out rows is no better, whatever it gives to the others.
        fewer, as_many = n_unscored < before.n_unscored, n_unscored == before.n_unscored
        better = sound & (fewer | (as_many & (nats > scores.best_nats)))
        progress = sound & (fewer | (as_many & (nats > scores.mark_nats + PROGRESS_NATS)))
    n_rewinds = before.n_rewinds + (1 - sound.astype(jnp.int32))
    mark_step = jnp.where(progress, before.step, before.mark_step)
    status = jnp.where(time_up, OUT_OF_TIME, RUNNING)
    status = jnp.where(before.step >= plan.total_steps, OUT_OF_STEPS, status)
    status = jnp.where(before.step - mark_step >= plan.patience_steps, CONVERGED, status)
    status = jnp.where(n_rewinds > MAX_REWINDS, DIVERGED, status)
    counters = Counters(
        step=before.step,
        validated_at=before.step,
        best_step=jnp.where(better, before.step, before.best_step),
        mark_step=mark_step,
        n_skipped=before.n_skipped + tally.skipped.astype(jnp.int32),
        n_left_out=before.n_left_out + tally.left_out.astype(jnp.int32),
        n_unscored=jnp.where(better, n_unscored, before.n_unscored),
        n_rewinds=n_rewinds,
        status=status,
    )
    now = Scores(
        best_nats=jnp.where(better, nats, scores.best_nats),
        best_error=jnp.where(better, error, scores.best_error),
        mark_nats=jnp.where(progress, nats, scores.mark_nats),
        rate_scale=jnp.where(sound, scores.rate_scale, scores.rate_scale * REWIND_RATE),
    )
    good = select(sound, state.now, state.good)
    state = FitState(
        now=good,
        good=good,
        best=jnp.where(better, average, state.best),
        order=state.order,
        tally=Packed.of(Tally(tally.updates, 0, 0, 0, 0), jnp.float32),
        counters=Packed.of(counters, jnp.int32),
        scores=Packed.of(now, jnp.float32),
    )
    return state, train, nats


def score(flow: Any, problem: Problem, rows: Rows, key: PRNGKeyArray) -> tuple[Array, Array, Array]:
    r"""The weighted mean of the held-out score, $\sum w l / \sum w$, its standard error, and how many rows have none.

    Rows whose score is not finite are left out, and counted. Sums are taken chunk by chunk, of deviations from the
    first chunk's mean, so that no sum of large numbers loses digits.

    Source:
        Chan, Golub, LeVeque, 1983, sec. 4 (shifted data), doi 10.1080/00031305.1983.10483115.
    """
    chunk_rows = problem.plan.chunk_rows

    def chunk(i: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        def part(array: Any) -> Any:
            found = None if array is None else jax.lax.dynamic_slice_in_dim(array, i * chunk_rows, chunk_rows)
            return problem.dealt(found)

        weights, log_det = part(rows.weights), part(rows.log_det)
        nats = -problem.objective.per_row(flow, part(rows.x), part(rows.condition), jax.random.fold_in(key, i))
        nats = nats if log_det is None else nats + log_det
        there = jnp.isfinite(nats)
        lost = jnp.sum(~there & (weights > 0)).astype(weights.dtype)
        nats, weights = jnp.where(there, nats, 0), jnp.where(there, weights, 0)
        centre = jnp.where(i == 0, weighted_mean(nats, weights), sums[0])
        off, squared = nats - centre, weights**2
        terms = (weights, weights * off, squared, squared * off, squared * off**2)
        return centre, *(total + jnp.sum(term) for total, term in zip(sums[1:-1], terms, strict=True)), sums[-1] + lost

    n_chunks = (rows.n + chunk_rows - 1) // chunk_rows
    zero = jnp.zeros((), rows.weights.dtype)
    centre, w, w_off, ww, ww_off, ww_off2, lost = jax.lax.fori_loop(0, n_chunks, chunk, (zero,) * 7)
    shift = w_off / w  # NaN where no row has a score
    spread = jnp.maximum(ww_off2 - 2 * shift * ww_off + shift**2 * ww, 0)
    return (centre + shift).astype(jnp.float32), (jnp.sqrt(spread) / w).astype(jnp.float32), lost.astype(jnp.int32)
