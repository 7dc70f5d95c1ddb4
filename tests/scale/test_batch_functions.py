"""Pure functions of record batches: the same bits in any batch, reasons instead of errors, Dask and Spark."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pyarrow as pa
import pytest

import pushforward as pf
from pushforward.io.errors import UntrustedModelError
from pushforward.scale import BatchDetector, BatchFiller, BatchSampler, BatchScorer, Place, model_digest
from pushforward.scale.sound_rows import failing
from pushforward.tables.errors import DataError
from scale_rows import rows

BAD = pa.RecordBatch.from_pydict(
    {
        "x": ["1.5", "abc", "2", "inf", None],
        "y": [1.0, 2.0, float("inf"), 4.0, 5.0],
        "word": ["a", "b", "a", "never seen", "b"],
        "id": [1, 2, 3, 4, 5],
    }
)


def joined(function, table, size):
    parts = [function(batch) for batch in table.to_batches(max_chunksize=size)]
    return pa.Table.from_batches(parts)


def test_a_row_has_the_same_bits_in_every_batch(model):
    table, function = rows(4200), BatchScorer(str(model), keep=("id",), parts=True)
    whole = joined(function, table, 4200)
    assert whole.column_names == ["id", "log_prob", "log_mass", "log_density", "bound_error", "status", "reason"]
    assert joined(function, table, 4100).equals(whole)
    assert joined(function, table.slice(77, 3), 1).equals(whole.slice(77, 3))
    expected = pf.FlowDensity.load(model).score_samples(table)
    np.testing.assert_allclose(whole["log_prob"], expected, rtol=0, atol=1e-12)
    backwards = table.take(pa.array(np.arange(len(table))[::-1].copy()))
    assert joined(function, backwards, 4200).take(pa.array(np.arange(len(table))[::-1].copy())).equals(whole)


def test_bad_rows_have_reasons_and_the_others_their_scores(model):
    found = BatchScorer(str(model))(BAD).to_pylist()
    assert [row["status"] == "failed" for row in found] == [False, True, True, True, True]
    assert [row["log_prob"] is None for row in found] == [row["reason"] is not None for row in found]
    assert found[1]["reason"] == "'x' holds 'abc'; expected a number."
    assert "infinite" in found[2]["reason"]
    assert "missing" in found[4]["reason"]
    good = pa.RecordBatch.from_pydict({"x": [1.5], "y": [1.0], "word": ["a"]})
    assert BatchScorer(str(model))(good).to_pylist()[0]["log_prob"] == found[0]["log_prob"]
    dropped = BatchScorer(str(model), missing="drop")(BAD).to_pylist()[4]
    assert (dropped["status"], dropped["reason"]) == ("missing", None)


def test_a_column_of_a_strange_type_fails_row_by_row_and_a_missing_column_as_a_whole(model):
    lists = pa.RecordBatch.from_pydict({"x": [[1.0], [2.0]], "y": [1.0, 2.0], "word": ["a", "b"]})
    assert BatchScorer(str(model))(lists)["status"].to_pylist() == ["failed", "failed"]
    with pytest.raises(DataError, match="'word'"):
        BatchScorer(str(model))(lists.select(["x", "y"]))


def test_a_detector_judges_what_it_can(model):
    found = BatchDetector(str(model), fpr=0.3, keep=("id",))(BAD).to_pylist()
    assert [row["p_value"] is None for row in found] == [False, True, True, True, True]
    assert [row["anomaly"] for row in found[1:]] == [False] * 4
    many = BatchDetector(str(model), fpr=0.3)(rows(300).to_batches()[0])
    detector = pf.FlowOutlierDetector.of_density(pf.FlowDensity.load(model))
    np.testing.assert_array_equal(many["anomaly"], detector.select(rows(300), fpr=0.3))
    np.testing.assert_array_equal(many["p_value"], detector.p_values(rows(300)))


@pytest.mark.thorough
def test_gaps_are_filled_by_the_number_of_a_row(model):
    gappy = pa.table({**{n: rows(40)[n] for n in ("id", "x", "word")}, "y": pa.array([None, 1.0] * 20)})
    function, (batch,) = BatchFiller(str(model), number="id"), gappy.to_batches()
    whole = function(batch)
    assert whole["y"].null_count == 0
    assert whole["x"].to_pylist() == gappy["x"].to_pylist()
    with pytest.raises(ValueError, match="number='id'"):
        BatchFiller(str(model))(batch)
    placed = BatchFiller(str(model)).run(batch, Place(0, 0)).batch
    assert placed["y"].to_pylist() == whole["y"].to_pylist()
    other = BatchFiller(str(model)).run(batch, Place(1, 0)).batch
    assert other["y"].to_pylist() != whole["y"].to_pylist()
    last = function(batch.slice(20, 20))
    np.testing.assert_allclose(last["y"], whole["y"].to_numpy()[20:], rtol=1e-12)


def test_a_filler_leaves_out_what_cannot_be_read(model):
    found = BatchFiller(str(model)).run(BAD.slice(0, 4), Place(0, 0))
    assert [failure.row for failure in found.failures] == [1, 2, 3]
    assert found.batch["id"].to_pylist() == [1]


def test_numbers_are_drawn_as_a_sample_is(model):
    density = pf.FlowDensity.load(model)
    numbers = pa.RecordBatch.from_pydict({"id": np.arange(40)})
    found = BatchSampler(str(model), number="id")(numbers)
    assert (
        pa.Table.from_batches([found]).select(["x", "y", "word"]).equals(pa.table(density.sample(40, random_state=0)))
    )
    later = BatchSampler(str(model), number="id")(numbers.slice(30, 5))
    assert later["x"].to_pylist() == found["x"].to_pylist()[30:35]


def test_functions_are_small_and_load_once_in_a_process(model):
    function = BatchScorer(str(model)).pinned()
    assert function.digest == model_digest(model)
    data = pickle.dumps(function)
    assert len(data) < 500
    assert pickle.loads(data) == function  # noqa: S301
    with pytest.raises(UntrustedModelError, match="expected the model 0000"):
        BatchScorer(str(model), digest="0" * 64)(BAD)
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        BatchScorer("nowhere").pinned()


def test_an_empty_batch_has_the_columns_of_the_result(model):
    empty = BAD.slice(0, 0)
    for function in (BatchScorer(str(model)), BatchDetector(str(model))):
        assert function(empty).num_rows == 0
        assert function(empty).schema.names[:-1] == function.schema_for(empty.schema).names
    assert BatchScorer(str(model)).ddl(empty.schema) == "`log_prob` double, `status` string, `reason` string"


def test_the_search_for_faults_finds_each_of_them():
    wrong = {3, 4, 17}
    calls = []

    def fault(places):
        calls.append(len(places))
        return ValueError("wrong") if wrong & set(places.tolist()) else None

    assert set(failing(fault, 64)) == wrong
    assert len(calls) < 40
    assert failing(fault, 0) == {}


def test_batches_stream_as_spark_calls_a_function(model):
    """`mapInArrow` gives an iterator of record batches and takes one: the same call without Spark."""
    function, batches = BatchScorer(str(model)), rows(90).to_batches(max_chunksize=40)
    found = list(pickle.loads(pickle.dumps(function.stream))(iter(batches)))  # noqa: S301
    assert [batch.num_rows for batch in found] == [40, 40, 10]
    assert found[0].equals(function(batches[0]))


def test_dask_maps_partitions(model):
    dd = pytest.importorskip("dask.dataframe")
    frame, function = rows(90).to_pandas(), BatchScorer(str(model), keep=("id",))
    parts = dd.from_pandas(frame, npartitions=3).map_partitions(function.on_frame, meta=function.meta(frame))
    found = parts.compute(scheduler="synchronous")
    assert found.index.equals(frame.index)
    assert list(found.columns) == ["id", "log_prob", "status", "reason"]
    assert found["log_prob"].tolist() == function.on_frame(frame)["log_prob"].tolist()


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_spark_maps_batches(model, monkeypatch):
    sql = pytest.importorskip("pyspark.sql")
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # as in this process, for equal bits
    session = sql.SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        table, function = rows(90), BatchScorer(str(model), keep=("id",))
        frame = session.createDataFrame(table.to_pylist(), "id bigint, x double, y double, word string")
        found = [row.asDict() for row in frame.mapInArrow(function.stream, function.ddl(table.schema)).collect()]
    finally:
        session.stop()
    assert sorted(found, key=lambda row: row["id"]) == function.on_table(table).to_pylist()
