"""`pushforward detect` on files, shards and standard input."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

import pushforward as pf
from pushforward.cli import main

pytestmark = pytest.mark.float32


def rows_of(seed: int, n: int, odd: int = 0, shift: float = 0.0) -> Any:
    rng = np.random.default_rng(seed)
    size = rng.normal(shift, 1.0, size=n)
    weight = size + 0.3 * rng.normal(size=n)
    weight[:odd] = -size[:odd] + 6
    return pd.DataFrame({"size": size, "weight": weight, "odd": (np.arange(n) < odd).astype(int)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("detect")
    flow = pf.FlowDensity("realnvp", n_layers=1, width=8, max_epochs=10, n_members=1, verify=False, random_state=0)
    flow.fit(rows_of(0, 1200)[["size", "weight"]]).save(path / "model")
    rows_of(1, 300).drop(columns="odd").to_csv(path / "clean.csv", index=False)
    rows_of(2, 200, odd=20).to_csv(path / "test.csv", index=False)
    rows_of(3, 100).to_parquet(path / "part-0.parquet")
    rows_of(4, 50).to_parquet(path / "part-1.parquet")
    return path


def run(capsys, *words) -> tuple[int, dict]:
    code = main(["detect", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_rows_are_flagged_at_a_rate_and_written(folder, tmp_path, capsys):
    how = ("--fpr", 0.05, "--labels", "odd", "--out", tmp_path / "a.csv", "--figure", tmp_path / "a.png")
    code, found = run(capsys, folder / "model", folder / "test.csv", *how)
    assert code == 0
    table: Any = pd.read_csv(tmp_path / "a.csv")
    assert table.columns.tolist() == ["row", "score", "p_value", "anomaly"]
    assert (table["anomaly"] == (table["p_value"] <= 0.05)).all()
    assert table["anomaly"][:20].all()
    assert (found["rows"], found["flagged"]) == (200, table["anomaly"].sum())
    assert found["quality"]["auroc"] > 0.95
    assert found["most_unusual"][0]["row"] <= 20
    assert found["flagged"] >= found["false_at_most"] >= table["anomaly"][20:].sum()
    assert (tmp_path / "a.png").stat().st_size > 10_000
    assert found["calibration_rows"] == len(pf.FlowDensity.load(folder / "model").held_out_scores_)


def test_a_false_discovery_rate_and_clean_rows(folder, tmp_path, capsys):
    how = ("--fdr", 0.2, "--clean", folder / "clean.csv", "--out", tmp_path / "a.parquet")
    code, found = run(capsys, folder / "model", folder / "test.csv", "--labels", "odd", *how)
    table: Any = pd.read_parquet(tmp_path / "a.parquet")
    assert code == 0
    assert (found["calibration"], found["calibration_rows"]) == ("clean", 300)
    from pushforward.metrics import benjamini_hochberg

    np.testing.assert_array_equal(table["anomaly"], benjamini_hochberg(table["p_value"], 0.2))
    assert table["anomaly"][:20].all()


def test_why_rows_are_unusual_is_told(folder, tmp_path, capsys):
    how = ("--fpr", 0.05, "--explain", "--out", tmp_path / "a.csv", "--labels", "odd")
    code, found = run(capsys, folder / "model", folder / "test.csv", *how)
    table: Any = pd.read_csv(tmp_path / "a.csv")
    assert code == 0
    assert (table["explanation"].notna() == table["anomaly"]).all()
    assert all("given the" in row["explanation"] or "beyond" in row["explanation"] for row in found["most_unusual"])


def test_shards_are_one_table(folder, tmp_path, capsys):
    how = ("--fpr", 0.05, "--out", tmp_path / "a.csv", "--labels", "odd")
    code, found = run(capsys, folder / "model", folder / "part-*.parquet", *how)
    assert code == 3  # labels of one kind
    assert "rows of both kinds" in found["error"]["message"]
    code, found = run(capsys, folder / "model", folder / "part-*.parquet", "--fpr", 0.05, "--out", tmp_path / "b.csv")
    assert (code, found["rows"]) == (0, 150)
    assert pd.read_csv(tmp_path / "b.csv")["row"].tolist() == list(range(1, 151))


def test_standard_input_is_watched(folder, tmp_path, capsys, monkeypatch):
    both = pd.concat([rows_of(5, 300), rows_of(6, 300, shift=2.0)]).drop(columns="odd")
    text = both.to_csv(index=False).encode()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text)))
    code, found = run(capsys, folder / "model", "-", "--clean", folder / "clean.csv")
    assert code == 0
    assert found["drift"]["row"] > 300
    assert found["drift"]["p_value"] < 0.01
    assert any("drift" in warning for warning in found["warnings"])


@pytest.mark.thorough
def test_rows_are_judged_before_the_next_ones_come(folder):
    command = [
        sys.executable,
        "-m",
        "pushforward",
        "detect",
        str(folder / "model"),
        "-",
        "--out",
        "-",
        "-q",
        "--fpr",
        "0.05",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("size,weight\n0,0\n")
        process.stdin.flush()
        assert "p_value" in process.stdout.readline()
        assert process.stdout.readline().startswith("1,")
        process.stdin.write("5,-5\n")
        process.stdin.flush()
        assert process.stdout.readline().strip().endswith("true")
        process.stdin.close()
        assert process.wait(60) == 0


def test_rows_with_missing_cells_have_no_p_value(folder, tmp_path, capsys):
    table = rows_of(7, 30).drop(columns="odd")
    table.loc[3, "size"] = np.nan
    table.to_csv(tmp_path / "gaps.csv", index=False)
    code, found = run(capsys, folder / "model", tmp_path / "gaps.csv", "--fpr", 0.05, "--out", tmp_path / "a.csv")
    judged: Any = pd.read_csv(tmp_path / "a.csv")
    assert (code, found["rows"], found["rows_left_out"]) == (0, 29, 1)
    assert judged["p_value"].isna().tolist() == [i == 3 for i in range(30)]
    assert not judged["anomaly"][3]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--fpr", "0.1", "--fdr", "0.1"), 2, "give one"),
        (("--fpr", "1.5"), 2, "between 0 and 1"),
        (("--figure", "a.bmp"), 2, "expected .png"),
        (("--labels", "weigth"), 3, "no column 'weigth'"),
        (("--labels", "size"), 2, "is a column of the model"),
    ],
)
def test_mistakes_are_explained(words, code, says, folder, capsys):
    found = run(capsys, folder / "model", folder / "test.csv", *words)
    assert found[0] == code
    assert says in found[1]["error"]["message"]


def test_the_floor_of_p_values_is_told(folder, capsys):
    code, found = run(capsys, folder / "model", folder / "test.csv", "--fpr", "0.0001")
    assert (code, found["flagged"]) == (0, 0)
    assert "flags nothing" in found["warnings"][0]


def test_a_detector_chooses_its_flows(folder, tmp_path, capsys):
    words = ["fit", str(folder / "clean.csv"), "--detector", "--out", str(tmp_path / "d"), "--json"]
    assert main([*words, "--na", "99", "--n-layers", "2"]) == 2
    said = json.loads(capsys.readouterr().out)["error"]["message"]
    assert "chooses its flows" in said
    assert "not with --n-layers." in said  # what may stay is not named


@pytest.mark.thorough
def test_a_detector_is_fitted_and_used(folder, tmp_path, capsys):
    words = ["fit", str(folder / "clean.csv"), "--detector", "--out", str(tmp_path / "d"), "--json"]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["calibration"] == "cross"
    code, found = run(capsys, tmp_path / "d", folder / "test.csv", "--fpr", 0.05, "--labels", "odd")
    assert code == 0
    assert found["quality"]["auroc"] > 0.95
