"""The log of a job: one line of JSON for the job and one for each fragment that is done, each with a checksum.

A line is appended and flushed to disk only when what it tells of is there under its name. What a crash leaves of a last
line is cut off.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pushforward._files import sync

NAME = "_manifest.jsonl"
FORMAT = 1
# Letters of the checksum of a line.
CHECK = 16


class ManifestError(ValueError):
    """The log of a job is damaged, or belongs to another job than the one asked for."""


class Log(NamedTuple):
    """A log as it was read.

    Attributes:
        job: What the job is; None where the log had not begun.
        lines: What is said of fragments, in the order of writing.
    """

    job: dict[str, Any] | None
    lines: tuple[dict[str, Any], ...]


class Manifest:
    """The log of a job in a folder, held open by one process at a time.

    Args:
        folder: Folder of the job, which exists.
    """

    def __init__(self, folder: Path):
        self.path = folder / NAME
        self._file: Any = None

    @contextlib.contextmanager
    def held(self) -> Iterator[Manifest]:
        """Hold the log, so that no other process of this machine works on the same job.

        Raises:
            BlockingIOError: Another process holds it.
        """
        self._file = self.path.open("a+b")
        try:
            _lock(self._file, self.path)
            yield self
        finally:
            self._file.close()
            self._file = None

    def read(self) -> Log:
        """Read the log, and cut off a torn last line.

        Raises:
            ManifestError: A line before the last is damaged.
        """
        self._file.seek(0)
        data, good, lines = self._file.read(), 0, []
        for number, line in enumerate(data.splitlines(keepends=True), 1):
            found = _parsed(line)
            if found is None:
                if good + len(line) < len(data):
                    fix = "Pass --force (force=True) to begin anew, or name another folder."
                    raise ManifestError(f"{self.path}: line {number} is damaged. {fix}")
                break
            lines.append(found)
            good += len(line)
        if good < len(data):
            self._file.truncate(good)
        return Log(lines[0] if lines else None, tuple(lines[1:]))

    def append(self, fields: Mapping[str, Any]) -> None:
        """Write a line, and flush it to disk.

        Args:
            fields: What it says, as JSON.
        """
        first = self._file.seek(0, os.SEEK_END) == 0
        self._file.write(_line(fields))
        self._file.flush()
        os.fsync(self._file.fileno())
        if first:
            sync(self.path.parent)

    def clear(self) -> None:
        """Begin anew."""
        self._file.truncate(0)


def read_manifest(folder: str | os.PathLike) -> Log:
    """What a job has written of itself, for programs; a torn last line is left out.

    Args:
        folder: Folder of the job.

    Raises:
        FileNotFoundError: There is no job.
        ManifestError: A line before the last is damaged.
    """
    path = Path(folder) / NAME
    with path.open("rb") as file:
        lines = [_parsed(line) for line in file]
    if None in lines[:-1]:
        raise ManifestError(f"{path}: line {lines.index(None) + 1} is damaged.")
    found = [line for line in lines if line is not None]
    return Log(found[0] if found else None, tuple(found[1:]))


def _lock(file: Any, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # a system without such locks
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        fix = "Wait for it, or end it."
        raise BlockingIOError(f"{path.parent}: another process is working on this job. {fix}") from error


def _line(fields: Mapping[str, Any]) -> bytes:
    text = json.dumps(dict(fields), allow_nan=False, sort_keys=True)
    return json.dumps({**json.loads(text), "check": _check(text)}, allow_nan=False).encode() + b"\n"


def _check(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:CHECK]


def _parsed(line: bytes) -> dict[str, Any] | None:
    """What a line says, or None where it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        fields = json.loads(line)
        check = fields.pop("check")
    except (ValueError, RecursionError, KeyError, AttributeError, TypeError):
        return None
    return fields if check == _check(json.dumps(fields, sort_keys=True)) else None
