"""The work of `pushforward fit`: a table is fitted, and the model folder is written."""

from __future__ import annotations

import dataclasses
import math
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from pushforward._checks import OptionError
from pushforward._words import nearest
from pushforward.checking import CheckReport
from pushforward.cli.hosts import is_first
from pushforward.cli.reporter import CHECK_FAILED, INTERRUPT, OK, Reporter
from pushforward.cli.table_input import show_columns, streamed_or_read
from pushforward.io.files import check_file_target, check_folder_target
from pushforward.io.fit_options import FitOptions
from pushforward.report.density_report import density_report
from pushforward.tables.errors import DataError
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.modelling.preparation import Prepared
from pushforward.tables.modelling.survey import survey
from pushforward.tables.reading.shards import Shards
from pushforward.training import Devices, remove_checkpoint
from pushforward.training.tracking import AbstractTracker, JsonLines


def run_fit(
    data: str,
    out: Path,
    options: FitOptions,
    *,
    resume: bool,
    track: Sequence[str],
    devices: str | None,
    page: Path | None,
    force: bool,
    reporter: Reporter,
) -> int:
    """Fit a model, save it and report how the fit went; return the exit code.

    Args:
        data: The table.
        out: Folder to write.
        options: Options of the fit.
        resume: Whether an interrupted fit goes on.
        track: Where the learning curve is logged too.
        devices: Number of devices that share each batch, `"all"`, or None for one.
        page: HTML file for a report, or None.
        force: Whether existing files are replaced.
        reporter: Reporter that tells how it went.

    Raises:
        typer.BadParameter: Options contradict each other.
        DataError: The table cannot be fitted.
        FitError: Training diverged beyond repair; nothing is written.
        FileExistsError: The model folder exists and `force` is False.
    """
    density = FlowDensity(**options.keywords())
    checkpoint, first = checkpoint_of(out), is_first()
    if first:
        force = claim(out, page, resume=resume, force=force)
    else:  # of several hosts the first one checks, says and saves
        density.verify, reporter = False, dataclasses.replace(reporter, quiet=True, as_json=False)
        out.parent.mkdir(parents=True, exist_ok=True)
    trackers = [JsonLines(out.with_name(out.name + ".jsonl")), *map(tracker_of, track)] if first else []
    table, weights = streamed_or_read(data, options.data)
    source = table.label if isinstance(table, Shards) else table.source
    reporter.say(f"{source}: {'read in pieces' if isinstance(table, Shards) else f'{len(table):,} rows'}")
    density.progress = False if reporter.as_json or reporter.quiet else "auto"
    try:
        density.fit(
            table,
            sample_weight=weights,
            checkpoint=checkpoint,
            resume=resume,
            tracker=trackers,
            on_prepared=lambda prepared: show_prepared(prepared, reporter),
            stream=isinstance(table, Shards),
            devices=devices_named(devices),
        )
    except (DataError, OptionError):
        raise
    except ValueError as error:  # the estimator's own checks of the rows
        raise DataError("unreadable", f"{source}: {error}") from error
    verdict = density.result_.verdict
    if verdict.steps == 0:
        if verdict.status == "interrupted":  # during compilation: there is nothing to keep
            raise KeyboardInterrupt
        reporter.warn("the time was over before the first step: the model is untrained. Allow more --max-minutes.")
    if not first:
        return INTERRUPT if verdict.status == "interrupted" else OK
    density.save(out, force=force)
    code = _report(density, data, out, reporter)
    if code == INTERRUPT:
        reporter.warn(f"interrupted: {out} holds the best so far; the same command with --resume goes on.")
        return code
    remove_checkpoint(checkpoint)
    if page is not None:
        with reporter.hears():
            rows = survey(table, [0]).sample if isinstance(table, Shards) else table
            made = density_report(density, rows, seed=0, missing="drop", name=str(out), own=True)
        reporter.say(f"Report: {page} ({made.save(page, force=force) / 1e6:.1f} MB)")
    return code


def wrong(report: CheckReport | None) -> bool:
    """Whether a check of exactness failed; the checks of the latents, which say how good the fit is, do not count."""
    return report is not None and any(not line.name.startswith("latents") for line in report.failed)


def show_prepared(prepared: Prepared, reporter: Reporter) -> None:
    """Print how the columns of the table were understood, with the remarks on them."""
    show_columns(prepared.schema, prepared.given, reporter)
    for note in prepared.notes:
        reporter.warn(note)


def devices_named(words: str | None) -> Any:
    """The devices that `--devices` names.

    Raises:
        typer.BadParameter: It is no number and not `all`, or there are fewer devices.
    """
    if words is None:
        return None
    if words != "all" and not words.isdecimal():
        raise typer.BadParameter(f"--devices {words}: expected a number, or all.")
    try:
        return Devices("all" if words == "all" else int(words))
    except ValueError as error:
        raise typer.BadParameter(f"--devices {words}: {error}") from error


