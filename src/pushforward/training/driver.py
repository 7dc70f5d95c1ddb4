"""The host's side of a fit: sizes the device calls, keeps the history, watches the clock."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from pushforward.objectives import AbstractObjective
from pushforward.training.batches import streams
from pushforward.training.loop import HISTORY_ROWS, Call, Report, run
from pushforward.training.plan import Plan
from pushforward.training.progress import AbstractProgress
from pushforward.training.result import COLUMNS
from pushforward.training.rows import Rows
from pushforward.training.state import RUNNING, STATUS, STEP, FitState, FlatModel

CALL_SECONDS = 0.5  # what one device call should last: long against its overhead, short for whoever waits
FIRST_STEPS = 10  # of the first call, which measures the speed
GROWTH = 16  # a call has at most this many times the steps of the one before


class Driver:
    """Runs the compiled loop until it says stop. A mutable helper of one fit; it holds no weights."""

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
        start: float,
    ):
        self.plan, self.model, self.objective, self.seeds = plan, model, objective, streams(key)
        self.rows, self.held_out, self.offsets = rows, held_out, offsets
        self.display, self.callback, self.start = display, callback, start
        self.history: dict[str, list] = {name: [] for name in COLUMNS}
        self.best_nats = math.nan
        self.step = 0  # steps known to be done
        self.sent = 0  # steps asked for
        self.call_steps = 0  # steps of the last call
        self.step_seconds = 0.0
        self.looked_at = start
        self.status = RUNNING

    @property
    def elapsed(self) -> float:
        """Seconds since the fit began."""
        return time.perf_counter() - self.start

    def run(self, state: FitState) -> tuple[FitState, bool]:
        """Call the device until the fit is over; the state, and whether it was interrupted.

        The next call is sent before the report of the one before is read, so the device never waits for the host; of
        a fit that is over, the call sent meanwhile returns at once. The state is not donated, so that an interrupt
        between any two bytecodes finds one that is whole.
        """
        unread: tuple[Report, float] | None = None
        try:
            while self.status == RUNNING:
                measured = self.step_seconds > 0
                call = self.next_call()
                self.sent += int(call.n_steps)
                sent_at = time.perf_counter()
                state, report = run(
                    state, self.model, self.objective, self.rows, self.held_out, self.plan, call, self.seeds
                )
                before, unread = unread, (report, sent_at)
                if before is not None:
                    self.read(*before)
                # A CPU may have run the call while it was dispatched: then there is nothing to overlap with.
                if not measured or bool(call.last) or ready(report.n):
                    unread = None
                    self.read(report, sent_at)
        except KeyboardInterrupt:
            self.callback = None
            if unread is not None:
                self.read(*unread)
            return state, True
        return state, False

    def next_call(self) -> Call:
        """How many steps the next call should take, and whether the time is up after it.

        The first call compiles, the second measures a few steps, and from then on calls aim at `CALL_SECONDS`.
        """
        pace = max(self.step_seconds, 1e-9)
        n = FIRST_STEPS
        if self.step_seconds > 0:
            n = max(1, min(round(CALL_SECONDS / pace), GROWTH * self.call_steps))
        n = min(n, (HISTORY_ROWS - 2) * int(self.plan.steps_per_round))
        begins = self.elapsed + (self.sent - self.step) * self.step_seconds
        left = float(self.plan.max_seconds) - begins
        fits = int(max(left, 0.0) / pace) if math.isfinite(left) else n + 1
        return self.call(min(n, fits), begins, last=fits <= n)

    def call(self, n_steps: int, elapsed: float, last: bool) -> Call:
        """The same as the device takes it."""
        self.call_steps = n_steps
        return Call(np.int32(n_steps), np.float32(elapsed), np.float32(self.step_seconds), np.bool_(last))

    def read(self, report: Report, sent_at: float) -> None:
        """Wait for a report; learn the speed from it, and write its rows to the history."""
        report = jax.device_get(report)
        arrived = time.perf_counter()
        began, before = max(self.looked_at, sent_at), self.step
        self.looked_at, self.step, self.status = arrived, int(report.state[STEP]), int(report.state[STATUS])
        taken = self.step - before
        if taken > 0 and before > 0:  # the first call's time is mostly the compiler's
            self.step_seconds = max((arrived - began) / taken, 1e-9)
        rows = []
        for i in range(int(report.n)):
            share = (int(report.whole[i, 0]) - before) / taken if taken > 0 else 1.0
            rows += self.add_row(report, i, began - self.start + share * (arrived - began))
        if self.step_seconds > 0:
            self.show()
        if self.callback is not None:
            for row in rows:  # after the history, for it may raise
                self.callback(row)

    def show(self) -> None:
        """Tell people where the fit is."""
        total = int(self.plan.total_steps)
        rows_per_second = float(self.rows.n) / int(self.plan.steps_per_epoch) / self.step_seconds
        left = min((total - self.step) * self.step_seconds, float(self.plan.max_seconds) - self.elapsed)
        self.display.update(self.step, total, self.best_nats, rows_per_second, max(0.0, left))

    def add_row(self, report: Report, i: int, seconds: float) -> list[dict[str, float]]:
        """Add one row to the history and return it; the score of the untrained flow is only used as the one to beat."""
        step = int(report.whole[i, 0])
        held_out = float(report.real[i, 1]) + self.offsets[1]
        if self.held_out is not None:
            self.best_nats = float(np.fmax(self.best_nats, held_out))
        if step == 0:
            return []
        row = {
            "epoch": step // int(self.plan.steps_per_epoch),
            "step": step,
            "train_nats": float(report.real[i, 0]) + self.offsets[0],
            "held_out_nats": held_out,
            "learning_rate": float(report.real[i, 2]),
            "seconds": seconds,
            "skipped": int(report.whole[i, 1]),
        }
        for name, value in row.items():
            self.history[name].append(value)
        return [row]


def ready(array: Any) -> bool:
    """Whether a device array has been computed already."""
    return array.is_ready()
