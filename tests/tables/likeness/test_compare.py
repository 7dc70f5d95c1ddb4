"""`compare`: fresh draws of one law pass every question, and each broken twin fails its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from generated import jittered, shuffled, table

import pushforward as pf
from pushforward.cli.reporter import to_json
from pushforward.tables.errors import DataError
from pushforward.tables.likeness.columns import sides
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import Column, TableSchema

REAL, FRESH, HELD_OUT = table(600, 0), table(600, 1), table(500, 2)


def test_a_fresh_draw_passes_every_question():
    found = pf.compare(REAL, FRESH, HELD_OUT, target="group")
    assert found.passed
    assert found.rows == {"real": 600, "synthetic": 600, "held_out": 500}
    assert found.columns == tuple(REAL)
    assert found.verdict.startswith("The tables are alike; there is no sign of copied rows, and learning group")
    assert found.usefulness is not None
    assert found.usefulness.task == "classification"
    assert found.notes == ()
    plain = json.loads(to_json(found.to_json()))
    assert plain["sentences"] == found.summary().split("\n")
    assert plain["shape"]["score"] == pytest.approx(1 - found.likeness.shape.error)
    assert plain["trend"]["errors"][0]["error"] == max(found.likeness.trend.errors.values())
    assert found.verdict in found._repr_html_()


def test_the_same_seed_gives_the_same_figures():
    first, second = (pf.compare(REAL[:150], FRESH[:150], target="x", random_state=3) for _ in range(2))
    assert first.to_json() == second.to_json()
    assert first.usefulness is not None
    assert first.usefulness.task == "regression"
    assert any("a quarter of the real rows" in note for note in first.notes)


def test_shuffled_columns_fail_trend_and_detection():
    found = pf.compare(REAL, shuffled(REAL), HELD_OUT)
    assert not found.alike
    assert not found.copied
    assert found.likeness.shape.error == 0
    assert found.likeness.trend.p_value < 1e-6
    assert found.likeness.detection["boosting"].told
    assert not found.likeness.detection["logistic"].told
    assert found.verdict.startswith("The tables differ in the dependence of columns and what boosted trees can tell")


@pytest.mark.parametrize("held_out", [HELD_OUT, None])
@pytest.mark.parametrize("how", ["copies", "noise", "a fifth"])
def test_copies_are_called_copies(how, held_out):
    twin = {"copies": REAL.sample(frac=1, random_state=1), "noise": jittered(REAL)}.get(how)
    if twin is None:
        twin = pd.concat([jittered(REAL)[:120], FRESH[:480]])
    found = pf.compare(REAL, twin, held_out)
    assert found.copied
    assert not found.passed
    assert "COPIED" in found.verdict
    assert found.copies is not None
    assert found.copies.copies == (1.0 if how == "copies" else 0.0)


def test_gaps_that_differ_are_told():
    filled = FRESH.assign(y=FRESH["y"].fillna(1.0))
    found = pf.compare(REAL, filled)
    assert "how often cells are missing" in found.likeness.faults
    assert any("'y' is missing in 0.0% of the samples" in line for line in found.sentences)


def test_columns_are_read_by_the_kinds_of_the_real_table():
    schema = TableSchema(
        columns=(
            Column(name="turn", kind="circular", low=-180.0, period=360.0),
            Column(name="stars", kind="ordinal", levels=(1, 2, 3)),
            Column(name="word", kind="category", type="string", levels=("a", "b"), rare=("c",), rare_counts=(1,)),
            Column(name="price", kind="positive", step=0.1),
            Column(name="id", kind="identifier"),
        )
    )
    real = read_cells({"turn": [0.0], "stars": [3], "word": ["c"], "price": [0.3], "id": [7]})
    other = read_cells(
        {"word": ["d", None], "turn": [350.0, -10.0], "stars": ["2", "9"], "price": [0.30000001, 0.34], "more": [1, 2]}
    )
    found = sides(schema, [real, other])
    assert found.kinds == {"turn": "circular", "stars": "numeric", "word": "category", "price": "numeric"}
    assert found.codes == [2]
    first, second = found.tables
    assert (first["turn"][0], second["turn"].tolist()) == (180.0, [170.0, 170.0])
    assert second["stars"].tolist() == [2.0, 9.0]
    assert first["word"][0] == 2
    np.testing.assert_array_equal(second["word"], [3, np.nan])
    assert second["price"][0] == first["price"][0]  # as float32 keeps it
    assert second["price"][1] == 0.34
    assert any("'d'" in note for note in found.notes)
    assert any("'more'" in note for note in found.notes)


def test_float32_samples_and_text_of_dates_are_the_same_values():
    x = np.round(np.random.default_rng(0).normal(size=400), 2)
    found = pf.compare({"x": x}, {"x": x.astype(np.float32)})
    assert found.likeness.shape.error == 0
    assert found.copied
    dates = REAL[["day", "x"]].assign(day=REAL["day"].astype(str))
    assert pf.compare(REAL[["day", "x"]], dates).likeness.shape.error == 0
    minutes = pd.DataFrame({"t": pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(100) ** 2, unit="min")})
    written = minutes.assign(t=minutes["t"].dt.strftime("%Y-%m-%d %H:%M"))
    assert pf.compare(minutes, written).likeness.shape.error == 0


def test_constants_and_identifiers_are_left_out_and_said():
    real = REAL[:100].assign(site="A", row_id=np.arange(100))
    found = pf.compare(real, FRESH[:100].assign(site="B"))
    assert found.columns == tuple(REAL)
    assert any("'site' is constant in the real rows, and differs in 100 of 100 rows" in note for note in found.notes)
    assert any("'row_id'" in note and "not compared" in note for note in found.notes)


def test_few_rows_and_one_column():
    found = pf.compare(REAL[["x"]][:10], FRESH[["x"]][:10])
    assert found.likeness.detection == {}
    assert found.passed
    assert any("Classifiers need 40 rows" in note for note in found.notes)


@pytest.mark.parametrize(
    ("change", "options", "code", "words"),
    [
        (lambda t: t.rename(columns={"count": "counts"}), {}, "columns", "Did you mean 'counts'"),
        (lambda t: t.assign(x="word"), {}, "non-numeric", "'x' holds"),
        (lambda t: t[:2], {}, "one-row", "2 rows"),
        (lambda t: t, {"target": "groop"}, "columns", "Did you mean 'group'"),
        (lambda t: t, {"target": "wind_direction"}, "columns", "is a circle"),
        (lambda t: t.assign(y=np.nan), {"target": "y"}, "missing", "fewer than 20 rows"),
    ],
)
def test_mistakes_are_coded_and_name_the_nearest(change, options, code, words):
    with pytest.raises(DataError, match=words) as error:
        pf.compare(REAL, change(FRESH[:100]), **options)
    assert error.value.code == code


def test_the_figure_has_every_column_and_pair():
    found = pf.compare(REAL, shuffled(REAL))
    figure, axes = pf.plotting.plot_likeness(found)
    assert [label.get_text() for label in axes[0].get_yticklabels()] == list(REAL)
    assert len(axes[0].patches) == 7
    drawn = axes[1].images[0].get_array()
    assert np.isfinite(drawn.filled(np.nan)).sum() == 21
    assert len(axes[1].lines[0].get_xdata()) >= 6  # the broken pairs are marked
    title: Any = figure
    assert "dependence" in title.get_suptitle()
    lonely = pf.plotting.plot_likeness(pf.compare(REAL[["x"]][:50], FRESH[["x"]][:50]).likeness)[1]
    assert lonely[1].texts[0].get_text() == "no pair of columns"


def test_fresh_rows_with_rare_levels_pass():
    """New levels are levels of their own: as one they would be common in the fresh rows and absent in the real ones."""
    rng = np.random.default_rng(0)
    codes = [pd.DataFrame({"code": [f"c{i:03d}" for i in rng.integers(0, 60, 120)]}) for _ in range(2)]
    found = pf.compare(*(part.assign(x=rng.normal(size=120)) for part in codes))
    assert found.passed
    assert any("levels that are new" in note for note in found.notes)
    assert found.likeness.shape.errors["code"] > 0.25
