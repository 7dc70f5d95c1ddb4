"""Checkpoints: all that a later process needs in order to go on with a fit as if it had never stopped.

A folder holds the last two commits, `commit-00000007` and the one before: `state.safetensors` with every array of the
state, the history and the clock; `record.json` with the fingerprint of the fit; `manifest.sha256`. A commit is written
and flushed under a hidden name, and then renamed: under its own name it is complete, whenever the writer is killed.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._files import (
    MANIFEST,
    UntrustedModelError,
    parse_json,
    read_manifested,
    sync,
    write_manifested,
)
from pushforward.training.fingerprint import differences
from pushforward.training.options import Checkpoint
from pushforward.training.plan import Plan
from pushforward.training.result import COLUMNS, WHOLE_COLUMNS
from pushforward.training.state import DIVERGED, FitState, Reached

STATE, RECORD = "state.safetensors", "record.json"
FORMAT, FORMAT_VERSION = "pushforward checkpoint", 1
KEEP = 2  # commits: the newest, and the one before it, should the newest be damaged
MAX_RECORD = 2**20  # bytes
HEADER_BYTES = (2**16, 2**9)  # largest header of the arrays' file: in all, and for each array
COMMIT = re.compile(r"commit-\d{8}")
UNFINISHED = re.compile(r"\.commit-\d{8}\.[a-z0-9_]{8}")  # a commit that was not finished
DTYPES = (
    "bool",
    "float16",
    "float32",
    "float64",
    "int8",
    "int32",
    "int64",
    "uint8",
    "uint32",
    "uint64",
)  # that the file can hold


class Checkpoints:
    """The checkpoints of one fit in a folder.

    Args:
        where: Option with the folder, the time between two commits, and whether to go on from a checkpoint that is
            there.

    Raises:
        FileExistsError: The folder holds checkpoints and `resume` is False.
        OSError: The folder cannot be made, is no folder, or cannot be written to.
    """

    def __init__(self, where: Checkpoint):
        self.folder, self.resume, self.seconds = Path(where.folder), where.resume, float(where.seconds)
        self.fingerprint: Mapping[str, Any] = {}
        self.kept: list[str] = []  # commits known to be whole
        self.committed_at = -np.inf
        self.warned = False
        self.writes = jax.process_index() == 0  # of several hosts the first one writes, and all read
        if not self.writes:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise PermissionError(f"fit: the checkpoint folder {self.folder} is not writable. Name another.")
        if _commits(self.folder) and not self.resume:
            fix = (
                "Pass Checkpoint(folder, resume=True) to go on with it, name another folder, or remove it "
                "(training.remove_checkpoint)."
            )
            raise FileExistsError(f"fit: {self.folder} holds checkpoints of an earlier fit. {fix}")
        for path in self.folder.iterdir():
            if UNFINISHED.fullmatch(path.name):
                _discard(path)

    @property
    def due(self) -> bool:
        """Whether it is time for the next commit."""
        return time.perf_counter() - self.committed_at >= self.seconds

    def commit(self, reached: Reached) -> None:
        """Write a checkpoint. A failure, such as a full disk, leaves the older ones and warns once.

        Args:
            reached: State to write.
        """
        try:
            if self.writes:
                self._commit(reached)
        except OSError as error:
            if not self.warned:
                self.warned = True
                reason = error.strerror or str(error)
                text = f"fit: a checkpoint could not be written to {self.folder}: {reason}."
                fix = "Training goes on, the older checkpoint is kept, and later ones are tried. Free some space there."
                warnings.warn(f"{text} {fix}", RuntimeWarning, stacklevel=2)
        self.committed_at = time.perf_counter()

    def _commit(self, reached: Reached) -> None:
        from safetensors.numpy import save

        record = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "step": reached.step,
            "fingerprint": self.fingerprint,
        }
        text = json.dumps(record, indent=1, allow_nan=False) + "\n"
        files = {STATE: save(_to_arrays(reached)), RECORD: text.encode("utf-8")}
        there = [path.name for path in _commits(self.folder)]
        name = f"commit-{int(there[-1][-8:]) + 1 if there else 1:08d}"
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=self.folder))
        try:
            write_manifested(temporary, files)
            os.rename(temporary, self.folder / name)
        except BaseException:
            _discard(temporary)
            raise
        sync(self.folder)
        self.kept = [*self.kept, name][-KEEP:]
        for other in there:
            if other not in self.kept:
                _discard(self.folder / other)

    def restore(self, template: FitState, plan: Plan) -> Reached | None:
        """The newest checkpoint that is whole, if there is one.

        Args:
            template: The state that the fit would start with; shapes and dtypes must agree with it.
            plan: Plan of the fit.

        Raises:
            ValueError: The checkpoint is of another fit; the error names what differs.
            TypeError: An array of the state has a dtype that a checkpoint cannot hold.
            UntrustedModelError: There are checkpoints, and every one is damaged.
        """
        foreign = {str(array.dtype) for array in _named(template).values()} - set(DTYPES)
        if foreign:
            fix = "Train in float32 or float64, and with an optimizer whose state is numbers; or without a checkpoint."
            raise TypeError(message("fit, checkpoint", f"arrays of {', '.join(DTYPES)}", ", ".join(foreign), fix))
        if not (self.writes or (self.resume and self.folder.is_dir())):
            return None
        faults = []
        for path in reversed(_commits(self.folder)):
            try:
                reached = self._read(path, template, plan)
            except UntrustedModelError as error:
                faults.append(str(error))
                continue
            if faults:
                text = f"fit: the newest checkpoint is damaged, so an older one is taken, of step {reached.step}."
                warnings.warn(f"{text} {faults[0]}", RuntimeWarning, stacklevel=2)
            self.kept, self.committed_at = [path.name], time.perf_counter()
            return reached
        if faults:
            fix = "Start anew: remove the folder (training.remove_checkpoint), or name another."
            raise UntrustedModelError(f"fit: no checkpoint in {self.folder} can be used. {faults[0]} {fix}")
        return None

    def _read(self, path: Path, template: FitState, plan: Plan) -> Reached:
        """Read one checkpoint; see `restore`."""
        wanted = _named(template)
        max_rows = int(plan.total_steps) // int(plan.steps_per_round) + 2
        header, per_array = HEADER_BYTES
        size = sum(array.nbytes for array in wanted.values()) + 8 * (len(COLUMNS) * max_rows + 2)
        caps = {STATE: size + header + per_array * (len(wanted) + len(COLUMNS) + 2), RECORD: MAX_RECORD}
        # The record first: a checkpoint of another fit is told as such, whatever the size of its arrays.
        record = parse_json(read_manifested(path, caps, [RECORD])[RECORD], path / RECORD)
        self._check_record(record, path)
        arrays = _parse(read_manifested(path, caps, [STATE])[STATE], path / STATE)
        reached = _from_arrays(arrays, template, max_rows, path / STATE)
        fault = _fault(reached, plan)
        if fault is None and record["step"] != reached.step:
            fault = f"it is of step {reached.step}, not of the record's"
        if fault is not None:
            raise UntrustedModelError(f"{path / STATE}: {fault}: not as pushforward writes it.")
        return reached

    def _check_record(self, record: Any, path: Path) -> None:
        wanted = {"format", "format_version", "step", "fingerprint"}
        if not isinstance(record, dict) or record.keys() != wanted or record["format"] != FORMAT:
            raise UntrustedModelError(f"{path / RECORD}: not the record of a checkpoint.")
        if not isinstance(record["fingerprint"], dict):
            raise UntrustedModelError(f"{path / RECORD}: its fingerprint is not a table.")
        found = differences(record["fingerprint"], self.fingerprint)
        if found:
            fix = "Call fit exactly as before, or start anew in another folder."
            raise ValueError(
                message(
                    f"fit, checkpoint {self.folder}",
                    "the fit that it belongs to",
                    f"another: {found[0]}" + "".join(f", and {part}" for part in found[1:]) + " differ",
                    fix,
                )
            )
        if record["format_version"] != FORMAT_VERSION:
            raise UntrustedModelError(f"{path / RECORD}: format version {str(record['format_version'])[:20]}.")


def remove_checkpoint(folder: str | os.PathLike) -> None:
    """Delete a checkpoint folder, for instance after its fit has ended and the model is saved.

    Args:
        folder: The folder that was given to `fit` in `Checkpoint(folder)`. Any other path is refused.

    Raises:
        FileNotFoundError: There is no such folder.
        FileExistsError: The folder holds something that is no part of a checkpoint; nothing is deleted.

    Example:
        >>> import jax, pathlib, tempfile, pushforward as pf
        >>> folder = pathlib.Path(tempfile.mkdtemp()) / "fit"
        >>> flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=8)
        >>> x = jax.random.normal(jax.random.key(0), (200, 2))
        >>> checkpoint = pf.training.Checkpoint(folder, resume=True)
        >>> result = pf.fit(flow, x, key=jax.random.key(2), max_epochs=10, progress=False, options=checkpoint)
        >>> pf.training.remove_checkpoint(folder)
        >>> folder.exists()
        False
    """
    path = Path(folder)
    if not path.is_dir():
        raise FileNotFoundError(f"remove_checkpoint: there is no folder {path}.")
    parts = sorted(path.iterdir())
    foreign = [part for part in parts if not _is_ours(part)]
    if foreign:
        held = ", ".join(repr(part.name) for part in foreign[:5])
        raise FileExistsError(f"remove_checkpoint: {path} holds what is no checkpoint ({held}). Nothing was deleted.")
    for part in parts:
        _discard(part)
    path.rmdir()


def _is_ours(path: Path) -> bool:
    named = COMMIT.fullmatch(path.name) or UNFINISHED.fullmatch(path.name)
    if not named or path.is_symlink() or not path.is_dir():
        return False
    return all(item.name in (STATE, RECORD, MANIFEST) and not item.is_dir() for item in path.iterdir())


def _commits(folder: Path) -> list[Path]:
    """The commits that stand under their names, oldest first."""
    return sorted(path for path in folder.iterdir() if COMMIT.fullmatch(path.name) and not path.is_symlink())


def _discard(path: Path) -> None:
    """Delete a commit, whole or not; the manifest first, so that what is left at any moment counts as no commit.

    Only the files of a commit are deleted: a folder that holds others is left.
    """
    if path.is_symlink():
        return
    try:
        for name in (MANIFEST, RECORD, STATE):
            (path / name).unlink(missing_ok=True)
        path.rmdir()
    except OSError:
        return  # it takes space, and does no harm


def _named(tree: Any) -> dict[str, np.ndarray]:
    """The arrays of a tree on the host, by their place in it, such as `now.moments.1.mu`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    for path, leaf in leaves:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            fix = "Take an optimizer whose state is numbers, or train without a checkpoint."
            place = jax.tree_util.keystr(path, simple=True, separator=".")
            raise TypeError(message("fit, checkpoint", f"arrays of {', '.join(DTYPES)}", f"a key in {place}", fix))
    values = jax.device_get([leaf for _, leaf in leaves])
    named = {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(value, order="C")
        for (path, _), value in zip(leaves, values, strict=True)
    }
    return {f"state.{name}": value for name, value in named.items()}


