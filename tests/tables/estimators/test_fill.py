"""Gaps are filled from the model's own conditional distributions, and nothing else of a table changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from pushforward.tables.encoding import places_of
from pushforward.tables.estimators import filling, gap_draws
from pushforward.tables.estimators.filled import stacked
from pushforward.tables.estimators.gap_draws import comes_last
from tables.mixed_weather import table

DRAWS = 400


@pytest.fixture(scope="module")
def gappy() -> pd.DataFrame:
    """Four rows of which one cell each is missing, rows with many gaps, one with gaps alone, one without."""
    frame = table(40).dropna().reset_index(drop=True).head(24).astype({"count": "Int64"})
    for row, name in enumerate(["wind", "kind", "wet", "count"]):
        frame.loc[row, name] = None
    holes = np.random.default_rng(1).random((18, 5)) < 0.4
    holes[:, 1] |= ~holes.any(axis=1)
    for row, own in enumerate(holes):
        for name in frame.columns[own]:
            frame.loc[row + 4, name] = None
    frame.loc[22, :] = None
    return frame.set_index(np.arange(100, 124))


@pytest.fixture(scope="module")
def filled(density, gappy):
    return density.fill(gappy, DRAWS, random_state=0)


def drawn(filled, row: int, name: str) -> np.ndarray:
    return np.array([one[name].iloc[row] for one in filled.tables])


def exactly(density, row: pd.DataFrame, name: str, values) -> np.ndarray:
    """The probabilities of values of one column given the rest of a row, from the model's own log-density."""
    rows = pd.concat([row] * len(values), ignore_index=True)
    rows[name] = values
    log_prob = density.score_samples(rows.astype({"count": "int64"}))
    weights = np.exp(log_prob - log_prob.max())
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("row", "name", "values"),
    [(0, "wind", np.linspace(-12, 14, 1500)), (2, "wet", np.arange(0.0, 60.0, 0.1).round(1)), (3, "count", None)],
)
def test_a_missing_number_has_the_models_own_conditional(density, gappy, filled, row, name, values):
    values = np.unique(table()["count"]) if values is None else values
    share = exactly(density, gappy.iloc[[row]], name, values)
    mean = share @ values
    sd = np.sqrt(share @ (values - mean) ** 2)
    found = drawn(filled, row, name).astype(float)
    ess = min(filled.report.ess[row], DRAWS) if filled.report.method[row] == "importance" else DRAWS
    assert abs(found.mean() - mean) < 4.5 * sd / np.sqrt(ess)
    assert abs(found.std() / sd - 1) < 0.35
    # Half of the draws lie below the median, and a tenth below the tenth.
    for p in (0.1, 0.5, 0.9):
        edge = values[np.searchsorted(np.cumsum(share), p)]
        below, own = np.mean(found <= edge + 1e-9), share[values <= edge].sum()
        assert abs(below - own) < 4.5 * np.sqrt(own * (1 - own) / ess) + 0.01


def test_a_missing_level_has_the_models_own_probabilities_and_draws_of_the_column_alone_have_not(
    density, gappy, filled
):
    levels = np.array(["rain", "sun", "snow"])
    share = exactly(density, gappy.iloc[[1]], "kind", levels)

    def far(words: np.ndarray) -> float:
        counts = (words[:, None] == levels).mean(axis=0)
        return float(np.max(np.abs(counts - share) / np.sqrt(share * (1 - share) / DRAWS + 1e-4)))

    assert far(drawn(filled, 1, "kind")) < 4.5
    assert far(density.sample(DRAWS, random_state=3)["kind"].to_numpy()) > 4.5


def test_draws_of_a_column_alone_are_not_its_conditional(density, gappy):
    values = np.linspace(-12, 14, 1500)
    share = exactly(density, gappy.iloc[[0]], "wind", values)
    mean = share @ values
    sd = np.sqrt(share @ (values - mean) ** 2)
    alone = density.sample(DRAWS, random_state=3)["wind"].to_numpy()
    assert abs(alone.mean() - mean) > 4.5 * sd / np.sqrt(DRAWS) or abs(alone.std() / sd - 1) > 0.35


def test_a_row_of_gaps_alone_is_a_draw_of_the_model_without_gaps(density, filled):
    assert filled.report.n_missing[22] == 5
    own = density.sample(4000, random_state=1).dropna()
    for name in ("warm", "wind", "wet", "count"):
        found = drawn(filled, 22, name).astype(float)
        worth = min(DRAWS, filled.report.ess[22])
        assert abs(found.mean() - own[name].mean()) < 4.5 * own[name].std() / np.sqrt(worth)


