"""A rehearsal of a fit: the time and memory that its program takes, measured before anybody waits for it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import optax

from pushforward._types import PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.objectives import AbstractObjective, MaximumLikelihood
from pushforward.training.loop import one_call, run
from pushforward.training.options import Adam, Option, check_optimizer, collect
from pushforward.training.plan import make_plan
from pushforward.training.prepare import Choices, Data, Problem, prepare
from pushforward.training.rows import SCORE_CHUNK
from pushforward.training.state import FitState

# Seconds that the timed steps fill, roughly.
TIMED_SECONDS = 1.5
# A guess, for a program that is not compiled: seconds to compile it, the share of a product of matrices' speed that a
# step reaches, and numbers of its state for each weight. Steps of wide tables reached 0.2 to 0.6 of that speed.
COMPILE_SECONDS, REACHED, STATE_NUMBERS = 10.0, 0.4, 9
OPERATIONS_PER_WEIGHT = 6  # of a step, for each row: a product and a sum forward, and twice as many back
TIMED_SIZE = 768


@dataclass(frozen=True)
class Rehearsal:
    """The size, time and memory of a fit.

    Attributes:
        rows: Number of training rows.
        held_out_rows: Number of held-out rows.
        parameters: Number of parameters that are trained.
        batch_rows: Number of rows per step.
        steps: Number of steps of the whole schedule; early stopping may end it before.
        steps_per_epoch: Number of steps that see every row once.
        compile_seconds: Seconds to compile the program.
        step_seconds: Seconds per step, with its share of the validations.
        row_bytes: Bytes of the rows on the device.
        state_bytes: Bytes of the weights, their average, the moments of Adam, and the copies that training goes back
            to.
        work_bytes: Further bytes that one call needs, mostly for activations; None where the compiler does not say.
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
        """Seconds that the whole schedule takes, compilation included."""
        return self.compile_seconds + self.steps * self.step_seconds


def rehearse(
    flow: AbstractDistribution,
    x: Any,
    *,
    key: PRNGKeyArray,
    condition: Any = None,
    weights: Any = None,
    validation: Any = 0.1,
    objective: AbstractObjective | None = None,
    optimizer: Adam | optax.GradientTransformation | None = None,
    max_epochs: int | None = None,
    options: Option | Sequence[Option] | None = None,
) -> Rehearsal:
    """Compile the program of `fit`, time a few of its steps, and throw the result away.

    It is the very program that `fit` runs, on the same rows; only the clock bends the figures.

    Args:
        flow: The model to start from; it is not changed.
        x: Rows as for `fit`; all other arguments are those of `fit`, too.
        key: JAX key.
        condition: Conditions of the rows.
        weights: Weights `(n,)`.
        validation: As for `fit`.
        objective: Objective to minimise; None is the one that the flow is made for.
        optimizer: Optimiser, as for `fit`.
        max_epochs: Number of passes over the rows.
        options: Options as for `fit`; a `Checkpoint` and a `Reporting` have no effect.

    Raises:
        ValueError: A shape or number does not fit, or the rows hold NaN or infinity.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.training.rehearsal import rehearse
        >>> x = jax.random.normal(jax.random.key(0), (200, 2))
        >>> flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=1, width=8)
        >>> rehearse(flow, x, key=jax.random.key(2), max_epochs=10).epochs
        10
    """
    choices = Choices(objective, check_optimizer(optimizer, None), None, max_epochs, collect(options))
    prepared = prepare(flow, Data(x, condition, weights, validation), choices, key, "rehearse")
    problem, state = prepared.problem, prepared.state
    with jax.enable_x64(prepared.x64), prepared.reading(0):
        if prepared.feed is not None:
            problem, _ = prepared.feed.into(problem, 0)  # the first block serves all steps
        start = time.perf_counter()
        compiled = run.lower(state, problem, one_call(1)).compile()
        compile_seconds = time.perf_counter() - start
        step_seconds = _time_steps(compiled, state, problem)
    plan, held_out = problem.plan, problem.held_out
    return Rehearsal(
        rows=int(problem.rows.n),
        held_out_rows=0 if held_out is None else int(held_out.n),
        parameters=prepared.n_parameters,
        batch_rows=-(-int(problem.rows.n) // int(plan.steps_per_epoch)),
        steps=int(plan.total_steps),
        steps_per_epoch=int(plan.steps_per_epoch),
        compile_seconds=compile_seconds,
        step_seconds=step_seconds,
        row_bytes=_size([problem.rows, held_out]),
        state_bytes=_size(state),
        work_bytes=_work_bytes(compiled),
    )


def guess(
    n: int,
    n_held_out: int,
    parameters: int,
    numbers: int,
    *,
    max_epochs: int | None = None,
    optimizer: Adam | None = None,
    options: Option | Sequence[Option] | None = None,
) -> Rehearsal:
    """What `rehearse` measures, guessed from sizes and from the speed of a product of matrices; nothing is compiled.

    Args:
        n: Number of training rows.
        n_held_out: Number of held-out rows.
        parameters: Number of parameters that are trained.
        numbers: Numbers per row, its condition and weight included.
        max_epochs: Number of passes over the rows.
        optimizer: Optimiser, as for `fit`.
        options: Options as for `fit`.

    Returns:
        The plan as it will be; the times to a factor of three, and the memory without activations.

    Example:
        >>> from pushforward.training.rehearsal import guess
        >>> guess(900, 100, 10_000, 5, max_epochs=2).steps
        8
    """
    plan = make_plan(
        n,
        n_held_out,
        SCORE_CHUNK,
        max_epochs=max_epochs,
        optimizer=Adam() if optimizer is None else optimizer,
        options=collect(options),
        objective=MaximumLikelihood(),
    )
    batch = -(-n // int(plan.steps_per_epoch))
    operations = OPERATIONS_PER_WEIGHT * parameters * (batch + n_held_out / (3 * int(plan.steps_per_round)))
    return Rehearsal(
        rows=n,
        held_out_rows=n_held_out,
        parameters=parameters,
        batch_rows=batch,
        steps=int(plan.total_steps),
        steps_per_epoch=int(plan.steps_per_epoch),
        compile_seconds=COMPILE_SECONDS,
        step_seconds=operations / (REACHED * _operations_per_second()),
        row_bytes=4 * (n + n_held_out) * numbers,
        state_bytes=4 * STATE_NUMBERS * parameters,
        work_bytes=None,
    )


def _operations_per_second() -> float:
    """The speed of a product of matrices in float32 on this machine, the best of three."""
    matrix = np.ones((TIMED_SIZE, TIMED_SIZE), np.float32)
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        np.dot(matrix, matrix)
        seconds.append(time.perf_counter() - start)
    return 2 * TIMED_SIZE**3 / min(seconds)


def _time_steps(compiled: Any, state: FitState, problem: Problem) -> float:
    """Seconds per step: that of a step alone, and its share of a validation."""

    def take(state: FitState, n: int) -> tuple[FitState, float]:
        start = time.perf_counter()
        state, report = compiled(state, problem, one_call(n))
        jax.block_until_ready(report.counters)
        return state, time.perf_counter() - start

    plan = problem.plan
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
