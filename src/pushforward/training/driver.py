"""The host's side of a fit: sizes the device calls, keeps the history, watches the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from pushforward.objectives import AbstractObjective
from pushforward.training.batches import streams
from pushforward.training.checkpoint import Checkpoints
from pushforward.training.loop import HISTORY_ROWS, Call, Report, run
from pushforward.training.plan import Plan
from pushforward.training.progress import AbstractProgress
from pushforward.training.result import COLUMNS
from pushforward.training.rows import Rows
from pushforward.training.signals import StopOnTerm
from pushforward.training.state import RUNNING, STATUS, STEP, FitState, FlatModel, Reached
from pushforward.training.tracking import Trackers

CALL_SECONDS = 0.5  # what one device call should last: long against its overhead, short for whoever waits
FIRST_STEPS = 10  # of the first call, which measures the speed
GROWTH = 16  # a call has at most this many times the steps of the one before


class Sent(NamedTuple):
    """A call under way: the state and the report that it will give, and when it was sent."""

    state: FitState
    report: Report
    at: float


class Driver:
    """Runs the compiled loop until it says stop. A mutable helper of one fit.

    Args:
        plan: the numbers that steer the fit.
        model: the flow without its trainable numbers.
        objective: what to minimise.
        rows: the training rows on the device.
        held_out: the held-out rows, or None.
        key: of the fit.
        offsets: what to add to the training and the held-out log-densities to have them in the data's units.
        display: shows progress.
        callback: called with each new row of the history, or None.
        reached: where the fit begins: at its start, or where a checkpoint was written.
        start: the time on the clock at which it began, or would have begun if it had never stopped.
        checkpoints: where to commit to, or None.
        trackers: told of each new row of the history.
    """

    def __init__(
        self,
        plan: Plan,
        model: FlatModel,
        objective: AbstractObjective,
        rows: Rows,
        held_out: Rows | None,
        key: Any,
        offsets: tuple[float, float],
        display: AbstractProgress,
        callback: Callable[[dict[str, float]], None] | None,
        reached: Reached,
        start: float,
        checkpoints: Checkpoints | None,
        trackers: Trackers,
    ):
        self.plan, self.model, self.objective, self.seeds = plan, model, objective, streams(key)
        self.rows, self.held_out, self.offsets = rows, held_out, offsets
        self.display, self.callback, self.start = display, callback, start
        self.checkpoints, self.trackers, self.stop = checkpoints, trackers, StopOnTerm(checkpoints is not None)
        self.reached = reached
        self.unread: tuple[Sent, ...] = ()
        self.sent = reached.step  # steps asked for
        self.tracked = len(reached.rows)  # rows that the trackers know
        self.call_steps = 0  # steps of the last call
        self.compiled = False  # whether a call has come back
        self.step_seconds = 0.0
        self.looked_at = time.perf_counter()

    @property
    def elapsed(self) -> float:
        """Seconds since the fit began."""
        return time.perf_counter() - self.start

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The rows of the history as columns."""
        return {name: np.asarray([row[name] for row in self.reached.rows]) for name in COLUMNS}

    def run(self) -> bool:
        """Call the device until the fit is over; whether it was interrupted, by Ctrl-C, the callback or SIGTERM.

        An interrupt comes between any two bytecodes. What it finds is whole: `reached` is replaced in one
        assignment, and a state is never donated to a call.
        """
        with self.stop:
            try:
                self.stop.armed = True
                if self.checkpoints is not None and not self.checkpoints.kept:
                    self.checkpoints.commit(self.reached)
                self.train()
                self.stop.armed = False
            except KeyboardInterrupt:
                self.stop.armed = False
                self.callback = None
                while self.unread:
                    self.read()
                self.track()
                if self.checkpoints is not None:
                    self.checkpoints.commit(self.reached)
                return True
        return False

    def train(self) -> None:
        """Send calls, read their reports, and commit checkpoints, until the status is no longer `RUNNING`.

        The next call is sent before the report of the one before is read, so the device never waits for the host, and
        while a commit is written it has that call to work on; of a fit that is over, the call returns at once.
        """
        while self.reached.status == RUNNING:
            if self.stop.asked:
                raise KeyboardInterrupt
            measured = self.step_seconds > 0
            call = self.next_call()
            self.sent += int(call.n_steps)
            state, sent_at = self.unread[-1].state if self.unread else self.reached.state, time.perf_counter()
            sent = Sent(
                *run(state, self.model, self.objective, self.rows, self.held_out, self.plan, call, self.seeds), sent_at
            )
            self.unread = (*self.unread, sent)
            # A CPU may have run the call while it was dispatched: then there is nothing to overlap with.
            ahead = 0 if not measured or bool(call.last) or ready(sent.report.n) else 1
            while len(self.unread) > ahead:
                self.read()
            if self.checkpoints is not None and self.checkpoints.due and self.reached.status == RUNNING:
                self.checkpoints.commit(self.reached)

    def next_call(self) -> Call:
        """How many steps the next call should take, and whether the time is up after it.

        The first call compiles, the second measures a few steps, and from then on calls aim at `CALL_SECONDS`.
        """
        pace = max(self.step_seconds, 1e-9)
        n = FIRST_STEPS
        if self.step_seconds > 0:
            n = max(1, min(round(CALL_SECONDS / pace), GROWTH * self.call_steps))
        n = min(n, (HISTORY_ROWS - 2) * int(self.plan.steps_per_round))
        begins = self.elapsed + (self.sent - self.reached.step) * self.step_seconds
        left = float(self.plan.max_seconds) - begins
        fits = int(max(left, 0.0) / pace) if math.isfinite(left) else n + 1
        return self.call(min(n, fits), begins, last=fits <= n)

    def call(self, n_steps: int, elapsed: float, last: bool) -> Call:
        """The same as the device takes it."""
        self.call_steps = n_steps
        return Call(np.int32(n_steps), np.float32(elapsed), np.float32(self.step_seconds), np.bool_(last))

    def read(self) -> None:
        """Wait for the oldest report; learn the speed from it, and write its rows to the history."""
        sent, before = self.unread[0], self.reached
        rows: list[dict[str, Any]] = []
        if sent.state is not before.state:  # it is where an interrupt came between the two assignments below
            report = jax.device_get(sent.report)
            arrived = time.perf_counter()
            began, self.looked_at = max(self.looked_at, sent.at), arrived
            step = int(report.state[STEP])
            taken = step - before.step
            if taken > 0 and self.compiled:  # the first call's time is mostly the compiler's
                self.step_seconds = max((arrived - began) / taken, 1e-9)
            self.compiled = True
            best_nats = before.best_nats
            for i in range(int(report.n)):
                share = (int(report.whole[i, 0]) - before.step) / taken if taken > 0 else 1.0
                row = self.row(report, i, began - self.start + share * (arrived - began))
                if self.held_out is not None:
                    best_nats = float(np.fmax(best_nats, row["held_out_nats"]))
                if row["step"] > 0:  # the score of the untrained flow is only used as the one to beat
                    rows.append(row)
            status = int(report.state[STATUS])
            self.reached = Reached(
                sent.state, step, status, (*before.rows, *rows), best_nats, elapsed=arrived - self.start
            )
        self.unread = self.unread[1:]
        if self.step_seconds > 0:
            self.show()
        self.track()
        if self.callback is not None:
            for row in rows:  # after the history, for it may raise
                self.callback(dict(row))

    def track(self) -> None:
        """Tell the trackers of the rows that they do not know yet."""
        for row in self.reached.rows[self.tracked :]:
            self.trackers.call("log", row["step"], {name: row[name] for name in COLUMNS if name != "step"})
            self.tracked += 1

    def show(self) -> None:
        """Tell people where the fit is."""
        step, total = self.reached.step, int(self.plan.total_steps)
        rows_per_second = float(self.rows.n) / int(self.plan.steps_per_epoch) / self.step_seconds
        left = min((total - step) * self.step_seconds, float(self.plan.max_seconds) - self.elapsed)
        self.display.update(step, total, self.reached.best_nats, rows_per_second, max(0.0, left))

    def row(self, report: Report, i: int, seconds: float) -> dict[str, Any]:
        """Row `i` of a report as the history has it."""
        step = int(report.whole[i, 0])
        return {
            "epoch": step // int(self.plan.steps_per_epoch),
            "step": step,
            "train_nats": float(report.real[i, 0]) + self.offsets[0],
            "held_out_nats": float(report.real[i, 1]) + self.offsets[1],
            "learning_rate": float(report.real[i, 2]),
            "seconds": seconds,
            "skipped": int(report.whole[i, 1]),
        }


def ready(array: Any) -> bool:
    """Whether a device array has been computed already."""
    return array.is_ready()
