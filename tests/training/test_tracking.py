"""Trackers: every row once, in the file, the event file or the service; and none of them can lose a fit."""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest

import pushforward as pf
from interrupted import objects
from pushforward.training import AbstractTracker, JsonLines, MLflow, TensorBoard, WandB, fit
from pushforward.training.result import COLUMNS

START = {"rows": 5, "resumed_from": None}


def run(tracker: Any, **changes: Any) -> pf.FitResult:
    flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,)))
    x = np.random.default_rng(0).normal(size=(600, 2))
    options = {"key": jax.random.key(0), "max_epochs": 40, "progress": False, "batch_size": 64, **changes}
    return fit(flow, x, **objects(tracker=tracker, **options))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def timeless(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in record.items() if k not in ("seconds", "text")} for record in records]


class Memory:
    """Keeps what it is told; raises in one of its methods."""

    def __init__(self, fails: str = "", error: type[Exception] = RuntimeError):
        self.fails, self.error, self.told = fails, error, []

    def tell(self, method: str, *arguments: Any) -> None:
        self.told.append((method, *arguments))
        if method == self.fails:
            raise self.error("out of order")

    def start(self, params: Any) -> None:
        self.tell("start", params)

    def log(self, step: int, metrics: Any) -> None:
        self.tell("log", step, metrics)

    def finish(self, summary: Any) -> None:
        self.tell("finish", summary)


def test_a_tracker_is_told_of_the_start_every_row_and_the_end():
    memory = Memory()
    result = run(memory)
    kinds = [told[0] for told in memory.told]
    assert kinds == ["start", *["log"] * len(result.history["step"]), "finish"]
    params, summary = memory.told[0][1], memory.told[-1][1]
    assert params["rows"] == 540
    assert params["held_out_rows"] == 60
    assert params["total_steps"] == 360
    assert params["resumed_from"] is None
    assert summary == vars(result.verdict)
    for i, (_, step, metrics) in enumerate(memory.told[1:-1]):
        assert set(metrics) == set(COLUMNS) - {"step"}
        assert step == result.history["step"][i]
        assert all(metrics[name] == result.history[name][i] for name in metrics)


@pytest.mark.parametrize("method", ["start", "log", "finish"])
def test_an_error_in_a_tracker_does_not_lose_the_fit(method: str):
    broken, sound = Memory(method), Memory()
    with pytest.warns(RuntimeWarning, match=f"Memory failed in {method} .RuntimeError: out of order") as caught:
        result = run([broken, sound])
    assert len(caught) == 1
    assert result.verdict.steps == 360
    assert broken.told[-1][0] == method
    assert len(sound.told) == len(result.history["step"]) + 2


def test_a_fit_that_gave_no_weights_is_told_to_trackers():
    class Broken(pf.MaximumLikelihood):
        def per_row(self, flow, x, condition=None, key=None):
            return math.nan * super().per_row(flow, x, condition, key)

    memory = Memory()
    with pytest.raises(pf.FitError):
        run(memory, objective=Broken())
    assert memory.told[-1][1]["status"] == "diverged"

    def crash(row: dict[str, float]) -> None:
        raise RuntimeError("a fault of the callback's")

    with pytest.raises(RuntimeError, match="callback"):
        run(memory, callback=crash)
    assert memory.told[-1][1] == {"status": "failed", "text": "a fault of the callback's"}


@pytest.mark.parametrize("tracker", ["curve.jsonl", [1], JsonLines])
def test_what_is_no_tracker_is_refused(tracker: Any):
    with pytest.raises(TypeError, match="start, log and finish"):
        run(tracker)


def test_json_lines_hold_the_history(tmp_path: Path):
    result = run(JsonLines(tmp_path / "curve.jsonl"), validation=None)
    first, *between, last = lines(tmp_path / "curve.jsonl")
    assert first["event"] == "start"
    assert first["max_seconds"] is None  # infinity
    assert [line["step"] for line in between] == result.history["step"].tolist()
    assert [line["train_nats"] for line in between] == result.history["train_nats"].tolist()
    assert {line["held_out_nats"] for line in between} == {None}
    assert last["event"] == "finish"
    assert last["judgement"] == "ran all epochs"


