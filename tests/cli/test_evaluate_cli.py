"""`pushforward evaluate` and `tune`: their words, their files, their exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pushforward.cli import main
from pushforward.io.fit_options import FitOptions
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators import tune as tuning
from pushforward.tables.reading.writing import write_arrow

pytestmark = pytest.mark.float32
SMALL = {"flow": "realnvp", "n_layers": 1, "width": 8, "max_epochs": 3, "verify": False, "random_state": 0}
EVALUATION: Any = sys.modules["pushforward.tables.estimators.evaluate"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    x = np.random.default_rng(0).normal([0.0, 5.0], [1.0, 2.0], (400, 2))
    FlowDensity(**SMALL).fit(x).save(folder / "model")
    write_arrow(folder / "data.csv", pa.table({"x0": x[:60, 0], "x1": x[:60, 1]}))
    (folder / "holes.csv").write_text("x0,x1\n1.0,5.0\n,4.0\n0.5,6.5\n")
    return folder


@pytest.fixture
def run(made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(made)
    monkeypatch.setattr(EVALUATION, "TAIL_SAMPLES", 100)
    monkeypatch.setattr(EVALUATION, "c2st", lambda *sides, **options: None)
    monkeypatch.setattr(EVALUATION, "_simple", lambda *arguments: ((), (), 0))

    def call(command: str) -> tuple[int, str, str]:
        code = main(command.split())
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_evaluate_says_and_writes_what_it_found(run: Run, made: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    code, out, err = run(f"evaluate model data.csv --out {report} --samples 50 --seed 2")
    assert (code, err) == (0, "")
    assert "Mean log-density of 60 rows" in out
    assert "against 50 samples" in out
    written = json.loads(report.read_text())
    expected = FlowDensity.load(made / "model").score_samples(np.loadtxt(made / "data.csv", delimiter=",", skiprows=1))
    assert written["mean_nats"] == pytest.approx(expected.mean())
    assert (written["samples"], written["seed"], written["data"]) == (50, 2, "data.csv")
    code, _, err = run(f"evaluate model data.csv --out {report}")
    assert code == 2
    assert "exists" in err
    code, out, _ = run(f"evaluate model data.csv --out {report} --force --samples 50 --seed 2 --json")
    printed = json.loads(out)
    assert code == 0
    assert printed["ok"] is True
    assert printed["command"] == "evaluate"
    assert {key: printed[key] for key in written} == json.loads(report.read_text()) == written
    assert run("evaluate model data.csv --quiet")[:2] == (0, "")


def test_evaluate_refuses_or_drops_missing_values(run: Run) -> None:
    code, _, err = run("evaluate model holes.csv")
    assert code == 3
    assert "--missing drop" in err
    assert "Traceback" not in err
    code, out, _ = run("evaluate model holes.csv --missing drop --json")
    printed = json.loads(out)
    assert (code, printed["rows"], printed["dropped"]) == (0, 2, 1)
    assert printed["warnings"] == printed["notes"]


def test_evaluate_of_what_is_not_there(run: Run) -> None:
    assert run("evaluate nothing data.csv")[0] == 2
    assert run("evaluate model nothing.csv")[0] in (2, 3)


def played(nats: float, status: str = "converged") -> Callable[..., Any]:
    """A fit that is none: the default trial scores `nats`, the others less."""
    calls = []

    def train(prepared: Any, recipe: Any, seeds: Any, **options: Any) -> Any:
        calls.append(recipe)
        own = nats - len(calls)
        verdict = SimpleNamespace(held_out_nats=own, standard_error=0.1, steps=10, status=status)
        score = lambda encoded, condition: SimpleNamespace(log_prob=np.full(len(encoded.rows), own))  # noqa: E731
        return SimpleNamespace(result=SimpleNamespace(verdict=verdict), model=SimpleNamespace(score_encoded=score))

    return train


def test_tune_writes_a_file_for_fit(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "train", played(1.0))
    best = tmp_path / "best.toml"
    code, out, err = run(f"tune data.csv --out {best} --trials 2 --max-minutes 1 --columns x1,x0 --given x0 --seed 4")
    assert (code, err) == (0, "")
    assert "2 trials (2 done); the best is trial 0." in out
    assert "No trial beat the defaults" in out
    options = FitOptions.gather(best)
    assert options.data.columns == ["x1", "x0"]
    assert options.data.given == ["x0"]
    assert (options.training.seed, options.flow.name, options.training.batch_size) == (4, "nsf", 256)
    code, out, _ = run(f"fit --config {best} --print-config")
    assert (code, out) == (0, options.to_toml() + "\n")
    assert run(f"tune data.csv --out {best}")[0] == 2
    code, out, _ = run(f"tune data.csv --out {best} --force --trials 1 --json")
    printed = json.loads(out)
    assert (code, printed["command"], len(printed["trials"])) == (0, "tune", 1)


def test_tune_keeps_the_best_of_an_interrupted_search(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "train", played(1.0, "interrupted"))
    code, out, _ = run(f"tune data.csv --out {tmp_path / 'best.toml'}")
    assert code == 130
    assert "interrupted" in out
    assert FitOptions.gather(tmp_path / "best.toml").flow.name == "nsf"


def test_tune_without_optuna_or_rows(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, err = run(f"tune holes.csv --missing drop --out {tmp_path / 'best.toml'}")
    assert (code, "40 rows" in err) == (3, True)
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = run(f"tune data.csv --out {tmp_path / 'best.toml'}")
    assert code == 2
    assert "pip install 'pushforward[tune]'" in err
    assert not (tmp_path / "best.toml").exists()
