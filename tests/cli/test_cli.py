"""The command line from end to end, in this process: files in, files out, exit codes, words and JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from pushforward.cli import main
from pushforward.cli.app import FlowName, names_in
from pushforward.cli.fit import gaussian_nats
from pushforward.data import Gaussian, read_table, write_table
from pushforward.data.oracles import random_covariance
from pushforward.estimators import FlowDensity
from pushforward.flows import ZOO
from pushforward.training import FitError

FIT = FlowDensity.fit
SMALL = ["--n-layers", "2", "--width", "8", "--bins", "4", "--max-epochs", "3"]


def table(n: int = 120) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, 3))
    x[:, 1] += x[:, 0] ** 2
    return x


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table, a model of its columns a and b, and a model of a given b."""
    folder = tmp_path_factory.mktemp("made")
    write_table(folder / "data.csv", ["a", "b", "w"], np.abs(table()))
    data = str(folder / "data.csv")
    assert main(["fit", data, "--columns", "a,b", "--out", str(folder / "model"), "-q", *SMALL]) == 0
    assert main(["fit", data, "--columns", "a", "--given", "b", "--out", str(folder / "given"), "-q", *SMALL]) == 0
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it to work in."""
    folder = Path(shutil.copytree(made, tmp_path / "work"))
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(command: str, *more: str) -> tuple[int, str, str]:
        code = main([*command.split(), *more])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_the_whole_job(work: Path, run: Any) -> None:
    code, out, err = run("fit data.csv --columns a,b --seed 3 --out again", *SMALL)
    assert code == 0
    for words in ("120 rows, columns a, b", "nats per row", "Gaussian", "Model: again", "pushforward sample again -n"):
        assert words in out
    assert "Traceback" not in err
    code, out, _ = run("sample again -n 50 --out s.parquet --seed 1")
    assert (code, out) == (0, "50 rows, columns a, b: s.parquet\n")
    drawn = read_table("s.parquet")
    assert drawn.names == ("a", "b")
    assert drawn.values.shape == (50, 2)
    code, out, _ = run("score again data.csv --out scores.csv")
    assert code == 0
    assert "120 rows, mean log-density" in out
    scores = read_table("scores.csv")
    assert scores.names == ("log_prob",)
    assert len(scores.values) == 120
    code, out, _ = run("plot again data.csv --out all.png")
    assert (code, out) == (0, "Figure: all.png\n")
    assert Path("all.png").read_bytes().startswith(b"\x89PNG")


def test_scores_are_those_of_python(work: Path, run: Any) -> None:
    assert run("score model data.csv --out scores.npz")[0] == 0
    frame = pl.read_csv("data.csv").select("a", "b")
    scores = FlowDensity.load("model").score_samples(frame)
    np.testing.assert_array_equal(read_table("scores.npz").values[:, 0], scores)


def test_the_same_seed_gives_the_same(work: Path, run: Any) -> None:
    for out in ("one", "two"):
        assert run(f"fit data.csv --columns a,b --seed 7 --out {out}", *SMALL)[0] == 0
    assert Path("one/model.safetensors").read_bytes() == Path("two/model.safetensors").read_bytes()
    for n, seed, out in ((20, 5, "long.csv"), (8, 5, "short.csv"), (8, 6, "other.csv")):
        assert run(f"sample model -n {n} --seed {seed} --out {out}")[0] == 0
    np.testing.assert_array_equal(read_table("long.csv").values[:8], read_table("short.csv").values)
    assert not np.array_equal(read_table("other.csv").values, read_table("short.csv").values)


def test_columns_are_matched_by_name(work: Path, run: Any) -> None:
    x = read_table("data.csv").values
    write_table("shuffled.parquet", ["w", "b", "extra", "a"], np.c_[x[:, 2], x[:, 1], x[:, 0] * 9, x[:, 0]])
    assert run("score model data.csv --out one.csv")[0] == 0
    assert run("score model shuffled.parquet --out two.csv")[0] == 0
    assert Path("one.csv").read_bytes() == Path("two.csv").read_bytes()
    code, _, err = run("score model one.csv")
    assert code == 3
    assert "no column 'a', 'b'" in err


def test_json(work: Path, run: Any) -> None:
    code, out, err = run("fit data.csv --columns a,b --out j --json", *SMALL)
    fitted = json.loads(out)
    assert code == 0
    assert err == ""
    assert fitted["ok"] is True
    assert (fitted["rows"], fitted["columns"], fitted["flow"]) == (120, ["a", "b"], "nsf")
    assert fitted["held_out_nats"] < 0
    assert fitted["standard_error"] > 0
    scored = json.loads(run("score j data.csv --json")[1])
    assert scored["bits_per_dim"] == pytest.approx(-scored["mean_nats"] / (2 * np.log(2)))
    assert scored["out"] is None
    assert json.loads(run("sample j -n 4 --out s.csv --json")[1])["rows"] == 4
    assert json.loads(run("plot j --kind curve --out c.svg --json")[1])["kind"] == "curve"
    code, out, err = run("fit none.csv --out k --json")
    failed = json.loads(out)
    assert (code, failed["ok"], failed["exit_code"]) == (3, False, 3)
    assert (failed["error"]["kind"], failed["error"]["code"]) == ("data", "not-found")
    assert err == ""
    assert json.loads(run("fit --nonsense --json")[1])["error"]["kind"] == "usage"


def test_standard_input_and_output(work: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path("data.csv").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    code, out, _ = run("fit - --columns a,b --out piped", *SMALL)
    assert code == 0
    assert "pushforward score piped DATA" in out
    code, out, err = run("sample piped -n 3 --out -")
    assert code == 0
    assert out.splitlines()[0] == '"a","b"'
    assert len(out.splitlines()) == 4
    assert "3 rows" in err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text)))
    code, out, _ = run("score piped - --out -")
    assert (code, out.splitlines()[0], len(out.splitlines())) == (0, '"log_prob"', 121)


def test_conditional_models(work: Path, run: Any) -> None:
    code, _, err = run("sample given -n 2 --out s.csv")
    assert code == 2
    assert "--given FILE" in err
    write_table("conditions.csv", ["z", "b"], np.array([[0.0, 1.0], [0.0, 2.0]]))
    assert run("sample given -n 2 --given conditions.csv --out s.csv")[0] == 0
    rows = read_table("s.csv")
    assert rows.names == ("a", "b")
    assert rows.values[:, 1].tolist() == [1, 1, 2, 2]
    assert run("score given data.csv --out scores.csv")[0] == 0
    assert run("plot given data.csv --out p.png")[0] == 0
    assert run("plot given --out q.png")[0] == 2
    assert run("sample model -n 2 --given conditions.csv --out t.csv")[0] == 2


def test_weights_are_not_modelled(work: Path, run: Any) -> None:
    code, out, _ = run("fit data.csv --weights w --out weighted --json", *SMALL)
    assert code == 0
    assert json.loads(out)["columns"] == ["a", "b"]
    x = read_table("data.csv").values
    write_table("bad.csv", ["a", "b", "w"], np.c_[x[:, :2], -x[:, 2]])
    for file, words in (("bad.csv", "120 negative"), ("data.csv", "no column 'v'")):
        column = "w" if file == "bad.csv" else "v"
        code, _, err = run(f"fit {file} --weights {column} --out weighted2")
        assert code == 3
        assert words in err


@pytest.mark.parametrize("kind", ["pair", "curve", "qq"])
def test_single_figures(work: Path, run: Any, kind: str) -> None:
    assert run(f"plot model data.csv --kind {kind} --out {kind}.pdf")[0] == 0
    assert Path(f"{kind}.pdf").read_bytes().startswith(b"%PDF")


def test_a_model_without_data_can_be_drawn(work: Path, run: Any) -> None:
    assert run("plot model --out p.png")[0] == 0
    code, _, err = run("plot model --kind qq --out q.png")
    assert code == 2
    assert "needs DATA" in err


USAGE = {
    "no such option": "fit data.csv --out m --nonsense",
    "no such verb": "fitt data.csv --out m",
    "no output": "fit data.csv",
    "no data": "fit --out m",
    "unknown flow": "fit data.csv --out m --flow glow",
    "no bins in maf": "fit data.csv --columns a,b --out m --flow maf --bins 4",
    "zero layers": "fit data.csv --out m --n-layers 0",
    "text for a number": "fit data.csv --out m --width wide",
    "negative seed": "fit data.csv --out m --seed -1",
    "blank column": "fit data.csv --out m --columns a,,b",
    "all given": "fit data.csv --out m --columns a,b --given a,b",
    "weights modelled": "fit data.csv --out m --columns a,b --weights a",
    "model exists": "fit data.csv --columns a,b --out model",
    "no samples": "sample model -n 0 --out s.csv",
    "far too many samples": "sample model -n 1000000000000 --out s.csv",
    "no such model": "sample none -n 1 --out s.csv",
    "a file for a model": "sample data.csv -n 1 --out s.csv",
    "unknown suffix": "sample model -n 1 --out s.xlsx",
    "output exists": "sample model -n 1 --out data.csv",
    "no such folder": "sample model -n 1 --out none/s.csv",
    "a folder for a file": "score model data.csv --out model",
    "two on standard output": "sample model -n 1 --out - --json",
    "unknown figure": "plot model data.csv --out p.png --kind pie",
    "unknown figure format": "plot model data.csv --out p.bmp",
    "figure exists": "plot model data.csv --out data.csv",
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors(work: Path, run: Any, name: str) -> None:
    before = sorted(os.listdir(work))
    code, out, err = run(USAGE[name])
    assert code == 2
    if "--json" not in USAGE[name]:
        assert out == ""
        assert err.startswith("error: ")
        assert len(err.splitlines()) == 1
    assert "Traceback" not in err
    assert sorted(os.listdir(work)) == before


BAD_TABLES = {
    "text": (b"a,b\n1,x\n2,y\n", "--columns a"),
    "missing": (b"a,b\n1,\n2,3\n", "missing values in 'b' (1)"),
    "infinite": (b"a,b\n1,inf\n2,3\n", "infinite values"),
    "constant": (b"a,b\n1,5\n2,5\n", "'b' constant"),
    "one row": (b"a,b\n1,5\n", "only 1"),
    "empty": (b"", "empty"),
    "ragged": (b"a,b\n1,2\n3\n", "line 3"),
    "duplicate names": (b"a,a\n1,2\n3,4\n", "several columns are called 'a'"),
    "long integers": (b"a,b\n1,9007199254740993\n3,4\n", "2**53"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    "not a table": (b"PK\x03\x04" + bytes(100), "zip archive"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_data_errors(work: Path, run: Any, name: str) -> None:
    content, words = BAD_TABLES[name]
    Path("bad.csv").write_bytes(content)
    code, out, err = run("fit bad.csv --out m")
    assert (code, out) == (3, "")
    assert words in err
    assert err.startswith("error: bad.csv: ")
    assert len(err.splitlines()) == 1
    assert not Path("m").exists()


def test_untrusted_models(work: Path, run: Any) -> None:
    path = Path("model/model.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    for command in ("sample model -n 1 --out s.csv", "score model data.csv", "plot model --out p.png"):
        code, out, err = run(command)
        assert (code, out) == (5, "")
        assert "SHA-256" in err
    code, out, _ = run("score model data.csv --json")
    assert (code, json.loads(out)["error"]["kind"]) == (5, "untrusted model")


def test_numerical_failure(work: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: Any, **__: Any) -> None:
        raise FitError("training diverged after 5 rewinds. Lower the learning rate.")

    monkeypatch.setattr(FlowDensity, "fit", diverge)
    code, _, err = run("fit data.csv --columns a,b --out m")
    assert code == 4
    assert err.splitlines()[-1] == "error: training diverged after 5 rewinds. Lower the learning rate."
    assert not Path("m").exists()


def test_interrupt_before_there_is_a_model(work: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FlowDensity, "fit", interrupt)
    code, _, err = run("fit data.csv --columns a,b --out m")
    assert (code, err.splitlines()[-1]) == (130, "error: interrupted: nothing was written.")
    assert "Traceback" not in err
    assert not Path("m").exists()
    code, out, _ = run("fit data.csv --columns a,b --out m --json")
    assert (code, json.loads(out)["exit_code"]) == (130, 130)


def test_interrupt_before_the_first_step(work: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    end_with(monkeypatch, status="interrupted", steps=0, held_out_nats=-np.inf)
    assert run("fit data.csv --columns a,b --out m", *SMALL)[0] == 130
    assert not Path("m").exists()
    end_with(monkeypatch, status="stopped: budget", steps=0, held_out_nats=-np.inf)
    code, _, err = run("fit data.csv --columns a,b --out m", *SMALL)
    assert code == 0
    assert "untrained" in err


def end_with(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """Let fits end with another verdict than they would."""

    def fit(self: FlowDensity, *arguments: Any, **keywords: Any) -> FlowDensity:
        FIT(self, *arguments, **keywords)
        verdict = dataclasses.replace(self.result_.verdict, **changes)
        self.result_ = dataclasses.replace(self.result_, verdict=verdict)
        return self

    monkeypatch.setattr(FlowDensity, "fit", fit)


def test_interrupt_keeps_the_best_so_far(work: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    end_with(monkeypatch, status="interrupted", text="Interrupted.")
    code, out, _ = run("fit data.csv --columns a,b --out m", *SMALL)
    assert code == 130
    assert "Interrupted." in out
    assert run("score m data.csv")[0] == 0


def test_force(work: Path, run: Any) -> None:
    assert run("sample model -n 3 --out data.csv --force")[0] == 0
    assert len(read_table("data.csv").values) == 3
    Path("keep").mkdir()
    Path("keep/notes.txt").write_text("mine")
    code, _, err = run("fit data.csv --out keep --force")
    assert code == 2
    assert "notes.txt" in err


def test_our_own_faults_are_told_apart(work: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(FlowDensity, "load", broken)
    code, _, err = run("score model data.csv")
    assert code == 1
    assert "Traceback" in err
    assert "report" in err


def test_debug_shows_the_traceback(work: Path, run: Any) -> None:
    code, _, err = run("fit none.csv --out m --debug")
    assert code == 3
    assert "Traceback" in err


def test_quiet(work: Path, run: Any) -> None:
    code, out, err = run("fit data.csv --columns a,b --out m -q", *SMALL)
    assert (code, out, err) == (0, "", "")


def test_warnings_reach_people_and_machines(work: Path, run: Any) -> None:
    Path("ties.csv").write_text("a,b\n" + "".join(f"{i % 3},{i}\n" for i in range(100)))
    code, out, err = run("fit ties.csv --out m", *SMALL)
    assert code == 0
    assert "warning: ties.csv: values repeat in a" in err
    code, out, err = run("fit ties.csv --out m2 --json", *SMALL)
    assert "values repeat in a" in json.loads(out)["warnings"][0]
    assert err == ""


def test_version_and_help(run: Any) -> None:
    from pushforward import __version__

    assert run("--version") == (0, f"pushforward {__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0
    assert all(verb in out for verb in ("fit", "sample", "score", "plot", "Exit codes"))
    assert run("")[:2] == (0, out)
    for verb in ("fit", "sample", "score", "plot"):
        code, out, _ = run(f"{verb} --help")
        assert code == 0
        assert all(option in out for option in ("--out", "--force", "--json", "--debug", "Example: pushforward"))


def test_the_flows_offered_are_the_zoo() -> None:
    assert {flow.value for flow in FlowName} == set(ZOO)


def test_names_with_commas() -> None:
    assert names_in("a, b\\,c ,d") == ["a", "b,c", "d"]
    assert names_in(None) is None


def test_the_gaussian_to_compare_with() -> None:
    gaussian = Gaussian(np.zeros(3), random_covariance(3, 0))
    x = gaussian.sample(20000, seed=1)
    assert gaussian_nats(x, None, 0) == pytest.approx(gaussian.log_prob(x).mean(), abs=1e-3)
    given = Gaussian(np.zeros(1), gaussian.covariance[2:, 2:])
    expected = (gaussian.log_prob(x) - given.log_prob(x[:, 2:])).mean()
    assert gaussian_nats(x, None, 1) == pytest.approx(expected, abs=1e-3)
    twice = np.concatenate([x[:50], x[:10]])
    weights = np.r_[np.full(10, 2.0), np.ones(40)]
    assert gaussian_nats(x[:50], weights, 0) == pytest.approx(gaussian_nats(twice, None, 0))
    assert gaussian_nats(np.c_[x, x[:, 0] + x[:, 1]], None, 0) is None
    assert gaussian_nats(np.c_[x, np.ones(20000)], None, 1) is None


def test_a_reader_that_stops_early_is_no_error(work: Path) -> None:
    command = f"{sys.executable} -m pushforward sample model -n 100000 --out - | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True, check=False, cwd=work
    )
    assert (done.returncode, done.stdout) == (0, '"a","b"\n')
    assert "Traceback" not in done.stderr
