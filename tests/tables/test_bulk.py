"""Tables scored and drawn piece by piece: the pieces are what the whole gives, and so are their totals."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.cli.totals import Totals
from pushforward.numerics.mean_error import mean_and_error
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.bulk import score_batches
from pushforward.tables.estimators.drawing import draw_pieces


@pytest.fixture(scope="module")
def fitted():
    rng = np.random.default_rng(0)
    table = {"x": rng.normal(size=300), "y": rng.normal(size=300), "word": rng.choice(["a", "b"], 300)}
    how = {"n_layers": 2, "width": 8, "bins": 4, "max_epochs": 2, "verify": False, "random_state": 0}
    return pf.FlowDensity(**how).fit(table), pa.table(table)


def test_batches_score_what_the_whole_does(fitted):
    density, table = fitted
    whole = density.score_parts(table)
    batches = list(score_batches(density, table, batch_rows=70))
    assert [len(batch.kept) for batch in batches] == [70, 70, 70, 70, 20]
    for name in ("log_prob", "mass", "density"):
        joined = np.concatenate([getattr(batch.scores, name) for batch in batches])
        np.testing.assert_allclose(joined, getattr(whole, name), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(np.concatenate([batch.status for batch in batches]), density.row_status(table))
    total = Totals()
    for batch in batches:
        total.add(batch)
    np.testing.assert_allclose((total.log_prob.mean, total.log_prob.error), mean_and_error(whole.log_prob), rtol=1e-12)
    np.testing.assert_allclose((total.mass.mean, total.density.mean), (whole.mass.mean(), whole.density.mean()))
    assert (total.log_prob.least, total.log_prob.most) == pytest.approx(
        (whole.log_prob.min(), whole.log_prob.max()), abs=1e-12
    )


def test_a_batch_of_gaps_alone_is_left_out_and_a_table_of_them_refused(fitted):
    density, table = fitted
    gaps = pa.array([None] * 70, pa.float64())
    empty = table.slice(0, 70).set_column(0, "x", gaps)
    mixed = pa.concat_tables([empty, table.slice(70, 30)])
    batches = list(score_batches(density, mixed, missing="drop", batch_rows=70))
    assert [int(batch.kept.sum()) for batch in batches] == [0, 30]
    with pytest.raises(DataError, match="no row is left"):
        list(score_batches(density, empty, missing="drop", batch_rows=70))


def test_pieces_of_a_sample_are_the_sample(fitted):
    density, _ = fitted
    (whole,) = draw_pieces(density, 250, None, 5, None, None)
    joined = pa.concat_tables(list(draw_pieces(density, 250, None, 5, None, 100)))
    for name in ("x", "y"):
        np.testing.assert_array_equal(joined[name].to_numpy(), whole[name].to_numpy())


def test_the_command_line_reads_and_writes_batch_by_batch(fitted, tmp_path, monkeypatch, capsys):
    density, table = fitted
    monkeypatch.chdir(tmp_path)
    density.save("model")
    pq.write_table(table, "data.parquet", row_group_size=64)
    monkeypatch.setattr(score_batches, "__kwdefaults__", {"missing": "error", "batch_rows": 70})
    assert main(["score", "model", "data.parquet", "--out", "scores.parquet", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    scores = pq.read_table("scores.parquet")
    np.testing.assert_allclose(scores["log_prob"].to_numpy(), density.score_samples(table), rtol=0, atol=1e-12)
    assert told["rows"] == 300
    assert told["mean_nats"] == pytest.approx(density.score(table))
    assert main(["sample", "model", "-n", "300", "--out", "samples.parquet", "-q"]) == 0
    assert pq.read_table("samples.parquet").num_rows == 300
