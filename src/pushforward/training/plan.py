"""How long a fit may run and how it steps: the choices of the user, and the defaults where there are none."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax

from pushforward._checks import check_int, message
from pushforward._types import PyTree
from pushforward.training.batches import bucket, n_batches

# Defaults where the user leaves the choice to the library.
BATCH_SIZE = 256
LEARNING_RATE = 4e-3
MIN_STEPS, MAX_STEPS, EPOCHS = 3_000, 60_000, 60  # steps of a whole schedule: `EPOCHS` epochs within these bounds
# As many times more epochs where a step is one evaluation of a network. On kin8nm flow matching gained 1.39 nats over a
# Gaussian in 3,000 steps, and 1.90 where it could go on until it stopped early.
REGRESSION = 6
PATIENCE_STEPS = 400  # fewer steps than this without progress never stop a fit, however small the table
ROUND_STEPS = (10, 500)  # steps between two validations: an epoch, within these bounds
WARMUP_SHARE, WARMUP_STEPS = 0.03, 500  # of the schedule, and no more steps than these


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


def optimizer_of(plan: Plan) -> optax.GradientTransformation:
    """Clip by the global norm, Adam, decoupled weight decay; the rate comes with each step."""
    return optax.chain(
        optax.clip_by_global_norm(plan.clip_norm),
        optax.scale_by_adam(),
        optax.add_decayed_weights(plan.weight_decay),
        optax.scale(-1.0),
    )


def first_moments(plan: Plan, vector: np.ndarray) -> PyTree:
    """The optimiser's state before the first step, on the host; Adam's is all zeros."""
    shapes = jax.eval_shape(optimizer_of(plan).init, vector)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)


def make_plan(
    n: int,
    n_held_out: int,
    chunk_rows: int,
    *,
    max_epochs: int | None,
    batch_size: int | None,
    learning_rate: float | None,
    weight_decay: float,
    max_seconds: float | None,
    patience: int,
    clip_norm: float | None,
    ema: float,
    warmup: int | None,
    regression: bool = False,
) -> Plan:
    """The plan for `n` training rows, every argument checked.

    `regression` says that a step is one evaluation of a network.

    Raises:
        ValueError: a number lies outside its range.
    """
    size = BATCH_SIZE if batch_size is None else check_int("fit", "batch_size", batch_size, 1)
    steps_per_epoch = n_batches(n, size)
    if max_epochs is None:
        more = REGRESSION if regression else 1
        total = min(more * max(EPOCHS * steps_per_epoch, MIN_STEPS), max(MAX_STEPS, steps_per_epoch))
    else:
        total = check_int("fit", "max_epochs", max_epochs, 1) * steps_per_epoch
    low, high = ROUND_STEPS
    # Whole epochs where they are short, equal parts of one where it is long.
    per_round = steps_per_epoch * math.ceil(low / steps_per_epoch)
    if steps_per_epoch > high:
        per_round = math.ceil(steps_per_epoch / math.ceil(steps_per_epoch / high))
    rate = LEARNING_RATE if learning_rate is None else learning_rate
    patience = check_int("fit", "patience", patience, 1)
    warm = min(round(WARMUP_SHARE * total), WARMUP_STEPS) if warmup is None else check_int("fit", "warmup", warmup, 0)
    return Plan(
        steps_per_epoch=np.int32(steps_per_epoch),
        steps_per_round=np.int32(per_round),
        total_steps=np.int32(total),
        patience_steps=np.int32(min(max(patience * steps_per_epoch, PATIENCE_STEPS), np.iinfo(np.int32).max)),
        warmup_steps=np.float32(warm),
        learning_rate=number("learning_rate", rate, low=0.0, open_low=True),
        weight_decay=number("weight_decay", weight_decay, low=0.0),
        clip_norm=number("clip_norm", math.inf if clip_norm is None else clip_norm, low=0.0, open_low=True),
        ema=number("ema", ema, low=0.0, high=1.0),
        max_seconds=number("max_seconds", math.inf if max_seconds is None else max_seconds, low=0.0, open_low=True),
        batch_rows=bucket(-(-n // steps_per_epoch), smallest=min(32, bucket(n))),
        chunk_rows=min(chunk_rows, bucket(max(n_held_out, 1))),
    )


def number(what: str, value: Any, low: float, high: float = math.inf, open_low: bool = False) -> np.float32:
    """A number within bounds, or an error that names them.

    Raises:
        TypeError: `value` is not a number.
        ValueError: it lies outside the bounds.
    """
    bounds = f"{what} {'>' if open_low else '>='} {low:g}" + ("" if high == math.inf else f" and < {high:g}")
    if isinstance(value, (bool, str)) or np.ndim(value) != 0:
        raise TypeError(message("fit", bounds, repr(value), "Pass a number."))
    result = float(value)
    if not low <= result <= high or (open_low and result == low) or (high != math.inf and result == high):
        raise ValueError(message("fit", bounds, repr(value), f"Choose {what} within these bounds."))
    return np.float32(result)
