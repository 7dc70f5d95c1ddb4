"""The command line from end to end, in this process: files in, files out, exit codes, words and JSON."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
import os
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import polars as pl
import pytest

from pushforward.cli import main
from pushforward.cli.flags import names_in
from pushforward.cli.noise_to_data import condition_of
from pushforward.distributions import Evolution
from pushforward.flows import ZOO
from pushforward.io.fit_options import FitOptions
from pushforward.io.flow_options import FlowName
from pushforward.tables import read_cells, read_table, write_table
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.modelling.numbers_flow import subject_of
from pushforward.training import FitError
from pushforward.training.tracking import JsonLines

FIT = FlowDensity.fit
SMALL = ["--n-layers", "2", "--width", "8", "--bins", "4", "--max-epochs", "3", "--no-verify"]


LONGER = [*SMALL[:7], "60", "--no-verify"]


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


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a table of numbers on lines, which flows model, and models of a and b, and of a given b."""
    folder = tmp_path_factory.mktemp("lines")
    write_table(folder / "data.csv", ["a", "b", "w"], table())
    data = str(folder / "data.csv")
    options = ["-q", "--flow", "realnvp", *SMALL[:4], "--max-epochs", "2", "--no-verify"]
    assert main(["fit", data, "--columns", "a,b", "--out", str(folder / "model"), *options]) == 0
    assert main(["fit", data, "--columns", "a", "--given", "b", "--out", str(folder / "given"), *options]) == 0
    return folder


