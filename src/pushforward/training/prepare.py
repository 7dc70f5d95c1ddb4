"""Arguments of `fit` become all that its program takes: a fit and its rehearsal begin in the same way."""

from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pushforward._checks import as_key, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.bijections import AbstractBijection, initialise
from pushforward.bijections.normalization import starts_from_data
from pushforward.distributions.dequantized import Dequantized
from pushforward.distributions.table import TableDistribution
from pushforward.objectives import AbstractObjective, is_normalised, natural_objective
from pushforward.training.batches import bucket, streams
from pushforward.training.devices import Placement
from pushforward.training.feed import Feed
from pushforward.training.fingerprint import fingerprint
from pushforward.training.members import SharedRows
from pushforward.training.options import Adam, Options, Schedule
from pushforward.training.plan import Plan, first_moments, make_plan
from pushforward.training.rows import SCORE_CHUNK, Rows, Table, conditions, read, split
from pushforward.training.state import FitState, FlatModel
from pushforward.training.streams import AbstractStream, Batch

EPOCH_STEPS = 50  # steps in an epoch of a fit without data
INITIALISE_ROWS = 1024  # rows that `ActNorm` layers are set from


@dataclass(frozen=True)
class Data:
    """The rows as the user passes them to `fit`."""

    x: Any
    condition: Any = None
    weights: Any = None
    validation: Any = 0.1


@dataclass(frozen=True)
class Choices:
    """The user's choices of how to train."""

    objective: AbstractObjective | None = None
    optimizer: Adam | optax.GradientTransformation = field(default_factory=Adam)
    schedule: Schedule | None = None
    max_epochs: int | None = None
    options: Options = field(default_factory=Options)


class Problem(eqx.Module):
    """The inputs of a fit's program that do not change.

    Attributes:
        model: The flow without its trainable numbers.
        objective: Objective to minimise.
        optimizer: An optax transformation; None is `Adam`, whose numbers are the plan's.
        schedule: Function from a step to its rate; None is warm-up and cosine for `Adam`, and 1 for others.
        rows: The training rows on the device.
        held_out: The held-out rows, or None.
        plan: The numbers that steer the fit.
        decay: The weight decay of each trained number, or None for another optimiser than `Adam`.
        seeds: Seeds of the rows' order, of the steps and of the validations.
        placement: The devices that share the work, or None for the one that JAX would take.
    """

    model: FlatModel
    objective: AbstractObjective
    optimizer: optax.GradientTransformation | None
    schedule: Schedule | None
    rows: Rows
    held_out: Rows | None
    plan: Plan
    decay: Any
    seeds: tuple[Any, Any, Any]
    placement: Placement | None = eqx.field(static=True, default=None)

    def build(self, vector: Array) -> Any:
        """The flow whose trainable numbers are `vector`, on every device."""
        placed = vector if self.placement is None else self.placement.whole(vector, self.model.size)
        return self.model.build(placed)

    def dealt(self, rows: Any) -> Any:
        """The rows of a batch, each device with its own; None stays."""
        return rows if rows is None or self.placement is None else self.placement.rows(rows)

    def placed(self, placement: Placement) -> Problem:
        """The same inputs on these devices."""
        decay = None if self.decay is None else placement.put_vector(self.decay)
        return dataclasses.replace(
            placement.put(dataclasses.replace(self, decay=None)), decay=decay, placement=placement
        )


@dataclass(frozen=True)
class Prepared:
    """A fit before its first step.

    Attributes:
        problem: The inputs that do not change.
        state: The state that changes, on the host.
        offsets: Numbers to add to the training and held-out scores, so that they are in the data's units.
        judged_by: The held-out rows whose log-density is computed at the end if the loss is no log-density.
        n_parameters: Number of parameters that are trained.
        x64: Whether the program computes in float64 where the types leave it the choice.
        fingerprint: Fingerprint that tells this fit from others.
        feed: The way of a stream's rows to the device, or None where all rows are there.
    """

    problem: Problem
    state: FitState
    offsets: tuple[float, float]
    judged_by: Table | None
    n_parameters: int
    x64: bool
    fingerprint: dict[str, Any]
    feed: Feed | None = None

    def reading(self, step: int) -> contextlib.AbstractContextManager[Any]:
        """A context in which the rows of a stream are read from a step on; nothing without a stream."""
        return contextlib.nullcontext() if self.feed is None else self.feed.reading(step)


