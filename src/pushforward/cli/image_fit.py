"""The work of `pushforward fit` on images: a model is fitted, and its folder is written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import typer

from pushforward._types import trainable
from pushforward.cli.dry_run import in_bytes, in_words
from pushforward.cli.fit_and_save import checkpoint_of, claim, tracker_of
from pushforward.cli.image_options import ImageOptions
from pushforward.cli.reporter import INTERRUPT, OK, Reporter
from pushforward.images.density import ImageDensity
from pushforward.images.reading.levels import Images
from pushforward.images.reading.sources import read_images
from pushforward.images.zoo import IMAGE_ENTRIES
from pushforward.io.fit_options import ConfigError
from pushforward.report.image_report import image_report
from pushforward.tables.errors import DataError
from pushforward.training import JsonLines, remove_checkpoint


def run_image_fit(options: Mapping[str, Any], reporter: Reporter) -> int:
    """Fit a model of images, save it and say how the fit went; return the exit code.

    Args:
        options: Arguments and flags of the command by name.
        reporter: Reporter that tells how it went.

    Raises:
        typer.BadParameter: An option is missing or wrong.
        DataError: The images cannot be used.
        FileExistsError: The model folder exists and `force` is False.
    """
    data, flow, page = options["data"], options["flow"], options["report"]
    if flow not in IMAGE_ENTRIES:
        raise typer.BadParameter(f"--flow {flow}: expected one of {', '.join(IMAGE_ENTRIES)} for images.")
    try:
        asked = ImageOptions.gather(
            options["config"], options["settings"] or (), options["flags"], flow, options["flow_options"]
        )
    except ConfigError as error:
        raise typer.BadParameter(str(error)) from error
    if options["print_config"]:
        if not reporter.as_json:
            typer.echo(asked.to_toml(), nl=False)
        reporter.result("fit", {"config": {"flow": {"name": flow, **asked.model}, **asked.others}})
        return OK
    if data is None:
        raise typer.BadParameter("expected DATA.")
    if options["dry_run"]:
        images, labels = _read(data, asked, reporter)
        return run_dry(_density(asked, False), images, labels, data, reporter)
    if options["out"] is None:
        raise typer.BadParameter("expected --out PATH.")
    out: Path = options["out"]
    trackers = [JsonLines(out.with_name(out.name + ".jsonl")), *map(tracker_of, options["track"] or ())]
    checkpoint, resume = checkpoint_of(out), options["resume"]
    force = claim(out, page, resume=resume, force=options["force"])
    images, labels = _read(data, asked, reporter)
    density = _density(asked, False if reporter.as_json or reporter.quiet else "auto")
    try:
        density.fit(images, labels, checkpoint=checkpoint, resume=resume, tracker=trackers)
    except DataError:
        raise
    except ValueError as error:
        raise DataError("format", f"{data}: {error}") from error
    verdict = density.result_.verdict
    if verdict.status == "interrupted" and verdict.steps == 0:
        raise KeyboardInterrupt
    if verdict.steps == 0 and verdict.status == "stopped: budget":
        reporter.warn("the time was over before the first step: the model is untrained. Allow more --max-minutes.")
    density.save(out, force=force)
    report(density, data, out, reporter)
    if verdict.status == "interrupted":
        reporter.warn(f"interrupted: {out} holds the best so far; the same command with --resume goes on.")
        return INTERRUPT
    if checkpoint.exists():  # a model in closed form has none
        remove_checkpoint(checkpoint)
    if page is not None:
        with reporter.hears():
            made = image_report(density, images, seed=0, name=str(out))
        reporter.say(f"Report: {page} ({made.save(page, force=force) / 1e6:.1f} MB)")
    return OK


def _read(data: str, asked: ImageOptions, reporter: Reporter) -> tuple[Images, Any]:
    """The images and their classes, if these are asked for."""
    given = asked.others
    images = read_images(
        data, n_levels=given.get("levels"), layout=given.get("layout"), stream=given.get("stream", False)
    )
    labels = images.labels if asked.others.get("classes") else None
    if asked.others.get("classes") and labels is None:
        fix = "name subfolders, or an archive with 'labels', one for each image."
        raise typer.BadParameter(f"--classes: {data} has no labels: {fix}")
    sizes = " x ".join(map(str, images.shape))
    reporter.say(f"{data}: {len(images):,} images of {sizes} pixels with {images.n_levels} levels")
    return images, labels


def _density(asked: ImageOptions, progress: Any) -> ImageDensity:
    """The model that the options ask for."""
    given = asked.others
    minutes = given.get("max_minutes")
    return ImageDensity(
        asked.flow,
        flow_options=asked.model,
        dequantization=given.get("dequantization"),
        pixel_map=given.get("pixel_map"),
        max_seconds=None if minutes is None else 60 * minutes,
        flips=given.get("flips", False),
        training={name: given.get(name) for name in ("max_epochs", "batch_size", "learning_rate")},
        progress=progress,
        random_state=given.get("seed", 0),
    )


def run_dry(density: ImageDensity, images: Images, labels: Any, data: str, reporter: Reporter) -> int:
    """Print what would be fitted, its size and its time, and time a few steps; nothing is written.

    Args:
        density: The model.
        images: The images.
        labels: Their classes, or None.
        data: Name of the images.
        reporter: Reporter that prints the findings.
    """
    try:
        model, plan = density.rehearse(images, labels)
    except DataError:
        raise
    except ValueError as error:
        raise DataError("format", f"{data}: {error}") from error
    n_trained = sum(leaf.size for leaf in jax.tree.leaves(trainable(model)[0]))
    reporter.say(f"Model {density.flow}: {n_trained:,} parameters.")
    facts = {"data": data, "images": len(images), "shape": images.shape, "flow": density.flow, "parameters": n_trained}
    if plan is None:
        reporter.say("It is set in closed form, in seconds.")
    else:
        seconds = plan.seconds if density.max_seconds is None else min(plan.seconds, density.max_seconds)
        memory = plan.row_bytes + plan.state_bytes + (plan.work_bytes or 0)
        reporter.say(
            f"Plan: {plan.rows:,} images to train on, {plan.held_out_rows:,} held out; {plan.steps:,} steps of "
            f"{plan.batch_rows:,} images, {plan.epochs:,} epochs, if it does not stop early."
        )
        reporter.say(
            f"Time: {in_words(plan.compile_seconds)} to compile, then {1000 * plan.step_seconds:.3g} ms per step: "
            f"{in_words(seconds)} at most. Memory on the device: about {in_bytes(memory)}."
        )
        facts |= {name: getattr(plan, name) for name in ("held_out_rows", "batch_rows", "steps", "epochs")}
        facts |= {name: getattr(plan, name) for name in ("compile_seconds", "step_seconds")}
        facts |= {"seconds_at_most": seconds, "memory_bytes": memory}
    reporter.say("Nothing was written.")
    reporter.result("dry-run", facts)
    return OK


def report(density: ImageDensity, data: str, out: Path, reporter: Reporter) -> None:
    """Say what was fitted, how good it is, and what comes next.

    Args:
        density: The fitted model.
        data: The images.
        out: The model folder.
        reporter: Reporter that says it.
    """
    verdict, bits = density.result_.verdict, density.held_out_bits_
    for line in density.describe().splitlines():
        reporter.say(line)
    reporter.say(f"Model: {out}")
    reporter.say("Next:")
    folder, images = shlex.quote(str(out)), shlex.quote(data)
    reporter.say(f"  pushforward sample {folder} -n 64 --out grid.png")
    reporter.say(f"  pushforward evaluate {folder} {images}")
    facts = {
        "model": out,
        "flow": density.recipe_.flow,
        "options": dict(density.recipe_.options),
        "images": density.n_images_,
        "shape": density.recipe_.shape,
        "n_levels": density.recipe_.n_levels,
        "classes": None if density.classes_ is None else density.classes_.tolist(),
        "bits_per_dim": None if bits is None else bits.mean,
        "standard_error": None if bits is None else bits.standard_error,
        "bits_kind": None if bits is None else bits.kind,
        "round_trip": density.round_trip_,
        "notes": list(density.notes_),
        "verdict": verdict.status,
        "text": verdict.text,
        "epochs": verdict.epochs,
        "steps": verdict.steps,
        "seconds": verdict.seconds,
    }
    reporter.result("fit", facts, INTERRUPT if verdict.status == "interrupted" else OK)
