"""A small fit that is stopped and resumed, for the tests of checkpoints."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

import pushforward as pf
from pushforward.training import Adam, Checkpoint, Reporting, Steps, Stopping, array_stream, fit
from pushforward.training import fingerprint as prints
from pushforward.training.checkpoint import RECORD, STATE

KEY = jax.random.key(0)
NEVER = 1e9  # seconds: only the first commit, and the one of an interrupt
COMMON = {"key": KEY, "max_epochs": 40, "progress": False}


def affine() -> pf.Flow:
    return pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,)))


def rows(n: int = 600) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 2)) * [2.0, 0.5] + [1.0, -1.0]


def run(folder: Path | None = None, **changes: Any) -> pf.FitResult:
    """540 rows in 9 steps per epoch, with a validation every 18 steps: 360 steps in all."""
    changes = {"batch_size": 64, "learning_rate": 0.02, "folder": folder, **changes}
    return fit(affine(), **{"x": rows(), **COMMON, **objects(**changes)})


def run_stream(folder: Path | None = None, n_readers: int = 1, **changes: Any) -> pf.FitResult:
    """The same from a stream."""
    return run(folder, x=array_stream(rows(), key=KEY, n_readers=n_readers, chunk_rows=50), **changes)


def objects(**flat: Any) -> dict[str, Any]:
    """Arguments of `fit`, of which those that belong to option objects are collected there."""
    options = [] if flat.get("options") is None else [flat.pop("options")]
    for kind in (Checkpoint, Reporting, Steps, Stopping):
        own = {name: flat.pop(name) for name in kind.__dataclass_fields__ if name in flat}
        if own and own.get("folder", "") is not None:
            options.append(kind(**own))
    own = {name: flat.pop(name) for name in Adam.__dataclass_fields__ if name in flat}
    return {**({"optimizer": Adam(**own)} if own else {}), **flat, "options": options}


def stop_at(step: int, error: type[BaseException] = KeyboardInterrupt) -> Any:
    def callback(row: dict[str, float]) -> None:
        if row["step"] >= step:
            raise error

    return callback


def same(one: pf.FitResult, two: pf.FitResult) -> bool:
    """Equal bit for bit, but for the seconds, and for whether a stream gave the rows."""
    leaves = zip(jax.tree.leaves(one.flow), jax.tree.leaves(two.flow), strict=True)
    equal = [np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in leaves]
    equal += [
        one.history[name].dtype == two.history[name].dtype
        and one.history[name].tobytes() == two.history[name].tobytes()
        for name in one.history.keys() - {"seconds"}
    ]
    fields = vars(one.verdict).keys() - {"seconds", "text", "n_rows_streamed", "n_rows_met"}
    return all(equal) and all(getattr(one.verdict, name) == getattr(two.verdict, name) for name in fields)


def commits(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def newest(folder: Path) -> Path:
    return folder / commits(folder)[-1]


def reseal(path: Path, name: str, data: bytes) -> None:
    """Change a file and its line of the manifest: damage that only the contents show."""
    (path / name).write_bytes(data)
    lines = [f"{hashlib.sha256((path / part).read_bytes()).hexdigest()}  {part}\n" for part in (STATE, RECORD)]
    (path / "manifest.sha256").write_text("".join(lines))


def outline() -> str:
    """What a flow with networks, and one with functions and objects in it, look like to the fingerprint."""

    class Odd(eqx.Module):
        activation: Any = eqx.field(static=True, default=jax.nn.relu)
        something: Any = eqx.field(static=True, default_factory=object)

    flow = pf.flows.nsf(jax.random.key(0), dim=3, n_layers=1, width=4, linear="reverse", autoregressive=False)
    text = prints._outline((flow, Odd()))
    return hashlib.sha256(text.encode()).hexdigest()
