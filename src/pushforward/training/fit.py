"""`fit`: rows in, a trained flow, its history and a verdict out."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Sequence
from typing import Any, Literal

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from pushforward._checks import as_key, check_int
from pushforward._types import PRNGKeyArray
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import AbstractDistribution
from pushforward.distributions.scoring_form import evaluation_form
from pushforward.numerics.mean_error import mean_and_error
from pushforward.objectives import AbstractObjective
from pushforward.training.checkpoint import Checkpoints
from pushforward.training.data_units import in_data_units
from pushforward.training.devices import Devices, devices_of
from pushforward.training.hosts import hears_losses
from pushforward.training.loop import Loop, Told, run
from pushforward.training.options import Adam, Option, Schedule, check_optimizer, collect, given_options
from pushforward.training.plan import settings
from pushforward.training.prepare import Choices, Data, Prepared, prepare
from pushforward.training.progress import make_progress
from pushforward.training.result import FitError, FitResult, Status, Verdict, described, fall, judge
from pushforward.training.rounds import MAX_REWINDS
from pushforward.training.rows import Table
from pushforward.training.state import CONVERGED, DIVERGED, OUT_OF_TIME, RUNNING, Reached
from pushforward.training.tracking import Trackers

MAX_JUDGED = 5000  # held-out rows at most whose log-density is computed after a fit by another objective


def fit(
    flow: AbstractDistribution,
    x: Any = None,
    *,
    key: PRNGKeyArray,
    condition: Any = None,
    weights: Any = None,
    validation: Any = 0.1,
    objective: AbstractObjective | None = None,
    optimizer: Adam | optax.GradientTransformation | None = None,
    schedule: Schedule | None = None,
    max_epochs: int | None = None,
    progress: bool | Literal["auto"] = "auto",
    options: Option | Sequence[Option] | None = None,
    devices: Literal["all"] | int | Mesh | Devices | None = None,
) -> FitResult:
    r"""Train a flow on rows by Adam, warm-up and cosine, with early stopping on held-out rows.

    All rows live on the device, or come from a `training.AbstractStream` block by block while it trains; one compiled
    call runs many steps with their validations and decisions. Validation scores an exponential moving average of the
    weights, and the best of these averages is what comes back. A row whose loss or gradient is not finite is left out
    of its step, and counted; a step of which nothing is left is skipped. If more than a tenth of the steps or rows
    between two validations are lost so, or the held-out score is not finite, training goes back to the last good state
    with 0.3 times the learning rate. The same key on the same machine gives the same numbers bit for bit, unless
    `Stopping(max_seconds=...)` bends the schedule.

    With `Checkpoint(folder)` among the options, a fit that was stopped or killed at any moment goes on with
    `Checkpoint(folder, resume=True)` from its last commit, and ends with the same weights bit for bit on the same kind
    of machine, and the same history except for the seconds. Only under `max_seconds` does the clock bend the numbers:
    the time of the commit is restored, and that between the commit and the end of the process is not counted. Ctrl-C
    and SIGTERM (in the main thread) stop a fit, commit, and give the best weights so far, with the status
    `"interrupted"`. A fit that ends by itself leaves its folder, so that nothing is lost before its result is saved;
    then `training.remove_checkpoint` deletes it.

    Args:
        flow: The model to start from; it is not changed.
        x: Rows `(n, *event_shape)` of finite numbers, or a stream of them (`training.array_stream`, `FunctionStream`),
            which has conditions and weights and holds out rows itself; None for an objective that needs none, such as
            `objectives.ReverseKL`. An epoch then is 50 steps, or for a conditional flow a pass over the conditions.
        key: JAX key, which decides the held-out rows, the order of the rows, and the draws of the objective.
        condition: Conditions `(n, *cond_shape)` for a conditional flow.
        weights: Weights `(n,)`, not negative; a weight of 2 counts as the row twice, in validation too.
        validation: A fraction of the rows to hold out (at most 20,000 rows), the held-out rows themselves, as `x` or
            `(x, condition)`, or None to hold out nothing: training then runs its whole schedule.
        objective: Objective to minimise. None is the one that the flow is made for (`objectives.natural_objective`):
            maximum likelihood, but for fields on a path `FlowMatching()` or `DenoisingScoreMatching()`. For an
            objective that is no log-density, the columns `train_nats` and `held_out_nats` of the history are minus the
            loss, early stopping goes by it, and the verdict's held-out log-density is computed once, at the end.
        optimizer: `training.Adam(learning_rate, ...)`, or any optax transformation, such as `optax.adamw(1e-3)`, whose
            updates are then added as they are. It sees the trainable numbers as one vector. None is `Adam()`.
        schedule: Function from the number of a step to a learning rate, such as an optax schedule. It takes the place
            of Adam's rate, warm-up and cosine, and multiplies the updates of an optax transformation.
        max_epochs: Number of passes over the rows in the whole schedule; None chooses by the number of rows, six times
            as many where a step solves nothing (flow matching, denoising score matching).
        progress: How to show progress: `"auto"` shows a bar on a terminal and a line every ten seconds elsewhere, False
            shows nothing, True writes the verdict in any case.
        options: One or more of `training.Stopping(max_seconds, patience)`, `training.Steps(batch_size, ema)`,
            `training.Preprocess(bijection)`, `training.Checkpoint(folder, seconds, resume)`,
            `training.Reporting(callback, tracker)` and, instead of `devices`, `training.Devices(which)`.
        devices: Devices that share the rows of each batch: `"all"`, a number of them, a `jax.sharding.Mesh`, or
            `training.Devices(which, shard_weights=True)`, which shares the weights too. None takes the one that JAX
            takes. The numbers are those of one device to the rounding of sums, whatever the number of devices.

    Raises:
        ValueError: A shape or number does not fit, the rows hold NaN or infinity, or the checkpoint is of another fit
            (the error names what differs).
        TypeError: An argument is of the wrong kind.
        FileExistsError: The checkpoint's folder holds checkpoints and `resume` is False.
        UntrustedModelError: Every checkpoint in the folder is damaged.
        HostLostError: Another host of the fit is gone.
        FitError: Training diverged and five rewinds did not help, or no step, or no held-out score, was ever finite;
            weights that are not finite are never returned.

    Example:
        >>> import jax, pushforward as pf
        >>> x = jax.random.normal(jax.random.key(0), (200, 2))
        >>> flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=8)
        >>> result = pf.fit(flow, x, key=jax.random.key(2), max_epochs=10, progress=False)
        >>> result.verdict.status
        'stopped: epochs'
        >>> options = [pf.training.Steps(batch_size=64), pf.training.Stopping(max_seconds=60)]
        >>> how = {"optimizer": pf.training.Adam(1e-2), "options": options}
        >>> pf.fit(flow, x, key=jax.random.key(2), max_epochs=2, progress=False, **how).verdict.steps
        6
    """
    start = time.perf_counter()
    named = [] if devices is None else [devices_of(devices)]
    key, chosen = as_key("fit", key), collect([*given_options(options), *named])
    first = jax.process_index() == 0
    display = make_progress(progress if first else False)
    if max_epochs is not None:
        check_int("fit", "max_epochs", max_epochs, 1)
    trackers = Trackers(chosen.reporting.tracker if first else None)
    placement = None if chosen.devices is None else chosen.devices.placement()
    choices = Choices(objective, check_optimizer(optimizer, schedule), schedule, max_epochs, chosen)
    checkpoints = None if chosen.checkpoint is None else Checkpoints(chosen.checkpoint)
    prepared = prepare(flow, Data(x, condition, weights, validation), choices, key)
    council = None if placement is None else placement.council()
    context = contextlib.nullcontext() if placement is None else placement.context()
    with jax.enable_x64(prepared.x64), context, hears_losses(council is not None):
        reached, restored = Reached(prepared.state, 0, RUNNING, (), math.nan, 0.0), None
        if checkpoints is not None:
            checkpoints.fingerprint = prepared.fingerprint
            restored = checkpoints.restore(prepared.state, prepared.problem.plan)
            reached = restored or reached
        placed = prepared
        if council is not None:
            council.check_alike(prepared.fingerprint, reached.step)
        if placement is not None:
            placed = dataclasses.replace(prepared, problem=prepared.problem.placed(placement))
            reached = dataclasses.replace(reached, state=placement.put_state(reached.state))
        trackers.call("start", {**about(flow, prepared), "resumed_from": None if restored is None else restored.step})
        told = Told(display, chosen.reporting.callback, trackers, checkpoints)
        loop = Loop(placed, reached, start - reached.elapsed, told, council)
        try:
            with prepared.reading(reached.step), loop:
                for inputs in loop.calls():
                    loop.take(*run(*inputs))
            preprocess = None if chosen.preprocess is None else chosen.preprocess.bijection
            result = finish(loop, prepared, preprocess)
        except BaseException as error:
            status = "diverged" if isinstance(error, FitError) else "failed"
            trackers.call("finish", {"status": status, "text": str(error)})
            raise
        trackers.call("finish", dataclasses.asdict(result.verdict))
        return result


def about(flow: Any, prepared: Prepared) -> dict[str, Any]:
    """The sizes and options of a fit, for trackers."""
    problem, held_out = prepared.problem, prepared.problem.held_out
    return {
        "rows": int(problem.rows.n),
        "held_out_rows": 0 if held_out is None else int(held_out.n),
        "parameters": prepared.n_parameters,
        "flow": type(flow).__name__,
        "objective": type(problem.objective).__name__,
        **settings(problem.plan),
    }


def held_out_density(flow: AbstractDistribution, held_out: Table) -> tuple[float, float]:
    """Mean log-density of held-out rows in the data's units, and its standard error."""
    part = held_out.take(np.arange(min(len(held_out.x), MAX_JUDGED)))
    condition = None if part.condition is None else part.condition.astype(np.float32)
    key = jax.random.key(0) if flow.needs_key else None
    nats = np.asarray(flow.log_prob(part.x.astype(np.float32), condition, key=key), np.float64)
    nats = nats if part.log_det is None else nats + part.log_det
    mean, error = mean_and_error(nats, part.weights)
    return float(mean), float(error)


