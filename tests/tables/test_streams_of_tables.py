"""Fits of tables that are read in pieces: what the columns are, every row once, and the same order for any readers."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.tables import DataError
from pushforward.tables.detect import detect_schema
from pushforward.tables.modelling import survey as surveys
from pushforward.tables.modelling.streamed import Streamed, TableStream, prepare_streamed
from pushforward.tables.modelling.survey import quantile_error, survey
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.reading.shards import open_shards

N = 4000
SEED = np.array([1, 2], np.uint32)
HOW: dict[str, Any] = {"n_layers": 2, "width": 4, "bins": 4, "max_epochs": 2, "verify": False, "random_state": 0}


def table() -> pa.Table:
    rng = np.random.default_rng(0)
    words = rng.choice(["red", "blue", "green"], N, p=[0.6, 0.3, 0.1]).astype(object)
    words[7] = "once"
    numbers = rng.normal(size=N)
    numbers[11] = 50.0
    return pa.table(
        {
            "id": np.arange(N, dtype=float),
            "number": numbers,
            "count": rng.poisson(3, N),
            "word": pa.array(words, pa.string()),
            "gap": pa.array(rng.normal(size=N), mask=np.arange(N) % 500 == 3),
            "twice": 2 * numbers,
            "weight": rng.integers(0, 3, N).astype(float),
        }
    )


TABLE = table()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("table")
    for i in range(4):
        pq.write_table(TABLE.slice(1000 * i, 1000), path / f"{i}.parquet", row_group_size=300)
    return path


def prepared(folder: Path, columns: list[str], weights: str | None = None, **changes: Any) -> Streamed:
    shards = open_shards(folder, columns)
    assert shards is not None
    how: dict[str, Any] = {"validation": 0.1, "schema": None, "given": None, "missing": "error", **changes}
    return prepare_streamed(shards, weights, seed=[3, 4], **how)


def stream(streamed: Streamed, **how: Any) -> TableStream:
    return TableStream(streamed, lambda rows: rows, **how)


def rows_of(stream: TableStream, epoch: int = 0, start: int = 0) -> np.ndarray:
    return np.concatenate([batch.x for batch in stream.blocks(SEED, epoch, start)])


@pytest.fixture(scope="module")
def plain(folder: Path) -> Streamed:
    real = {"columns": [{"name": name, "kind": "real"} for name in ("id", "number")]}
    return prepared(folder, ["id", "number"], schema=real)


def test_every_row_comes_once_in_each_epoch_and_the_held_out_ones_never(plain: Streamed):
    own = stream(plain, window_bytes=12 * 500)
    held_out = own.held_out()
    assert held_out is not None
    assert (own.n_rows, len(held_out.x)) == (3600, 400)
    first, second = rows_of(own, 0)[:, 0], rows_of(own, 1)[:, 0]
    assert sorted([*first, *held_out.x[:, 0]]) == list(range(N))
    assert sorted(second) == sorted(first)
    assert np.mean(first == second) < 0.02
    assert np.mean(np.diff(first) == 1) < 0.02  # shuffled within a piece, too
    assert {*own.head(50).x[:, 0]} <= {*first}


def test_the_order_depends_on_the_seed_alone(plain: Streamed):
    one = stream(plain, window_bytes=12 * 500)
    whole = rows_of(one, 3)
    np.testing.assert_array_equal(rows_of(stream(plain, n_readers=3, window_bytes=12 * 500), 3), whole)
    for start in (1, 499, 500, 1234, 3599):
        np.testing.assert_array_equal(rows_of(one, 3, start), whole[start:])
    other = np.concatenate([batch.x for batch in one.blocks(SEED + 1, 3, 0)])
    assert np.mean(other == whole) < 0.02


def test_a_sample_gives_the_schema_that_all_rows_give(folder: Path, monkeypatch: pytest.MonkeyPatch):
    names = ["number", "count", "word", "gap"]
    monkeypatch.setattr(surveys, "SAMPLE_ROWS", 1000)
    whole, _, _ = detect_schema(read_cells(folder, names), missing=True)
    shards = open_shards(folder, names)
    assert shards is not None
    found = survey(shards, [3, 4], n_sample=1000)
    assert len(found.sample) == 1000
    schema, _ = surveys.schema_of_survey(found, names, True, "natural")
    for own, theirs in zip(schema.columns, whole.columns, strict=True):
        assert (own.kind, own.levels, own.rare, own.rare_counts) == (
            (theirs.kind, theirs.levels, theirs.rare, theirs.rare_counts)
        )
        assert (own.low, own.high, own.step, own.missing) == (theirs.low, theirs.high, theirs.step, theirs.missing)
    assert schema.rows == N
    assert "once" in {*schema.column("word").levels, *schema.column("word").rare}
    tally = found.tallies["gap"]
    assert tally.n_missing == 8
    assert found.tallies["number"].high.as_py() == 50.0


def test_the_sample_is_random_and_its_quantiles_are_within_the_error_that_is_stated(folder: Path):
    shards = open_shards(folder, ["id"])
    assert shards is not None
    found = survey(shards, [5], n_sample=1000)
    values = np.sort(found.sample.table["id"].to_numpy())
    off = np.max(np.abs(np.arange(1, 1001) / 1000 - (values + 1) / N))
    assert off <= quantile_error(1000)
    # The broken twin takes the first rows.
    assert np.max(np.abs(np.arange(1, 1001) / 1000 - np.arange(1, 1001) / N)) > quantile_error(1000)


def test_rows_with_gaps_are_dropped_and_counted(folder: Path):
    names = ["id", "gap"]
    with pytest.raises(DataError, match=r"missing values in 'gap' \(8\), of 4000 rows"):
        prepared(folder, names)
    dropped = prepared(folder, names, missing="drop", schema={"columns": [{"name": n, "kind": "real"} for n in names]})
    assert (dropped.n_left_out, dropped.n_rows) == (8, N - 8)
    seen = rows_of(stream(dropped))[:, 0]
    assert len(seen) == N - 8 - len(dropped.held_out)
    assert not {*seen} & {*np.arange(3, N, 500)}
    modelled = prepared(folder, names[1:], missing="model")
    assert modelled.sample.schema.columns[0].missing
    assert (rows_of(stream(modelled))[:, 0] == 1).sum() + (modelled.sample.rows[modelled.held_out, 0] == 1).sum() == 8


def test_weights_and_conditions_come_along(folder: Path):
    real = {"columns": [{"name": name, "kind": "real"} for name in ("id", "number")]}
    own = prepared(folder, ["id", "number", "weight"], "weight", schema=real, given=["id"])
    assert own.sample.given == ("id",)
    weights = TABLE["weight"].to_numpy()
    batches = list(TableStream(own, lambda rows: rows, lambda rows: rows).blocks(SEED, 0, 0))
    ids = np.concatenate([batch.condition for batch in batches])[:, 0].astype(int)
    np.testing.assert_array_equal(np.concatenate([batch.weights for batch in batches]), weights[ids])
    held_out = own.sample.weights
    assert held_out is not None
    assert own.total_weight == weights.sum() - held_out[own.held_out].sum()


def test_columns_that_follow_from_others_are_set_aside(folder: Path):
    own = prepared(folder, ["number", "twice", "count"])
    assert [rule.name for rule in own.sample.schema.follows] == ["twice"]
    assert any("twice" in note for note in own.sample.notes)


def test_a_fit_from_a_folder(folder: Path, tmp_path: Path):
    names = ["number", "count", "word"]
    density = pf.FlowDensity(**HOW).fit(open_shards(folder, names), stream=True)
    verdict = density.result_.verdict
    assert (verdict.n_rows_streamed, verdict.n_rows_met) == (3600, 7200)
    assert density.schema_.rows == N
    assert density.schema_.column("number").seen == (TABLE["number"].to_numpy().min(), 50.0)
    assert len(density.held_out_scores_) == 400
    again = pf.FlowDensity(**HOW).fit(open_shards(folder, names), stream=True)
    rows = TABLE.slice(0, 20)
    np.testing.assert_array_equal(density.score_samples(rows), again.score_samples(rows))
    density.save(tmp_path / "model")
    assert pf.FlowDensity.load(tmp_path / "model").result_.verdict == verdict


def test_an_interrupted_fit_goes_on_to_the_same_weights(folder: Path, tmp_path: Path):
    names, how = ["number", "count", "word"], {**HOW, "max_epochs": 4}
    whole = pf.FlowDensity(**how).fit(open_shards(folder, names), stream=True)

    class Stop:
        def start(self, params: Any) -> None: ...

        def log(self, step: int, metrics: Any) -> None:
            if step > 20:
                os.kill(os.getpid(), signal.SIGTERM)

        def finish(self, summary: Any) -> None: ...

    ways: dict[str, Any] = {"stream": True, "checkpoint": tmp_path / "fit"}
    stopped = pf.FlowDensity(**how).fit(open_shards(folder, names), tracker=Stop(), **ways)
    assert stopped.result_.verdict.status == "interrupted"
    again = pf.FlowDensity(**how).fit(open_shards(folder, names), resume=True, **ways)
    np.testing.assert_array_equal(again.score_samples(TABLE.slice(0, 50)), whole.score_samples(TABLE.slice(0, 50)))
    assert again.result_.verdict.best_step == whole.result_.verdict.best_step


def test_what_cannot_be_streamed_says_so(folder: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="one member with a streamed table"):
        pf.FlowDensity(**HOW, n_members=2).fit(open_shards(folder, ["number"]), stream=True)
    with pytest.raises(ValueError, match="sample_weight a column's name, got an array"):
        pf.FlowDensity(**HOW).fit(str(folder), sample_weight=np.ones(N), stream=True)
    np.savez(tmp_path / "a.npz", values=np.asfortranarray(np.ones((30, 2))))
    with pytest.raises(ValueError, match="Save the table as Parquet"):
        pf.FlowDensity(**HOW).fit(str(tmp_path / "a.npz"), stream=True)


def test_the_command_line_streams(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = str(tmp_path / "model")
    flags = ["--stream", "--columns", "number,count", "--weights", "weight", "--n-layers", "2", "--width", "4"]
    assert main(["fit", str(folder), "--out", model, *flags, "--max-epochs", "1", "--no-verify"]) == 0
    said = "".join(capsys.readouterr())
    assert "read in pieces" in said
    assert "training rows of the stream were seen, 1 times." in said
    assert main(["fit", str(folder), "--out", model, *flags, "--max-epochs", "1", "--dry-run"]) == 0
    assert "4,000 rows, 4,000 to fit, 0 left out" in "".join(capsys.readouterr())
    assert main(["fit", "-", "--out", model + "2", "--stream"]) == 2
    assert main(["fit", str(folder), "--out", model + "2", "--stream", "--detector"]) == 2
    assert main(["fit", str(folder), "--out", model + "2", "--stream", "--weights", "mass"]) != 0
    assert "no column 'mass'" in "".join(capsys.readouterr())
