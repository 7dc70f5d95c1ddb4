"""The length and the steps of a fit: the choices of the user, and the defaults where there are none."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from pushforward._checks import check_int, message
from pushforward._types import PyTree
from pushforward.objectives import AbstractObjective
from pushforward.training.batches import bucket, n_batches
from pushforward.training.options import Adam, Options

# Defaults where the user leaves the choice to the library.
BATCH_SIZE = 256
MIN_STEPS, MAX_STEPS, EPOCHS = 3_000, 60_000, 60  # steps of a whole schedule: `EPOCHS` epochs within these bounds
# As many times more epochs where a step is one evaluation of a network. On kin8nm flow matching gained 1.39 nats over a
# Gaussian in 3,000 steps, and 1.90 where it could go on until it stopped early.
REGRESSION = 6
PATIENCE_STEPS = 400  # fewer steps than this without progress never stop a fit, however small the table
ROUND_STEPS = (10, 500)  # steps between two validations: an epoch, within these bounds
WARMUP_SHARE, WARMUP_STEPS = 0.03, 500  # a share of the schedule, and the most steps


class Plan(eqx.Module):
    """The numbers that steer a fit. All but the shapes are traced, so that no change of them compiles anything."""

    steps_per_epoch: Any
    steps_per_round: Any
    total_steps: Any
    patience_steps: Any
    warmup_steps: Any
    learning_rate: Any
    weight_decay: Any
    clip_norm: Any
    ema: Any
    max_seconds: Any
    batch_rows: int = eqx.field(static=True)
    chunk_rows: int = eqx.field(static=True)


def settings(plan: Plan) -> dict[str, int | float]:
    """The plan's numbers by name."""
    return {field.name: np.asarray(getattr(plan, field.name)).item() for field in dataclasses.fields(plan)}


def adam(plan: Plan, decay: Any) -> optax.GradientTransformation:
    """Clip by the global norm, Adam, decoupled weight decay of each number; the rate comes with each step."""
    return optax.chain(
        optax.clip_by_global_norm(plan.clip_norm),
        optax.scale_by_adam(),
        optax.add_decayed_weights(decay),
        optax.scale(-1.0),
    )


def first_moments(optimizer: Adam | optax.GradientTransformation, plan: Plan, vector: np.ndarray) -> PyTree:
    """The optimiser's state before the first step, on the host.

    Raises:
        TypeError: The state holds something else than numbers.
    """
    if isinstance(optimizer, Adam):  # all zeros; nothing has to be compiled for it
        shapes = jax.eval_shape(adam(plan, plan.weight_decay).init, vector)
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    state = optimizer.init(jnp.asarray(vector))
    for leaf in jax.tree.leaves(state):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, bool | int | float):
            fix = "Take an optimizer whose state is a tree of arrays."
            raise TypeError(message("fit", "numbers in the optimizer's state", type(leaf).__name__, fix))
    return jax.tree.map(jnp.asarray, state)


def make_plan(
    n: int,
    n_held_out: int,
    chunk_rows: int,
    *,
    max_epochs: int | None,
    optimizer: Adam | optax.GradientTransformation,
    options: Options,
    objective: AbstractObjective,
) -> Plan:
    """The plan for `n` training rows.

    Raises:
        ValueError: `max_epochs` lies outside its range.
    """
    chosen = optimizer if isinstance(optimizer, Adam) else Adam()
    size = BATCH_SIZE if options.steps.batch_size is None else options.steps.batch_size
    steps_per_epoch = n_batches(n, size)
    if max_epochs is None:
        more = REGRESSION if objective.is_regression else 1
        total = min(more * max(EPOCHS * steps_per_epoch, MIN_STEPS), max(MAX_STEPS, steps_per_epoch))
    else:
        total = check_int("fit", "max_epochs", max_epochs, 1) * steps_per_epoch
    low, high = ROUND_STEPS
    # Whole epochs where they are short, equal parts of one where it is long.
    per_round = steps_per_epoch * math.ceil(low / steps_per_epoch)
    if steps_per_epoch > high:
        per_round = math.ceil(steps_per_epoch / math.ceil(steps_per_epoch / high))
    rate = objective.learning_rate if chosen.learning_rate is None else chosen.learning_rate
    decay = objective.weight_decay if chosen.weight_decay is None else chosen.weight_decay
    warm = min(round(WARMUP_SHARE * total), WARMUP_STEPS) if chosen.warmup is None else chosen.warmup
    patience_steps = max(options.stopping.patience * steps_per_epoch, PATIENCE_STEPS)
    return Plan(
        steps_per_epoch=np.int32(steps_per_epoch),
        steps_per_round=np.int32(per_round),
        total_steps=np.int32(total),
        patience_steps=np.int32(min(patience_steps, np.iinfo(np.int32).max)),
        warmup_steps=np.float32(warm),
        learning_rate=np.float32(rate),
        weight_decay=np.float32(decay),
        clip_norm=np.float32(math.inf if chosen.clip_norm is None else chosen.clip_norm),
        ema=np.float32(options.steps.ema),
        max_seconds=np.float32(math.inf if options.stopping.max_seconds is None else options.stopping.max_seconds),
        batch_rows=bucket(-(-n // steps_per_epoch), smallest=min(32, bucket(n))),
        chunk_rows=min(chunk_rows, bucket(max(n_held_out, 1))),
    )