def finish(loop: Loop, prepared: Prepared, preprocess: AbstractBijection | None) -> FitResult:
    """The result of a fit whose last device call was sent.

    Raises:
        FitError: The fit diverged, or nothing of it was ever finite.
    """
    state, plan = loop.on_host(), prepared.problem.plan
    at, scores, tally = state.counters.named, state.scores.named, state.tally.named
    steps, n_rewinds, best_step = int(at.step), int(at.n_rewinds), int(at.best_step)
    n_skipped = int(at.n_skipped) + int(tally.skipped)
    validated = prepared.problem.held_out is not None
    # Without a round that went well there are no weights but the first ones: nothing was recovered.
    never_well = at.n_rewinds > 0 and best_step == 0
    lost = steps > 0 and (tally.updates == 0 or never_well)
    lost |= steps > 0 and not loop.interrupted and validated and scores.best_nats == -math.inf
    if at.status == DIVERGED or lost:
        after = f", also after {MAX_REWINDS} rewinds" if at.status == DIVERGED else ""
        text = (
            f"fit: expected finite losses and gradients, got {n_skipped} non-finite steps of {steps} and a non-finite "
            f"score{after} with the learning rate down to {float(plan.learning_rate) * float(scores.rate_scale):.1e}. "
            "Standardise the data (Preprocess(Standardize.fit(x))), look for outliers, bound the scales of the layers, "
            "or lower the learning rate (optimizer=Adam(learning_rate))."
        )
        loop.display.close(text)
        raise FitError(text)
    status: Status = "stopped: epochs"
    if loop.interrupted:
        status = "interrupted"
    elif at.status == CONVERGED:
        status = "converged"
    elif at.status == OUT_OF_TIME:
        status = "stopped: budget"
    nats = float(scores.best_nats) + loop.offsets[1] if validated else None
    error = float(scores.best_error) if validated else None
    trained = evaluation_form(prepared.problem.model.build_on_host(state.best))
    density = None if prepared.judged_by is None else held_out_density(trained, prepared.judged_by)
    if preprocess is not None:
        trained = in_data_units(trained, preprocess)
    history = loop.history
    fallen = fall(history, best_step, nats, error)
    judgement = judge(status, history, best_step, nats, error, n_rewinds)
    if density is not None or not prepared.problem.objective.in_nats:
        fallen, (nats, error) = None, density or (None, None)
    verdict = Verdict(
        status=status,
        judgement=judgement,
        text="",
        held_out_nats=nats,
        standard_error=error,
        epochs=steps // int(plan.steps_per_epoch),
        steps=steps,
        best_step=best_step,
        seconds=loop.elapsed,
        n_skipped=n_skipped,
        n_rewinds=n_rewinds,
        n_rows_left_out=int(at.n_left_out) + int(tally.left_out),
        n_rows_unscored=int(at.n_unscored) if validated and steps > 0 else 0,
        n_rows_streamed=0 if prepared.feed is None else prepared.feed.stream.n_rows,
        n_rows_met=0 if prepared.feed is None else prepared.feed.rows_before(steps),
    )
    verdict = described(verdict, fallen, prepared.problem.objective.score_words)
    loop.display.close(verdict.text)
    return FitResult(trained, history, verdict)