def _to_arrays(reached: Reached) -> dict[str, np.ndarray]:
    """All of it as arrays: NaN and infinity are numbers there as any other, bit for bit."""
    columns = {
        f"history.{name}": np.array([row[name] for row in reached.rows], np.int64 if name in WHOLE_COLUMNS else float)
        for name in COLUMNS
    }
    clock = {"best_nats": np.array([reached.best_nats], np.float64), "elapsed": np.array([reached.elapsed], np.float64)}
    return {**_named(reached.state), **columns, **clock}


def _from_arrays(arrays: Mapping[str, np.ndarray], template: FitState, max_rows: int, path: Path) -> Reached:
    """The reverse, every name, shape and dtype compared with what is expected."""
    wanted = {name: (array.shape, array.dtype) for name, array in _named(template).items()}
    n_rows = min(len(np.atleast_1d(arrays.get("history.step", np.zeros(0)))), max_rows)
    for name in COLUMNS:
        wanted[f"history.{name}"] = ((n_rows,), np.dtype(np.int64 if name in WHOLE_COLUMNS else np.float64))
    wanted |= {name: ((1,), np.dtype(np.float64)) for name in ("best_nats", "elapsed")}
    if arrays.keys() != wanted.keys():
        name = min(arrays.keys() ^ wanted.keys())
        raise UntrustedModelError(f"{path}: {'has' if name in arrays else 'lacks'} {name[:80]!r}: of another fit.")
    for name, (shape, dtype) in wanted.items():
        got = arrays[name]
        if got.shape != shape or got.dtype != dtype:
            raise UntrustedModelError(f"{path}: {name}: expected {shape} {dtype}, got {got.shape} {got.dtype}.")
    names = [name for name in wanted if name.startswith("state.")]  # the order is that of the leaves
    state = jax.tree.unflatten(jax.tree.structure(template), [np.array(arrays[name]) for name in names])
    columns = [arrays[f"history.{name}"].tolist() for name in COLUMNS]
    rows: tuple[dict[str, Any], ...] = tuple(
        dict(zip(COLUMNS, values, strict=True)) for values in zip(*columns, strict=True)
    )
    counters = state.counters.named
    clock = arrays["best_nats"].item(), arrays["elapsed"].item()
    return Reached(state, int(counters.step), int(counters.status), rows, *clock)


