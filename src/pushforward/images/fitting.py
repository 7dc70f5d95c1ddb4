"""The fit of an image model: images are held out, the model is built and trained, and what came out is checked."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward._vectorize import cores
from pushforward.distributions import Dequantized, Flow
from pushforward.images.latents import draw, encode
from pushforward.images.pixel_map import COUNTED, SEEN
from pushforward.images.reading.files import FileLevels
from pushforward.images.reading.levels import Images
from pushforward.images.recipe import Recipe, is_trained, set_in_closed_form
from pushforward.images.scoring import Bits, bits_of, log_probs
from pushforward.images.training_options import ImageTraining
from pushforward.objectives import ImageObjective, natural_objective
from pushforward.training import Adam, Checkpoint, FitResult, FunctionStream, Reporting, Steps, Stopping, Verdict, fit
from pushforward.training.rehearsal import Rehearsal, rehearse
from pushforward.training.rows import held_out_rows

MAX_HELD_OUT = 2000
# Of a model whose density takes a solver, fewer images are held out, and still fewer are scored: with the exact trace
# of images of up to 64 numbers, one of 8 x 8 pixels costs some 60 evaluations of its network with 64 pull-backs each.
FEW_HELD_OUT, FEW_SCORED = 200, 64
# Images from which a model in closed form is set.
MOST_CLOSED = 100_000
# Images and samples whose way to the latents and back is looked at, and how far a pixel may come back off, in standard
# deviations of a pixel: the goal of the library is 1e-4. One image of MNIST in 170 once missed it, so that 32 are few.
CHECKED, DRAWN, FEW_CHECKED = 256, 32, 16
ROUND_TRIP = 1e-2


@dataclass(frozen=True)
class Seeds:
    """The JAX keys of a fit, all from one seed."""

    weights: Any
    training: Any
    scores: Any

    @staticmethod
    def of(seed: int) -> Seeds:
        """The keys of a seed."""
        return Seeds(*jax.random.split(jax.random.key(seed), 3))


@dataclass(frozen=True)
class Fitted:
    """A fitted model of images.

    Attributes:
        model: Distribution over levels.
        result: Result of the training; its verdict is in bits per dimension.
        bits: Bits per dimension of the held-out images; None if none were held out.
        notes: Remarks, a sentence each.
        round_trip: Largest distance, in standard deviations of a pixel, at which an image or a sample came back from
            its latents, in float32; None for a model without latents, or if it was not looked at.
    """

    model: Any
    result: FitResult
    bits: Bits | None
    notes: tuple[str, ...]
    round_trip: float | None


def fit_images(
    images: Images,
    condition: np.ndarray | None,
    recipe: Recipe,
    training: ImageTraining,
    *,
    flips: bool,
    max_seconds: float | None,
    seed: int,
    progress: Any,
    options: Mapping[str, Any],
) -> Fitted:
    """Train a model of images.

    Args:
        images: The images.
        condition: Conditions `(n, n_classes)`, or None.
        recipe: What the model is made of.
        training: How it is trained, every choice made.
        flips: Whether training mirrors images left to right.
        max_seconds: Time budget of the training.
        seed: Seed of everything that is random.
        progress: As in `pushforward.fit`.
        options: `checkpoint`, `resume` and `tracker`, as `ImageDensity.fit` has them.
    """
    start = time.perf_counter()
    task = task_of(images, condition, recipe, training, flips=flips, seed=seed)
    model, seeds, held_out, order = task.model, task.seeds, task.held_out, task.order
    result = None
    if task.rows is not None:
        result = fit(
            model,
            key=seeds.training,
            objective=task.objective,
            optimizer=Adam(training.learning_rate, training.weight_decay),
            max_epochs=training.max_epochs,
            progress=progress,
            options=_how(training, max_seconds, options),
            **task.rows,
        )
        model = result.flow
    bits = None
    if len(held_out):
        scored = held_out[:FEW_SCORED] if recipe.entry.cost[0] == "iterative" else held_out
        given = None if condition is None else condition[scored]
        bits = bits_of(model, log_probs(model, images.levels[scored], given, seeds.scores), 1)
    if result is None:
        result = FitResult(model, {}, _closed(time.perf_counter() - start))
    round_trip = None
    if training.verify and isinstance(model, Dequantized) and isinstance(model.flow, Flow):
        some = order[: FEW_CHECKED if "iterative" in recipe.entry.cost else CHECKED]
        own = None if condition is None else condition[some]
        n_drawn = min(len(some), DRAWN)
        first = None if own is None else own[:n_drawn]
        drawn = draw(model, n_drawn, first, seeds.scores, 1.0)
        given = None if own is None else np.concatenate([own, own[:n_drawn]])
        round_trip = comes_back(model, np.concatenate([images.levels[some], drawn]), given)
    return Fitted(model, result, bits, tuple(_notes(recipe, flips, round_trip)), round_trip)


@dataclass(frozen=True)
class Task:
    """A fit before it begins.

    Attributes:
        model: The untrained model, or one that is set in closed form.
        rows: Images as arguments of `fit`; None for a model with nothing to train.
        objective: What is minimised; None for a model with nothing to train.
        held_out: Numbers of the images that are held out.
        order: Numbers of the others, in a random order.
        seeds: The keys.
    """

    model: Any
    rows: dict[str, Any] | None
    objective: ImageObjective | None
    held_out: np.ndarray
    order: np.ndarray
    seeds: Seeds


def task_of(
    images: Images,
    condition: np.ndarray | None,
    recipe: Recipe,
    training: ImageTraining,
    *,
    flips: bool,
    seed: int,
) -> Task:
    """Hold images out and build the model. The arguments are those of `fit_images`."""
    seeds, n = Seeds.of(seed), len(images)
    if n < 2:
        raise ValueError(message("ImageDensity.fit", "two images or more", f"{n}", "Add images."))
    most = FEW_HELD_OUT if recipe.entry.cost[0] == "iterative" else MAX_HELD_OUT
    held_out = held_out_rows(n, training.validation_fraction, seeds.training, most)
    kept = np.delete(np.arange(n), held_out)
    order = kept[_shuffled(seeds.weights, len(kept))]  # so that the first images are like all
    seen = COUNTED if recipe.pixel_map == "histogram" else SEEN
    model = recipe.build(seeds.weights, images.levels[order[:seen]])
    some = order[:MOST_CLOSED]
    model = set_in_closed_form(model, images, None if condition is None else condition[some], some)
    if not is_trained(model):
        return Task(model, None, None, held_out, order, seeds)
    rows = _rows(images, condition, kept, held_out, training, seeds)
    return Task(model, rows, _objective(model, training, flips), held_out, order, seeds)


def rehearse_images(task: Task, training: ImageTraining) -> Rehearsal | None:
    """The plan, the time and the memory of a fit, some of whose steps are run; None if there is nothing to train.

    Args:
        task: The fit.
        training: How the model is trained.
    """
    if task.rows is None:
        return None
    return rehearse(
        task.model,
        task.rows["x"],
        key=task.seeds.training,
        objective=task.objective,
        optimizer=Adam(training.learning_rate, training.weight_decay),
        max_epochs=training.max_epochs,
        options=_how(training, None, {})[1:2],
        **{name: value for name, value in task.rows.items() if name != "x"},
    )


def _shuffled(key: Any, n: int) -> np.ndarray:
    """A random order of numbers."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel().tolist()).permutation(n)


