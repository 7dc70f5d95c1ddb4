"""Checkpoints that are damaged, altered, or of another fit: nothing in the folder is trusted, and every bit is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import optax
import pytest
from safetensors.numpy import load, save

import pushforward as pf
from interrupted import COMMON, commits, newest, reseal, rows, run, same
from pushforward.training import Adam, Checkpoint, fit
from pushforward.training import checkpoint as module
from pushforward.training import fingerprint as prints
from pushforward.training.checkpoint import RECORD, STATE, Checkpoints
from pushforward.training.options import Options
from pushforward.training.plan import first_moments, make_plan
from pushforward.training.state import FitState, Reached

pytestmark = pytest.mark.usefixtures("short_calls")


def cut(path: Path) -> None:
    data = (path / STATE).read_bytes()
    (path / STATE).write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    data = bytearray((path / STATE).read_bytes())
    data[-9] ^= 1
    (path / STATE).write_bytes(data)


def link(path: Path) -> None:
    (path / STATE).rename(path.parent.parent / path.name)
    (path / STATE).symlink_to(path.parent.parent / path.name)


def grow(path: Path) -> None:
    reseal(path, STATE, (path / STATE).read_bytes() + bytes(10**6))


def forget(path: Path) -> None:
    (path / RECORD).unlink()


@pytest.mark.parametrize("damage", [cut, flip, link, grow, forget])
def test_a_damaged_checkpoint_gives_way_to_the_older_one(damage: Any, folder: Path, whole: pf.FitResult):
    damage(newest(folder))
    with pytest.warns(RuntimeWarning, match=r"damaged.*of step 0\."):
        result = run(folder, resume=True)
    assert same(result, whole)
    damage(folder / commits(folder)[0])
    with pytest.raises(pf.UntrustedModelError, match="Start anew"):
        run(folder, resume=True)


def changed(**arrays: Any) -> Any:
    def change(path: Path) -> None:
        there = load((path / STATE).read_bytes())
        for name, value in arrays.items():
            name = name.replace("__", ".")
            there[name] = np.ascontiguousarray(value(there[name].copy()) if callable(value) else value)
        reseal(path, STATE, save(there))

    return change


def put(place: int, number: float) -> Any:
    def change(array: np.ndarray) -> np.ndarray:
        array[place] = number
        return array

    return change


def recorded(**fields: Any) -> Any:
    def change(path: Path) -> None:
        record = json.loads((path / RECORD).read_text())
        reseal(path, RECORD, json.dumps({**record, **fields}).encode())

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(state__order=put(0, 10**6)), "permutation"),
        (changed(state__order=put(0, -1)), "permutation"),
        (changed(state__counters__array=put(0, 10**6)), "out of bounds"),
        (changed(state__counters__array=put(0, 3)), "out of bounds|record"),
        (changed(state__counters__array=put(1, -(10**6))), "out of bounds"),
        (changed(state__counters__array=put(-1, 7)), "out of bounds"),
        (changed(state__now__params=lambda array: array.astype(np.float32)), "float32"),
        (changed(state__best=lambda array: array[:-1]), r"expected \(4,\)"),
        (changed(history__step=lambda array: array[::-1]), "out of order"),
        (changed(history__epoch=lambda array: array[1:]), "history.epoch"),
        (changed(elapsed=np.array([np.nan])), "elapsed"),
        (changed(more=np.zeros(1)), "has 'more'"),
        (recorded(step=1), "record"),
        (recorded(format="other"), "not the record"),
        (recorded(format_version=2), "format version 2"),
        (recorded(fingerprint=[]), "fingerprint"),
        (lambda path: reseal(path, RECORD, b'{"step": NaN}'), "not valid JSON"),
        (lambda path: reseal(path, STATE, b"\x00" * 100), "safetensors"),
    ],
)
def test_what_cannot_be_is_refused(change: Any, words: str, folder: Path):
    module._discard(folder / "commit-00000001")
    change(newest(folder))
    with pytest.raises(pf.UntrustedModelError, match=words):
        run(folder, resume=True)


@pytest.mark.parametrize("name", ["state.now.params", "state.now.moments.1.mu", "state.now.average", "state.order"])
def test_a_twin_whose_state_is_off_ends_elsewhere(name: str, folder: Path, whole: pf.FitResult):
    """Were one of these arrays not restored, the tests of resuming would fail."""
    changed(**{name: lambda array: array[::-1]})(newest(folder))
    assert not same(run(folder, resume=True), whole)


def test_every_bit_survives(tmp_path: Path):
    """NaN of any payload, infinities, and minus zero."""
    objective = pf.MaximumLikelihood()
    plan = make_plan(600, 0, 1024, max_epochs=None, optimizer=Adam(), options=Options(), objective=objective)
    vector = np.array([0x7FF8000000000123, 0x8000000000000000, 0xFFF0000000000000], np.uint64).view(np.float64)
    state = FitState.start(vector, first_moments(Adam(), plan, vector), 608, int(plan.steps_per_round))
    row = {"epoch": 0, "step": 10, "train_nats": -np.inf, "held_out_nats": np.nan, "learning_rate": -0.0}
    state = eqx.tree_at(lambda s: s.counters.array, state, put(0, 10)(state.counters.array))
    row |= {"seconds": 1.25, "skipped": 0, "rows_left_out": 0}
    reached = Reached(state, 10, 0, (row,), np.nan, 1.5)
    checkpoints = Checkpoints(Checkpoint(tmp_path))
    checkpoints.fingerprint = dict.fromkeys(prints.PARTS, "any")
    checkpoints.commit(reached)
    again = checkpoints.restore(state, plan)
    assert again is not None
    for a, b in zip(jax.tree.leaves(again.state), jax.tree.leaves(reached.state), strict=True):
        assert (a.tobytes(), a.shape, a.dtype) == (b.tobytes(), b.shape, b.dtype)
    assert repr(again.rows) == repr(reached.rows)
    assert repr((again.step, again.status, again.best_nats, again.elapsed)) == "(10, 0, nan, 1.5)"


# Another fit


class Odd(pf.MaximumLikelihood):
    power: float = eqx.field(static=True, default=1.0)


def with_row(x: np.ndarray, value: float) -> np.ndarray:
    x[17, 1] = value
    return x


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"x": with_row(rows(), 0.123)}, "the data"),
        ({"weights": np.linspace(1, 2, 600)}, "the data"),
        ({"validation": 0.2}, "the data"),
        ({"options": pf.training.Preprocess(pf.Affine(0.0, 1.0, (2,)))}, "the data"),
        ({"key": jax.random.key(1)}, "the key"),
        ({"max_epochs": 50}, r"the options \(total_steps 360, now 450"),
        ({"learning_rate": 0.01}, "learning_rate 0.0199"),
        ({"optimizer": optax.adam(0.02), "learning_rate": None}, "optimizer Adam, now"),
        ({"schedule": lambda step: 0.01, "learning_rate": None}, "schedule None, now"),
        ({"objective": Odd()}, "objective MaximumLikelihood .*, now Odd"),
    ],
)
def test_a_checkpoint_of_another_fit_is_refused(change: Any, words: str, folder: Path):
    with pytest.raises(ValueError, match=words):
        run(folder, resume=True, **change)


def test_another_flow_or_version_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    base, bijection = pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,))
    others = [
        pf.Flow(base, pf.Affine(0.5, 1.0, (2,))),
        pf.Flow(base, pf.Chain([bijection, pf.Reverse(2)])),
        pf.Flow(pf.StudentT(5.0, (2,)), bijection),
    ]
    for flow in others:
        with pytest.raises(ValueError, match="the flow"):
            fit(flow, rows(), options=pf.training.Checkpoint(folder, resume=True), **COMMON)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(prints, "version", lambda name: f"99.{len(name)}")
    with pytest.raises(ValueError, match=r"the versions \(pushforward .*, now 99.11; jax .*, now 99.3\)"):
        run(folder, resume=True)