def checkpoint_of(out: Path) -> Path:
    """The folder of the checkpoints of a fit that writes a model.

    Args:
        out: Folder of the model.
    """
    return out.with_name(out.name + ".checkpoint")


def claim(out: Path, page: Path | None, *, resume: bool, force: bool) -> bool:
    """Make the place of a model, of its checkpoints and of its report ready; whether what is there is replaced.

    Args:
        out: Folder of the model.
        page: HTML file for a report, or None.
        resume: Whether an interrupted fit goes on.
        force: Whether existing files are replaced.

    Raises:
        FileExistsError: Something is there, and neither `force` nor `resume` says what becomes of it.
    """
    checkpoint = checkpoint_of(out)
    left = checkpoint.exists()
    if left and not (resume or force):
        fix = "Go on with --resume, or start anew with --force."
        raise FileExistsError(f"{checkpoint}: an interrupted fit left its checkpoints. {fix}")
    # What an interrupted fit left under the name is the best it had; the fit that goes on replaces it.
    force = force or (resume and left)
    check_folder_target(out, force)
    if page is not None:
        check_file_target(page, force)
    out.parent.mkdir(parents=True, exist_ok=True)
    if left and not resume:
        remove_checkpoint(checkpoint)
    return force


def tracker_of(where: str) -> AbstractTracker:
    """The tracker that `--track` names.

    Raises:
        typer.BadParameter: There is no such tracker, or its package is not installed.
    """
    from pushforward.training.tracking import MLflow, TensorBoard, WandB

    kinds: dict[str, Any] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}
    kind, _, place = where.partition(":")
    if kind not in kinds or not place:
        expected = "tensorboard:FOLDER, mlflow:EXPERIMENT or wandb:PROJECT"
        raise typer.BadParameter(f"--track {where}: expected {expected}.{nearest(kind, list(kinds))}")
    try:
        return kinds[kind](place)
    except ImportError as error:
        raise typer.BadParameter(f"--track {where}: {error}") from error


def _report(density: FlowDensity, data: str, out: Path, reporter: Reporter) -> int:
    """Say how the fit went, and give its exit code."""
    verdict = density.result_.verdict
    name = density.config_["flow"]
    if not (sys.stderr.isatty() and sys.stdout.isatty()):  # there the progress bar has left it
        reporter.say(f"{name}: {verdict.text}")
    for line in density.compared():
        reporter.say(line)
    for line in density.meaning():
        reporter.say(line)
    if density.checks_ is not None:
        reporter.say(str(density.checks_))
    reporter.say(f"Model: {out}")
    reporter.say("Next:")
    for line in _next(shlex.quote(str(out)), data, density.given_):
        reporter.say(f"  pushforward {line}")
    gaussian = next((b.nats for b in density.baselines_ if b.name == "Gaussian"), None)
    code = CHECK_FAILED if wrong(density.checks_) else OK
    return reporter.result(
        "fit",
        {
            "model": out,
            "flow": name,
            "arguments": density.config_["arguments"],
            "rows": density._n_rows,
            "rows_left_out": density.n_rows_left_out_,
            "columns": list(density.columns_),
            "kinds": {column.name: column.kind for column in density.schema_.columns},
            "given": list(density.given_),
            "held_out_nats": verdict.held_out_nats,
            "standard_error": verdict.standard_error,
            "gaussian_nats": gaussian if gaussian is not None and math.isfinite(gaussian) else None,
            "baselines": [_record(baseline) for baseline in density.baselines_],
            "gains": [gain._asdict() for gain in density.gains_],
            "checks": None if density.checks_ is None else density.checks_.to_json(),
            "verdict": verdict.status,
            "judgement": verdict.judgement,
            "text": verdict.text,
            "epochs": verdict.epochs,
            "steps": verdict.steps,
            "seconds": verdict.seconds,
            "n_skipped": verdict.n_skipped,
            "n_rewinds": verdict.n_rewinds,
            "rows_streamed": verdict.n_rows_streamed,
            "rows_met": verdict.n_rows_met,
        },
        INTERRUPT if verdict.status == "interrupted" else code,
    )


def _record(baseline: Any) -> dict[str, Any]:
    return {name: getattr(baseline, name) for name in ("name", "nats", "standard_error", "detail")}


def _next(folder: str, data: str, given: Sequence[str]) -> list[str]:
    rows = "DATA" if data == "-" else shlex.quote(data)
    conditions = f" --given {rows}" if given else ""
    return [
        f"sample {folder} -n {1 if given else 1000}{conditions} --out samples.csv",
        f"score {folder} {rows} --out scores.csv",
        f"plot {folder} {rows} --out fit.png",
    ]
