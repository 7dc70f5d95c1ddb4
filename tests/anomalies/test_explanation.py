"""Explanations: the surprise of a cell given the others, in closed form, and what was to be expected in its stead."""

import numpy as np
import pandas as pd
import pytest

import pushforward as pf
from pushforward.anomalies import FlowOutlierDetector, NegativeLogDensity, Neighbours, RankEnsemble, explain
from pushforward.anomalies.explanation import density_of
from pushforward.anomalies.scores import NegativeLogDensityScore

rng = np.random.default_rng(0)
FIRST = rng.normal(size=600)
ROWS = np.stack([FIRST, FIRST + 0.3 * rng.normal(size=600)], axis=1)
TABLE = pd.DataFrame(
    {
        "wind": np.where(rng.uniform(size=600) < 0.1, np.nan, 3 + rng.normal(size=600)),
        "sky": np.where(FIRST > 0, "clear", "rain"),
        "heat": 20 + 5 * FIRST,
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 300, 600), "D"),
    }
)
FLOW = pf.FlowDensity("maf", n_layers=2, width=8, max_epochs=30, n_members=1, verify=False, random_state=0)


@pytest.fixture(scope="module")
def line():
    return NegativeLogDensity(FLOW).fit(ROWS)


@pytest.fixture(scope="module")
def table():
    return pf.FlowDensity(**{**FLOW.get_params(), "missing": "model"}).fit(TABLE)


def cells_of(model, rows):
    return [{cell.column: cell for cell in one.cells} for one in explain(model, rows)]


def test_the_surprise_of_a_number_given_the_others(line):
    usual, unusual = cells_of(line, np.array([[0.5, 0.5], [0.5, -0.4]]))
    assert usual["x1"].nats < 0.3
    # Three standard deviations of 0.3 below what is expected; alone, -0.4 is no surprise at all.
    assert unusual["x1"].nats == pytest.approx(4.5, abs=1.2)
    low, high = map(float, unusual["x1"].expected.split(" to "))
    assert (low, high) == pytest.approx((0.5 - 0.49, 0.5 + 0.49), abs=0.15)


def test_the_unit_of_a_column_does_not_matter(line):
    scaled = NegativeLogDensity(FLOW).fit(ROWS * np.array([1.0, 1000.0]))
    row = np.array([[0.5, -0.4]])
    own, other = cells_of(line, row)[0], cells_of(scaled, row * np.array([1.0, 1000.0]))[0]
    assert other["x1"].nats == pytest.approx(own["x1"].nats, abs=0.02)


def test_cells_of_a_mixed_table(table):
    odd = TABLE.head(3).copy()
    odd.loc[0, "wind"] = 9.5
    odd.loc[1, ["sky", "heat"]] = ["rain", 28.0]
    odd.loc[2, "wind"] = np.nan
    windy, warm, calm = cells_of(table, odd)
    assert windy["wind"].nats > 4.5
    assert windy["wind"].nats == max(cell.nats for cell in windy.values())
    assert " to " in windy["wind"].expected
    assert warm["sky"].expected.startswith("clear")
    assert warm["sky"].nats > 1
    assert calm["wind"].value == "missing"
    # Of the cells a tenth is missing, and nine tenths lie on the line.
    gaps = cells_of(table, TABLE[TABLE["wind"].isna()].head(40))
    assert np.mean([found["wind"].nats for found in gaps]) == pytest.approx(np.log(9), abs=0.4)
    assert windy["day"].expected.startswith("2024-01-")
    assert "00:00" not in windy["day"].expected


def test_the_sentence_names_the_cells_that_stand_out(table):
    odd = TABLE.head(2).copy()
    odd.loc[0, "wind"] = 9.5
    named, none = (one.sentence for one in explain(table, odd))
    assert named.startswith("wind 9.5; given the rest ")
    assert named.endswith(" was expected.")
    assert none.startswith("No cell stands out given the others")


def test_a_level_that_the_fit_never_saw(table):
    odd = TABLE.head(1).assign(sky="green")
    with pytest.warns(pf.TableWarning, match="green"):
        found = cells_of(table, odd)[0]["sky"]
    assert found.value == "another level"
    assert found.nats > 2


def test_what_has_no_flow_cannot_be_explained(line):
    detector = FlowOutlierDetector(NegativeLogDensity(FLOW), calibration="split", random_state=0).fit(ROWS)
    (model,) = detector.models_
    assert isinstance(model, NegativeLogDensityScore)
    assert density_of(detector)[0] is model.density
    assert detector.explain(ROWS[:2]) == explain(model.density, ROWS[:2])
    for model in (Neighbours().fit(ROWS), RankEnsemble(density=False).fit(ROWS), "model"):
        with pytest.raises(ValueError, match="a model with a flow"):
            explain(model, ROWS[:1])


def test_a_density_given_a_column_explains_the_others(line):
    """With one column given the other, fewer numbers and all of them find what the scores say."""
    given = pf.FlowDensity(**{**FLOW.get_params(), "given": [0], "max_epochs": 5}).fit(ROWS)
    rows = np.stack([np.full(400, ROWS[3, 0]), np.linspace(-6, 6, 400)], axis=1)
    expected = given.score_samples(rows).max() - given.score_samples(ROWS[3:4])[0]
    for points in (None, 401):
        (cell,) = explain(given, ROWS[3:4], points=points)[0].cells
        assert (cell.column, cell.nats) == ("x1", pytest.approx(expected, abs=0.01))


def test_a_number_beyond_its_bounds_is_named_alone(table):
    odd = TABLE.head(2).copy()
    odd.loc[0, "day"] = pd.Timestamp("2020-01-01")
    odd.loc[1, "heat"] = -50.0
    early, cold = explain(table, odd)
    assert early.sentence.startswith("day 2020-01-01, beyond the bounds 2024-01-01 and 2024-10-")
    assert cold.sentence.startswith("heat -50, below 0, the least that can be; given the rest ")
    for one, name in ((early, "day"), (cold, "heat")):
        assert [cell.column for cell in one.cells if np.isinf(cell.nats)] == [name]
        assert one.sentence.count("given the rest") == 1
