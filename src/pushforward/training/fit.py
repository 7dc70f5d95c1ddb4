"""`fit`: rows in, a trained flow, its history and a verdict out."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, message
from pushforward._types import PRNGKeyArray
from pushforward.bijections import initialise
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.distributions.evaluation import evaluation_form
from pushforward.distributions.table import TableDistribution
from pushforward.objectives import AbstractObjective, is_normalised, is_regression, natural_objective
from pushforward.training.batches import bucket
from pushforward.training.checkpoint import Checkpoints
from pushforward.training.driver import Driver
from pushforward.training.fingerprint import fingerprint
from pushforward.training.loop import MAX_REWINDS
from pushforward.training.plan import first_moments, make_plan, settings
from pushforward.training.progress import make_progress
from pushforward.training.result import FitError, FitResult, Status, Verdict, describe, fall, judge
from pushforward.training.rows import SCORE_CHUNK, Table, read, split
from pushforward.training.state import (
    BEST_ERROR,
    BEST_NATS,
    BEST_STEP,
    CONVERGED,
    DIVERGED,
    N_REWINDS,
    N_SKIPPED,
    OUT_OF_TIME,
    RATE_SCALE,
    RUNNING,
    SKIPPED,
    STATUS,
    STEP,
    FitState,
    FlatModel,
    Reached,
)
from pushforward.training.tracking import AbstractTracker, Trackers
from pushforward.training.units import in_data_units

INITIALISE_ROWS = 1024  # rows that `ActNorm` layers are set from


def fit(
    flow: Flow,
    x: Any,
    *,
    key: PRNGKeyArray,
    condition: Any = None,
    weights: Any = None,
    objective: AbstractObjective | None = None,
    validation: Any = 0.1,
    preprocess: AbstractBijection | None = None,
    max_epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    max_seconds: float | None = None,
    patience: int = 20,
    clip_norm: float | None = 5.0,
    ema: float = 0.999,
    warmup: int | None = None,
    progress: bool | Literal["auto"] = "auto",
    callback: Callable[[dict[str, float]], None] | None = None,
    checkpoint: str | os.PathLike | None = None,
    checkpoint_seconds: float = 60.0,
    resume: bool = False,
    tracker: AbstractTracker | Sequence[AbstractTracker] | None = None,
) -> FitResult:
    r"""Train a flow on rows by Adam, warm-up and cosine, with early stopping on held-out rows.

    All rows live on the device; one compiled call runs many steps with their validations and decisions. Validation
    scores an exponential moving average of the weights, and the best of these averages is what comes back. A step
    whose loss or gradient is not finite is skipped and counted; if more than a tenth of the steps between two
    validations are, or the held-out score is not finite, training goes back to the last good state with 0.3 times the
    learning rate. The same key on the same machine gives the same numbers bit for bit, unless `max_seconds` bends
    the schedule.

    With `checkpoint`, a fit that was stopped or killed at any moment goes on with `resume=True` from its last commit,
    and ends with the same weights bit for bit on the same kind of machine, and the same history but for the seconds.
    Only under `max_seconds` does the clock bend the numbers: the time of the commit is restored, and that between the
    commit and the end of the process is not counted. Ctrl-C and SIGTERM (in the main thread) stop a fit, commit, and
    give the best weights so far, with the status `"interrupted"`. A fit that ends by itself leaves its folder, so that
    nothing is lost before its result is saved; then `training.remove_checkpoint` deletes it.

    Args:
        flow: the model to start from; it is not changed.
        x: rows `(n, *event_shape)`, finite numbers.
        key: a JAX key: decides the held-out rows, the order of the rows, and what the objective draws.
        condition: `(n, *cond_shape)` for a conditional flow.
        weights: `(n,)`, not negative; a weight of 2 counts as the row twice, in validation too.
        objective: what to minimise. None is what the flow is made for (`objectives.natural_objective`): maximum
            likelihood, but for fields on a path `FlowMatching()` or `DenoisingScoreMatching()`. Of an objective that is
            no log-density the columns `train_nats` and `held_out_nats` of the history are minus the loss, early
            stopping goes by it, and the verdict's held-out log-density is computed once, at the end.
        validation: a fraction of the rows to hold out (at most 20,000 rows), the held-out rows themselves, as `x` or
            `(x, condition)`, or None to hold out nothing: training then runs its whole schedule.
        preprocess: a fixed bijection from the flow's events to the data, such as `Standardize`. The rows go through
            its inverse once, in float64; it becomes the last member of the returned flow's chain, so that every
            log-density is in the data's units.
        max_epochs: passes over the rows of the whole schedule; None chooses by the number of rows, six times as many
            where a step solves nothing (flow matching, denoising score matching).
        batch_size: rows per step at most; an epoch's batches are of equal size to within a row. None is 256.
        learning_rate: of Adam, at the top of the schedule; None is 4e-3.
        weight_decay: decoupled, as in AdamW.
        max_seconds: wall-clock budget, compilation included; the schedule shrinks to fit it.
        patience: epochs without a rise of the held-out log-density before stopping (and 400 steps at least).
        clip_norm: global norm to which gradients are clipped, None for no clipping.
        ema: decay of the average of the weights, in [0, 1); 0 scores and returns the weights themselves.
        warmup: steps of linear warm-up; None is 3 % of the schedule, and 500 at most.
        progress: `"auto"` shows a bar on a terminal and a line every ten seconds elsewhere, False shows nothing, True
            writes the verdict in any case.
        callback: called with each new row of the history, a dict. Raise KeyboardInterrupt in it to stop and keep the
            best weights. A resumed fit calls it for new rows alone.
        checkpoint: a folder for checkpoints, made if there is none: safetensors and JSON, the last two kept. The first
            is committed before the first step. A commit that fails, as for a full disk, warns once and leaves the
            older ones.
        checkpoint_seconds: between two commits; each copies the state (seven times the weights) to the host and to the
            disk, between device calls.
        resume: go on from the newest whole checkpoint of the folder; if there is none, start anew. The call must be
            the same as that of the fit that was stopped, data and key included.
        tracker: told of each row of the history, such as `training.JsonLines(path)`; one or several.

    Raises:
        ValueError: a shape or number does not fit, the rows hold NaN or infinity, or the checkpoint is of another fit
            (the error names what differs).
        TypeError: something is of the wrong kind.
        FileExistsError: `checkpoint` holds checkpoints and `resume` is False.
        UntrustedModelError: every checkpoint in the folder is damaged.
        FitError: training diverged and five rewinds did not help; weights that are not finite are never returned.

    Source:
        Adam: Kingma, Ba, 2015, arXiv 1412.6980. Decoupled decay: Loshchilov, Hutter, 2019, arXiv 1711.05101.

    Example:
        >>> import jax, pushforward as pf
        >>> x = jax.random.normal(jax.random.key(0), (200, 2))
        >>> flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=8)
        >>> result = pf.fit(flow, x, key=jax.random.key(2), max_epochs=10, progress=False)
        >>> result.verdict.status
        'stopped: epochs'
    """
    start = time.perf_counter()
    key = as_key("fit", key)
    objective = natural_objective(flow) if objective is None else objective
    display, trackers = make_progress(progress), Trackers(tracker)
    if resume and checkpoint is None:
        raise ValueError(message("fit", "a checkpoint folder to resume from", "none", "Pass checkpoint=."))
    checkpoints = None if checkpoint is None else Checkpoints(checkpoint, checkpoint_seconds, resume)
    table = read(flow, x, condition, weights, preprocess)

    def read_held_out(x: Any, condition: Any) -> Any:
        return read(flow, x, condition, None, preprocess, name="fit, validation")

    table, held_out = split(table, validation, key, read_held_out, flow.cond_shape is not None)
    n, n_held_out = len(table.x), 0 if held_out is None else len(held_out.x)
    if objective.in_nats and not is_normalised(flow):
        fix = "Take objectives.ScoreMatching(), which needs no normalising constant."
        raise ValueError(message("fit", "a normalised density to maximise", "an UnnormalisedDensity", fix))
    # What the units add has no place in another loss, and an energy has no log-density to end with.
    judged_by = held_out if not objective.in_nats and is_normalised(flow) else None
    if not objective.in_nats:
        table = dataclasses.replace(table, log_det=None)
        held_out = None if held_out is None else dataclasses.replace(held_out, log_det=None)
    plan = make_plan(
        n,
        n_held_out,
        SCORE_CHUNK,
        max_epochs=max_epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        max_seconds=max_seconds,
        patience=patience,
        clip_norm=clip_norm,
        ema=ema,
        warmup=warmup,
        regression=is_regression(objective),
    )
    vector, model = FlatModel.split(flow)
    if vector.size == 0:
        raise ValueError("fit: expected a flow with trainable arrays, got none. Build one with pushforward.flows.")
    x64 = np.float64 in (vector.dtype, jnp.result_type(float))
    with jax.enable_x64(x64):
        prepared = initialise_from(flow, table, vector.dtype)
        if prepared is not flow:
            vector, model = FlatModel.split(prepared)
        rows = table.on_device(vector.dtype, bucket(n))
        chunks = -(-n_held_out // plan.chunk_rows) * plan.chunk_rows
        held_out_rows = None if held_out is None else held_out.on_device(vector.dtype, chunks)
        state = FitState.start(vector, first_moments(plan, vector), bucket(n), int(plan.steps_per_round))
        reached, restored = Reached(state, 0, RUNNING, (), math.nan, 0.0), None
        if checkpoints is not None:
            checkpoints.fingerprint = fingerprint(flow, objective, preprocess, table, held_out, plan, key, x64)
            restored = checkpoints.restore(state, plan)
            reached = restored or reached
        sizes = {"rows": n, "held_out_rows": n_held_out, "parameters": vector.size, "flow": type(flow).__name__}
        resumed_from = None if restored is None else restored.step
        about = {**sizes, "objective": type(objective).__name__, **settings(plan), "resumed_from": resumed_from}
        trackers.call("start", about)
        offsets = (table.offset, table.offset if held_out is None else held_out.offset)
        driver = Driver(
            plan,
            model,
            objective,
            rows,
            held_out_rows,
            key,
            offsets,
            display,
            callback,
            reached,
            start - reached.elapsed,
            checkpoints,
            trackers,
        )
        try:
            interrupted = driver.run()
            result = finish(model, preprocess, driver, interrupted, held_out is not None, judged_by)
        except BaseException as error:
            status = "diverged" if isinstance(error, FitError) else "failed"
            trackers.call("finish", {"status": status, "text": str(error)})
            raise
        trackers.call("finish", dataclasses.asdict(result.verdict))
        return result


MAX_JUDGED = 5000  # held-out rows whose log-densities end a fit by another objective


def held_out_density(flow: Flow, held_out: Table) -> tuple[float, float]:
    """Mean log-density of held-out rows in the data's units, and its standard error."""
    part = held_out.take(np.arange(min(len(held_out.x), MAX_JUDGED)))
    condition = None if part.condition is None else part.condition.astype(np.float32)
    key = jax.random.key(0) if flow.needs_key else None
    nats = np.asarray(flow.log_prob(part.x.astype(np.float32), condition, key=key), np.float64)
    nats = nats if part.log_det is None else nats + part.log_det
    mean = np.average(nats, weights=part.weights)
    error = np.sqrt(np.sum((part.weights * (nats - mean)) ** 2)) / part.weights.sum()
    return float(mean), float(error)


