"""A job: a function over a table of any size, written fragment by fragment, that a restart takes up where it ended."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

import pushforward._files as files
from pushforward._checks import message
from pushforward.scale.batch_function import AbstractBatchFunction
from pushforward.scale.engines import AbstractEngine, LocalEngine
from pushforward.scale.fragment_work import ASIDE, UNFINISHED, FragmentWork, prepare_process
from pushforward.scale.fragments import FileMark, Plan, plan_table
from pushforward.scale.job_manifest import FORMAT, NAME, Log, Manifest, ManifestError
from pushforward.scale.moments import Moments
from pushforward.tables.reading.shard_writing import SHARD

ANEW = "Pass --force (force=True) to begin anew, or name another folder."


@dataclass(frozen=True)
class JobResult:
    """What a job has done, this time and before.

    Attributes:
        rows: Rows of the table that were read.
        written: Rows of the results.
        failed: Rows that have no result; `_failed/` says why.
        fragments: Number of fragments.
        done_before: How many of them were done before this time.
        unreadable: The fragments that cannot be read as a whole: file and reason.
        counts: Numbers of rows by a word, such as their status.
        moments: Of the numbers whose mean is of interest, such as log-densities.
        notes: Remarks, a sentence each.
    """

    rows: int
    written: int
    failed: int
    fragments: int
    done_before: int
    unreadable: tuple[tuple[str, str], ...]
    counts: Mapping[str, int]
    moments: Moments
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether every row has its result."""
        return not self.failed and not self.unreadable


def run_job(
    function: AbstractBatchFunction,
    source: str | os.PathLike | Plan,
    out: str | os.PathLike,
    *,
    engine: AbstractEngine | None = None,
    force: bool = False,
    progress: Callable[[int, int], Any] | None = None,
) -> JobResult:
    """Run a function over a table of any size, and write a folder of Parquet files: one for each fragment.

    A fragment is worked on at a time in constant memory; its result is written under another name, flushed, renamed,
    and only then told in the log `_manifest.jsonl`. Run again after a crash, the job skips what the log tells and the
    disk still holds bit for bit. Rows without a result do not stop it: `_failed/part-00000.jsonl` has their file,
    number and reason; a file that cannot be read as a whole is tried again next time.

    Args:
        function: What is done with each batch.
        source: Files, as path, glob, folder or URL; or a plan of their fragments.
        out: Folder to write; a job that ended early is taken up.
        engine: Where fragments are worked on; None works in this process.
        force: Whether what a job has written there is deleted first.
        progress: Function of the fragments that are done and those of the table, called after each.

    Raises:
        ManifestError: The folder holds another job, of another model, other options or files that have changed.
        FileExistsError: The folder holds something else than a job.
        BlockingIOError: Another process works on this job.
        DataError: There is no such table, or the first rows are none of the model.
        UntrustedModelError: The model folder is damaged.

    Cost: one pass over the table.
    """
    function, out = function.pinned(), Path(out)
    plan = source if isinstance(source, Plan) else plan_for(function, source)
    _check_folder(out)
    out.mkdir(exist_ok=True)
    manifest = Manifest(out)
    with manifest.held():
        if force:
            _clear(out, manifest)
        log, now = manifest.read(), _identity(function, plan)
        if log.job is None:
            manifest.append({**now, "schema": str(_schema(function, plan))})
        else:
            _check_same(log.job, now, out)
        _sweep(out)
        done, notes = _committed(log, out)
        todo = [each for each in plan.fragments if each.number not in done]
        failed: dict[int, Any] = {}
        if todo:
            prepare_process()
            work = FragmentWork(function, str(out.absolute()), _schema(function, plan))
            for line in (engine or LocalEngine()).run(work, todo):
                manifest.append(line)
                (done if line["kind"] == "fragment" else failed)[line["fragment"]] = line
                if progress is not None:
                    progress(len(done), len(plan.fragments))
            _sweep(out)  # of workers that died
    return _result(plan, done, failed, len(plan.fragments) - len(todo), (*notes, *_of_others(done)))


def plan_for(function: AbstractBatchFunction, source: str | os.PathLike) -> Plan:
    """The fragments of a table as a function takes them.

    Args:
        function: The function.
        source: Files, as path, glob, folder or URL.

    Raises:
        DataError: There is no such table.
    """
    return plan_table(source, decimal=function.decimal, typed=function.typed)


def _schema(function: AbstractBatchFunction, plan: Plan) -> pa.Schema:
    """The schema of the results.

    Raises:
        DataError: The table is none of the model.
    """
    if plan.schema is None:
        return function.schema_for(pa.schema([]))
    names = function.columns(plan.schema.names)
    return function.schema_for(pa.schema([plan.schema.field(name) for name in names]))


def _identity(function: AbstractBatchFunction, plan: Plan) -> dict[str, Any]:
    """What makes a job this job."""
    return {
        "kind": "job",
        "format": FORMAT,
        "model": function.digest,
        "options": {name: list(v) if isinstance(v, tuple) else v for name, v in function.options().items()},
        "source": plan.source,
        "files": [list(mark) for mark in plan.files],
        "fragments": len(plan.fragments),
        "rows": [fragment.rows for fragment in plan.fragments],
    }