def test_json_lines_of_a_resumed_fit_are_those_of_one_that_never_stopped(tmp_path: Path):
    whole, parts = tmp_path / "whole.jsonl", tmp_path / "parts.jsonl"
    run(JsonLines(whole))
    parts.write_text('{"event": "start"}\n{"event": "row", "step": 999}\nnot JSON\n{"event": "ro')

    def crash(row: dict[str, float]) -> None:
        if row["step"] >= 100:
            raise RuntimeError

    options = {"folder": tmp_path / "fit", "seconds": 1e9, "resume": True}
    with pytest.raises(RuntimeError):  # with a commit of step 0 alone
        run(JsonLines(parts), callback=crash, **options)
    parts.write_bytes(parts.read_bytes() + b'{"event": "row", "st')  # killed in the middle of a line
    assert len(lines_before := parts.read_bytes().splitlines()) > 10
    run(JsonLines(parts), **options)
    after = parts.read_bytes().splitlines()
    assert after[:4] == lines_before[:4], "the fit before it in the file is left alone"
    assert timeless([json.loads(line) for line in after[4:]]) == timeless(lines(whole))


def test_json_lines_after_an_interrupt(tmp_path: Path):
    def stop(row: dict[str, float]) -> None:
        if row["step"] >= 100:
            raise KeyboardInterrupt

    options = {"folder": tmp_path / "fit", "resume": True}
    first = run(JsonLines(tmp_path / "curve.jsonl"), callback=stop, **options)
    there = lines(tmp_path / "curve.jsonl")
    assert [line["step"] for line in there[1:-1]] == first.history["step"].tolist()
    assert there[-1]["status"] == "interrupted"
    result = run(JsonLines(tmp_path / "curve.jsonl"), **options)
    there = lines(tmp_path / "curve.jsonl")
    assert [line["step"] for line in there[1:-1]] == result.history["step"].tolist()
    assert [line["event"] for line in there].count("start") == 1


def test_json_lines_need_a_place(tmp_path: Path):
    with pytest.raises(IsADirectoryError):
        JsonLines(tmp_path)
    with pytest.raises(FileNotFoundError):
        JsonLines(tmp_path / "none" / "curve.jsonl")


@pytest.mark.skipif(importlib.util.find_spec("tensorboardX") is None, reason="tensorboardX is not installed")
def test_tensorboard_for_real(tmp_path: Path):
    event_of: Any = importlib.import_module("tensorboardX.proto.event_pb2").Event
    tracker = TensorBoard(tmp_path)
    tracker.start(START)
    tracker.log(10, {"train_nats": -1.5, "held_out_nats": math.nan})
    tracker.finish({"text": "Converged."})
    again = TensorBoard(tmp_path)
    again.start({**START, "resumed_from": 5})
    again.log(10, {"train_nats": -1.5})
    again.finish({"text": "Converged."})
    found, texts, sessions = [], [], 0
    for path in sorted(tmp_path.iterdir()):
        data, at = path.read_bytes(), 0
        while at < len(data):  # records: length, its checksum, the event, its checksum
            size = int.from_bytes(data[at : at + 8], "little")
            event = event_of.FromString(data[at + 12 : at + 12 + size])
            at += 16 + size
            sessions += event.HasField("session_log")
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.append((event.step, value.tag, value.simple_value))
                else:
                    texts.append(value.tensor.string_val[0].decode())
    assert found[0] == found[-1] == (10, "train_nats", -1.5)
    assert len(found) == 2
    assert any('"rows": 5' in text for text in texts)
    assert "Converged." in texts
    assert sessions == 1, "a resumed fit hides the rows after its checkpoint"


