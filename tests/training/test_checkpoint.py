"""Checkpoints: a fit that was stopped goes on as if it never had, and nothing in the folder is trusted."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from safetensors.numpy import load, save

import pushforward as pf
from pushforward.training import checkpoint as module
from pushforward.training import driver, fit, remove_checkpoint
from pushforward.training import fingerprint as prints
from pushforward.training.checkpoint import RECORD, STATE, Checkpoints
from pushforward.training.plan import first_moments, make_plan
from pushforward.training.state import FitState, Reached

KEY = jax.random.key(0)
NEVER = 1e9  # seconds: only the first commit, and the one of an interrupt
COMMON = {"key": KEY, "batch_size": 64, "max_epochs": 40, "learning_rate": 0.02, "progress": False}


def affine() -> pf.Flow:
    return pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,)))


def rows(n: int = 600) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 2)) * [2.0, 0.5] + [1.0, -1.0]


def run(folder: Path | None = None, **changes: Any) -> pf.FitResult:
    """540 rows in 9 steps per epoch, with a validation every 18 steps: 360 steps in all."""
    return fit(affine(), **{"x": rows(), **COMMON, "checkpoint": folder, **changes})


def stop_at(step: int, error: type[BaseException] = KeyboardInterrupt) -> Any:
    def callback(row: dict[str, float]) -> None:
        if row["step"] >= step:
            raise error

    return callback


def same(one: pf.FitResult, two: pf.FitResult) -> bool:
    """Equal bit for bit, but for the seconds."""
    leaves = zip(jax.tree.leaves(one.flow), jax.tree.leaves(two.flow), strict=True)
    equal = [np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in leaves]
    equal += [
        one.history[name].dtype == two.history[name].dtype
        and one.history[name].tobytes() == two.history[name].tobytes()
        for name in one.history.keys() - {"seconds"}
    ]
    fields = vars(one.verdict).keys() - {"seconds", "text"}
    return all(equal) and all(getattr(one.verdict, name) == getattr(two.verdict, name) for name in fields)


def commits(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


@pytest.fixture(autouse=True, scope="module")
def _short_calls() -> Iterator[None]:
    """Seven steps in each call: calls end within epochs and between validations."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "FIRST_STEPS", 7)
        patch.setattr(driver, "GROWTH", 1)
        yield


@pytest.fixture(scope="module")
def whole() -> pf.FitResult:
    return run()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit that was stopped with two commits: of step 0, and of a later one."""
    folder = tmp_path_factory.mktemp("stopped") / "fit"
    run(folder, checkpoint_seconds=NEVER, callback=stop_at(100))
    return folder


@pytest.fixture
def folder(stopped: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    for path in sorted(stopped.rglob("*")):
        if path.is_file():
            target = tmp_path / "fit" / path.relative_to(stopped)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path / "fit"


def newest(folder: Path) -> Path:
    return folder / commits(folder)[-1]


def reseal(path: Path, name: str, data: bytes) -> None:
    """Change a file and its line of the manifest: damage that only the contents show."""
    (path / name).write_bytes(data)
    lines = [f"{hashlib.sha256((path / part).read_bytes()).hexdigest()}  {part}\n" for part in (STATE, RECORD)]
    (path / "manifest.sha256").write_text("".join(lines))


# Resuming


@pytest.mark.parametrize("step", [18, 90, 200, 342])
def test_a_resumed_fit_ends_as_one_that_never_stopped(step: int, whole: pf.FitResult, tmp_path: Path):
    first = run(tmp_path / "fit", checkpoint_seconds=NEVER, callback=stop_at(step))
    assert first.verdict.status == first.verdict.judgement == "interrupted"
    assert not same(first, whole)
    seen: list[dict[str, float]] = []
    second = run(tmp_path / "fit", resume=True, callback=seen.append)
    assert same(second, whole)
    assert [row["step"] for row in seen] == [s for s in whole.history["step"] if s > first.history["step"][-1]]
    assert (np.diff(second.history["seconds"]) >= 0).all()


def test_stops_lie_within_epochs_and_between_validations(folder: Path):
    """What makes the test above a hard one."""
    step = json.loads((newest(folder) / RECORD).read_text())["step"]
    assert step % 9 != 0
    assert step % 18 != 0


def test_many_stops_and_none_change_nothing(whole: pf.FitResult, tmp_path: Path):
    last = -1
    for _ in range(30):
        result = run(tmp_path / "fit", checkpoint_seconds=0.05, resume=True, callback=stop_at(last + 60))
        if result.verdict.status != "interrupted":
            break
        assert result.verdict.steps > last
        last = result.verdict.steps
    assert last > 200
    assert same(result, whole)
    assert same(run(tmp_path / "other", checkpoint_seconds=0.0), whole)


def test_without_held_out_rows_and_with_weights(tmp_path: Path):
    options = {"validation": None, "weights": np.linspace(0.5, 2, 600), "preprocess": pf.Standardize.fit(rows())}
    expected = run(**options)
    run(tmp_path / "fit", checkpoint_seconds=NEVER, callback=stop_at(100), **options)
    result = run(tmp_path / "fit", resume=True, **options)
    assert same(result, expected)
    assert np.isnan(result.history["held_out_nats"]).all()


def test_an_interrupt_before_the_first_step(whole: pf.FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(driver, "run", interrupted)
        first = run(tmp_path / "fit")
    assert (first.verdict.status, first.verdict.steps) == ("interrupted", 0)
    assert same(run(tmp_path / "fit", resume=True), whole)


def test_an_interrupt_at_any_line_of_the_driver(whole: pf.FitResult, tmp_path: Path):
    """Ctrl-C comes between any two bytecodes: here between any two lines, a different one for each fit."""
    code = {driver.Driver.read.__code__, driver.Driver.train.__code__, driver.Driver.track.__code__}
    for n in range(100, 145, 4):
        left = n

        def trace(frame: Any, event: str, _: Any) -> Any:
            nonlocal left
            if frame.f_code not in code:
                return None
            if event == "line":
                left -= 1
                if left == 0:
                    raise KeyboardInterrupt
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            first = run(tmp_path / "fit", resume=True, checkpoint_seconds=NEVER)
        finally:
            sys.settrace(before)
        assert first.verdict.status == "interrupted"
        assert len({len(column) for column in first.history.values()}) == 1
    assert same(run(tmp_path / "fit", resume=True), whole)


def test_a_crash_loses_what_came_after_the_last_commit_alone(whole: pf.FitResult, tmp_path: Path):
    with pytest.raises(RuntimeError):
        run(tmp_path / "fit", checkpoint_seconds=0.0, callback=stop_at(150, RuntimeError))
    assert len(commits(tmp_path / "fit")) == 2
    assert same(run(tmp_path / "fit", resume=True), whole)


def test_kill_9_in_another_process(whole: pf.FitResult, tmp_path: Path):
    program = f"""