def test_observed_cells_and_the_container_stay_as_they_were(gappy, filled):
    assert filled.report.counts == {"filled": 23, "complete": 1}
    for one in (*filled.tables[:3], filled.median(), *filled.interval(0.9)):
        assert one.dtypes.equals(gappy.dtypes)
        assert one.index.equals(gappy.index)
        assert not one.isna().any().any()
        for name in gappy:
            there = gappy[name].notna()
            assert (one[name][there] == gappy[name][there]).all()
    low, high = filled.interval(0.9)
    assert (low["wind"] <= filled.median()["wind"]).all()
    assert (filled.median()["wind"] <= high["wind"]).all()
    assert (low["wind"] < high["wind"]).sum() == gappy["wind"].isna().sum()
    steps = filled.median()["wet"] * 10
    assert np.allclose(steps, np.rint(steps))


def test_every_kind_of_table_comes_back_as_its_kind(density, gappy, monkeypatch):
    some = gappy.iloc[:6].reset_index(drop=True)
    expected = density.fill(some, 20, random_state=4).tables[0]
    arrow = pa.Table.from_pandas(some, preserve_index=False)
    polars = pl.from_arrow(arrow).with_columns(pl.col("kind").cast(pl.Categorical))  # type: ignore[union-attr]
    coded = arrow.set_column(0, "kind", arrow.column("kind").dictionary_encode())
    of_lists = {name: arrow.column(name).to_pylist() for name in arrow.column_names}
    tables: list[Any] = [arrow, coded, polars, of_lists, some.astype({"kind": "category"})]
    for given in tables:
        one: Any = density.fill(given, 20, random_state=4).tables[0]
        assert type(one) is type(given)
        if isinstance(given, pa.Table):
            assert one.schema.equals(given.schema)
        columns = one if isinstance(one, dict) else {name: list(one[name]) for name in expected}
        for name in expected:
            own = [cell.as_py() if isinstance(cell, pa.Scalar) else cell for cell in columns[name]]
            assert own == expected[name].tolist()
    # Extra columns stay, with their gaps.
    more = some.assign(note=[None, "a", "b", "c", "d", "e"])
    assert density.fill(more, 20, random_state=4).tables[0]["note"].isna().sum() == 1


def test_batches_give_the_rows_of_the_whole_table(density, gappy, monkeypatch):
    monkeypatch.setattr(filling, "FILLED_ROWS", 10)
    some = pa.Table.from_pandas(gappy, preserve_index=False)
    batches = list(filling.fill_batches(density, some, 2, 4))
    assert [len(batch.cells) for batch in batches] == [10, 10, 4]
    whole = density.fill(some, 2, random_state=4)
    names = ["warm", "wind"]
    apart = pa.concat_tables([batch.tables[1] for batch in batches]).select(names).to_pandas()
    assert np.allclose(apart, whole.tables[1].select(names).to_pandas())
    assert stacked(whole).column("draw").to_pylist() == [0] * 24 + [1] * 24


def test_what_cannot_be_filled_is_left_and_says_why(density, monkeypatch):
    rows = table(20).dropna().head(3).reset_index(drop=True)
    rows.loc[0, "wind"] = None
    rows.loc[0, "wet"] = -5.0  # the model gives it no probability
    rows.loc[1, "wind"] = None
    found = density.fill(rows, 20, random_state=0)
    assert found.report.status.tolist() == ["impossible", "filled", "complete"]
    assert found.tables[0]["wind"].isna().tolist() == [True, False, False]
    assert "no probability" in found.report.sentence
    monkeypatch.setattr(gap_draws, "LEAST_EFFECTIVE", 1e9)
    monkeypatch.setattr(gap_draws, "ROUNDS", (64,))
    rows.loc[1, "kind"] = None
    poor = density.fill(rows.iloc[1:], 20, random_state=0)
    assert poor.report.status.tolist() == ["poor", "complete"]
    assert poor.tables[0].isna().sum().sum() == 2
    with pytest.raises(ValueError, match="19 draws or more"):
        density.fill(rows.iloc[2:], 5).interval(0.9)


def test_a_table_without_gaps_learns_nothing(density, monkeypatch):
    monkeypatch.setattr(gap_draws, "_network", lambda *arguments: pytest.fail("a network was trained"))
    rows = table(20).dropna()
    found = density.fill(rows, 3)
    assert found.tables[0].equals(rows)
    assert found.report.counts == {"complete": len(rows)}


def test_rows_whose_gaps_come_last_are_exact(density, gappy, filled):
    layout = density.model_.layout
    names = [column.name for column in layout.columns]
    assert set(names) == {"kind", "warm", "wet", "wind", "count"}
    last = names[layout.valued[density.model_.member.margin_places[-1]]]
    blank = np.array([[name == missing for name in names] for missing in (last, "kind")])
    assert comes_last(density.model_, blank).tolist() == [places_of(layout)[0].get(names.index(last)) is None, False]
    exact = filled.report.method == "exact"
    assert np.isnan(filled.report.pareto_k[exact]).all()
    assert (filled.report.method[:22] == "importance").any()
