"""Jobs of the command line: a table of any size to a folder, fragment by fragment, in this process or on Ray."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pushforward.cli.reporter import DATA, OK, Reporter

if TYPE_CHECKING:
    from pushforward.scale import AbstractBatchFunction, AbstractEngine, JobResult, Plan

# Reasons and files that are named.
NAMED = 3


class Engine(StrEnum):
    """Where the fragments of a job are worked on."""

    local = "local"
    ray = "ray"


@dataclass(frozen=True)
class AtScale:
    """How a table is worked on whose results go to a folder."""

    engine: Annotated[
        Engine | None,
        typer.Option(
            help="Where the fragments of a job are worked on if --out is a folder: in this process (local), or by Ray.",
            show_default="local",
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Ray cluster, such as ray://head:10001 or auto; by default one is started here."
        ),
    ] = None
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Column of DATA that comes first in a folder of results, such as an identifier. Repeatable.",
            show_default=False,
        ),
    ] = None
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Number of Ray's workers; one per processor by default.")
    ] = None

    @property
    def kept(self) -> tuple[str, ...]:
        """The columns that come first in the results."""
        return tuple(self.keep or ())

    def is_job(self, out: Path | None) -> bool:
        """Whether results are written by a job: those that go to a folder.

        Args:
            out: Where results go.

        Raises:
            typer.BadParameter: An option of jobs is given without a folder of results, or one of Ray without Ray.
        """
        from pushforward.tables.reading.writing import is_folder

        folder = out is not None and is_folder(out)
        if not folder and (self.keep or self != AtScale(keep=self.keep)):
            what = "--engine, --address, --workers and --keep"
            raise typer.BadParameter(f"{what} are for a folder of results: give --out a name without a suffix.")
        if self.engine is not Engine.ray and (self.address is not None or self.workers is not None):
            raise typer.BadParameter("--address and --workers are for --engine ray.")
        return folder

    def made(self) -> AbstractEngine:
        """The engine."""
        from pushforward.scale import LocalEngine

        if self.engine is not Engine.ray:
            return LocalEngine()
        from pushforward._checks import package_of
        from pushforward.scale.ray_engine import RayEngine

        package_of("--engine ray", "ray", "ray")
        return RayEngine(self.address, self.workers)


def run_to_folder(
    function: AbstractBatchFunction, source: str | Plan, out: Path, scale: AtScale, force: bool, reporter: Reporter
) -> int:
    """Run a job, and say what it has done; the exit code is that of bad data if a row has no result.

    Args:
        function: What is done with each batch.
        source: Files, or a plan of their fragments.
        out: Folder to write.
        scale: Where the job runs.
        force: Whether an earlier job in the folder is deleted first.
        reporter: Reporter that tells.

    Raises:
        typer.BadParameter: The folder holds another job.
    """
    from pushforward.scale import ManifestError, run_job

    done = 0

    def progress(finished: int, fragments: int) -> None:
        nonlocal done
        if finished * 10 // fragments > done:
            done = finished * 10 // fragments
            reporter.say(f"{finished:,} of {fragments:,} fragments are done.")

    try:
        with reporter.hears():
            found = run_job(function, source, out, engine=scale.made(), force=force, progress=progress)
    except ManifestError as error:
        raise typer.BadParameter(str(error)) from error
    return _tell(found, function, out, reporter)


def _tell(found: JobResult, function: AbstractBatchFunction, out: Path, reporter: Reporter) -> int:
    from pushforward.scale.fragment_work import ASIDE

    for note in found.notes:
        reporter.warn(note)
    counts = ", ".join(f"{count:,} {word}" for word, count in found.counts.items())
    reporter.say(f"{found.rows:,} rows in {found.fragments:,} fragments: {counts}.")
    if found.done_before:
        reporter.say(f"{found.done_before:,} of the fragments were done before, and are left as they are.")
    facts: dict[str, Any] = {"model": function.model, "out": out, "rows": found.rows, "written": found.written}
    facts |= {"fragments": found.fragments, "fragments_done_before": found.done_before, "rows_failed": found.failed}
    aside = out / ASIDE if found.failed else None
    facts |= {"failed_out": aside, "counts": dict(found.counts)}
    facts["unreadable"] = [{"source": source, "reason": reason} for source, reason in found.unreadable]
    if found.moments.finite:
        facts |= _moments(found, reporter)
    reporter.say(f"Results: {out}")
    if found.failed:
        reporter.warn(f"{found.failed:,} rows have no result: {aside} says which and why.")
    for source, reason in found.unreadable[:NAMED]:
        reporter.warn(f"{source} cannot be read and has no result: {reason}")
    if len(found.unreadable) > NAMED:
        reporter.warn(f"{len(found.unreadable) - NAMED:,} further fragments cannot be read.")
    return reporter.result(function.verb, {**facts, "complete": found.complete}, OK if found.complete else DATA)


def _moments(found: JobResult, reporter: Reporter) -> Mapping[str, Any]:
    moments = found.moments
    what = "log-density" if "ok" in found.counts or "tail" in found.counts else "score"
    reporter.say(f"The mean {what} is {moments.mean:.4f} +- {moments.error:.4f}.")
    wild = moments.rows - moments.finite
    if wild:
        reporter.warn(f"{wild:,} of {moments.rows:,} numbers are not finite; the mean is over the others.")
    extremes = {"least": moments.least, "most": moments.most}
    return {"mean": moments.mean, "standard_error": moments.error, **extremes, "not_finite": wild}