import os, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
import jax, test_checkpoint as test
def kill(row):
    if row["step"] > 100:
        os.kill(os.getpid(), 9)
print(test.outline(), flush=True)
test.run({str(tmp_path / "fit")!r}, checkpoint_seconds=0.0, callback=kill)
"""
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.strip() == outline(), "the fingerprint changes from process to process"
    assert same(run(tmp_path / "fit", resume=True), whole)


def outline() -> str:
    """What a flow with networks, and one with functions and objects in it, look like to the fingerprint."""

    class Odd(eqx.Module):
        activation: Any = eqx.field(static=True, default=jax.nn.relu)
        something: Any = eqx.field(static=True, default_factory=object)

    flow = pf.flows.nsf(jax.random.key(0), dim=3, n_layers=1, width=4)
    text = prints._outline((flow, Odd()))
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_time_budget_counts_the_time_before(tmp_path: Path):
    options = {"validation": None, "max_seconds": 1000.0}
    first = run(tmp_path / "fit", callback=stop_at(100), checkpoint_seconds=NEVER, **options)
    path = newest(tmp_path / "fit")
    arrays = load((path / STATE).read_bytes())
    assert first.history["seconds"][-1] <= arrays["elapsed"][0] <= first.verdict.seconds
    reseal(path, STATE, save({**arrays, "elapsed": np.array([999.99])}))
    second = run(tmp_path / "fit", resume=True, **options)
    assert second.verdict.status == "stopped: budget"
    assert second.verdict.steps < 360


def test_sigterm_stops_a_fit_and_commits(whole: pf.FitResult, tmp_path: Path):
    def callback(row: dict[str, float]) -> None:
        if row["step"] >= 100:
            os.kill(os.getpid(), signal.SIGTERM)

    def before(*_: Any) -> None:
        raise AssertionError("the handler of before was called")

    earlier = signal.signal(signal.SIGTERM, before)
    try:
        result = run(tmp_path / "fit", checkpoint_seconds=NEVER, callback=callback)
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, earlier)
    assert result.verdict.status == "interrupted"
    assert result.verdict.steps >= 100
    assert same(run(tmp_path / "fit", resume=True), whole)


def test_sigterm_is_not_lost_where_the_exception_is(tmp_path: Path):
    def callback(row: dict[str, float]) -> None:
        if row["step"] == 54:
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except KeyboardInterrupt:
                return

    result = run(tmp_path / "fit", checkpoint_seconds=NEVER, callback=callback)
    assert result.verdict.status == "interrupted"
    assert result.verdict.steps < 100


def test_signals_are_left_alone_without_a_checkpoint_and_in_threads(tmp_path: Path):
    before, seen = signal.getsignal(signal.SIGTERM), []
    run(callback=lambda _: seen.append(signal.getsignal(signal.SIGTERM)))

    def work() -> None:
        with jax.enable_x64(True):
            run(tmp_path / "fit", callback=lambda _: seen.append(signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert set(seen) == {before}
    assert len(seen) == 40


# The folder


def test_two_commits_are_kept(folder: Path):
    assert commits(folder) == ["commit-00000001", "commit-00000002"]
    assert commits(newest(folder)) == ["manifest.sha256", RECORD, STATE]
    run(folder, resume=True, checkpoint_seconds=0.0)
    assert len(commits(folder)) == 2


def test_a_folder_with_checkpoints_is_not_taken_for_another_fit(folder: Path):
    before = commits(folder)
    with pytest.raises(FileExistsError, match="resume=True"):
        run(folder)
    assert commits(folder) == before
    with pytest.raises(ValueError, match="checkpoint="):
        run(None, resume=True)


def test_what_killed_writers_left_is_removed(folder: Path):
    (folder / ".commit-00000003.abcd_123").mkdir()
    (folder / ".commit-00000003.abcd_123" / STATE).write_bytes(b"half")
    (folder / ".commit-00000003.abcd_124").mkdir()
    (folder / ".commit-00000003.abcd_124" / "notes.txt").write_text("somebody's")
    (folder / ".else").mkdir()
    run(folder, resume=True)
    assert commits(folder)[:2] == [".commit-00000003.abcd_124", ".else"]
    assert len(commits(folder)) == 4


def test_remove_checkpoint(folder: Path, tmp_path: Path):
    (folder / "notes.txt").write_text("somebody's")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        remove_checkpoint(folder)
    assert len(commits(folder)) == 3
    (folder / "notes.txt").unlink()
    (newest(folder) / "notes.txt").write_text("somebody's")
    with pytest.raises(FileExistsError, match="commit-00000002"):
        remove_checkpoint(folder)
    (newest(folder) / "notes.txt").unlink()
    (tmp_path / "elsewhere").mkdir()
    (folder / "commit-00000009").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError, match="commit-00000009"):
        remove_checkpoint(folder)
    (folder / "commit-00000009").unlink()
    remove_checkpoint(folder)
    assert not folder.exists()
    with pytest.raises(FileNotFoundError):
        remove_checkpoint(folder)


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_seconds_are_checked(seconds: float, tmp_path: Path):
    with pytest.raises(ValueError, match="checkpoint_seconds"):
        run(tmp_path / "fit", checkpoint_seconds=seconds)


def test_a_file_is_no_folder(tmp_path: Path):
    (tmp_path / "fit").write_text("")
    with pytest.raises(FileExistsError):
        run(tmp_path / "fit")


def test_a_full_disk_warns_once_and_loses_nothing(whole: pf.FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    fsync, calls, kept = os.fsync, [], []

    def sometimes(handle: int) -> None:
        calls.append(handle)
        if 30 < len(calls) < 50:
            kept.append(commits(tmp_path / "fit"))
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", sometimes)
    with pytest.warns(RuntimeWarning, match="No space left on device.*Free some space") as caught:
        result = run(tmp_path / "fit", checkpoint_seconds=0.0)
    assert len(caught) == 1
    assert same(result, whole)
    # Beside what is being written there are the same two commits all along, and newer ones afterwards.
    there = {tuple(name for name in names if not name.startswith(".")) for names in kept}
    assert len(there) == 1
    assert len(kept) > 5
    assert not any(name.startswith(".") for name in commits(tmp_path / "fit"))
    assert commits(tmp_path / "fit")[-1] > max(max(there))
    assert same(run(tmp_path / "fit", resume=True), whole)


# Nothing is trusted


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
        (changed(state__whole=put(0, 10**6)), "out of bounds"),
        (changed(state__whole=put(0, 3)), "out of bounds|record"),
        (changed(state__whole=put(1, -(10**6))), "out of bounds"),
        (changed(state__whole=put(6, 7)), "out of bounds"),
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


def test_every_bit_survives(tmp_path: Path):
    """NaN of any payload, infinities, and minus zero."""
    options = {"batch_size": None, "learning_rate": None, "weight_decay": 0.0, "max_seconds": None, "patience": 20}
    plan = make_plan(600, 0, 1024, max_epochs=None, clip_norm=None, ema=0.9, warmup=None, **options)
    vector = np.array([0x7FF8000000000123, 0x8000000000000000, 0xFFF0000000000000], np.uint64).view(np.float64)
    state = FitState.start(vector, first_moments(plan, vector), 608, int(plan.steps_per_round))
    row = {"epoch": 0, "step": 10, "train_nats": -np.inf, "held_out_nats": np.nan, "learning_rate": -0.0}
    reached = Reached(eqx.tree_at(lambda s: s.whole, state, put(0, 10)(state.whole)), 10, 0, (), np.nan, 1.5)
    reached = Reached(reached.state, 10, 0, ({**row, "seconds": 1.25, "skipped": 0},), np.nan, 1.5)
    checkpoints = Checkpoints(tmp_path, 60.0, resume=False)
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
        ({"preprocess": pf.Affine(0.0, 1.0, (2,))}, "the data"),
        ({"key": jax.random.key(1)}, "the key"),
        ({"max_epochs": 50}, r"the options \(total_steps 360, now 450"),
        ({"learning_rate": 0.01}, "learning_rate 0.0199"),
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
            fit(flow, rows(), **COMMON, checkpoint=folder, resume=True)  # pyright: ignore[reportArgumentType]
    monkeypatch.setattr(prints, "version", lambda name: f"99.{len(name)}")
    with pytest.raises(ValueError, match=r"the versions \(pushforward .*, now 99.11; jax .*, now 99.3\)"):
        run(folder, resume=True)
