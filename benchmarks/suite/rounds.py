"""Workers of all libraries, asked in turn. Standard library only."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from suite.adapters import device

ROOT = Path(__file__).resolve().parent.parent
SLOW_SECONDS = 15.0  # for the rounds of a library whose calls take a second or more


class WorkerError(RuntimeError):
    """A library could not do the work."""


def clean_environment() -> dict[str, str]:
    """The environment of a worker: on the device asked for, without a compilation cache: compile times are real."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_", "PYTHONPATH"))}
    platform = {"cpu": "cpu", "gpu": "cuda"}[device()]
    return environment | {"JAX_PLATFORMS": platform, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}


class Library:
    """One worker process."""

    def __init__(self, name: str, python: Path):
        self.name = name
        self.process = subprocess.Popen(
            [python, "-m", "suite.worker", name],
            cwd=ROOT,
            env=clean_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.imported: float = self._read()["imported"]

    def _read(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise WorkerError(f"{self.name}: the worker ended (code {self.process.wait()}); see its output above")
        return json.loads(line)

    def do(self, method: str, **arguments: Any) -> Any:
        """Send one request and wait for its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"do": method} | arguments) + "\n")
        self.process.stdin.flush()
        answer = self._read()
        if "error" in answer:
            raise WorkerError(f"{self.name}: {answer['error']}")
        return answer["ok"]

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def in_turn(
    libraries: Sequence[Library], what: str, rounds: int, seconds_per_round: float, warm: int = 2
) -> dict[str, dict[str, Any]]:
    """Time `what` on every library: ours, A, B, ..., ours, A, B, ...

    A library whose calls take seconds drops out after `SLOW_SECONDS`, having had a round at least.

    Returns:
        Per library the median over rounds of each round's median call, its range over rounds, all in ms, and the calls.
    """
    calls, last = {}, {}
    for library in libraries:
        once = min(library.do("time", what=what, calls=warm)) if warm else float("inf")
        calls[library.name] = max(1 if once > seconds_per_round else 3, min(100, int(seconds_per_round / once)))
        last[library.name] = rounds if once < 1 else max(1, min(rounds, int(SLOW_SECONDS / once)))
    medians: dict[str, list[float]] = {library.name: [] for library in libraries}
    for i in range(rounds):
        for library in libraries:
            if i < last[library.name]:
                seconds = library.do("time", what=what, calls=calls[library.name])
                medians[library.name].append(1e3 * statistics.median(seconds))
    return {
        name: {
            "ms": statistics.median(values),
            "low": min(values),
            "high": max(values),
            "rounds": values,
            "calls": calls[name],
        }
        for name, values in medians.items()
    }