def _parse(data: bytes, path: Path) -> dict[str, np.ndarray]:
    import safetensors
    from safetensors.numpy import load

    try:
        return load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:  # KeyError: a dtype that NumPy does not have
        raise UntrustedModelError(f"{path}: not a safetensors file, or damaged: {str(error)[:200]}.") from error


def _fault(reached: Reached, plan: Plan) -> str | None:
    """A fault in a state whose shapes are right, or None; the compiled loop looks up rows by these numbers."""
    counters, order = reached.state.counters.named, np.asarray(reached.state.order)
    steps = np.array([row["step"] for row in reached.rows], np.int64)
    if not 0 <= reached.step <= int(plan.total_steps) or not 0 <= reached.status <= DIVERGED:
        return "its step or status is out of bounds"
    late = max(counters.validated_at, counters.best_step, counters.mark_step) > reached.step
    low = min(counters._replace(validated_at=0)) < 0 or counters.validated_at < -int(plan.steps_per_round)
    if late or low:
        return "its counters are out of bounds"
    if not np.array_equal(np.sort(order), np.arange(len(order))):
        return "the order of the rows is not a permutation"
    if np.any(np.diff(steps) <= 0) or (len(steps) and not 0 < steps[0] <= steps[-1] <= reached.step):
        return "the steps of its history are out of order"
    if not 0 <= reached.elapsed < np.inf:
        return "the time elapsed is not a number"
    return None
