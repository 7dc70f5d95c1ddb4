"""A fit that is only begun: what its program takes to compile, to hold and to step, before anybody waits for it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pushforward._checks import as_key
from pushforward._types import PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.objectives import AbstractObjective, is_regression, natural_objective
from pushforward.training.batches import bucket, streams
from pushforward.training.fit import initialise_from
from pushforward.training.loop import Call, run
from pushforward.training.plan import Plan, first_moments, make_plan
from pushforward.training.rows import SCORE_CHUNK, read, split
from pushforward.training.state import FitState, FlatModel

# Steps that are timed fill about as many seconds.
TIMED_SECONDS = 1.5


@dataclass(frozen=True)
class Rehearsal:
    """What a fit would take.

    Attributes:
        rows: rows trained on.
        held_out_rows: rows held out.
        parameters: numbers that are trained.
        batch_rows: rows per step.
        steps: of the whole schedule; early stopping may end it before.
        steps_per_epoch: steps that see every row once.
        compile_seconds: to compile the program.
        step_seconds: per step, its share of the validations included.
        row_bytes: the rows on the device.
        state_bytes: weights, their average, the moments of Adam, and the copies that training goes back to.
        work_bytes: what one call needs besides, mostly activations; None where the compiler does not say.
    """

    rows: int
    held_out_rows: int
    parameters: int
    batch_rows: int
    steps: int
    steps_per_epoch: int
    compile_seconds: float
    step_seconds: float
    row_bytes: int
    state_bytes: int
    work_bytes: int | None

    @property
    def epochs(self) -> int:
        """Passes over the rows of the whole schedule."""
        return -(-self.steps // self.steps_per_epoch)

    @property
    def seconds(self) -> float:
        """Of the whole schedule, compilation included."""
        return self.compile_seconds + self.steps * self.step_seconds


def rehearse(
    flow: AbstractDistribution,
    x: Any,
    *,
    key: PRNGKeyArray,
    condition: Any = None,
    weights: Any = None,
    objective: AbstractObjective | None = None,
    validation: float = 0.1,
    max_epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
) -> Rehearsal:
    """Compile the program of `fit`, time a few of its steps, and throw the result away.

    It is the very program that `fit` runs, on the same rows; only the clock bends the figures.

    Args:
        flow: the model to start from; it is not changed.
        x: as for `fit`, and so are all other arguments.
        key: a JAX key.
        condition: rows of conditions.
        weights: `(n,)`.
        objective: what to minimise; None is what the flow is made for.
        validation: a fraction of the rows to hold out.
        max_epochs: passes over the rows.
        batch_size: rows per step.
        learning_rate: of Adam.

    Raises:
        ValueError: a shape or number does not fit, or the rows hold NaN or infinity.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.training.rehearsal import rehearse
        >>> x = jax.random.normal(jax.random.key(0), (200, 2))
        >>> flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=1, width=8)
        >>> rehearse(flow, x, key=jax.random.key(2), max_epochs=10).epochs
        10
    """
    key = as_key("rehearse", key)
    objective = natural_objective(flow) if objective is None else objective

    def refuse(x: Any, condition: Any) -> Any:
        raise ValueError("rehearse: expected validation a fraction of the rows, got rows.")

    table, held_out = split(
        read(flow, x, condition, weights, None, name="rehearse"), validation, key, refuse, flow.cond_shape is not None
    )
    n, n_held_out = len(table.x), 0 if held_out is None else len(held_out.x)
    plan = make_plan(
        n,
        n_held_out,
        SCORE_CHUNK,
        max_epochs=max_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=0.0,
        max_seconds=None,
        patience=20,
        clip_norm=5.0,
        ema=0.999,
        warmup=None,
        regression=is_regression(objective),
    )
    vector, _ = FlatModel.split(flow)
    vector, model = FlatModel.split(initialise_from(flow, table, vector.dtype))  # pyright: ignore[reportArgumentType]
    rows = table.on_device(vector.dtype, bucket(n))
    chunks = -(-n_held_out // plan.chunk_rows) * plan.chunk_rows
    held_out_rows = None if held_out is None else held_out.on_device(vector.dtype, chunks)
    state = FitState.start(vector, first_moments(plan, vector), bucket(n), int(plan.steps_per_round))
    fixed, seeds = (model, objective, rows, held_out_rows, plan), streams(key)
    start = time.perf_counter()
    compiled = run.lower(state, *fixed, _call(1), seeds).compile()
    compile_seconds = time.perf_counter() - start
    step_seconds = _time_steps(compiled, state, fixed, seeds, plan)
    kept = [rows] if held_out_rows is None else [rows, held_out_rows]
    return Rehearsal(
        rows=n,
        held_out_rows=n_held_out,
        parameters=vector.size,
        batch_rows=-(-n // int(plan.steps_per_epoch)),
        steps=int(plan.total_steps),
        steps_per_epoch=int(plan.steps_per_epoch),
        compile_seconds=compile_seconds,
        step_seconds=step_seconds,
        row_bytes=_size(kept),
        state_bytes=_size(state),
        work_bytes=_work_bytes(compiled),
    )


def _call(n_steps: int) -> Call:
    return Call(np.int32(n_steps), np.float32(0), np.float32(0), np.bool_(False))


def _time_steps(compiled: Any, state: FitState, fixed: tuple, seeds: Any, plan: Plan) -> float:
    """Seconds per step: that of a step alone, and its share of a validation."""
    model, objective, rows, held_out, _ = fixed

    def take(state: FitState, n: int) -> tuple[FitState, float]:
        start = time.perf_counter()
        state, report = compiled(state, model, objective, rows, held_out, plan, _call(n), seeds)
        jax.block_until_ready(report.state)
        return state, time.perf_counter() - start

    state, with_validation = take(state, 1)  # the untrained flow is validated first
    state, one = take(state, 1)
    # Without another validation in between; the schedule may be shorter than that.
    most = min(int(plan.steps_per_round), int(plan.total_steps)) - 3
    n = max(1, min(int(TIMED_SECONDS / max(one, 1e-6)), most))
    if most >= 1:
        _, seconds = take(state, n)
        one = seconds / n
    return one + max(with_validation - one, 0.0) / int(plan.steps_per_round)


def _size(tree: Any) -> int:
    return sum(int(leaf.nbytes) for leaf in jax.tree.leaves(tree) if hasattr(leaf, "nbytes"))


def _work_bytes(compiled: Any) -> int | None:
    """The temporary memory that the compiler planned."""
    analysis = getattr(getattr(compiled, "compiled", compiled), "memory_analysis", lambda: None)()
    size = getattr(analysis, "temp_size_in_bytes", None)
    return None if size is None else int(size)
