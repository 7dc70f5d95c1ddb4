"""What the verbs do with a model of images: drawing, scoring, evaluating and inspecting it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import typer

from pushforward._json import to_json
from pushforward._types import trainable
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.table_output import check_out, write_out
from pushforward.images.density import ImageDensity
from pushforward.images.reading.levels import Images
from pushforward.images.scoring import bits_of
from pushforward.images.writing import check_images_target, write_images
from pushforward.io.files import check_file_target, write_file


class AskedOfImages(Protocol):
    """What is asked of the images that are drawn."""

    @property
    def label(self) -> str | None:
        """Class of all, or None."""
        ...

    @property
    def temperature(self) -> float:
        """Factor of the latents."""
        ...

    @property
    def guidance(self) -> float:
        """Weight of the guidance."""
        ...


def sample_images(
    model: Path, n: int, out: Path, asked: AskedOfImages, seed: int, force: bool, reporter: Reporter
) -> int:
    """Draw images and write them.

    Args:
        model: Folder of the model.
        n: Number of images.
        out: Picture, archive or folder to write.
        asked: The class, the temperature and the guidance of the images.
        seed: Seed.
        force: Whether what exists is replaced.
        reporter: Reporter that tells what was written.
    """
    try:
        check_images_target(out, force)
    except ValueError as error:
        raise typer.BadParameter(f"--out: {error}") from error
    density = ImageDensity.load(model)
    try:
        drawn = density.sample(
            n,
            class_asked(density, asked.label),
            temperature=asked.temperature,
            guidance=asked.guidance,
            random_state=seed,
        )
    except (TypeError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    write_images(drawn, out, n_levels=density.recipe_.n_levels, force=force)
    sizes = " x ".join(map(str, density.recipe_.shape))
    reporter.say(f"{n:,} images of {sizes} pixels: {out}")
    facts = {"model": model, "out": out, "images": n, "shape": density.recipe_.shape, "seed": seed}
    how = {"label": asked.label, "temperature": asked.temperature, "guidance": asked.guidance}
    reporter.result("sample", {**facts, **how})
    return OK


def class_asked(density: ImageDensity, label: str | None) -> Any:
    """A class as the model has it: a number where its classes are numbers.

    Raises:
        typer.BadParameter: The model's classes are numbers, and this is none.
    """
    if label is None or density.classes_ is None or density.classes_.dtype.kind == "U":
        return label
    try:
        return int(label)
    except ValueError as error:
        known = f"{', '.join(map(str, density.classes_[:20]))}, which are numbers"
        raise typer.BadParameter(f"--label {label}: expected one among the model's classes {known}.") from error


def scored(density: ImageDensity, data: str, n_draws: int) -> tuple[Images, np.ndarray]:
    """The images of a source and their log-probabilities.

    Args:
        density: The model.
        data: The images.
        n_draws: Number of draws of the noise.
    """
    images = density.read(data, data)
    labels = images.labels if density.classes_ is not None else None
    return images, density.score_samples(images, labels, n_draws=n_draws)


def evaluate_images(model: Path, data: str, out: Path | None, force: bool, reporter: Reporter) -> int:
    """Print bits per dimension of images, with their standard error.

    Args:
        model: Folder of the model.
        data: The images.
        out: JSON file to write, or None.
        force: Whether an existing file is replaced.
        reporter: Reporter that tells it.
    """
    if out is not None:
        check_file_target(out, force)
    density = ImageDensity.load(model)
    images, scores = scored(density, data, 1)
    bits = bits_of(density.model_, scores, 1)
    reporter.say(f"{data}: {bits}.")
    if bits.kind == "bound":
        reporter.say("The model is a density with noise between the levels, so that its true figure is not higher.")
    if density.held_out_bits_ is not None:
        reporter.say(f"Held-out images of the fit: {density.held_out_bits_}.")
    facts = {
        "model": model,
        "data": data,
        "images": len(images),
        "bits_per_dim": bits.mean,
        "standard_error": bits.standard_error,
        "bits_kind": bits.kind,
        "mean_nats": float(scores.mean()),
    }
    if out is not None:
        text = to_json(facts) + "\n"
        write_file(out, lambda file: file.write(text.encode()), force)
        reporter.say(f"Report: {out}")
    reporter.result("evaluate", {**facts, "out": out})
    return OK


def score_images(model: Path, data: str, out: Path | None, n_draws: int, force: bool, reporter: Reporter) -> int:
    """Write the log-probability of each image.

    Args:
        model: Folder of the model.
        data: The images.
        out: Table to write, or None.
        n_draws: Number of draws of the noise for each image.
        force: Whether an existing file is replaced.
        reporter: Reporter that tells the mean.
    """
    if out is not None:
        check_out(out, force)
    density = ImageDensity.load(model)
    images, scores = scored(density, data, n_draws)
    bits = bits_of(density.model_, scores, n_draws)
    if out is not None:
        dim = math.prod(density.recipe_.shape)
        columns = {"log_prob": scores, "bits_per_dim": -scores / (dim * math.log(2))}
        if images.names:
            columns = {"file": np.array(images.names), **columns}
        write_out(out, [pa.table(columns)], force)
    reporter.say(f"{data}: {len(images):,} images, mean log-probability {scores.mean():.4f} nats, {bits}.")
    if out is not None:
        reporter.say(f"One log_prob per image: {out}")
    facts = {"model": model, "out": out, "images": len(images), "mean_nats": float(scores.mean())}
    reporter.result("score", {**facts, "bits_per_dim": bits.mean, "standard_error": bits.standard_error})
    return OK


def inspect_images(model: Path, reporter: Reporter) -> int:
    """Say what a model of images consists of.

    Args:
        model: Folder of the model.
        reporter: Reporter that says it.
    """
    density = ImageDensity.load(model)
    recipe, bits = density.recipe_, density.held_out_bits_
    n_trained = sum(leaf.size for leaf in _leaves(density.model_))
    reporter.say(f"{model}: a model of images, fitted to {density.n_images_:,} images")
    for line in density.describe().splitlines():
        reporter.say(line)
    reporter.say(f"Options: {', '.join(f'{k}={v}' for k, v in recipe.options.items()) or 'the defaults'}")
    reporter.say(f"Parameters: {n_trained:,} trained. Source of the model: {recipe.entry.source}.")
    facts = {
        "model": model,
        "flow": recipe.flow,
        "options": dict(recipe.options),
        "shape": recipe.shape,
        "n_levels": recipe.n_levels,
        "classes": None if density.classes_ is None else density.classes_.tolist(),
        "images": density.n_images_,
        "parameters": n_trained,
        "bits_per_dim": None if bits is None else bits.mean,
        "text": density.result_.verdict.text,
        "notes": list(density.notes_),
    }
    reporter.result("inspect", facts)
    return OK


def _leaves(model: Any) -> list[Any]:
    import jax

    return jax.tree.leaves(trainable(model)[0])