class FakeMLflow(ModuleType):
    """The part of MLflow that the tracker uses."""

    def __init__(self):
        super().__init__("mlflow")
        self.calls: list[tuple[Any, ...]] = []
        self.entities = ModuleType("mlflow.entities")
        self.entities.Metric = lambda *arguments: arguments  # pyright: ignore[reportAttributeAccessIssue]

    def MlflowClient(self, tracking_uri: str | None = None) -> Any:
        def client(name: str) -> Any:
            def call(*arguments: Any, **options: Any) -> Any:
                self.calls.append((name, *arguments, *options.values()))
                if name == "get_experiment_by_name":
                    return None
                return "7" if name == "create_experiment" else SimpleNamespace(info=SimpleNamespace(run_id="r1"))

            return call

        names = "get_run get_experiment_by_name create_experiment create_run log_param log_batch set_tag set_terminated"
        return SimpleNamespace(**{name: client(name) for name in names.split()}, uri=tracking_uri)


def test_mlflow(monkeypatch: pytest.MonkeyPatch):
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    monkeypatch.setitem(sys.modules, "mlflow.entities", fake.entities)
    tracker = MLflow("flows", run_name="one")
    tracker.start(START)
    tracker.log(10, {"train_nats": -1.5, "held_out_nats": math.nan})
    tracker.finish({"status": "converged"})
    assert tracker.run_id == "r1"
    assert [call[0] for call in fake.calls] == [
        "get_experiment_by_name",
        "create_experiment",
        "create_run",
        "log_param",
        "log_param",
        "log_batch",
        "set_tag",
        "set_terminated",
    ]
    name, value, _, step = fake.calls[5][2][0]
    assert (len(fake.calls[5][2]), name, value, step) == (1, "train_nats", -1.5, 10)
    assert fake.calls[-1][2] == "FINISHED"
    fake.calls.clear()
    again = MLflow("flows", run_id="r1")
    again.start({**START, "resumed_from": 5})
    again.finish({"status": "diverged"})
    assert [call[0] for call in fake.calls] == ["get_run", "set_tag", "set_terminated"]
    assert fake.calls[-1][2] == "FAILED"


def test_wandb(monkeypatch: pytest.MonkeyPatch):
    logged, summary, ended, started = [], {}, [], []

    def init(**options: Any) -> Any:
        started.append(options)
        finish = lambda exit_code: ended.append(exit_code)  # noqa: E731
        log = lambda metrics, step: logged.append((step, metrics))  # noqa: E731
        return SimpleNamespace(id="w1", log=log, summary=summary, finish=finish)

    fake = ModuleType("wandb")
    fake.init = init  # pyright: ignore[reportAttributeAccessIssue]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    tracker = WandB("flows", mode="offline")
    tracker.start(START)
    tracker.log(10, {"train_nats": -1.5})
    tracker.finish({"status": "converged"})
    again = WandB("flows", run_id=tracker.run_id)
    again.start({**START, "resumed_from": 5})
    again.finish({"status": "diverged"})
    assert started[0]["config"] == START
    assert (started[0]["project"], started[0]["mode"], started[0]["resume"]) == ("flows", "offline", None)
    assert (started[1]["id"], started[1]["resume"]) == ("w1", "allow")
    assert logged == [(10, {"train_nats": -1.5})]
    assert summary == {"status": "diverged"}
    assert ended == [0, 1]


@pytest.mark.parametrize(("tracker", "extra"), [(TensorBoard, "tensorboard"), (MLflow, "mlflow"), (WandB, "wandb")])
def test_a_package_that_is_missing_is_named(tracker: Any, extra: str, monkeypatch: pytest.MonkeyPatch):
    for name in ("tensorboardX", "mlflow", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"pip install 'pushforward\[{extra}\]'"):
        tracker("somewhere")


def test_ours_are_trackers(tmp_path: Path):
    assert isinstance(JsonLines(tmp_path / "curve.jsonl"), AbstractTracker)
    assert not isinstance(object(), AbstractTracker)
