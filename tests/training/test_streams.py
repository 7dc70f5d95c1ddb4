"""Training from a stream: the weights of a fit from memory, whatever reads the rows, stops the fit or kills it."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import pushforward as pf
from interrupted import COMMON, KEY, NEVER, affine, commits, objects, rows, run, run_stream, same, stop_at
from pushforward.training import Batch, FunctionStream, Preprocess, Steps, array_stream, feed, fit
from pushforward.training.rehearsal import rehearse
from pushforward.training.result import described

SHORT: dict[str, Any] = {"key": KEY, "max_epochs": 4, "progress": False, "options": [Steps(64)]}


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of two steps, the last one of an epoch of one."""
    monkeypatch.setattr(feed, "BLOCK_BYTES", 60 * 3 * 8 * 2)


@pytest.fixture(scope="module")
def streamed(short_calls: None) -> pf.FitResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "BLOCK_BYTES", 60 * 3 * 8 * 2)
        return run_stream()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pushforward")]


def test_the_weights_are_those_of_a_fit_from_memory(whole: pf.FitResult, streamed: pf.FitResult):
    assert same(streamed, whole)
    assert not threads()


def test_the_verdict_says_how_many_rows_were_seen(streamed: pf.FitResult):
    assert (streamed.verdict.n_rows_streamed, streamed.verdict.n_rows_met) == (540, 540 * 40)
    assert "All 540 training rows of the stream were seen, 40 times." in streamed.verdict.text
    few = described(dataclasses.replace(streamed.verdict, n_rows_met=60), None)
    assert "60 of the 540 training rows of the stream were seen." in few.text


def test_any_number_of_readers_gives_the_same(streamed: pf.FitResult):
    assert same(run_stream(n_readers=3), streamed)


def test_weights_conditions_and_preprocessing_are_as_in_memory():
    rng = np.random.default_rng(1)
    x, condition = rng.normal(size=(300, 2)) + 5, rng.normal(size=(300, 1))
    weights = rng.integers(0, 3, 300).astype(float)
    flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=1, width=4, condition_dim=1)
    units = pf.Standardize.fit(x)
    how = {**SHORT, "options": [Steps(64), Preprocess(units)]}
    stream = array_stream(x, condition, weights, key=KEY)
    assert same(fit(flow, stream, **how), fit(flow, x, condition=condition, weights=weights, **how))


def test_layers_that_start_from_data_start_from_the_first_rows():
    flow = pf.Flow(pf.StandardNormal((2,)), pf.Chain([pf.ActNorm(2), pf.Affine(0.0, 1.0, (2,))]))
    assert same(fit(flow, array_stream(rows(), key=KEY), **SHORT), fit(flow, rows(), **SHORT))


