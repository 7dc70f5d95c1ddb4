"""Options of `fit` beside its arguments: small objects, each with its own checks."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import optax

from pushforward._checks import check_int, check_number, message
from pushforward.bijections.base import AbstractBijection
from pushforward.training.devices import Devices
from pushforward.training.tracking import AbstractTracker

Schedule = Callable[[Any], Any]  # a function from the number of a step to its learning rate


@dataclass(frozen=True)
class Adam:
    """Adam with decoupled weight decay, behind a clip of the gradient's norm: the optimiser of `fit`.

    Its learning rate rises in a warm-up, and falls to zero by a cosine.

    Args:
        learning_rate: Learning rate at the top of the schedule; None takes what measurement chose for the objective.
        weight_decay: Decoupled weight decay, as in AdamW, of arrays with two axes or more. Locations, scales and other
            vectors are left alone, for decay would pull an estimate to zero. None takes what measurement chose for the
            objective.
        clip_norm: Global norm to which gradients are clipped; None for no clipping.
        warmup: Number of steps of the linear warm-up; None is 3 % of the schedule, and 500 at most.

    Raises:
        ValueError: A number lies outside its range.

    Source:
        Adam: Kingma, Ba, 2015, arXiv 1412.6980. Decoupled decay: Loshchilov, Hutter, 2019, arXiv 1711.05101.
    """

    learning_rate: float | None = None
    weight_decay: float | None = None
    clip_norm: float | None = 5.0
    warmup: int | None = None

    def __post_init__(self):
        positive = ("learning_rate", "clip_norm")
        for name in (*positive, "weight_decay"):
            value = getattr(self, name)
            if value is not None:
                check_number("Adam", name, value, low=0.0, open_low=name in positive)
        if self.warmup is not None:
            check_int("Adam", "warmup", self.warmup, 0)


@dataclass(frozen=True)
class Stopping:
    """When a fit ends before its last epoch.

    Args:
        max_seconds: Wall-clock budget, compilation included; the schedule shrinks to fit it. None sets no budget.
        patience: Number of epochs (400 steps at least) without a rise of the held-out score after which the fit stops.

    Raises:
        ValueError: A number lies outside its range.
    """

    max_seconds: float | None = None
    patience: int = 20

    def __post_init__(self):
        if self.max_seconds is not None:
            check_number("Stopping", "max_seconds", self.max_seconds, low=0.0, open_low=True)
        check_int("Stopping", "patience", self.patience, 1)


@dataclass(frozen=True)
class Steps:
    """The rows of one step, and the average of the weights over many.

    Args:
        batch_size: Largest number of rows per step; the batches of an epoch are of equal size to within a row. None is
            256.
        ema: Decay of the exponential moving average of the weights, in [0, 1). The average is what is scored and
            returned; 0 scores and returns the weights themselves.

    Raises:
        ValueError: A number lies outside its range.
    """

    batch_size: int | None = None
    ema: float = 0.999

    def __post_init__(self):
        if self.batch_size is not None:
            check_int("Steps", "batch_size", self.batch_size, 1)
        check_number("Steps", "ema", self.ema, low=0.0, high=1.0)


@dataclass(frozen=True)
class Preprocess:
    """A fixed map between the flow's events and the data, such as `Standardize`.

    The rows go through its inverse once, in float64. It becomes the last member of the returned flow's chain, so that
    every log-density is in the data's units.

    Args:
        bijection: Bijection from the flow's events to the data.
    """

    bijection: AbstractBijection

    def __post_init__(self):
        if not isinstance(self.bijection, AbstractBijection):
            fix = "Pass one such as Standardize.fit(x)."
            raise TypeError(message("Preprocess", "a bijection", type(self.bijection).__name__, fix))


@dataclass(frozen=True)
class Checkpoint:
    """A folder to which a fit writes what a later process needs in order to go on with it.

    Args:
        folder: Folder of safetensors and JSON files, which is made if there is none. The last two commits are kept; the
            first is written before the first step. A commit that fails, as for a full disk, warns once and leaves the
            older ones.
        seconds: Seconds between two commits; each copies the state (seven times the weights) to the host and to the
            disk, between device calls.
        resume: Whether to go on from the newest whole checkpoint of the folder; if there is none, the fit starts anew.
            The call must be the same as that of the fit that was stopped, data and key included.

    Raises:
        ValueError: `seconds` is negative or no number.
    """

    folder: str | os.PathLike
    seconds: float = 60.0
    resume: bool = False

    def __post_init__(self):
        check_number("Checkpoint", "seconds", self.seconds, low=0.0)


@dataclass(frozen=True)
class Reporting:
    """Who is told of each new row of the history.

    Args:
        callback: Function that is called with each new row, a dict. Raise KeyboardInterrupt in it to stop and keep the
            best weights. A resumed fit calls it for new rows alone.
        tracker: One tracker or several, such as `training.JsonLines(path)`.
    """

    callback: Callable[[dict[str, float]], None] | None = None
    tracker: AbstractTracker | Sequence[AbstractTracker] | None = None


Option = Stopping | Steps | Preprocess | Checkpoint | Reporting | Devices


@dataclass(frozen=True)
class Options:
    """One option of each kind, with the defaults of those that the user did not give."""

    stopping: Stopping = field(default_factory=Stopping)
    steps: Steps = field(default_factory=Steps)
    preprocess: Preprocess | None = None
    checkpoint: Checkpoint | None = None
    reporting: Reporting = field(default_factory=Reporting)
    devices: Devices | None = None


def given_options(options: Any) -> Sequence[Any]:
    """The options as a sequence: one, several or none."""
    return () if options is None else options if isinstance(options, list | tuple) else (options,)


def collect(options: Option | Sequence[Option] | None) -> Options:
    """The options by kind.

    Args:
        options: One option, several, or None.

    Raises:
        TypeError: An option is of no known kind.
        ValueError: Two options are of one kind.
    """
    places: dict[type, str] = {
        Stopping: "stopping",
        Steps: "steps",
        Preprocess: "preprocess",
        Checkpoint: "checkpoint",
        Reporting: "reporting",
        Devices: "devices",
    }
    given = given_options(options)
    found: dict[str, Any] = {}
    for option in given:
        place = places.get(type(option))
        if place is None:
            expected = f"options among {', '.join(kind.__name__ for kind in places)}"
            fix = "Pass it as optimizer=." if isinstance(option, Adam) else "They are in pushforward.training."
            raise TypeError(message("fit", expected, type(option).__name__, fix))
        if place in found:
            raise ValueError(message("fit", f"one {type(option).__name__} at most", "two", "Put both into one."))
        found[place] = option
    return Options(**found)


def check_optimizer(optimizer: Any, schedule: Any) -> Adam | optax.GradientTransformation:
    """The optimiser of a fit; `Adam()` where the user chose none.

    Raises:
        TypeError: The optimiser is none, or the schedule is no function.
        ValueError: The learning rate is given twice.
    """
    optimizer = Adam() if optimizer is None else optimizer
    if not isinstance(optimizer, Adam | optax.GradientTransformation):
        fix = "Pass training.Adam(learning_rate) or a transformation such as optax.adamw(1e-3)."
        raise TypeError(message("fit", "optimizer Adam or an optax transformation", type(optimizer).__name__, fix))
    if schedule is not None and not callable(schedule):
        fix = "Pass an optax schedule; a constant rate belongs to Adam(learning_rate)."
        raise TypeError(message("fit", "schedule a function from a step to a rate", type(schedule).__name__, fix))
    if schedule is not None:
        try:
            jax.eval_shape(schedule, np.int32(0))
        except jax.errors.ConcretizationTypeError as error:
            fix = "Choose between values by jnp.where, not by if."
            raise TypeError(message("fit", "schedule a function that JAX can trace", "another", fix)) from error
    if schedule is not None and isinstance(optimizer, Adam):
        twice = [name for name in ("learning_rate", "warmup") if getattr(optimizer, name) is not None]
        if twice:
            fix = "The schedule says the rate of every step: leave the other out."
            raise ValueError(message("fit", "one source of the learning rate", f"schedule and Adam.{twice[0]}", fix))
    return optimizer
