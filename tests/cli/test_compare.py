"""`pushforward compare`: its words, its figure, its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pushforward.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    def rows(n: int) -> pd.DataFrame:
        x = rng.normal(size=n)
        words = np.where(x + rng.normal(size=n) > 0, "up", "down")
        return pd.DataFrame({"width": x, "height": 2 * x + rng.normal(size=n), "way": words})

    real = rows(300)
    real.to_csv("real.csv", index=False)
    rows(300).to_csv("fresh.csv", index=False)
    rows(200).to_parquet("held_out.parquet")
    (real + {"width": 1e-4, "height": 0.0, "way": ""}).to_csv("copies.csv", index=False)
    real.rename(columns={"width": "widht"}).to_csv("misspelt.csv", index=False)

    def call(command: str) -> tuple[int, str, str]:
        code = main(command.split())
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_compare_says_what_it_found_and_draws_it(run: Run) -> None:
    code, out, err = run("compare real.csv fresh.csv --held-out held_out.parquet --target way --out likeness.png")
    assert (code, err) == (0, "")
    said = ("Shape:", "Trend:", "Logistic regression", "Gradient boosting", "No sign of memorised", "To predict way")
    for words in said:
        assert words in out
    assert out.rstrip().endswith("Figure: likeness.png")
    assert Path("likeness.png").read_bytes().startswith(b"\x89PNG")
    assert run("compare real.csv fresh.csv --out likeness.png")[0] == 2
    assert run("compare real.csv fresh.csv -q --held-out held_out.parquet") == (0, "", "")


def test_compare_fails_for_copies(run: Run) -> None:
    code, out, _ = run("compare real.csv copies.csv --json --seed 4")
    printed = json.loads(out)
    assert code == 6
    assert (printed["copied"], printed["passed"], printed["seed"]) == (True, False, 4)
    assert printed["tables"] == {"real": "real.csv", "synthetic": "copies.csv", "held_out": None}
    assert "COPIED" in printed["verdict"]


def test_mistakes_have_codes(run: Run) -> None:
    code, _, err = run("compare real.csv misspelt.csv")
    assert code == 3
    assert "misspelt.csv" in err
    assert "Did you mean 'widht'?" in err
    assert run("compare real.csv fresh.csv --target wya")[0] == 3
    assert run("compare real.csv nothing.csv")[0] in (2, 3)
    assert run("compare - -")[0] == 2
    assert run("compare real.csv fresh.csv --out likeness.txt")[0] == 2


@pytest.mark.thorough
def test_a_condition_that_the_fit_never_saw_is_scored_where_that_was_asked_for(run: Run) -> None:
    fit = "fit real.csv --given way --columns height,way --max-epochs 2 --n-layers 1 --width 8 --n-members 1 -q"
    assert run(f"{fit} --out strict")[0] == 0
    assert run(f"{fit} --out lenient --unseen other")[0] == 0
    pd.DataFrame({"height": [0.0, 1.0], "way": ["up", "sideways"]}).to_csv("new.csv", index=False)
    code, _, err = run("score strict new.csv")
    assert (code, "--unseen other" in err) == (3, True)
    code, out, _ = run("score lenient new.csv --json")
    assert (code, json.loads(out)["not_finite"]) == (0, 0)
