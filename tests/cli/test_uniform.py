"""What holds of every verb alike: its output for machines, its silence, and flags in messages that it has."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import pushforward
from pushforward.cli import main
from pushforward.cli.advice import FLAG, flags_of, qualified
from pushforward.cli.app import app_for, find_verbs
from pushforward.tables import write_table
from pushforward.tables.estimators import FlowDensity

SOURCE = Path(pushforward.__file__).parent
VERBS = sorted(find_verbs())
# A fit of images has flags of its own.
FLAGS = flags_of(app_for(["fit"]))
FLAGS["fit"] = FLAGS["fit"] | flags_of(app_for(["fit", "images", "--flow", "glow"]))["fit"]
# Modules that do the work of one verb.
WORK = {"fit_and_save": "fit", "dry_run": "fit", "figures": "plot", "noise_to_data": "plot"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uniform")
    x = np.random.default_rng(0).normal(size=(80, 2))
    write_table(folder / "data.csv", ["a", "b"], x)
    frame = pd.DataFrame(x, columns=["a", "b"])
    frame.iloc[3, 1] = np.nan
    frame.to_csv(folder / "gaps.csv", index=False)
    tiny = {"n_layers": 1, "width": 8, "max_epochs": 2, "verify": False, "random_state": 0}
    FlowDensity("realnvp", **tiny).fit(pd.read_csv(folder / "data.csv")).save(folder / "model")
    return folder


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_takes_json_quiet_and_debug(verb: str) -> None:
    assert {"--json", "--quiet", "-q", "--debug"} <= FLAGS[verb]


LINES = {
    "schema": "schema data.csv",
    "score": "score model data.csv",
    "score with gaps": "score model gaps.csv --missing drop",
    "sample": "sample model -n 3 --out samples.csv --force",
    "inspect": "inspect model",
    "check": "check model data.csv",
    "check with gaps": "check model gaps.csv --missing drop",
    "evaluate": "evaluate model gaps.csv --missing drop --samples 20",
    "fit": "fit gaps.csv --missing drop --out fitted --force --flow realnvp --n-layers 1 --width 8 --max-epochs 1 "
    "--no-verify",
    "configuration": "fit --print-config",
}
# Lines whose standard output is what was asked for, whether quiet or not.
PRINTED = ("schema", "configuration")


@pytest.mark.parametrize("case", LINES)
def test_json_is_all_of_standard_output(
    case: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    words = LINES[case].split()
    code = main([*words, "--json"])
    assert code in (0, 6)
    out = json.loads(capsys.readouterr().out)  # one object and nothing else
    assert (out["ok"], out["exit_code"]) == (code == 0, code)
    assert out["command"] == words[0]
    assert isinstance(out["warnings"], list)
    if "gaps.csv" in words:
        assert out["dropped" if words[0] == "evaluate" else "rows_left_out"] == 1
    if case not in PRINTED:
        main([*words, "--quiet"])
        assert capsys.readouterr().out == ""


@pytest.mark.parametrize("verb", ["score", "check", "evaluate"])
def test_gaps_are_refused_with_advice_that_the_verb_has(
    verb: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    assert main([verb, "model", "gaps.csv"]) == 3
    assert "--missing drop" in capsys.readouterr().err


def test_a_row_left_out_keeps_its_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert (
        main(["score", "model", "gaps.csv", "--missing", "drop", "--out", "scores.csv", "--parts", "--force", "-q"])
        == 0
    )
    scores = pd.read_csv(folder / "scores.csv")
    assert len(scores) == 80
    assert scores.status[3] == "missing"
    assert scores.log_prob.isna().tolist() == [i == 3 for i in range(80)]
    density, whole = FlowDensity.load(folder / "model"), pd.read_csv(folder / "data.csv")
    np.testing.assert_allclose(scores.log_prob.drop(3), np.delete(density.score_samples(whole), 3), rtol=1e-12)


def texts(path: Path) -> list[str]:
    """The texts of a module, docstrings among them; what is filled in when it runs stands as X."""
    found, parts = [], set()
    for node in ast.walk(ast.parse(path.read_text())):  # the outer nodes first
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            found.append("".join(str(p.value) if isinstance(p, ast.Constant) else "X" for p in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            found.append(node.value)
    return found


def dead(path: Path, verb: str | None) -> set[str]:
    """Flags in the texts of a module that no verb has; with `verb`, that neither it nor a verb named there has."""
    found = set()
    for text in texts(path):
        having = {name for name in FLAGS if verb is None or name == verb or f"pushforward {name}" in text}
        for word in FLAG.finditer(text):
            named = having | {(word["verb"] or "").strip()}
            if word["flag"] != "--version" and not any(word["flag"] in FLAGS.get(name, ()) for name in named):
                found.add(word["flag"])
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_the_module_of_a_verb_names_its_own_flags(verb: str) -> None:
    assert dead(SOURCE / "cli" / "verbs" / f"{verb}.py", verb) == set()


@pytest.mark.parametrize("module", WORK)
def test_the_work_of_a_verb_names_its_flags(module: str) -> None:
    assert dead(SOURCE / "cli" / f"{module}.py", WORK[module]) == set()


def test_every_flag_in_any_message_is_one_of_some_verb() -> None:
    found = {
        path.name: dead(path, None)
        for part in ("tables", "io", "cli", "export")
        for path in (SOURCE / part).rglob("*.py")
    }
    assert {name: flags for name, flags in found.items() if flags} == {}


def test_a_dead_flag_is_found(tmp_path: Path) -> None:
    (tmp_path / "score.py").write_text('raise ValueError(f"{1}: leave it out with --columns, or pass --mising drop")')
    assert dead(tmp_path / "score.py", "score") == {"--columns", "--mising"}
    assert dead(tmp_path / "score.py", None) == {"--mising"}


@pytest.mark.parametrize("verb", VERBS)
def test_advice_from_shared_code_is_made_that_of_the_verb(verb: str) -> None:
    """Whatever flag a table's or a file's error advises, the verb has it, or the verb that has it is named."""
    for part in ("tables", "io", "_files.py"):
        for path in [SOURCE / part] if part.endswith(".py") else (SOURCE / part).rglob("*.py"):
            for text in texts(path):
                shown = qualified(text, verb, FLAGS)
                for found in FLAG.finditer(shown):
                    before = (found["verb"] or "").strip()
                    assert found["flag"] in FLAGS[verb] or found["flag"] in FLAGS.get(before, ()), shown


def test_an_error_of_reading_names_the_verb_of_its_advice(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    (folder / "twice.csv").write_text("a,a\n1,2\n3,4\n")
    assert main(["score", "model", "twice.csv"]) == 3
    err = capsys.readouterr().err
    for before, flag in re.findall(r"(\w+)? ?(--[a-z-]+[a-z])", err):
        assert flag in FLAGS["score"] or flag in FLAGS.get(before, ()), err