def prepare(flow: Any, data: Data, choices: Choices, key: PRNGKeyArray, name: str = "fit") -> Prepared:
    """Check everything, read and split the rows, put them on the device, and set up the state.

    Args:
        flow: The model to start from.
        data: The rows.
        choices: Choices of how to train.
        key: JAX key of the fit.
        name: Name of the caller, for error messages.

    Raises:
        ValueError: A shape or number does not fit, or the rows hold NaN or infinity.
        TypeError: An argument is of the wrong kind.
    """
    key = as_key(name, key)
    objective = natural_objective(flow) if choices.objective is None else choices.objective
    preprocess = None if choices.options.preprocess is None else choices.options.preprocess.bijection
    options = choices.options
    stream = data.x if isinstance(data.x, AbstractStream) else None
    if stream is not None and objective.needs_rows:
        table, held_out = _first_rows(flow, stream, data, preprocess, name)
    elif objective.needs_rows:
        table, held_out = _rows(flow, data, preprocess, key, name)
    else:
        table, held_out = _draws(flow, data, objective, preprocess, key, name)
        if options.steps.batch_size is None and flow.cond_shape is None:
            n_samples: Any = getattr(objective, "n_samples", None)
            options = dataclasses.replace(options, steps=dataclasses.replace(options.steps, batch_size=n_samples))
    if objective.in_nats and not is_normalised(flow):
        fix = "Take objectives.ScoreMatching(), which needs no normalising constant."
        raise ValueError(message(name, "a normalised density to maximise", "an UnnormalisedDensity", fix))
    # What the units add has no place in another loss, and an energy has no log-density to end with.
    judged_by = held_out if not objective.in_nats and is_normalised(flow) else None
    if not objective.in_nats:
        table = dataclasses.replace(table, log_det=None)
        held_out = None if held_out is None else dataclasses.replace(held_out, log_det=None)
    n, n_held_out = len(table.x) if stream is None else stream.n_rows, 0 if held_out is None else len(held_out.x)
    plan = make_plan(
        n,
        n_held_out,
        SCORE_CHUNK,
        max_epochs=choices.max_epochs,
        optimizer=choices.optimizer,
        options=options,
        objective=objective,
    )
    vector, model = FlatModel.split(flow)
    if vector.size == 0:
        raise ValueError(message(name, "a flow with trainable arrays", "none", "Build one with pushforward.flows."))
    x64 = np.float64 in (vector.dtype, jnp.result_type(float))
    with jax.enable_x64(x64):
        prepared = initialise_from(flow, table, vector.dtype) if objective.needs_rows else flow
        if prepared is not flow:
            vector, model = FlatModel.split(prepared)
        own = isinstance(choices.optimizer, Adam)
        moments = first_moments(choices.optimizer, plan, vector)
        chunks = -(-n_held_out // plan.chunk_rows) * plan.chunk_rows
        seeds = streams(key)
        feed = None if stream is None else Feed(stream, flow, preprocess, plan, seeds[0], vector.dtype)
        problem = Problem(
            model,
            objective,
            None if isinstance(choices.optimizer, Adam) else choices.optimizer,
            choices.schedule,
            table.on_device(vector.dtype, bucket(n)) if feed is None else feed.unread,
            None if held_out is None else held_out.on_device(vector.dtype, chunks),
            plan,
            jax.device_put(plan.weight_decay.astype(vector.dtype) * model.matrices(vector.dtype)) if own else None,
            seeds,
        )
        state = FitState.start(vector, moments, bucket(n) if feed is None else 0, int(plan.steps_per_round))
        printed = {
            "flow": flow,
            "objective": objective,
            "optimizer": choices.optimizer,
            "schedule": choices.schedule,
            "preprocess": preprocess,
            "rows": "" if stream is None else stream.identity,
        }
        marks = fingerprint(printed, (table, held_out), plan, key, vector, x64)
    offset = table.offset if held_out is None else held_out.offset
    # That of all rows of a stream is not known; the held-out rows give an estimate, and of affine maps the number.
    offsets = (table.offset if stream is None else offset, offset)
    return Prepared(problem, state, offsets, judged_by, vector.size, x64, marks, feed)


def _rows(
    flow: Any, data: Data, preprocess: AbstractBijection | None, key: PRNGKeyArray, name: str
) -> tuple[Table, Table | None]:
    """The training rows and the held-out rows."""
    if data.x is None:
        fix = "Pass x, or an objective without data such as objectives.ReverseKL(log_density)."
        raise ValueError(message(name, "rows to train on", "x=None", fix))
    table = read(flow, data.x, data.condition, data.weights, preprocess, name)

    def read_held_out(x: Any, condition: Any) -> Any:
        return read(flow, x, condition, None, preprocess, f"{name}, validation")

    return split(table, data.validation, key, read_held_out, flow.cond_shape is not None)


def _first_rows(
    flow: Any, stream: AbstractStream, data: Data, preprocess: AbstractBijection | None, name: str
) -> tuple[Table, Table | None]:
    """The first training rows of a stream, and all that it holds out."""
    for what in ("condition", "weights"):
        if getattr(data, what) is not None:
            fix = "Its blocks have them."
            raise ValueError(message(name, f"no {what} beside a stream", "some", fix))
    if stream.n_rows >= np.iinfo(np.int32).max:
        fix = "Train on a part of them."
        raise ValueError(message(name, f"fewer than {np.iinfo(np.int32).max:,} rows", f"{stream.n_rows:,}", fix))
    held_out = stream.held_out()
    if data.validation is None:
        held_out = None
    elif not (isinstance(data.validation, float) and data.validation == Data.validation):
        fix = "Say it to the stream: it holds out rows itself."
        raise ValueError(message(name, "validation None, or left out", repr(data.validation)[:60], fix))

    def read_some(batch: Batch, name: str) -> Table:
        return read(flow, *batch, preprocess, name)

    table = read_some(stream.head(INITIALISE_ROWS), f"{name}, first rows of the stream")
    return table, None if held_out is None else read_some(held_out, f"{name}, held-out rows of the stream")


def _draws(
    flow: Any,
    data: Data,
    objective: AbstractObjective,
    preprocess: AbstractBijection | None,
    key: PRNGKeyArray,
    name: str,
) -> tuple[Table, Table | None]:
    """Rows of size 0 for an objective that draws its own: `EPOCH_STEPS` steps of them, or one for each condition."""
    if data.x is not None or data.weights is not None or preprocess is not None:
        got = "x" if data.x is not None else "weights" if data.weights is not None else "Preprocess"
        fix = "Leave it out: this objective draws from the flow."
        raise ValueError(message(name, f"no rows for {type(objective).__name__}", got, fix))
    if not isinstance(data.validation, int | float | None):
        fix = "Pass a fraction such as 0.1, or None."
        raise TypeError(message(name, "validation a fraction", type(data.validation).__name__, fix))
    if flow.cond_shape is None and data.condition is None:
        n_samples: Any = getattr(objective, "n_samples", 0)
        n = EPOCH_STEPS * n_samples
        held_out = Table(np.zeros((SCORE_CHUNK, 0)), None, np.ones(SCORE_CHUNK), None) if data.validation else None
        return Table(np.zeros((n, 0)), None, np.ones(n), None), held_out
    condition = conditions(name, flow, data.condition)
    table = Table(np.zeros((len(condition), 0)), condition, np.ones(len(condition)), None)

    def refuse(x: Any, condition: Any) -> Any:
        raise TypeError(message(name, "validation a fraction", "rows", "Pass a fraction such as 0.1, or None."))

    return split(table, data.validation, key, refuse, True)


def initialise_from(flow: Any, table: Table, dtype: Any) -> Any:
    """The flow with the layers that start from data set from the first rows; itself if it has none.

    For a `TableDistribution` this concerns the flow of the values, with what it would see of these rows in training.
    """
    if len(table.x) < 2 or isinstance(flow, SharedRows):  # whose members were set one by one
        return flow
    rows = table.x[:INITIALISE_ROWS].astype(dtype)
    condition = None if table.condition is None else table.condition[:INITIALISE_ROWS].astype(dtype)
    if isinstance(flow, Dequantized):
        return flow.started_from(rows, condition)
    if not isinstance(flow, TableDistribution):
        return initialise(flow, rows, condition)
    if flow.values is None or not starts_from_data(flow.values):  # else each number of rows compiles what they see
        return flow
    conditions = None if condition is None else jnp.asarray(condition).T
    # Any key: it fills what is absent, and the start depends on the rows alone.
    keys = jax.random.split(jax.random.key(0), len(rows))
    seen = flow.standard(jnp.asarray(rows).T, conditions, keys)
    values = initialise(flow.values, seen.values.T, None if seen.condition is None else seen.condition.T)
    return flow if values is flow.values else eqx.tree_at(lambda t: t.values, flow, values)
