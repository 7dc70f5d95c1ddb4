"""The loop of a fit: a device call runs many steps, their validations and every decision; the host sizes the calls."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array
from pushforward.training.attempts import Attempt
from pushforward.training.batches import epoch_order
from pushforward.training.checkpoint import Checkpoints
from pushforward.training.ema import ema_update
from pushforward.training.hosts import Council
from pushforward.training.plan import adam
from pushforward.training.prepare import Prepared, Problem
from pushforward.training.progress import AbstractProgress
from pushforward.training.result import COLUMNS
from pushforward.training.rounds import end_of_round
from pushforward.training.schedule import rate_factor
from pushforward.training.signals import StopOnTerm
from pushforward.training.state import RUNNING, Counters, FitState, Packed, Reached, Tally, Weights
from pushforward.training.step import all_finite, descend, make_loss, select
from pushforward.training.tracking import Trackers

HISTORY_ROWS = 64  # validations per device call at most; the host sizes its calls to stay below
CALL_SECONDS = 0.5  # seconds that one device call should last: long against its overhead, short for whoever waits
FIRST_STEPS = 10  # steps of the call that measures the speed
GROWTH = 16  # a call has at most this many times the steps of the one before


class Call(eqx.Module):
    """The orders of the host for one device call.

    Attributes:
        n_steps: Largest number of steps to run.
        elapsed: Seconds of the fit so far, as expected at its start.
        step_seconds: Seconds per step, as measured.
        last: Whether the time is up after this call.
    """

    n_steps: Any
    elapsed: Any
    step_seconds: Any
    last: Any


class Whole(NamedTuple):
    """The whole numbers of a validation: the step; steps skipped, and rows left out of steps, so far."""

    step: Any
    skipped: Any
    rows_left_out: Any


class Real(NamedTuple):
    """The real numbers of a validation: mean score of the training rows since the one before, held-out score, rate."""

    train_nats: Any
    held_out_nats: Any
    learning_rate: Any


class Report(eqx.Module):
    """The report of one device call to the host: a few numbers, and the validations it made.

    Attributes:
        n: Number of validations, which is the number of rows that are filled.
        whole: Array `(HISTORY_ROWS, 3)`, a `Whole` per row.
        real: Array `(HISTORY_ROWS, 3)`, a `Real` per row.
        counters: Counters of the state at the end.
    """

    n: Array
    whole: Array
    real: Array
    counters: Packed[Counters]


@eqx.filter_jit
def run(state: FitState, problem: Problem, call: Call) -> tuple[FitState, Report]:
    """Train for `call.n_steps` steps or until the status is no longer `RUNNING`.

    Rows are visited in the order of `epoch_order`, or in that of a stream; every `plan.steps_per_round` steps the
    averaged weights are scored on the held-out rows, and kept if they are the best. Nothing here depends on how the
    steps are cut into calls, except the learning rate under a time budget.
    """
    plan, data = problem.plan, problem.rows
    start = state.counters.named.step
    end = jnp.minimum(start + call.n_steps, plan.total_steps)
    order_seed, *others = problem.seeds
    step_key, validation_key = (jax.random.wrap_key_data(seed, impl="threefry2x32") for seed in others)
    optimizer = adam(plan, problem.decay) if problem.optimizer is None else problem.optimizer

    def rate_at(i: Array, scale: Array) -> Array:
        if problem.schedule is not None:
            return jnp.asarray(problem.schedule(i), jnp.float32) * scale
        if problem.optimizer is not None:
            return scale
        elapsed = call.elapsed + (i - start) * call.step_seconds
        progress = jnp.clip(jnp.maximum(i / plan.total_steps, elapsed / plan.max_seconds), 0, 1)
        return plan.learning_rate * scale * rate_factor(i, progress, plan.warmup_steps)

    def segment(carry: tuple[FitState, Report]) -> tuple[FitState, Report]:
        """Steps to the end of the epoch, of the round or of the call, and the validation that is due then."""
        state, report = carry
        at, scale = state.counters.named, state.scores.named.rate_scale
        position = at.step % plan.steps_per_epoch
        due_at = jnp.minimum(at.validated_at + plan.steps_per_round, plan.total_steps)
        round_stop = jnp.minimum(due_at, end)
        stop = jnp.minimum(round_stop, at.step + plan.steps_per_epoch - position)
        order = state.order
        if data.first is None:
            order = jax.lax.cond(
                position == 0,
                lambda: epoch_order(order_seed, at.step // plan.steps_per_epoch, data.n, data.x.shape[0]),
                lambda: state.order,
            )

        def step(carry: tuple[Array, Weights, Packed[Tally], Attempt]) -> tuple[Array, Weights, Packed[Tally], Attempt]:
            i, now, tally, attempt = carry
            batch = data.batch(order, i % plan.steps_per_epoch, plan.steps_per_epoch, plan.batch_rows)
            rows, active = attempt.choose(*batch)
            weights = problem.dealt(jnp.where(active, take(data.weights, rows), 0))
            # Weights have mean 1, so this is the sum over the batch against an equal share of the epoch's whole weight:
            # over an epoch each row counts by its weight alone, whichever rows it met.
            weight, nominal = jnp.sum(weights), data.n / plan.steps_per_epoch
            condition = None if data.condition is None else problem.dealt(take(data.condition, rows))
            share, key = (weight / nominal).astype(now.params.dtype), jax.random.fold_in(step_key, i)
            given = problem.dealt(take(data.x, rows)), condition, weights, key, share
            loss_of = make_loss(problem.objective.at_step(i), problem.build)
            (value, losses), gradient = jax.value_and_grad(loss_of, has_aux=True)(now.params, *given)
            if problem.placement is not None:
                gradient = problem.placement.vector(gradient)
            following, made, over = attempt.after(batch[1], losses, all_finite(value, gradient))
            search = {"value": value, "grad": gradient, "value_fn": lambda vector: loss_of(vector, *given)[0]}
            stepped = descend(optimizer, now.params, now.moments, gradient, rate_at(i, scale), **search)
            params, moments = select(made, stepped, (now.params, now.moments))
            average = ema_update(now.average, params, tally.named.updates, jnp.where(made, plan.ema, 1))
            # `value` is the batch's mean times its share: times `nominal` it is the sum of the rows' weighted losses.
            left_out = jnp.sum(attempt.out & batch[1])
            taken = Packed.of(Tally(1, 0, left_out, value * nominal, weight), tally.array.dtype).array
            skipped = Packed.of(Tally(0, over, 0, 0, 0), tally.array.dtype).array
            tally = Packed(tally.array + jnp.where(made, taken, skipped), Tally)
            return i + over, Weights(params, moments, average), tally, following

        first = (at.step, state.now, state.tally, Attempt.first(plan.batch_rows))
        _, now, tally, _ = jax.lax.while_loop(lambda carry: carry[0] < stop, step, first)
        counters = state.counters.replaced(step=stop)
        state = FitState(now, state.good, state.best, order, tally, counters, state.scores)
        time_up = call.last & (stop == end)
        due = (stop == due_at) | time_up
        return jax.lax.cond(due, validate, lambda *same: same, state, report, rate_at(stop, scale), time_up)[:2]

    def validate(state: FitState, report: Report, rate: Array, time_up: Array) -> tuple:
        state, train, nats = end_of_round(state, problem, time_up, validation_key)
        at = state.counters.named
        whole = Packed.of(Whole(at.step, at.n_skipped, at.n_left_out), jnp.int32).array
        real = Packed.of(Real(train, nats, rate), jnp.float32).array
        columns = (report.whole.at[report.n].set(whole), report.real.at[report.n].set(real))
        return state, Report(report.n + 1, *columns, report.counters), rate, time_up

    def more(carry: tuple[FitState, Report]) -> Array:
        state, report = carry
        at = state.counters.named
        return (at.status == RUNNING) & ((at.step < end) | call.last) & (report.n < HISTORY_ROWS)

    columns = (jnp.zeros((HISTORY_ROWS, len(Whole._fields)), jnp.int32), jnp.zeros((HISTORY_ROWS, len(Real._fields))))
    blank = Report(jnp.int32(0), columns[0], columns[1].astype(jnp.float32), state.counters)
    state, report = jax.lax.while_loop(more, segment, (state, blank))
    if problem.placement is not None:
        state, report = problem.placement.carried(state), problem.placement.known(report)
    return state, Report(report.n, report.whole, report.real, state.counters)


def take(array: Array, rows: Array) -> Array:
    """`array[rows]` for rows known to exist."""
    return array.at[rows].get(mode="promise_in_bounds")


class Sent(NamedTuple):
    """A call under way: the state and the report that it will give, and when it was sent."""

    state: FitState
    report: Report
    at: float


class Told(NamedTuple):
    """All that are told how a fit goes.

    Attributes:
        display: Display of the progress.
        callback: Function of each new row of the history, or None.
        trackers: Trackers, which are told of each new row of the history.
        checkpoints: Checkpoints of the fit, or None.
    """

    display: AbstractProgress
    callback: Callable[[dict[str, float]], None] | None
    trackers: Trackers
    checkpoints: Checkpoints | None


class Loop:
    """The host's side of a fit: it sizes the device calls, keeps the history, and watches the clock.

    The loop is used as `with loop: for inputs in loop.calls(): loop.take(*run(*inputs))`. An
    interrupt, by Ctrl-C, by the callback or by SIGTERM, comes between any two bytecodes and ends the `with`. What it
    finds is whole: `reached` is replaced in one assignment, and a state is never donated to a call.

    Args:
        prepared: The prepared fit.
        reached: Where the fit begins: at its start, or where a checkpoint was written.
        start: Time on the clock at which the fit began, or would have begun if it had never stopped.
        told: All that are told how it goes.
        council: What the hosts of a fit agree by, or None on one host.

    Attributes:
        interrupted: Whether the fit was interrupted.
    """

    def __init__(
        self,
        prepared: Prepared,
        reached: Reached,
        start: float,
        told: Told,
        council: Council | None = None,
    ):
        self.problem, self.offsets, self.plan = prepared.problem, prepared.offsets, prepared.problem.plan
        self.reached, self.start, self.display, self.feed = reached, start, told.display, prepared.feed
        self.callback, self.trackers, self.checkpoints = told.callback, told.trackers, told.checkpoints
        self.council = council
        self.stop = StopOnTerm(told.checkpoints is not None)
        self.interrupted = False
        self.unread: tuple[Sent, ...] = ()
        self.sent = reached.step  # number of steps that were asked for
        self.tracked = len(reached.rows)  # rows that the trackers know
        self.call_steps = 0  # steps that the last call would have had if its rows went on
        self.call_last = False  # whether the time is up after it
        self.compiled = False  # whether a call has come back
        self.measured = False  # whether the speed was known when the last call was sent
        self.step_seconds = 0.0
        self.looked_at = self.sent_at = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the fit began."""
        return time.perf_counter() - self.start

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The rows of the history as columns."""
        return {name: np.asarray([row[name] for row in self.reached.rows]) for name in COLUMNS}

    def __enter__(self) -> Loop:
        self.stop.__enter__()
        self.stop.armed = self.council is None  # hosts stop together, between two calls
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.stop.armed = False
        try:
            if kind is None or not issubclass(kind, KeyboardInterrupt):
                return False
            self.interrupted, self.callback = True, None
            while self.unread:
                self.read()
            self.track()
            self.commit()
            return True
        finally:
            self.stop.__exit__()

    def calls(self) -> Iterator[tuple[FitState, Problem, Call]]:
        """The state that each call begins with, its rows with all else that it takes, and what to say to it.

        They come until the status is no longer `RUNNING`. The next call is sent before the report of the one before is
        read, so the device never waits for the host, and while a commit is written it has that call to work on; of a
        fit that is over, the call returns at once.
        """
        if self.checkpoints is not None and not self.checkpoints.kept:
            self.commit()
        while self.reached.status == RUNNING:
            if self.stop.asked if self.council is None else self.council.any(self.stop.asked):
                raise KeyboardInterrupt
            self.measured = self.step_seconds > 0
            call = self.next_call()
            self.sent += int(call.n_steps)
            self.sent_at = time.perf_counter()
            yield (self.unread[-1].state if self.unread else self.reached.state), self.problem, call

    def take(self, state: FitState, report: Report) -> None:
        """Keep what a call will give, read the reports that are due, and commit a checkpoint if its time has come."""
        self.unread = (*self.unread, Sent(state, report, self.sent_at))
        # A CPU may have run the call while it was dispatched: then there is nothing to overlap with.
        ahead = 0 if not self.measured or self.call_last or self.council or ready(report.n) else 1
        while len(self.unread) > ahead:
            self.read()
        if self.due and self.reached.status == RUNNING:
            self.commit()

    @property
    def due(self) -> bool:
        """Whether it is time for a checkpoint; the hosts of a fit say so together."""
        due = self.checkpoints is not None and self.checkpoints.due
        return due if self.council is None or self.checkpoints is None else self.council.any(due)

    def commit(self) -> None:
        """Write a checkpoint, if the fit has a place for it."""
        if self.checkpoints is not None:
            self.checkpoints.commit(dataclasses.replace(self.reached, state=self.on_host()))

    def on_host(self) -> FitState:
        """The state as the host has it, whatever the number of devices."""
        placement = self.problem.placement
        if placement is None:
            return jax.device_get(self.reached.state)
        return placement.on_host(self.reached.state, self.problem.model.size)

    def next_call(self) -> Call:
        """The orders for the next call: its number of steps, and whether the time is up after it.

        The first call compiles, the second measures a few steps, and from then on calls aim at `CALL_SECONDS`.
        """
        pace = max(self.step_seconds, 1e-9)
        n = FIRST_STEPS
        if self.step_seconds > 0:
            n = max(1, min(round(CALL_SECONDS / pace), GROWTH * self.call_steps))
        n = min(n, (HISTORY_ROWS - 2) * int(self.plan.steps_per_round))
        self.call_steps = n
        if self.feed is not None:
            self.problem, n_left = self.feed.into(self.problem, self.sent)
            n = min(n, n_left)
        begins = self.elapsed + (self.sent - self.reached.step) * self.step_seconds
        left = float(self.plan.max_seconds) - begins
        fits = int(max(left, 0.0) / pace) if math.isfinite(left) else n + 1
        self.call_last = fits <= n
        call = one_call(min(n, fits), begins, self.step_seconds, self.call_last)
        if self.council is not None:  # each host has a clock of its own
            call = self.council.of_first(call)
            self.call_steps, self.call_last = int(call.n_steps), bool(call.last)
        return call

    def read(self) -> None:
        """Wait for the oldest report; learn the speed from it, and write its rows to the history."""
        sent, before = self.unread[0], self.reached
        rows: list[dict[str, Any]] = []
        if sent.state is not before.state:  # it is where an interrupt came between the two assignments below
            report = jax.device_get(sent.report)
            arrived = time.perf_counter()
            began, self.looked_at = max(self.looked_at, sent.at), arrived
            step, status = int(report.counters.named.step), int(report.counters.named.status)
            taken = step - before.step
            if taken > 0 and self.compiled:  # the first call's time is mostly the compiler's
                self.step_seconds = max((arrived - began) / taken, 1e-9)
            self.compiled = True
            best_nats = before.best_nats
            for whole, real in zip(report.whole[: report.n], report.real[: report.n], strict=True):
                share = (int(whole[0]) - before.step) / taken if taken > 0 else 1.0
                row = self.row(Whole(*whole.tolist()), Real(*real.tolist()), began - self.start)
                row["seconds"] += share * (arrived - began)
                if self.problem.held_out is not None:
                    best_nats = float(np.fmax(best_nats, row["held_out_nats"]))
                if row["step"] > 0:  # the score of the untrained flow is only used as the one to beat
                    rows.append(row)
            elapsed = arrived - self.start
            self.reached = Reached(sent.state, step, status, (*before.rows, *rows), best_nats, elapsed)
        self.unread = self.unread[1:]
        if self.step_seconds > 0:
            self.show()
        self.track()
        if self.callback is not None:
            for row in rows:  # the history is complete by now, for the callback may raise
                self.callback(dict(row))

    def track(self) -> None:
        """Tell the trackers of the rows that they do not know yet."""
        for row in self.reached.rows[self.tracked :]:
            self.trackers.call("log", row["step"], {name: row[name] for name in COLUMNS if name != "step"})
            self.tracked += 1

    def show(self) -> None:
        """Tell people where the fit is."""
        step, total = self.reached.step, int(self.plan.total_steps)
        rows_per_second = float(self.problem.rows.n) / int(self.plan.steps_per_epoch) / self.step_seconds
        left = min((total - step) * self.step_seconds, float(self.plan.max_seconds) - self.elapsed)
        self.display.update(step, total, self.reached.best_nats, rows_per_second, max(0.0, left))

    def row(self, whole: Whole, real: Real, seconds: float) -> dict[str, Any]:
        """A row of the history: a validation in the data's units."""
        return {
            **whole._asdict(),
            **real._asdict(),
            "epoch": whole.step // int(self.plan.steps_per_epoch),
            "train_nats": real.train_nats + self.offsets[0],
            "held_out_nats": real.held_out_nats + self.offsets[1],
            "seconds": seconds,
        }


def one_call(n_steps: int, elapsed: float = 0.0, step_seconds: float = 0.0, last: bool = False) -> Call:
    """A call as the device takes it."""
    return Call(np.int32(n_steps), np.float32(elapsed), np.float32(step_seconds), np.bool_(last))


def ready(array: Any) -> bool:
    """Whether a device array has been computed already."""
    return array.is_ready()