@pytest.fixture
def on_lines(lines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder to work in."""
    folder = Path(shutil.copytree(lines, tmp_path / "lines"))
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
    for words in ("120 rows", "positive", "nats per row", "Model: again", "pushforward sample again -n"):
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
    scores = read_cells("scores.csv")
    assert scores.names == ("log_prob", "status")
    assert len(scores) == 120
    code, out, _ = run("plot again data.csv --out all.png")
    assert (code, out) == (0, "Figure: all.png\n")
    assert Path("all.png").read_bytes().startswith(b"\x89PNG")


def test_scores_are_those_of_python(work: Path, run: Any) -> None:
    assert run("score model data.csv --parts --out scores.npz")[0] == 0
    frame = pl.read_csv("data.csv").select("a", "b")
    scores = FlowDensity.load("model").score_parts(frame)
    written = np.load("scores.npz")
    np.testing.assert_array_equal(written["log_prob"], scores.log_prob)
    np.testing.assert_array_equal(written["log_density"], scores.density)
    assert set(written["status"]) <= {"ok", "tail", "extrapolated"}


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
    assert (code, out.splitlines()[0], len(out.splitlines())) == (0, '"log_prob","status"', 121)


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


def test_conditions_on_columns(work: Path, run: Any) -> None:
    code, out, err = run("sample model -n 100 --out s.csv --json --where", "a>0.5, 'b'=0.2..3")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["rows"] == 100
    assert told["ess"] > 90
    a, b = read_table("s.csv").values.T
    assert a.min() > 0.5
    assert 0.2 <= b.min() <= b.max() <= 3
    code, _, err = run("sample model -n 5 --out t.csv --where", "aa=1")
    assert code == 3
    assert "no column 'aa'. Did you mean 'a'?" in err
    code, out, _ = run("sample model -n 5 --out t.csv --json --where", "a=big")
    assert (code, json.loads(out)["error"]["code"]) == (3, "non-numeric")
    assert not Path("t.csv").exists()
    code, _, err = run("sample given -n 5 --out t.csv --where", "a>0.1")
    assert code == 3
    assert "a density given 'b', which has to be known" in err
    assert run("sample given -n 5 --out t.csv --where", "a>0.1,b=1.5")[0] == 0
    rows = read_table("t.csv").values
    assert rows[:, 0].min() > 0.1
    assert (rows[:, 1] == 1.5).all()


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


def test_densities_are_drawn(work: Path, run: Any) -> None:
    for command in (
        "model data.csv --kind marginal --columns b",
        "model --kind marginal",
        "given data.csv --kind conditional",
    ):
        assert run(f"plot {command} --out d.png --force")[0] == 0
    assert run("plot given data.csv --kind conditional --row 7 --out row.png")[0] == 0
    for command, words in {
        "model data.csv --kind conditional": "one column given others. Fit one with",
        "given --kind marginal": "needs DATA",
        "given data.csv --kind marginal --columns b": "modelled columns, got b",
        "given data.csv --kind conditional --columns a": "one of the conditions, got a",
        "given data.csv --kind conditional --row 121": "DATA has 120 rows",
        "model data.csv --kind marginal --row 2": "--row chooses the condition",
    }.items():
        code, _, err = run(f"plot {command} --out x.png")
        assert code == 2
        assert words in err


def test_a_model_without_data_can_be_drawn(work: Path, run: Any) -> None:
    assert run("plot model --out p.png")[0] == 0
    code, _, err = run("plot model --kind qq --out q.png")
    assert code == 2
    assert "needs DATA" in err


@pytest.mark.thorough
def test_figures_of_the_way(lines: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lines)
    monkeypatch.setattr("pushforward.plotting.plane.GRID", 20)
    assert run("plot model data.csv --kind trajectories --out t.png")[0] == 0
    assert run("plot model --kind layers --out l.png")[0] == 0
    assert run("plot model --kind trajectories --columns b --out b.png")[0] == 0
    assert run("plot given data.csv --kind trajectories --row 7 --out g.svg")[0] == 0
    for command, words in {
        "model --kind field": "has layers, and no velocities. Use --kind layers",
        "model --kind layers --columns a": "draws two columns",
        "model --kind trajectories --columns a,w": "one or two of a, b; got a, w",
        "model --kind curve --columns a": "belongs to --kind pair",
        "model --kind pair --columns a,w": "columns of the model, got w",
        "model data.csv --kind layers --row 2": "a model that has one",
        "given --kind trajectories": "needs DATA",
        "given data.csv --kind trajectories --row 121": "DATA has 120 rows",
    }.items():
        code, _, err = run(f"plot {command} --out x.png")
        assert code == 2
        assert words in err


def test_what_is_drawn_of_a_table_is_its_density(lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(lines)
    model = FlowDensity.load("model").model_
    cells = read_cells("data.csv").select(model.needed)
    subject = subject_of(model, cells, None)
    with jax.enable_x64(True):
        evolution = Evolution(subject.flow)
        drawn = np.asarray(evolution.log_prob(evolution.end, subject.data))
    np.testing.assert_allclose(drawn, model.score(cells).density, rtol=1e-9)
    np.testing.assert_allclose(np.asarray(subject.data), read_table("data.csv").values[:, :2], rtol=1e-12)
    given = FlowDensity.load("given").model_
    row = condition_of(given, cells, 7)
    subject = subject_of(given, None, row)
    a, b = read_table("data.csv").values[6, :2]
    assert subject.title == f"given b = {b:.4g}"
    with jax.enable_x64(True):
        evolution = Evolution(subject.flow)
        drawn = np.asarray(evolution.log_prob(evolution.end, [[a]]))
    np.testing.assert_allclose(drawn, given.score(row).density, rtol=1e-9)


USAGE = {
    "no such option": "fit data.csv --out m --nonsense",
    "no such verb": "fitt data.csv --out m",
    "no output": "fit data.csv",
    "no data": "fit --out m",
    "unknown flow": "fit data.csv --out m --flow glowing",
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
    "text": (b"a,b\n1,2\n2,3\n3,4\n4,y\n", "numbers and words: 'y' in row 4"),
    "missing": (b"a,b\n1,\n2,3\n3,4\n", "missing values in 'b' (1)"),
    "infinite": (b"a,b\n1,inf\n2,3\n", "infinite values"),
    "constant": (b"a,b\n1,5\n1,5\n", "nothing to model"),
    "one row": (b"a,b\n1,5\n", "only 1"),
    "empty": (b"", "empty"),
    "ragged": (b"a,b\n1,2\n3\n", "line 3"),
    "duplicate names": (b"a,a\n1,2\n3,4\n", "several columns are called 'a'"),
    "dates": (b"a\n" + b"2012-01-01\n01.02.2012\n" * 5, "several formats"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "UTF-16"),
    "not a table": (b"PK\x03\x04" + bytes(100), "zip archive"),
}


@pytest.mark.parametrize("name", BAD_TABLES)
def test_data_errors(work: Path, run: Any, name: str) -> None:
    content, words = BAD_TABLES[name]
    Path("bad.csv").write_bytes(content)
    code, _, err = run("fit bad.csv --out m")
    assert code == 3
    assert words in err
    assert err.splitlines()[-1].startswith("error: bad.csv: ")
    assert "Traceback" not in err
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
    code, _, err = run("fit data.csv --columns a,b --out m2", *SMALL)
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
    x = read_table("data.csv").values
    write_table("odd.csv", ["a", "b", "row"], np.c_[x[:, :2], np.arange(len(x))])
    code, out, err = run("fit odd.csv --out m", *SMALL)
    assert code == 0
    assert "warning: odd.csv: 'row' numbers its rows, as identifiers do: set aside." in err
    code, out, err = run("fit odd.csv --out m2 --json", *SMALL)
    assert "'row' numbers its rows" in json.loads(out)["warnings"][0]
    assert json.loads(out)["kinds"]["row"] == "identifier"
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


def test_the_flows_offered_are_the_zoo_and_the_flags_those_of_python() -> None:
    assert set(get_args(FlowName)) == set(ZOO)
    keywords = set(inspect.signature(FlowDensity).parameters)
    assert set(FitOptions().keywords()) <= keywords
    assert FitOptions.check(tomllib.loads(FitOptions().to_toml())) == FitOptions()


def test_options_come_from_file_settings_and_flags(work: Path, run: Any) -> None:
    Path("fit.toml").write_text('[flow]\nname = "maf"\nn_layers = 7\nwidth = 9\n[data]\ncolumns = ["a"]\n')
    code, out, _ = run("fit --config fit.toml --set flow.width=10 --n-layers 2 --print-config")
    options = tomllib.loads(out)
    assert code == 0
    assert (options["flow"]["name"], options["flow"]["n_layers"], options["flow"]["width"]) == ("maf", 2, 10)
    assert options["data"]["columns"] == ["a"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--set flow.n_layer=3", "Did you mean 'flow.n_layers'?"),
        ("--set flow.name=mag", "Did you mean 'maf'?"),
        ("--set n_layers", "expected section.key=value"),
        ("--set flow.n_layers=many", "flow.n_layers"),
        ("--set flow.n_layers=0", "greater than or equal to 1"),
        (
            "--flow flow_matching --set flow.n_layers=3",
            "n_layers is no option of the flow flow_matching. It has width,",
        ),
        ("--flow cnf --bins 4", "bins is no option of the flow cnf. It has n_layers, width,"),
        ("--flow maf --bins 4", "no option of the flow maf with scalar_map 'affine'. It has n_layers, linear"),
        ("--flow ncsf --linear qr", "'qr' is not one of 'reverse', 'permutation'"),
        ("--flow ncsf --set flow.linear=qr", "ncsf: expected linear to be one of reverse, permutation"),
        ("--flow cnf --tolerance 0", "greater than or equal to 0.000000000001"),
        ("--flow score_sde --sde edm", "'vp', 'subvp', 've'"),
        ("--config bad.toml", "not valid TOML"),
        ("--config unknown.toml", "Did you mean 'training.max_epochs'?"),
    ],
)
def test_options_that_are_wrong_name_the_nearest(work: Path, run: Any, line: str, words: str) -> None:
    Path("bad.toml").write_text("[flow\n")
    Path("unknown.toml").write_text("[training]\nmax_epoch = 3\n")
    code, out, err = run(f"fit data.csv --out m {line}")
    assert (code, out) == (2, "")
    assert words in err


def test_a_flow_that_cannot_be_built_is_a_mistake_of_the_call(work: Path, run: Any) -> None:
    for more in ("--out m", "--dry-run"):
        code, _, err = run(f"fit data.csv --flow cnf --method euler {more}")
        assert (code, err.count("Traceback")) == (2, 0)
        assert "Set n_steps, such as 16" in err
    assert not Path("m").exists()


@pytest.mark.thorough
def test_schema_can_be_edited(work: Path, run: Any) -> None:
    code, out, _ = run("schema data.csv --columns a,b")
    assert code == 0
    schema = json.loads(out)
    assert [column["kind"] for column in schema["columns"]] == ["positive", "positive"]
    schema["columns"][1] = {"name": "b", "kind": "bounded", "low": 0, "high": 50}
    Path("schema.json").write_text(json.dumps(schema))
    code, out, _ = run("fit data.csv --schema schema.json --out m", *SMALL)
    assert code == 0
    assert "from 0 to 50" in out
    assert run("sample m -n 200 --out s.csv")[0] == 0
    drawn = read_table("s.csv").values
    assert drawn.min() > 0
    assert drawn[:, 1].max() <= 50
    Path("schema.json").write_text(out)
    assert run("fit data.csv --schema schema.json --out m2", *SMALL)[0] == 3


def test_resume(work: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fit that is stopped leaves checkpoints, says so, and goes on to the same weights."""
    assert run("fit data.csv --columns a,b --out whole", *LONGER)[0] == 0
    log = JsonLines.log

    def stop(self: Any, *arguments: Any) -> None:
        log(self, *arguments)
        if arguments[0] >= 20:
            monkeypatch.setattr(JsonLines, "log", log)
            raise KeyboardInterrupt

    monkeypatch.setattr(JsonLines, "log", stop)
    code, _, err = run("fit data.csv --columns a,b --out m", *LONGER)
    assert code == 130
    assert "--resume goes on" in err
    code, _, err = run("fit data.csv --columns a,b --out m", *LONGER)
    assert code == 2
    assert "--resume" in err
    assert run("fit data.csv --columns a,b --out m --resume", *LONGER)[0] == 0
    assert not Path("m.checkpoint").exists()
    assert Path("m/model.safetensors").read_bytes() == Path("whole/model.safetensors").read_bytes()
    events = [json.loads(line)["event"] for line in Path("m.jsonl").read_text().splitlines()]
    assert events[0] == "start"
    assert events[-1] == "finish"


def test_inspect_check_export(work: Path, run: Any) -> None:
    code, out, _ = run("inspect model")
    assert code == 0
    assert "steps per sample" in out
    assert json.loads(run("inspect model --json")[1])["parameters"]["trained"] > 0
    code, out, _ = run("check model data.csv --json")
    report = json.loads(out)
    assert code == (0 if report["passed"] else 6)
    assert all(line["sentence"] for line in report["checks"]["lines"])
    assert not {line["name"] for line in report["checks"]["lines"] if line["verdict"] == "fail"} - {
        "latents, each coordinate",
        "latents, jointly",
    }
    code, out, _ = run("export model --to stablehlo --out exported --json")
    assert code == 0
    assert json.loads(out)["max_abs_error_log_prob"] < 1e-9
    assert run("export model --to stablehlo --out exported")[0] == 2


FIELD = ["--width", "8", "--depth", "1", "--no-verify", "--set", "training.max_epochs=3", "-q"]


@pytest.mark.parametrize(
    "flow",
    [
        "ffjord",
        *(pytest.param(name, marks=pytest.mark.thorough) for name in ("cnf", "flow_matching", "score_sde", "ncsn")),
    ],
)
def test_flows_of_velocity_fields(on_lines: Path, run: Any, flow: str) -> None:
    assert run(f"fit data.csv --columns a,b --flow {flow} --tolerance 1e-3 --out m", *FIELD)[0] == 0
    assert run("sample m -n 7 --out s.csv")[0] == 0
    assert np.isfinite(read_table("s.csv").values).all()
    scored = json.loads(run("score m data.csv --json")[1])
    assert np.isfinite(scored["mean_nats"])
    code, out, _ = run("inspect m")
    assert code == 0
    assert flow in out
    assert "iterative" in out
    assert run("export m --to stablehlo --out e")[0] == 0


@pytest.mark.thorough
def test_the_check_of_a_velocity_field(on_lines: Path, run: Any) -> None:
    assert run("fit data.csv --columns a,b --flow ffjord --out m", *FIELD)[0] == 0
    report = json.loads(run("check m data.csv --json")[1])
    lines = {line["name"]: line for line in report["checks"]["lines"]}
    (solver,) = (line for name, line in lines.items() if name.endswith("solver"))
    assert solver["verdict"] == "pass"
    assert not {name for name, line in lines.items() if line["verdict"] == "fail"} - {
        "latents, each coordinate",
        "latents, jointly",
    }


def test_names_with_commas() -> None:
    assert names_in("a, b\\,c ,d") == ["a", "b,c", "d"]
    assert names_in(None) is None