def initialise_from(flow: Flow, table: Table, dtype: Any) -> Flow:
    """The flow with the layers that start from data set from the first rows; itself if it has none.

    Of a `TableDistribution` the flow of the values is, with what it would see of these rows in training.
    """
    if len(table.x) < 2:
        return flow
    rows = table.x[:INITIALISE_ROWS].astype(dtype)
    condition = None if table.condition is None else table.condition[:INITIALISE_ROWS].astype(dtype)
    if not isinstance(flow, TableDistribution):
        return initialise(flow, rows, condition)
    if flow.values is None:
        return flow
    conditions = None if condition is None else jnp.asarray(condition).T
    # Any key: it fills what is absent, and the start depends on the rows alone.
    keys = jax.random.split(jax.random.key(0), len(rows))
    seen = flow.standard(jnp.asarray(rows).T, conditions, keys)
    values = initialise(flow.values, seen.values.T, None if seen.condition is None else seen.condition.T)
    return flow if values is flow.values else eqx.tree_at(lambda t: t.values, flow, values)


def finish(
    model: FlatModel,
    preprocess: AbstractBijection | None,
    driver: Driver,
    interrupted: bool,
    validated: bool,
    judged_by: Table | None = None,
) -> FitResult:
    """The result of a fit whose last device call was sent; waits for it.

    Of a fit whose loss is no log-density, `judged_by` holds the held-out rows whose log-density is the verdict's.

    Raises:
        FitError: the fit diverged.
    """
    state = driver.reached.state
    whole, real = np.asarray(state.whole), np.asarray(state.real)
    code, steps, n_rewinds = int(whole[STATUS]), int(whole[STEP]), int(whole[N_REWINDS])
    n_skipped = int(whole[N_SKIPPED]) + int(np.asarray(state.tally)[SKIPPED])
    if code == DIVERGED:
        text = (
            f"fit: expected finite losses and gradients, got {n_skipped} non-finite steps of {steps} and a non-finite "
            f"score, also after {MAX_REWINDS} rewinds with the learning rate down to "
            f"{float(driver.plan.learning_rate) * float(real[RATE_SCALE]):.1e}. Standardise the data "
            "(preprocess=Standardize), look for outliers, bound the scales of the layers, or lower learning_rate."
        )
        driver.display.close(text)
        raise FitError(text)
    status: Status = "stopped: epochs"
    if interrupted:
        status = "interrupted"
    elif code == CONVERGED:
        status = "converged"
    elif code == OUT_OF_TIME:
        status = "stopped: budget"
    nats = float(real[BEST_NATS]) + driver.offsets[1] if validated else None
    error = float(real[BEST_ERROR]) if validated else None
    trained = evaluation_form(model.build_on_host(np.asarray(state.best)))
    density = None if judged_by is None else held_out_density(trained, judged_by)
    if preprocess is not None:
        trained = in_data_units(trained, preprocess)
    seconds = driver.elapsed
    history, best_step = driver.history, int(whole[BEST_STEP])
    judgement = judge(status, history, best_step, nats, error, n_rewinds)
    fallen = fall(history, best_step, nats, error)
    if density is not None or not driver.objective.in_nats:
        fallen, (nats, error) = None, density or (None, None)
    text = describe(status, judgement, nats, error, steps, seconds, n_skipped, n_rewinds, best_step, fallen)
    driver.display.close(text)
    verdict = Verdict(
        status=status,
        judgement=judgement,
        text=text,
        held_out_nats=nats,
        standard_error=error,
        epochs=steps // int(driver.plan.steps_per_epoch),
        steps=steps,
        best_step=best_step,
        seconds=seconds,
        n_skipped=n_skipped,
        n_rewinds=n_rewinds,
    )
    return FitResult(trained, history, verdict)
