"""`pushforward fill`: completed tables, medians with intervals, a report, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pushforward.cli import main
from pushforward.tables.estimators import FlowDensity, filling

pytestmark = pytest.mark.float32
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("filled")
    rng = np.random.default_rng(0)
    a = rng.normal(size=300)
    frame = pd.DataFrame({"word": rng.choice(["x", "y"], 300), "a": a, "b": a + 0.5 * rng.normal(size=300)})
    small = {"n_layers": 1, "width": 8, "max_epochs": 10, "verify": False, "random_state": 0}
    FlowDensity(order=["a", "b"], **small).fit(frame).save(folder / "model")
    # What is missing comes last in the order, so that no network has to be trained.
    gappy = frame.head(12).copy()
    gappy.loc[::3, "b"] = np.nan
    gappy.loc[3, "a"] = np.nan
    gappy.to_csv(folder / "gappy.csv", index=False)
    return folder


@pytest.fixture
def run(made: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(made)

    def call(command: str) -> tuple[int, str, str]:
        code = main(command.split())
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_completed_tables_are_told_apart(run: Run, made: Path) -> None:
    code, out, err = run("fill model gappy.csv --out tables.csv --draws 3 --report rows.csv --seed 1")
    assert (code, err) == (0, "")
    assert "12 rows" in out
    assert "4 rows are filled (4 by exact draws), 8 had no gaps." in out
    gappy: Any = pd.read_csv(made / "gappy.csv")
    tables: Any = pd.read_csv(made / "tables.csv")
    assert tables.columns.tolist() == ["draw", "word", "a", "b"]
    for number in range(3):
        own = tables[tables["draw"] == number].drop(columns="draw").reset_index(drop=True)
        assert int(np.sum(own.isna().to_numpy())) == 0
        pd.testing.assert_frame_equal(own.where(gappy.notna()), gappy)
    rows: Any = pd.read_csv(made / "rows.csv")
    assert rows["status"].tolist() == ["filled" if i % 3 == 0 else "complete" for i in range(12)]
    assert rows["n_missing"].sum() == 5


def test_medians_have_their_intervals_and_json_says_what_was_done(
    run: Run, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "FILLED_ROWS", 5)
    code, out, _ = run("fill model gappy.csv --out filled.parquet --interval 0.8 --json")
    assert code == 0
    said = json.loads(out)
    assert said["status"] == {"filled": 4, "complete": 8}
    assert (said["cells_filled"], said["draws"], said["interval"]) == (5, 100, 0.8)
    found: Any = pd.read_parquet(made / "filled.parquet")
    assert found.columns.tolist() == ["word", "a", "b", "word_share", "a_low", "a_high", "b_low", "b_high"]
    frame: Any = pd.read_csv(made / "gappy.csv")
    gaps = frame["b"].isna().to_numpy()
    low, middle, high = (found[name].to_numpy() for name in ("b_low", "b", "b_high"))
    assert np.all(low[gaps] < middle[gaps])
    assert np.array_equal(low[~gaps], high[~gaps])
    code, out, err = run("fill model gappy.csv --out plain.csv --median -q")
    assert (code, out, err) == (0, "", "")
    assert pd.read_csv(made / "plain.csv").columns.tolist() == ["word", "a", "b"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("gappy.csv --out filled.xyz", 2, "filled.xyz"),
        ("gappy.csv --out filled.csv --interval 0.9 --draws 5", 2, "19 draws or more"),
        ("gappy.csv --out one.csv --report one.csv", 2, "--report"),
        ("other.csv --out filled.csv", 3, "b"),
        ("nothing.csv --out filled.csv", 3, "nothing.csv"),
    ],
)
def test_mistakes_are_explained(run: Run, made: Path, words: str, code: int, says: str) -> None:
    (made / "other.csv").write_text("word,a\nx,1.0\n")
    found, _, err = run(f"fill model {words}")
    assert found == code
    assert says in err
    assert not (made / "filled.csv").exists()
