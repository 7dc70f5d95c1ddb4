"""Checkpoints: a fit that was stopped goes on as if it never had, and its folder is kept in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from safetensors.numpy import load, save

import pushforward as pf
from interrupted import NEVER, commits, newest, outline, reseal, rows, run, same, stop_at
from pushforward.training import loop, remove_checkpoint
from pushforward.training.checkpoint import RECORD, STATE

module = sys.modules["pushforward.training.fit"]  # the package's name `fit` is the function

pytestmark = pytest.mark.usefixtures("short_calls")


@pytest.mark.parametrize("step", [18, 90, 200, 342])
def test_a_resumed_fit_ends_as_one_that_never_stopped(step: int, whole: pf.FitResult, tmp_path: Path):
    first = run(tmp_path / "fit", seconds=NEVER, callback=stop_at(step))
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
        result = run(tmp_path / "fit", seconds=0.05, resume=True, callback=stop_at(last + 60))
        if result.verdict.status != "interrupted":
            break
        assert result.verdict.steps > last
        last = result.verdict.steps
    assert last > 200
    assert same(result, whole)
    assert same(run(tmp_path / "other", seconds=0.0), whole)


def test_without_held_out_rows_and_with_weights(tmp_path: Path):
    options = {
        "validation": None,
        "weights": np.linspace(0.5, 2, 600),
        "options": pf.training.Preprocess(pf.Standardize.fit(rows())),
    }
    expected = run(**options)
    run(tmp_path / "fit", seconds=NEVER, callback=stop_at(100), **options)
    result = run(tmp_path / "fit", resume=True, **options)
    assert same(result, expected)
    assert np.isnan(result.history["held_out_nats"]).all()


def test_an_interrupt_before_the_first_step(whole: pf.FitResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "run", interrupted)
        first = run(tmp_path / "fit")
    assert (first.verdict.status, first.verdict.steps) == ("interrupted", 0)
    assert same(run(tmp_path / "fit", resume=True), whole)


def test_an_interrupt_at_any_line_of_the_driver(whole: pf.FitResult, tmp_path: Path):
    """Ctrl-C comes between any two bytecodes: here between any two lines, a different one for each fit."""
    code = {getattr(loop.Loop, name).__code__ for name in ("read", "calls", "take", "track")}
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
            first = run(tmp_path / "fit", resume=True, seconds=NEVER)
        finally:
            sys.settrace(before)
        assert first.verdict.status == "interrupted"
        assert len({len(column) for column in first.history.values()}) == 1
    assert same(run(tmp_path / "fit", resume=True), whole)


def test_a_crash_loses_what_came_after_the_last_commit_alone(whole: pf.FitResult, tmp_path: Path):
    with pytest.raises(RuntimeError):
        run(tmp_path / "fit", seconds=0.0, callback=stop_at(150, RuntimeError))
    assert len(commits(tmp_path / "fit")) == 2
    assert same(run(tmp_path / "fit", resume=True), whole)


def test_kill_9_in_another_process(whole: pf.FitResult, tmp_path: Path):
    program = f"""
import os, interrupted
def kill(row):
    if row["step"] > 100:
        os.kill(os.getpid(), 9)
print(interrupted.outline(), flush=True)
interrupted.run({str(tmp_path / "fit")!r}, seconds=0.0, callback=kill)
"""
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert done.stdout.strip() == outline(), "the fingerprint changes from process to process"
    assert same(run(tmp_path / "fit", resume=True), whole)


def test_a_time_budget_counts_the_time_before(tmp_path: Path):
    options = {"validation": None, "max_seconds": 1000.0}
    first = run(tmp_path / "fit", callback=stop_at(100), seconds=NEVER, **options)
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
        result = run(tmp_path / "fit", seconds=NEVER, callback=callback)
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

    result = run(tmp_path / "fit", seconds=NEVER, callback=callback)
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
    run(folder, resume=True, seconds=0.0)
    assert len(commits(folder)) == 2


def test_a_folder_with_checkpoints_is_not_taken_for_another_fit(folder: Path):
    before = commits(folder)
    with pytest.raises(FileExistsError, match="resume=True"):
        run(folder)
    assert commits(folder) == before


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
    with pytest.raises(ValueError, match="seconds >= 0"):
        run(tmp_path / "fit", seconds=seconds)


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
        result = run(tmp_path / "fit", seconds=0.0)
    assert len(caught) == 1
    assert same(result, whole)
    # Beside what is being written there are the same two commits all along, and newer ones afterwards.
    there = {tuple(name for name in names if not name.startswith(".")) for names in kept}
    assert len(there) == 1
    assert len(kept) > 5
    assert not any(name.startswith(".") for name in commits(tmp_path / "fit"))
    assert commits(tmp_path / "fit")[-1] > max(max(there))
    assert same(run(tmp_path / "fit", resume=True), whole)
