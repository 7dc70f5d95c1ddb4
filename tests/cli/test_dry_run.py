"""`pushforward fit --dry-run`: the sizes it gives are those of the model that would be fitted; nothing is written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from pushforward._types import trainable
from pushforward.cli import dry_run, main
from pushforward.tables.modelling.assemble import assemble
from pushforward.tables.modelling.build import make_recipe
from pushforward.tables.modelling.measure import with_margins
from pushforward.tables.modelling.preparation import layouts, prepare
from pushforward.tables.reading.cells import read_cells
from pushforward.training.rehearsal import Rehearsal

pytestmark = pytest.mark.float32
FLAGS = ["--flow", "realnvp", "--n-layers", "2", "--width", "8", "--max-epochs", "7", "--batch-size", "50"]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    lines = [
        f"{a:.17g},{b:.17g},{'uv'[c]}"
        for a, b, c in zip(*rng.normal(size=(2, 200)), rng.integers(0, 2, 200), strict=True)
    ]
    lines[5] = ",1.5,u"
    Path("data.csv").write_text("a,b,c\n" + "\n".join(lines) + "\n")
    return tmp_path


def test_the_real_thing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "data.csv", "--dry-run", "--missing", "drop", "--json", *FLAGS]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["rows_to_fit"], found["rows_left_out"]) == (200, 199, 1)
    assert (found["values"], found["states"]) == (2, [3])
    assert found["columns"] == {"a": "real", "b": "real", "c": "category"}
    assert found["held_out_rows"] == 20
    # 179 rows in 4 batches of at most 50.
    assert (found["steps"], found["epochs"], found["batch_rows"]) == (28, 7, 45)
    prepared = prepare(read_cells("data.csv"), None, names=None, schema=None, given=None, missing="drop")
    recipe = make_recipe("realnvp", "normal", {"n_layers": 2, "width": 8}, 199)
    layout, given = layouts(prepared)
    model = assemble(layout, given, with_margins(recipe, layout, prepared.rows), jax.random.key(0))
    count = sum(np.size(leaf) for leaf in jax.tree.leaves(trainable(model)[0]))
    assert found["parameters"] == count
    assert found["state_bytes"] >= 7 * 4 * count
    assert found["row_bytes"] >= 4 * 199 * 3
    assert found["compile_seconds"] > 0
    assert 0 < found["step_seconds"] < 10
    assert found["seconds_at_most"] == pytest.approx(found["compile_seconds"] + 28 * found["step_seconds"])
    assert found["sampling_passes"] == 2
    assert [path.name for path in data.iterdir()] == ["data.csv"]
    assert any("missing values" in line for line in found["warnings"])


def test_its_words_and_the_budget(data: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Rehearsal(179, 20, 10, 45, 6000, 4, 8.0, 0.25, 2048, 3 * 2**20, None)
    monkeypatch.setattr(dry_run, "_rehearse", lambda *arguments: made)
    assert main(["fit", "data.csv", "--dry-run", "--missing", "drop", "--flow", "maf"]) == 0
    out = capsys.readouterr().out
    for words in (
        "data.csv: 200 rows, 199 to fit, 1 left out",
        "category",
        "weights and optimiser 3 MiB.",
        "6,000 steps of 45 rows, 1,500 epochs",
        "8 s to compile, then 250 ms per step: 25 min at most.",
        "Sampling: 3 passes per draw",
        "Nothing was written.",
    ):
        assert words in out
    assert main(["fit", "data.csv", "--dry-run", "--missing", "drop", "--max-minutes", "5"]) == 0
    assert "5 min at most, cut short by the budget of 5 min" in capsys.readouterr().out


def test_it_refuses_what_fit_refuses(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "data.csv", "--dry-run"]) == 3
    assert "missing values" in capsys.readouterr().err
    assert main(["fit", "data.csv", "--dry-run", "--missing", "drop", "--flow", "maf", "--bins", "4"]) == 2


def test_sizes_are_shapes_alone() -> None:
    rows = np.random.default_rng(0).normal(size=(50, 4))
    prepared = prepare(rows, None, names=list("abcd"), schema=None, given=["a"], missing="error")
    # 512 layers of this width would be gigabytes.
    recipe = make_recipe("nsf", "normal", {"n_layers": 512, "width": 2048, "autoregressive": False}, 50)
    found = dry_run.sizes(*layouts(prepared), recipe)
    assert found.trained > 1e9
    assert (found.passes, found.cost) == (1, "parallel")
