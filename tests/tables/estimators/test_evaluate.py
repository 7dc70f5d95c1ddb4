"""`evaluate`: each figure against one worked out here, and shifted data, which it must flag."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from pushforward.cli.reporter import to_json
from pushforward.tables.encoding import Layout, decode, encode
from pushforward.tables.errors import DataError
from pushforward.tables.estimators import Evaluation, FlowDensity, evaluate
from pushforward.tables.estimators.evaluate import columns_of, tail_samples
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import Column

pytestmark = pytest.mark.float32
# The package's attribute of this name is the function.
MODULE: Any = sys.modules["pushforward.tables.estimators.evaluate"]
SMALL = {"flow": "realnvp", "n_layers": 1, "width": 8, "max_epochs": 3, "verify": False, "random_state": 0}


def rows(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal([shift, 5.0], [1.0, 2.0], (n, 2))


@pytest.fixture(scope="module", autouse=True)
def cheap() -> Any:
    """Few samples for the tails, and few permutations of the classifier: what is counted is tested elsewhere."""
    patch = pytest.MonkeyPatch()
    full = MODULE.c2st
    patch.setattr(MODULE, "TAIL_SAMPLES", 4000)
    patch.setattr(MODULE, "c2st", lambda *sides, **options: full(*sides, **options, n_null=4))
    yield
    patch.undo()


@pytest.fixture(scope="module")
def density() -> FlowDensity:
    return FlowDensity(**SMALL).fit(rows(400, 0))


@pytest.fixture(scope="module")
def found(density: FlowDensity) -> Evaluation:
    return evaluate(density, rows(300, 1))


@pytest.fixture(scope="module")
def shifted(density: FlowDensity) -> Evaluation:
    return evaluate(density, rows(300, 1, shift=1.5))


def test_likelihood_is_the_mean_of_the_scores(density: FlowDensity, found: Evaluation) -> None:
    scores = density.score_samples(rows(300, 1))
    assert found.rows == 300
    assert found.nats == pytest.approx(scores.sum() / 300)
    assert found.standard_error == pytest.approx(math.sqrt(((scores - scores.mean()) ** 2).sum() / 299 / 300))
    assert found.bits_per_dim == pytest.approx(-scores.mean() / (2 * math.log(2)))
    assert found.bound_error is None
    assert found.zero == 0
    words, counts = np.unique(density.row_status(rows(300, 1)), return_counts=True)
    assert {word: count for word, count in found.status.items() if count} == dict(zip(words, counts, strict=True))


def test_baselines_are_cross_fitted_over_all_rows(density: FlowDensity, found: Evaluation) -> None:
    x = rows(300, 1)
    order = np.random.default_rng(0).permutation(300)
    halves = np.sort(order[:150]), np.sort(order[150:])
    by_hand, own = [], []
    for kept, left in (halves, halves[::-1]):
        mean, covariance = x[kept].mean(axis=0), np.cov(x[kept].T, bias=True)
        z = x[left] - mean
        squares = np.einsum("ni,ij,nj->n", z, np.linalg.inv(covariance), z)
        by_hand.append(-0.5 * (squares + np.linalg.slogdet(2 * np.pi * covariance)[1]))
        own.append(density.score_samples(x[left]))
    gaussian, difference = np.concatenate(by_hand), np.concatenate(own) - np.concatenate(by_hand)
    assert found.compared == 300
    assert [b.name for b in found.baselines] == ["Gaussian", "Gaussian mixture", "kernel density"]
    assert found.baselines[0].nats == pytest.approx(gaussian.mean())
    assert found.gains[0].gain == pytest.approx(difference.mean())
    assert found.gains[0].standard_error == pytest.approx(difference.std(ddof=1) / math.sqrt(300))


def test_marginals_are_tests_of_data_against_samples(density: FlowDensity, found: Evaluation) -> None:
    words = np.random.default_rng(0).integers(0, 2**32, size=2, dtype=np.uint32)
    drawn = density.model_.draw(1000, words, None)
    assert found.samples == 1000
    for i, name in enumerate(("x0", "x1")):
        by_hand: Any = ks_2samp(rows(300, 1)[:, i], drawn[:, i])
        assert found.marginals.tests[name].statistic == pytest.approx(by_hand.statistic)


def test_tails_count_the_rows_beyond_the_quantiles_of_samples(density: FlowDensity, found: Evaluation) -> None:
    words = np.random.default_rng(0).integers(0, 2**32, size=2, dtype=np.uint32)
    drawn = np.sort(density.model_.draw(4000, words, None)[:, 0])
    line = found.tails["x0"].lines[0]
    assert (line.side, line.level) == ("upper", 0.01)
    assert line.threshold == drawn[-40]
    assert line.observed == (rows(300, 1)[:, 0] > drawn[-40]).sum()
    assert found.tails["x0"].lines[2].verdict == "not enough samples"
    assert any("too few samples" in line for line in found.sentences)


def test_shifted_data_are_flagged(found: Evaluation, shifted: Evaluation) -> None:
    assert shifted.marginals.rejected_holm == ("x0",)
    assert shifted.c2st is not None
    assert found.c2st is not None
    assert shifted.c2st.p_value < 1e-4
    assert shifted.c2st.auc > found.c2st.auc + 0.1
    assert shifted.nats < found.nats - 0.5
    assert any(line.verdict == "model too light" for line in shifted.tails["x0"].lines)
    assert any("do not use it" in line for line in shifted.sentences)


def test_rows_of_the_model_itself_are_not_flagged(density: FlowDensity) -> None:
    own = evaluate(density, density.sample(300, random_state=5))
    assert own.marginals.rejected_holm == ()
    assert own.c2st is not None
    assert own.c2st.p_value > 1e-3


def test_json_holds_every_figure_and_is_standard(found: Evaluation) -> None:
    plain = json.loads(to_json(found.to_json()))
    assert plain["mean_nats"] == pytest.approx(found.nats)
    assert plain["marginals"]["tests"]["x0"]["p_value"] == pytest.approx(found.marginals.tests["x0"].p_value)
    assert plain["baselines"][0]["gain"] == pytest.approx(found.gains[0].gain)
    assert len(plain["c2st"]["null"]) == 4
    assert plain["tails"]["x1"]["lines"][2]["p_value"] is None
    assert plain["sentences"] == found.sentences
    assert dataclasses.is_dataclass(found)


def test_columns_keep_atoms_levels_and_missing_cells() -> None:
    layout = Layout(
        (
            Column(name="rain", kind="positive", low=0.0, atoms=(0.0,), missing=True),
            Column(name="sky", kind="category", type="string", levels=("sun", "fog"), missing=True),
            Column(name="hour", kind="circular", low=0.0, period=24.0),
        )
    )
    table = {"rain": [1.5, 0.0, None], "sky": ["fog", None, "snow"], "hour": [5.0, 7.0, 23.0]}
    columns = columns_of(layout, encode(layout, read_cells(pa.table(table))).rows)
    np.testing.assert_array_equal(columns["rain"], [1.5, 0.0, np.nan])
    np.testing.assert_array_equal(columns["sky"], [1, np.nan, 2])
    np.testing.assert_allclose(columns["hour"], [5.0, 7.0, 23.0])


def test_data_beyond_the_bounds_stay_there_and_have_density_zero() -> None:
    layout = Layout((Column(name="share", kind="bounded", low=0.0, high=1.0),))
    np.testing.assert_array_equal(columns_of(layout, np.array([[-1.0], [0.5]]))["share"], [-1.0, 0.5])
    np.testing.assert_array_equal(columns_of(layout, np.array([[-1.0], [0.5]]), samples=True)["share"], [0.0, 0.5])


def test_missing_values_are_refused_or_dropped(density: FlowDensity) -> None:
    x = rows(30, 2)
    x[3, 0] = np.nan
    table = pa.table({"x0": x[:, 0], "x1": x[:, 1]})
    with pytest.raises(DataError, match="--missing drop"):
        evaluate(density, table)
    for given in (table, x):
        found = evaluate(density, given, missing="drop", n_samples=40)
        assert (found.rows, found.dropped, found.samples) == (29, 1, 40)
        assert found.c2st is None
        assert found.baselines == ()
        assert len(found.notes) == 2
    assert found.nats == pytest.approx(density.score_samples(np.delete(x, 3, axis=0)).mean())
    with pytest.raises(DataError, match="no row is left"):
        evaluate(density, np.full((3, 2), np.nan), missing="drop")


def test_arguments_are_checked(density: FlowDensity) -> None:
    with pytest.raises(ValueError, match="n_samples"):
        evaluate(density, rows(30, 2), n_samples=0)
    with pytest.raises(ValueError, match="missing"):
        evaluate(density, rows(30, 2), missing="model")  # pyright: ignore[reportArgumentType]


def test_slow_models_draw_fewer_rows_for_the_tails(density: FlowDensity, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tail_samples(density.model_) == 4000
    monkeypatch.setattr(MODULE, "TAIL_WORK", 1e4)
    assert tail_samples(density.model_) < 1000


@pytest.fixture(scope="module")
def conditional() -> tuple[FlowDensity, pa.Table]:
    rng = np.random.default_rng(0)
    group = rng.choice(["a", "b"], size=400)
    y = rng.normal(size=400) + np.where(group == "a", 3.0, -3.0)
    table = pa.table({"group": group, "y": y})
    options = {**SMALL, "flow": "maf", "max_epochs": 40, "learning_rate": 0.02}
    return FlowDensity(given=["group"], **options).fit(table), table


@pytest.mark.thorough
def test_a_conditional_model_draws_one_row_for_each_condition(conditional: tuple[FlowDensity, pa.Table]) -> None:
    density, table = conditional
    found = evaluate(density, table)
    assert found.samples == 400
    assert (found.columns, found.given) == (("y",), ("group",))
    assert found.marginals.rejected == ()
    assert found.c2st is not None
    assert found.c2st.rows == (200, 200)
    assert found.tail_samples == 4000
    # The columns alone look right with the groups exchanged: only the classifier, which sees both, can tell.
    swapped = table.set_column(0, "group", pa.array(np.where(np.array(table["group"]) == "a", "b", "a")))
    wrong = evaluate(density, swapped)
    assert wrong.c2st is not None
    assert wrong.c2st.p_value < 0.01
    assert wrong.c2st.auc > found.c2st.auc + 0.2
    assert wrong.nats < found.nats - 1


def test_samples_look_the_same_before_and_after_they_were_cells() -> None:
    layout = Layout(
        (
            Column(name="day", kind="datetime", type="string", format="%Y-%m-%d", step=1.0),
            Column(name="rain", kind="positive", low=0.0, step=0.1, atoms=(0.0,), missing=True),
            Column(name="share", kind="bounded", low=0.0, high=1.0),
            Column(name="hour", kind="circular", low=0.0, period=24.0, step=0.5),
            Column(name="count", kind="count", type="int64", step=1.0),
            Column(name="sky", kind="category", type="string", levels=("sun", "fog"), missing=True),
        )
    )
    rng = np.random.default_rng(0)
    n, steps = 500, np.array([1.0, 0.1, 0.0, 0.5, 1.0])
    values = rng.uniform(0, [20_000, 30, 1, 24, 50], (n, 5))
    values = np.where(steps > 0, np.floor(values / np.where(steps > 0, steps, 1) + 1e-6) * steps, values)
    states = np.stack([rng.integers(0, 3, n), rng.choice([0, 1, 3], n)], axis=1)
    rows = np.concatenate([states, values], axis=1)
    before = columns_of(layout, rows, samples=True)
    cells = read_cells(pa.table(decode(layout, rows)))
    after = columns_of(layout, encode(layout, cells).rows)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def test_samples_that_are_not_finite_are_left_out_and_counted(density: FlowDensity, monkeypatch: Any) -> None:
    draw = TableModel.draw

    def overflown(self: TableModel, *arguments: Any) -> np.ndarray:
        drawn = np.array(draw(self, *arguments))
        drawn[::10, 1] = np.inf
        return drawn

    monkeypatch.setattr(TableModel, "draw", overflown)
    found = evaluate(density, rows(30, 2), n_samples=50)
    assert (found.samples, found.tail_samples) == (45, 3600)
    assert any("10.00% of the samples are not finite" in note for note in found.notes)
    monkeypatch.setattr(TableModel, "draw", lambda self, n, *arguments: np.full((n, 2), np.nan))
    with pytest.raises(DataError, match="no sample"):
        evaluate(density, rows(30, 2))


def test_a_row_of_density_zero_is_said(density: FlowDensity, monkeypatch: pytest.MonkeyPatch) -> None:
    score = TableModel.score_seeing

    def zero(self: TableModel, *arguments: Any) -> Any:
        scores, seen = score(self, *arguments)
        log_prob = np.where(np.arange(len(scores.log_prob)) == 0, -np.inf, scores.log_prob)
        return scores._replace(log_prob=log_prob), seen

    monkeypatch.setattr(TableModel, "score_seeing", zero)
    found = evaluate(density, rows(30, 2), n_samples=50)
    assert (found.zero, found.nats) == (1, -np.inf)
    assert math.isnan(found.standard_error)
    assert any("Density zero in 1 rows" in line for line in found.sentences)
    assert json.loads(to_json(found.to_json()))["mean_nats"] is None


def test_samples_are_compared_as_two_tables_are(density: FlowDensity, found: Evaluation, shifted: Evaluation) -> None:
    x, drawn = rows(300, 1), density.model_.draw(1000, np.random.default_rng(0).integers(0, 2**32, 2, np.uint32), None)
    errors = found.likeness.shape.errors
    assert list(errors) == ["x0", "x1"]
    assert found.likeness.shape.rows == (300, 300)
    distance: Any = ks_2samp(x[:, 0], drawn[:300, 0])
    assert errors["x0"] == pytest.approx(distance.statistic)
    assert shifted.likeness.shape.errors["x0"] > 0.4
    assert shifted.likeness.detection["logistic"].told
    assert (found.copies, found.usefulness, found.target) == (None, None, None)
    assert found.likeness.shape.sentence in found.sentences


def test_the_rows_of_the_fit_tell_copies_and_what_samples_teach(density: FlowDensity, monkeypatch: Any) -> None:
    train = rows(400, 0)
    found = evaluate(density, rows(100, 1), train=train, target="x1")
    assert found.copies is not None
    assert not found.copies.memorised
    assert found.usefulness is not None
    assert found.usefulness.rows == (400, 400, 100)
    assert any(line.startswith("To predict x1") for line in found.sentences)
    # The twin: a model that gives back its rows.
    monkeypatch.setattr(TableModel, "draw", lambda self, n, words, condition: np.resize(train, (n, 2)))
    twin = evaluate(density, rows(100, 1), train=train)
    assert twin.copies is not None
    assert twin.copies.memorised
    assert json.loads(to_json(twin.to_json()))["copies"]["copies"] == 1
    with pytest.raises(ValueError, match="Pass train"):
        evaluate(density, rows(100, 1), target="x1")
    with pytest.raises(DataError, match="no column 'x9'"):
        evaluate(density, rows(100, 1), train=train, target="x9")


@pytest.mark.thorough
def test_samples_of_a_conditional_model_are_not_asked_for_copies(conditional: tuple[FlowDensity, pa.Table]) -> None:
    density, table = conditional
    found = evaluate(density, table, train=table)
    assert found.copies is None
    assert set(found.likeness.shape.errors) == set(density.model_.needed)
    assert sum(found.likeness.shape.rows) == len(table)