def _check_same(job: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    """Raise if a job that was begun is another one."""
    if job.get("kind") != "job" or job.get("format") != FORMAT:
        raise ManifestError(f"{out}: its log has another format than this version writes. {ANEW}")
    if job["model"] != now["model"]:
        what = f"{out}: the job was begun with another model: {job['model'][:12]}, and this one is {now['model'][:12]}"
        raise ManifestError(f"{what}. Put the model back, or pass --force (force=True) to begin anew.")
    if job["options"] != now["options"]:
        names = sorted({*job["options"], *now["options"]})
        for name in names:
            before, own = job["options"].get(name), now["options"].get(name)
            if before != own:
                raise ManifestError(
                    f"{out}: the job was begun with {name} {before!r}, and this one has {own!r}. {ANEW}"
                )
    before, own = [FileMark(*each) for each in job["files"]], [FileMark(*each) for each in now["files"]]
    for one, other in zip(before, own, strict=False):
        if one != other:
            what = f"{one.name} has changed" if one.name == other.name else f"{one.name} is now {other.name}"
            raise ManifestError(f"{out}: the files are others than when the job was begun: {what}. {ANEW}")
    if len(before) != len(own) or job["rows"] != now["rows"]:
        what = f"{len(before):,} files with {job['fragments']:,} fragments"
        raise ManifestError(message(str(out), what, f"{len(own):,} files with {now['fragments']:,} fragments", ANEW))


def _check_folder(out: Path) -> None:
    """Raise if a job cannot be written in a folder.

    Raises:
        FileExistsError: It is no folder, or holds something else than a job.
        OSError: The folder that it lies in does not exist.
    """
    what = files.irregular(out) or ("a file" if os.path.lexists(out) else None)
    if what not in (None, files.FOLDER):
        raise FileExistsError(f"{out}: expected a folder of a job or nothing, got {what}, which is not replaced.")
    if not out.absolute().parent.is_dir():
        raise FileNotFoundError(f"{out}: there is no folder {out.parent}. Make it first.")
    held = sorted(path.name for path in out.iterdir()) if what == files.FOLDER else []
    foreign = [name for name in held if not (_own(name) or (SHARD.fullmatch(name) and NAME in held))]
    if foreign:
        raise FileExistsError(f"{out}: holds files of no job ({foreign[0]!r}), so nothing is written. Name another.")


def _own(name: str) -> bool:
    return name in (NAME, ASIDE) or UNFINISHED.fullmatch(name) is not None


def _clear(out: Path, manifest: Manifest) -> None:
    manifest.clear()
    for path in out.iterdir():
        if SHARD.fullmatch(path.name):
            path.unlink()
    shutil.rmtree(out / ASIDE, ignore_errors=True)


def _sweep(out: Path) -> None:
    """Delete what a crash left unfinished."""
    for folder in (out, out / ASIDE):
        for path in folder.iterdir() if folder.is_dir() else ():
            if UNFINISHED.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _committed(log: Log, out: Path) -> tuple[dict[int, Any], tuple[str, ...]]:
    """The lines of the fragments that are done, and remarks on those that the disk no longer holds."""
    lines = {line["fragment"]: line for line in log.lines if line["kind"] == "fragment"}
    gone = []
    for number, line in lines.items():
        parts = [(out, line["out"]), *([] if line["aside"] is None else [(out / ASIDE, line["aside"])])]
        if not all(_is_there(folder / part["name"], part) for folder, part in parts):
            gone.append(number)
    for number in gone:
        del lines[number]
    if not gone:
        return lines, ()
    return lines, (f"{len(gone):,} results are missing or were changed, such as part-{gone[0]:05d}: made again.",)


def _is_there(path: Path, part: dict[str, Any]) -> bool:
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            return size == part["bytes"] and hashlib.file_digest(file, "sha256").hexdigest() == part["sha256"]
    except OSError:
        return False


def _of_others(done: Mapping[int, Any]) -> tuple[str, ...]:
    """A remark where not all fragments were made by one code on one kind of machine."""
    kinds = Counter(line["code"] for line in done.values())
    if len(kinds) < 2:
        return ()
    what = f"the fragments were made by {len(kinds)} versions of pushforward or of its packages, or kinds of processor"
    return (f"{what}: their last bits may differ, and the log says which made which. {ANEW}",)


def _result(
    plan: Plan, done: Mapping[int, Any], failed: Mapping[int, Any], before: int, notes: Iterable[str]
) -> JobResult:
    """All that was done, summed in the order of the table, whatever the order of the work was."""
    lines = [done[fragment.number] for fragment in plan.fragments if fragment.number in done]
    counts, moments = Counter(), Moments()
    for line in lines:
        counts.update(line["counts"])
        moments = moments.joined(Moments.from_json(line["moments"]))
    rows, written, unscored = (sum(line[name] for line in lines) for name in ("rows", "written", "failed"))
    unreadable = tuple((failed[i]["source"], failed[i]["error"]) for i in sorted(failed))
    n = len(plan.fragments)
    return JobResult(rows, written, unscored, n, before, unreadable, dict(counts), moments, tuple(notes))