def _rows(
    images: Images,
    condition: np.ndarray | None,
    kept: np.ndarray,
    held_out: np.ndarray,
    training: ImageTraining,
    seeds: Seeds,
) -> dict[str, Any]:
    """The images as the arguments of `fit`: arrays, or a stream of files that holds out the same images."""
    if isinstance(images.levels, FileLevels):

        def read(rows: np.ndarray) -> Any:
            levels = images.levels[rows]
            return levels if condition is None else (levels, condition[rows])

        share = training.validation_fraction if len(held_out) else 0.0
        most, n_readers = max(len(held_out), 1), min(cores(), 4)
        how = {"validation": share, "max_held_out": most, "n_readers": n_readers}
        return {"x": FunctionStream(read, len(images), key=seeds.training, **how)}
    seen: Any = images.levels[held_out] if len(held_out) else None
    if seen is not None and condition is not None:
        seen = (seen, condition[held_out])
    own = None if condition is None else condition[kept]
    return {"x": images.levels[kept], "condition": own, "validation": seen}


def _objective(model: Any, training: ImageTraining, flips: bool) -> ImageObjective:
    """The objective that the model is made for, or that of the user, on images."""
    natural = natural_objective(model) if training.objective is None else training.objective
    inner = natural.inner if isinstance(natural, ImageObjective) else natural
    return ImageObjective(inner, flips=flips, class_dropout=training.class_dropout or 0.0)


def _how(training: ImageTraining, max_seconds: float | None, options: Mapping[str, Any]) -> list[Any]:
    """The options of the fit as its objects."""
    how: list[Any] = [
        Stopping(max_seconds, training.patience),
        Steps(training.batch_size, 0.999 if training.ema is None else training.ema),
        Reporting(tracker=options.get("tracker")),
    ]
    if options.get("checkpoint") is not None:
        how.append(Checkpoint(options["checkpoint"], resume=bool(options.get("resume"))))
    return how


def comes_back(model: Any, levels: np.ndarray, condition: np.ndarray | None) -> float:
    r"""The largest $|f(f^{-1}(x)) - x| / s$ over images, with the standard deviation $s$ of all pixels.

    Args:
        model: Distribution over levels that is made of a flow.
        levels: Levels `(n, C, H, W)`.
        condition: Conditions `(n, n_classes)`, or None.
    """
    latents = encode(model, levels, condition)
    back = np.asarray(model.flow.decode(latents, condition))
    spread = max(float(np.std(levels)), 1.0)
    return float(np.max(np.abs(back - (levels + 0.5)))) / spread


def _closed(seconds: float) -> Verdict:
    """The verdict on a model that is set and not trained."""
    text = f"Set in closed form, after {seconds:.1f} s."
    return Verdict("converged", "converged", text, None, None, 0, 0, 0, seconds, 0, 0)


def _notes(recipe: Recipe, flips: bool, round_trip: float | None) -> list[str]:
    """What a user should know of the model."""
    notes = []
    if flips:
        notes.append("Training mirrored images at random: the model is that of the images and their mirror images.")
    if round_trip is not None and not round_trip <= ROUND_TRIP:
        notes.append(
            f"An image came back from its latent {round_trip:.1e} standard deviations off in float32: edits and "
            "interpolations of this model are not to be trusted. Train for a shorter time, or with a smaller rate."
        )
    if math.prod(recipe.shape) > 3 * 64 * 64:
        notes.append("Images of this size take long to model: shrink them, if detail does not matter.")
    return notes


def words_of(result: FitResult, bits: Bits | None) -> str:
    """How the fit ended, in bits per dimension, in a sentence or two."""
    verdict = result.verdict
    head = verdict.text.split(" Held-out log-density")[0]
    return head if bits is None else f"{head} Held-out images: {bits}."


def with_words(result: FitResult, bits: Bits | None) -> FitResult:
    """The result whose verdict speaks of bits per dimension."""
    verdict = dataclasses.replace(result.verdict, text=words_of(result, bits))
    return dataclasses.replace(result, verdict=verdict)
