"""The compiled loop: many steps, the validations between them and every decision, in one device call."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions.evaluation import evaluation_form
from pushforward.objectives import AbstractObjective, weighted_mean
from pushforward.training.batches import batch_rows, epoch_order
from pushforward.training.ema import ema_update
from pushforward.training.plan import Plan, optimizer_of
from pushforward.training.rows import Rows
from pushforward.training.schedule import rate_factor
from pushforward.training.state import (
    CONVERGED,
    DIVERGED,
    N_SKIPPED,
    OUT_OF_STEPS,
    OUT_OF_TIME,
    RATE_SCALE,
    RUNNING,
    SKIPPED,
    STATUS,
    STEP,
    UPDATES,
    VALIDATED_AT,
    FitState,
    FlatModel,
    Weights,
)
from pushforward.training.step import make_step, select

HISTORY_ROWS = 64  # validations per device call at most; the host sizes its calls to stay below
REWIND_SHARE = 0.1  # more skipped steps than this between two validations: rewind
REWIND_RATE = 0.3  # the learning rate is multiplied by this at each rewind
MAX_REWINDS = 5  # then the fit has failed
PROGRESS_NATS = 1e-4  # a rise of the held-out log-density below this does not renew the patience


class Call(eqx.Module):
    """What the host says to one device call.

    Attributes:
        n_steps: how many steps to run at most.
        elapsed: seconds of the fit so far, as expected at its start.
        step_seconds: seconds per step, as measured.
        last: whether the time is up after it.
    """

    n_steps: Any
    elapsed: Any
    step_seconds: Any
    last: Any


class Report(eqx.Module):
    """What one device call tells the host: a few numbers, and the validations it made.

    Attributes:
        n: number of validations; as many rows of the columns are filled.
        whole: `(HISTORY_ROWS, 2)`: step, steps skipped so far.
        real: `(HISTORY_ROWS, 3)`: mean training nats since the validation before, held-out nats, learning rate.
        state: `FitState.whole` at the end.
    """

    n: Array
    whole: Array
    real: Array
    state: Array


@eqx.filter_jit
def run(
    state: FitState,
    model: FlatModel,
    objective: AbstractObjective,
    data: Rows,
    held_out: Rows | None,
    plan: Plan,
    call: Call,
    seeds: tuple[Any, Any, Any],
) -> tuple[FitState, Report]:
    """Train for `call.n_steps` steps or until the status is no longer `RUNNING`.

    Rows are visited in the order of `epoch_order`; every `plan.steps_per_round` steps the averaged weights are scored
    on the held-out rows, and kept if they are the best. Nothing here depends on how the steps are cut into calls, but
    for the learning rate under a time budget.
    """
    start = state.whole[STEP]
    end = jnp.minimum(start + call.n_steps, plan.total_steps)
    order_seed, *others = seeds
    step_key, validation_key = (jax.random.wrap_key_data(seed, impl="threefry2x32") for seed in others)
    step = make_step(objective, optimizer_of(plan), lambda vector, _: model.build(vector))

    def rate_at(i: Array, scale: Array) -> Array:
        elapsed = call.elapsed + (i - start) * call.step_seconds
        progress = jnp.clip(jnp.maximum(i / plan.total_steps, elapsed / plan.max_seconds), 0, 1)
        return plan.learning_rate * scale * rate_factor(i, progress, plan.warmup_steps)

    def one_step(i: Array, now: Weights, tally: Array, order: Array, scale: Array) -> tuple[Weights, Array]:
        rows, counts = batch_rows(order, i % plan.steps_per_epoch, data.n, plan.steps_per_epoch, plan.batch_rows)
        weights = jnp.where(counts, take(data.weights, rows), 0)
        # Weights have mean 1, so this is the sum over the batch against an equal share of the epoch's whole weight:
        # over an epoch each row counts by its weight alone, whichever rows it met.
        weight, nominal = jnp.sum(weights), data.n / plan.steps_per_epoch
        params, moments, info = step(
            now.params,
            None,
            now.moments,
            take(data.x, rows),
            None if data.condition is None else take(data.condition, rows),
            weights,
            key=jax.random.fold_in(step_key, i),
            rate=rate_at(i, scale),
            share=(weight / nominal).astype(now.params.dtype),
        )
        average = ema_update(now.average, params, tally[UPDATES], jnp.where(info.ok, plan.ema, 1))
        # `info.loss` is the batch's mean times its share: times `nominal` it is the sum of the rows' weighted losses.
        taken = jnp.stack([jnp.ones_like(weight), jnp.zeros_like(weight), info.loss * nominal, weight])
        skipped = jnp.zeros_like(tally).at[SKIPPED].set(1)
        return Weights(params, moments, average), tally + jnp.where(info.ok, taken.astype(tally.dtype), skipped)

    def steps_within_epoch(state: FitState, stop: Array) -> FitState:
        first = state.whole[STEP]
        position = first % plan.steps_per_epoch
        order = jax.lax.cond(
            position == 0,
            lambda: epoch_order(order_seed, first // plan.steps_per_epoch, data.n, data.x.shape[0]),
            lambda: state.order,
        )
        stop = jnp.minimum(stop, first + plan.steps_per_epoch - position)
        scale = state.real[RATE_SCALE]
        now, tally = jax.lax.fori_loop(
            first, stop, lambda i, carry: one_step(i, carry[0], carry[1], order, scale), (state.now, state.tally)
        )
        return FitState(now, state.good, state.best, order, tally, state.whole.at[STEP].set(stop), state.real)

    def one_round(carry: tuple[FitState, Report]) -> tuple[FitState, Report]:
        state, report = carry
        due_at = jnp.minimum(state.whole[VALIDATED_AT] + plan.steps_per_round, plan.total_steps)
        stop = jnp.minimum(due_at, end)
        state = jax.lax.while_loop(lambda s: s.whole[STEP] < stop, lambda s: steps_within_epoch(s, stop), state)
        time_up = call.last & (stop == end)
        rate = rate_at(stop, state.real[RATE_SCALE])
        return jax.lax.cond((stop == due_at) | time_up, validate, lambda *same: same, state, report, rate, time_up)[:2]

    def validate(state: FitState, report: Report, rate: Array, time_up: Array) -> tuple:
        state, train, nats = end_of_round(state, model, objective, held_out, plan, time_up, validation_key)
        whole = jnp.stack([state.whole[STEP], state.whole[N_SKIPPED]])
        real = jnp.stack([train, nats, rate]).astype(jnp.float32)
        columns = (report.whole.at[report.n].set(whole), report.real.at[report.n].set(real))
        return state, Report(report.n + 1, *columns, report.state), rate, time_up

    def more(carry: tuple[FitState, Report]) -> Array:
        state, report = carry
        pending = (state.whole[STEP] < end) | call.last
        return (state.whole[STATUS] == RUNNING) & pending & (report.n < HISTORY_ROWS)

    blank = Report(
        jnp.int32(0), jnp.zeros((HISTORY_ROWS, 2), jnp.int32), jnp.zeros((HISTORY_ROWS, 3), jnp.float32), state.whole
    )
    state, report = jax.lax.while_loop(more, one_round, (state, blank))
    return state, Report(report.n, report.whole, report.real, state.whole)


def end_of_round(
    state: FitState,
    model: FlatModel,
    objective: AbstractObjective,
    held_out: Rows | None,
    plan: Plan,
    time_up: Array,
    key: PRNGKeyArray,
) -> tuple[FitState, Array, Array]:
    """Score the averaged weights, keep the best, rewind after trouble, and decide whether to go on."""
    n_updates, n_skipped, loss, weight = state.tally
    step, validated_at, best_step, mark_step, skipped_before, n_rewinds, _ = state.whole
    best_nats, best_error, mark_nats, scale = state.real
    train = -loss / jnp.where(weight > 0, weight, jnp.nan)
    average = state.now.average
    sound = jnp.all(jnp.isfinite(average)) & (n_skipped <= REWIND_SHARE * (step - validated_at))
    if held_out is None:
        nats, error, better, progress = jnp.float32(jnp.nan), jnp.float32(jnp.nan), sound, sound
    else:
        nats, error = score(evaluation_form(model.build(average)), objective, held_out, plan.chunk_rows, key)
        sound = sound & jnp.isfinite(nats)
        better, progress = sound & (nats > best_nats), sound & (nats > mark_nats + PROGRESS_NATS)
    good = select(sound, state.now, state.good)
    n_rewinds = n_rewinds + (1 - sound.astype(jnp.int32))
    mark_step = jnp.where(progress, step, mark_step)
    status = jnp.where(time_up, OUT_OF_TIME, RUNNING)
    status = jnp.where(step >= plan.total_steps, OUT_OF_STEPS, status)
    status = jnp.where(step - mark_step >= plan.patience_steps, CONVERGED, status)
    status = jnp.where(n_rewinds > MAX_REWINDS, DIVERGED, status)
    best_step = jnp.where(better, step, best_step)
    whole = (step, step, best_step, mark_step, skipped_before + n_skipped.astype(jnp.int32), n_rewinds, status)
    real = (
        jnp.where(better, nats, best_nats),
        jnp.where(better, error, best_error),
        jnp.where(progress, nats, mark_nats),
        jnp.where(sound, scale, scale * REWIND_RATE),
    )
    state = FitState(
        now=good,
        good=good,
        best=jnp.where(better, average, state.best),
        order=state.order,
        tally=jnp.zeros(4, jnp.float32).at[UPDATES].set(n_updates),
        whole=jnp.stack(whole).astype(jnp.int32),
        real=jnp.stack(real).astype(jnp.float32),
    )
    return state, train, nats


def score(
    flow: Any, objective: AbstractObjective, rows: Rows, chunk_rows: int, key: PRNGKeyArray
) -> tuple[Array, Array]:
    r"""The weighted mean of the held-out log-density, $\sum w l / \sum w$, and its standard error.

    Chunk by chunk, as deviations from the first chunk's mean, so that no sum of large numbers loses digits.

    Source:
        Chan, Golub, LeVeque, 1983, sec. 4 (shifted data), doi 10.1080/00031305.1983.10483115.
    """

    def chunk(i: Array, sums: tuple[Array, ...]) -> tuple[Array, ...]:
        def part(array: Any) -> Any:
            return None if array is None else jax.lax.dynamic_slice_in_dim(array, i * chunk_rows, chunk_rows)

        weights, log_det = part(rows.weights), part(rows.log_det)
        nats = -objective.per_row(flow, part(rows.x), part(rows.condition), jax.random.fold_in(key, i))
        nats = nats if log_det is None else nats + log_det
        centre = jnp.where(i == 0, weighted_mean(nats, weights), sums[0])
        off, squared = nats - centre, weights**2
        terms = (weights, weights * off, squared, squared * off, squared * off**2)
        return centre, *(total + jnp.sum(term) for total, term in zip(sums[1:], terms, strict=True))

    n_chunks = (rows.n + chunk_rows - 1) // chunk_rows
    zero = jnp.zeros((), rows.weights.dtype)
    centre, w, w_off, ww, ww_off, ww_off2 = jax.lax.fori_loop(0, n_chunks, chunk, (zero,) * 6)
    shift = w_off / w
    spread = jnp.maximum(ww_off2 - 2 * shift * ww_off + shift**2 * ww, 0)
    return (centre + shift).astype(jnp.float32), (jnp.sqrt(spread) / w).astype(jnp.float32)


def take(array: Array, rows: Array) -> Array:
    """`array[rows]` for rows known to exist."""
    return array.at[rows].get(mode="promise_in_bounds")
