"""The compiled loop: many steps, the validations between them and every decision, in one device call."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, PRNGKeyArray
from pushforward.objectives import AbstractObjective, weighted_mean
from pushforward.training.batches import batch_rows, epoch_order
from pushforward.training.ema import ema_update
from pushforward.training.plan import Plan, optimizer_of
from pushforward.training.rows import Rows
from pushforward.training.schedule import rate_factor
from pushforward.training.state import (
    CONVERGED,
    DIVERGED,
    OUT_OF_STEPS,
    OUT_OF_TIME,
    RUNNING,
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
    """What one device call tells the host, a few numbers; the first `n` rows of the columns are filled."""

    status: Array
    final_step: Array
    n: Array
    step: Array
    train_nats: Array
    held_out_nats: Array
    learning_rate: Array
    skipped: Array

    @staticmethod
    def empty() -> Report:
        """A report of nothing yet."""
        whole, real = jnp.zeros(HISTORY_ROWS, jnp.int32), jnp.zeros(HISTORY_ROWS, jnp.float32)
        zero = jnp.int32(0)
        return Report(zero, zero, zero, whole, real, real, real, whole)

    def add(self, step: Array, train: Array, held_out: Array, rate: Array, skipped: Array) -> Report:
        """The report with one more row."""
        columns = (self.step, self.train_nats, self.held_out_nats, self.learning_rate, self.skipped)
        values = (step, train, held_out, rate, skipped)
        written = [column.at[self.n].set(value) for column, value in zip(columns, values, strict=True)]
        return Report(self.status, self.final_step, self.n + 1, *written)


@eqx.filter_jit
def run(
    state: FitState,
    model: FlatModel,
    objective: AbstractObjective,
    data: Rows,
    held_out: Rows | None,
    plan: Plan,
    call: Call,
    key: PRNGKeyArray,
) -> tuple[FitState, Report]:
    """Train for `call.n_steps` steps or until the state's status is no longer `RUNNING`.

    Rows are visited in the order of `epoch_order`; every `plan.steps_per_round` steps the averaged weights are scored
    on the held-out rows, and kept if they are the best. Nothing here depends on how the steps are cut into calls, but
    for the learning rate under a time budget.
    """
    end = jnp.minimum(state.step + call.n_steps, plan.total_steps)
    start = state.step
    order_key, step_key, validation_key = (jax.random.fold_in(key, i) for i in range(3))
    step = make_step(objective, optimizer_of(plan), lambda vector, _: model.build(vector))

    def rate_at(state: FitState) -> Array:
        elapsed = call.elapsed + (state.step - start) * call.step_seconds
        progress = jnp.clip(jnp.maximum(state.step / plan.total_steps, elapsed / plan.max_seconds), 0, 1)
        return plan.learning_rate * state.rate_scale * rate_factor(state.step, progress, plan.warmup_steps)

    def one_step(_: Any, state: FitState) -> FitState:
        position = state.step % plan.steps_per_epoch
        rows, counts = batch_rows(state.order, position, data.n, plan.steps_per_epoch, plan.batch_rows)
        condition = None if data.condition is None else data.condition[rows]
        weights = jnp.where(counts, data.weights[rows], 0)
        # Weights have mean 1, so this is the sum over the batch against an equal share of the epoch's whole weight:
        # over an epoch each row counts by its weight alone, whichever rows it met.
        weight = jnp.sum(weights)
        share = weight * plan.steps_per_epoch / data.n
        now, info_key = state.now, jax.random.fold_in(step_key, state.step)
        params, moments, info = step(
            now.params,
            None,
            now.moments,
            data.x[rows],
            condition,
            weights,
            key=info_key,
            rate=rate_at(state),
            share=share.astype(now.params.dtype),
        )
        average = jnp.where(info.ok, ema_update(now.average, params, state.n_updates, plan.ema), now.average)
        # `loss` came multiplied by `share`: undone here, so that the sum is that of the rows' weighted losses.
        loss = jnp.where(info.ok, info.loss * (data.n / plan.steps_per_epoch), 0)
        skipped = 1 - info.ok.astype(jnp.int32)
        changed = {
            "now": Weights(params, moments, average),
            "step": state.step + 1,
            "n_updates": state.n_updates + 1 - skipped,
            "loss_sum": state.loss_sum + loss.astype(jnp.float32),
            "weight_sum": state.weight_sum + jnp.where(info.ok, weight, 0).astype(jnp.float32),
            "round_steps": state.round_steps + 1,
            "round_skipped": state.round_skipped + skipped,
            "n_skipped": state.n_skipped + skipped,
        }
        return replace(state, **changed)

    def steps_within_epoch(state: FitState) -> FitState:
        position = state.step % plan.steps_per_epoch
        order = jax.lax.cond(
            position == 0,
            lambda: epoch_order(order_key, state.step // plan.steps_per_epoch, data.n, data.x.shape[0]),
            lambda: state.order,
        )
        stop = jnp.minimum(state.step + plan.steps_per_epoch - position, jnp.minimum(state.next_validation, end))
        return jax.lax.fori_loop(0, stop - state.step, one_step, replace(state, order=order))

    def one_round(carry: tuple[FitState, Report]) -> tuple[FitState, Report]:
        state, report = carry
        state = jax.lax.while_loop(lambda s: s.step < jnp.minimum(s.next_validation, end), steps_within_epoch, state)
        time_up = call.last & (state.step >= end)
        due = (state.step >= state.next_validation) | (state.step >= plan.total_steps) | time_up
        return jax.lax.cond(due, validate, lambda *same: same, state, report)

    def validate(state: FitState, report: Report) -> tuple[FitState, Report]:
        rate = rate_at(state)
        state, train, nats = end_of_round(state, model, objective, held_out, plan, validation_key)
        status = jnp.where(call.last & (state.step >= end) & (state.status == RUNNING), OUT_OF_TIME, state.status)
        state = replace(state, status=status.astype(jnp.int32))
        return state, report.add(state.step, train, nats, rate, state.n_skipped)

    def more(carry: tuple[FitState, Report]) -> Array:
        state, report = carry
        pending = (state.step < end) | (call.last & (state.status == RUNNING))
        return (state.status == RUNNING) & pending & (report.n < HISTORY_ROWS)

    state, report = jax.lax.while_loop(more, one_round, (state, Report.empty()))
    columns = (report.n, report.step, report.train_nats, report.held_out_nats, report.learning_rate, report.skipped)
    return state, Report(state.status, state.step, *columns)


def end_of_round(
    state: FitState,
    model: FlatModel,
    objective: AbstractObjective,
    held_out: Rows | None,
    plan: Plan,
    key: PRNGKeyArray,
) -> tuple[FitState, Array, Array]:
    """Score the averaged weights, keep the best, rewind after trouble, and decide whether to go on."""
    train = -state.loss_sum / jnp.where(state.round_steps > 0, state.weight_sum, jnp.nan)
    nats, error = jnp.float32(jnp.nan), jnp.float32(jnp.nan)
    if held_out is not None:
        nats, error = score(model.build(state.now.average), objective, held_out, plan.chunk_rows, key)
    sound = jnp.all(jnp.isfinite(state.now.average)) & (state.round_skipped <= REWIND_SHARE * state.round_steps)
    if held_out is not None:
        sound = sound & jnp.isfinite(nats)
    good = select(sound, state.now, state.good)
    n_rewinds = state.n_rewinds + (1 - sound.astype(jnp.int32))
    better = sound & (nats > state.best_nats) if held_out is not None else sound
    progress = better & (nats > state.mark_nats + PROGRESS_NATS)
    mark_step = jnp.where(progress, state.step, state.mark_step)
    status = jnp.where(state.step >= plan.total_steps, OUT_OF_STEPS, RUNNING)
    if held_out is not None:
        status = jnp.where(state.step - mark_step >= plan.patience_steps, CONVERGED, status)
    status = jnp.where(n_rewinds > MAX_REWINDS, DIVERGED, status)
    zero = jnp.int32(0)
    state = replace(
        state,
        now=good,
        good=good,
        best=jnp.where(better, state.now.average, state.best),
        best_nats=jnp.where(better, nats, state.best_nats),
        best_error=jnp.where(better, error, state.best_error),
        best_step=jnp.where(better, state.step, state.best_step),
        mark_nats=jnp.where(progress, nats, state.mark_nats),
        mark_step=mark_step,
        rate_scale=jnp.where(sound, state.rate_scale, state.rate_scale * REWIND_RATE),
        next_validation=jnp.minimum(state.step + plan.steps_per_round, plan.total_steps).astype(jnp.int32),
        loss_sum=jnp.float32(0),
        weight_sum=jnp.float32(0),
        round_steps=zero,
        round_skipped=zero,
        n_rewinds=n_rewinds,
        status=status.astype(jnp.int32),
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


def replace(state: FitState, **changes: Any) -> FitState:
    """A copy of `state` with some fields changed."""
    fields = {name: changes.get(name, getattr(state, name)) for name in state.__dataclass_fields__}
    return FitState(**fields)