def test_kill_9_in_another_process(whole: pf.FitResult, tmp_path: Path):
    program = f"""
import os, interrupted
from pushforward.training import feed
feed.BLOCK_BYTES = 60 * 3 * 8 * 2
def kill(row):
    if row["step"] > {np.random.default_rng(0).integers(50, 250)}:
        os.kill(os.getpid(), 9)
interrupted.run_stream({str(tmp_path / "fit")!r}, seconds=0.0, callback=kill)
"""
    environment = {**os.environ, "JAX_ENABLE_X64": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert same(run_stream(tmp_path / "fit", resume=True), whole)


def test_an_interrupt_keeps_the_best_and_goes_on(whole: pf.FitResult, tmp_path: Path):
    stopped = run_stream(tmp_path / "fit", seconds=NEVER, callback=stop_at(100))
    assert stopped.verdict.status == "interrupted"
    assert not threads()
    assert len(commits(tmp_path / "fit")) == 2
    assert same(run_stream(tmp_path / "fit", resume=True), whole)


def test_a_checkpoint_of_another_stream_is_refused(tmp_path: Path):
    run_stream(tmp_path / "fit", seconds=NEVER, callback=stop_at(20))
    with pytest.raises(ValueError, match="the data"):
        run(tmp_path / "fit", x=array_stream(rows() + 1, key=KEY), resume=True)


@dataclasses.dataclass
class Counted(pf.training.AbstractStream):
    """A stream of 100 rows that says it has `n_rows`, whose blocks are of uneven sizes."""

    n_rows: int = 100
    fails_at: int | None = None
    seconds: float = 0.0
    event_shape = (2,)
    cond_shape = None
    identity = "counted"
    closed: int = 0

    @property
    def total_weight(self) -> float:  # pyright: ignore[reportIncompatibleVariableOverride]
        return float(self.n_rows)

    def held_out(self) -> Batch | None:
        return Batch(rows(10))

    def head(self, n: int) -> Batch:
        return Batch(rows(10))

    def blocks(self, seed: np.ndarray, epoch: int, start: int) -> Iterator[Batch]:
        x = rows(100)[np.random.default_rng([*seed, epoch]).permutation(100)][start:]
        try:
            for i in range(0, len(x), 7):
                if self.fails_at is not None and i >= self.fails_at:
                    raise OSError("the disk is gone")
                time.sleep(self.seconds)
                yield Batch(x[i : i + 7])
        finally:
            self.closed += 1


def test_a_stream_of_ones_own():
    stream = Counted()
    verdict = fit(affine(), stream, **SHORT).verdict
    assert verdict.epochs == 4
    assert stream.closed >= 4


@pytest.mark.parametrize(
    ("stream", "error", "words"),
    [
        (Counted(n_rows=150), ValueError, "150 rows in each epoch of the stream, got 100"),
        (Counted(n_rows=90), ValueError, "90 rows in each epoch of the stream, got 100"),
        (Counted(fails_at=50), OSError, "the disk is gone"),
    ],
)
def test_what_goes_wrong_in_the_reader_ends_the_fit(stream: Counted, error: type[Exception], words: str):
    with pytest.raises(error, match=words):
        fit(affine(), stream, **SHORT)
    assert not threads()


def test_rows_that_are_not_finite_are_named():
    x = rows(1200)
    x[1190:, 0] = np.nan  # after the first rows, which are looked at before
    with pytest.raises(ValueError, match=r"rows \d+ to \d+ of epoch 0 of the stream: .*NaN or infinity in"):
        fit(affine(), array_stream(x, key=KEY, validation=0.0), **SHORT)


def test_a_slow_reader_is_waited_for():
    slow = fit(affine(), Counted(seconds=0.01), **SHORT)
    assert same(slow, fit(affine(), Counted(), **SHORT))


def test_changes_of_rows_follow_the_key_alone():
    def flip(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return x * generator.choice([-1, 1], size=(len(x), 1))

    def stream(n_readers: int) -> FunctionStream:
        own = rows()
        return FunctionStream(lambda i: own[i], 600, key=KEY, augment=flip, chunk_rows=50, n_readers=n_readers)

    seed = np.array([1, 2], np.uint32)
    every = np.concatenate([batch.x for batch in stream(1).blocks(seed, 3, 0)])
    later = np.concatenate([batch.x for batch in stream(4).blocks(seed, 3, 123)])
    np.testing.assert_array_equal(every[123:], later)
    plain = np.concatenate([batch.x for batch in array_stream(rows(), key=KEY).blocks(seed, 3, 0)])
    np.testing.assert_array_equal(np.abs(every), np.abs(plain))
    assert 0.3 < np.mean(every[:, 0] == plain[:, 0]) < 0.7


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"weights": np.ones(600)}, "no weights beside a stream"),
        ({"condition": np.ones((600, 1))}, "no condition beside a stream"),
        ({"validation": 0.2}, "it holds out rows itself"),
        ({"validation": rows(5)}, "it holds out rows itself"),
    ],
)
def test_what_the_stream_says_itself_is_refused(how: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        fit(affine(), array_stream(rows(), key=KEY), **SHORT, **how)


def test_a_reader_that_gives_other_rows_is_told():
    with pytest.raises(ValueError, match="read to give 1 rows, got 3"):
        FunctionStream(lambda i: np.ones((3, 2)), 10, key=KEY)
    with pytest.raises(TypeError, match="read a function"):
        FunctionStream(rows(), 10, key=KEY)  # pyright: ignore[reportArgumentType]


def test_without_held_out_rows():
    result = fit(affine(), array_stream(rows(), key=KEY), **{**SHORT, "validation": None})
    assert result.verdict.held_out_nats is None
    assert same(result, fit(affine(), array_stream(rows(), key=KEY), **{**SHORT, "validation": None}))


def test_a_row_beyond_all_others_is_left_out_of_its_step_as_in_memory():
    x = rows()
    x[17] = 1e200
    how = {**COMMON, "max_epochs": 4, **objects(batch_size=64)}
    assert same(fit(affine(), array_stream(x, key=KEY), **how), fit(affine(), x, **how))


def test_a_rehearsal_takes_the_first_block():
    rehearsal = rehearse(affine(), array_stream(rows(), key=KEY), key=KEY, max_epochs=4, options=[Steps(64)])
    assert (rehearsal.rows, rehearsal.steps, rehearsal.batch_rows) == (540, 36, 60)
    assert not threads()
