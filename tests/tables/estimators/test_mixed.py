"""`FlowDensity` on tables of any columns: what goes in comes back, and every part of a score is what it says."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushforward.bijections import ColumnUnits
from pushforward.distributions.categorical import AutoregressiveCategorical
from pushforward.distributions.unit_law import UnitLaw
from pushforward.tables.errors import DataError
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.verify import check_masses, check_samples, check_units
from pushforward.tables.estimators.verify_margins import check_margins
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import Column, TableSchema

pytestmark = pytest.mark.float32
SMALL: dict[str, Any] = {
    "flow": "nsf", "n_layers": 1, "width": 8, "depth": 1, "bins": 4, "max_epochs": 3, "verify": False,
    "random_state": 0,
}  # fmt: skip
RARE = ("teal",)
SCHEMA = TableSchema(
    columns=(
        Column(name="id", kind="identifier", type="string"),
        Column(
            name="colour", kind="category", type="string", levels=("red", "green"), rare=("teal",), rare_counts=(9,)
        ),
        Column(name="size", kind="real", missing=True),
        Column(name="share", kind="bounded", low=0.0, high=10.0, step=0.5),
        Column(name="visits", kind="count", type="int64", step=1.0),
        Column(name="rain", kind="positive", low=0.0, atoms=(0.0,), scale="log"),
        Column(name="flag", kind="boolean", type="bool", levels=(False, True)),
        Column(name="day", kind="datetime", type="timestamp[ms]", step=86400.0),
        Column(name="unit", kind="constant", type="string", value="kg"),
    )
)


def frame(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    size = 1e6 + 10 * x + rng.normal(size=n)
    return pd.DataFrame(
        {
            "id": [f"row {i}" for i in range(n)],
            "colour": np.array(["red", "green", "teal"])[np.minimum((2 * np.abs(x)).astype(int), 2)],
            "size": np.where(np.arange(n) % 4 == 0, np.nan, size),
            "share": np.floor(20 * rng.beta(2, 3, size=n)) / 2,
            "visits": rng.poisson(np.exp(1 + 0.5 * x)),
            "rain": np.where(rng.uniform(size=n) < 0.3, 0.0, np.exp(x)),
            "flag": x + rng.normal(size=n) > 0,
            "day": np.datetime64("2024-01-01", "ms") + np.timedelta64(86_400_000, "ms") * rng.integers(0, 700, size=n),
            "unit": "kg",
        }
    )


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return frame()


@pytest.fixture(scope="module")
def mixed(table: pd.DataFrame) -> FlowDensity:
    return FlowDensity(**SMALL, schema=SCHEMA, missing="model").fit(table)


@pytest.fixture(scope="module")
def conditional(table: pd.DataFrame) -> FlowDensity:
    return FlowDensity(**SMALL, schema=SCHEMA, missing="model", given=["colour", "size"]).fit(table)


@pytest.fixture(scope="module")
def samples(mixed: FlowDensity) -> pd.DataFrame:
    return mixed.sample(1500, random_state=0)


def test_samples_have_the_types_and_the_bounds_of_the_table(table, samples):
    assert list(samples.columns) == [name for name in table.columns if name != "id"]
    assert dict(samples.dtypes) == dict(table.drop(columns="id").dtypes)
    assert set(samples["colour"]) == {"red", "green", "teal"}
    assert set(samples["unit"]) == {"kg"}
    share = samples["share"].to_numpy()
    np.testing.assert_array_equal(share, np.rint(2 * share) / 2)
    assert (share.min() >= 0) & (share.max() <= 10)
    assert samples["visits"].min() >= 0
    assert samples["rain"].min() >= 0
    assert (samples["day"].dt.normalize() == samples["day"]).all()
    assert samples.drop(columns="size").notna().all(axis=None)


@pytest.mark.parametrize(
    ("what", "share"),
    [
        (lambda f: f["size"].isna(), None),
        (lambda f: f["rain"] == 0, None),
        (lambda f: f["colour"] == "teal", None),
        (lambda f: f["flag"], None),
    ],
)
def test_the_share_of_what_is_missing_or_an_atom_is_that_of_the_table(what, share, table, samples, mixed):
    """Within the binomial error of table and samples; a broken twin of half the share is far outside."""
    there, drawn = float(what(table).mean()), float(what(samples).mean())
    error = np.sqrt(there * (1 - there) * (1 / len(table) + 1 / len(samples)))
    assert abs(drawn - there) < 4 * error
    assert abs(drawn - there / 2) > 4 * np.sqrt(there * (1 - there) / len(samples))


def test_scores_add_up_and_are_their_rows_own(table, mixed):
    scores = mixed.score_parts(table)
    assert np.isfinite(scores.log_prob).all()
    np.testing.assert_array_equal(scores.log_prob, scores.mass + scores.density)
    np.testing.assert_array_equal(mixed.score_samples(table), scores.log_prob)
    assert (scores.mass < 0).all()
    assert (scores.error > 0).all()
    again = mixed.score_samples(table.drop(columns=["id", "unit"]).iloc[[7, 3]])
    np.testing.assert_allclose(again, scores.log_prob[[7, 3]], rtol=1e-12)
    for wrong in (table.drop(columns="flag"), table[table.columns[::-1]], table.assign(extra=1)):
        with pytest.raises(ValueError, match="feature names"):
            mixed.score_samples(wrong)
    text = " ".join(mixed.meaning())
    for words in ("log_mass", "colour", "rain = 0", "what is missing", "whole numbers visits", "exact but for day"):
        assert words in text
    assert mixed.schema_.column("visits").seen == (0.0, float(table["visits"].max()))
    assert any("constant" in note for note in mixed.notes_)


def test_rows_unlike_those_of_the_fit(table, mixed):
    odd = table.head(5).assign(colour=["red", "violet", "red", "teal", "red"])
    odd.loc[2, "visits"] = 10**6
    odd.loc[4, "share"] = 11.0
    scores, status = mixed.score_samples(odd), mixed.row_status(odd)
    assert np.isfinite(scores[:4]).all()
    assert scores[4] == -np.inf
    assert scores[1] < scores[0]
    assert status[2] == status[4] == "extrapolated"
    assert set(mixed.row_status(table)) <= {"ok", "tail"}


def test_a_level_never_seen_has_a_finite_score_and_is_marked():
    rows = pd.DataFrame({"colour": ["red", "blue", "red", "red"] * 20, "flag": [True, False, False, True] * 20})
    density = FlowDensity(**SMALL).fit(rows)
    new = pd.DataFrame({"colour": ["red", "violet"], "flag": [True, True]})
    scores = density.score_parts(new)
    assert np.isfinite(scores.log_prob).all()
    np.testing.assert_array_equal(scores.density, 0.0)
    assert scores.log_prob[1] < scores.log_prob[0] - 1
    assert list(density.row_status(new)) == ["ok", "extrapolated"]
    levels = itertools.product(("red", "blue", "violet"), ("true", "false", "perhaps"))
    every = pd.DataFrame(list(levels), columns=["colour", "flag"])
    assert np.exp(density.score_samples(every)).sum() == pytest.approx(1.0, abs=1e-9)
    drawn = density.sample(50, random_state=0)
    assert set(drawn["colour"]) == {"red", "blue"}
    assert drawn["flag"].dtype == bool


KINDS: dict[str, Any] = {
    "polars": pl.from_pandas,
    "pyarrow": lambda f: pa.Table.from_pandas(f, preserve_index=False),
    "dict": lambda f: {name: f[name].to_numpy() for name in f.columns},
    "Cells": read_cells,
}


@pytest.mark.parametrize("kind", [*KINDS, "path"])
def test_tables_of_every_kind_give_the_same_model(kind, table, mixed, tmp_path):
    path = tmp_path / "table.parquet"
    if kind == "path":
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path)
    source = str(path) if kind == "path" else KINDS[kind](table)
    density = FlowDensity(**SMALL, schema=SCHEMA.model_dump(mode="json"), missing="model").fit(source)
    np.testing.assert_array_equal(density.score_samples(source), mixed.score_samples(table))
    drawn = density.sample(5, random_state=0)
    assert isinstance(drawn, {"polars": pl.DataFrame, "dict": dict}.get(kind, pa.Table))
    expected = mixed.sample(5, random_state=0)
    back = drawn if kind == "dict" else drawn.to_pandas()
    for name in expected.columns:
        np.testing.assert_array_equal(np.asarray(back[name]), expected[name].to_numpy())
    if kind == "polars":
        types = {name: kind for name, kind in pl.from_pandas(table).schema.items() if name != "id"}
        assert dict(drawn.schema) == types


def test_set_output_of_a_mixed_table(mixed):
    try:
        assert isinstance(mixed.set_output(transform="polars").sample(2), pl.DataFrame)
        assert isinstance(mixed.set_output(transform="pyarrow").sample(2), pa.Table)
    finally:
        assert isinstance(mixed.set_output(transform="default").sample(2), pd.DataFrame)


def test_missing_values_are_an_error_left_out_or_modelled(table, mixed):
    some = table[["size", "flag"]].assign(size=table["size"] - 1e6)
    with pytest.raises(DataError, match=r"'size' \(75\)"):
        FlowDensity(**SMALL).fit(some)
    dropped = FlowDensity(**SMALL, missing="drop").fit(some)
    assert any("75 of 300 rows" in note for note in dropped.notes_)
    np.testing.assert_array_equal(
        dropped.score_samples(some.dropna()), FlowDensity(**SMALL).fit(some.dropna()).score_samples(some.dropna())
    )
    with pytest.raises(DataError, match="missing values"):
        dropped.score_samples(some)
    assert mixed.sample(200, random_state=1)["size"].isna().any()
    with pytest.raises(ValueError, match="missing"):
        FlowDensity(**SMALL, missing="ignore").fit(some)  # type: ignore[arg-type]


@pytest.mark.thorough
def test_mixed_conditions(table, conditional):
    rows = pd.DataFrame({"size": [1e6, np.nan], "more": [1, 2], "colour": ["teal", "red"]})
    drawn = conditional.sample(20, given=rows, random_state=0)
    assert list(drawn.columns) == [name for name in table.columns if name != "id"]
    assert list(drawn["colour"]) == ["teal"] * 20 + ["red"] * 20
    np.testing.assert_array_equal(drawn["size"], np.repeat([1e6, np.nan], 20))
    assert np.isfinite(conditional.score_samples(drawn)).all()
    np.testing.assert_array_equal(conditional.sample(3, given=rows.iloc[1:], random_state=0)["day"].shape, (3,))
    scores = conditional.score_samples(table)
    other = table.assign(colour=table["colour"].iloc[::-1].to_numpy())
    assert (conditional.score_samples(other) != scores).any()
    assert "size" not in " ".join(conditional.meaning())


@pytest.mark.thorough
def test_weights_count_rows_several_times(table):
    some = table[["visits", "flag"]]
    weights = np.arange(300) % 3
    one = FlowDensity(**{**SMALL, "validation_fraction": 0.0}).fit(some, sample_weight=weights)
    kept = FlowDensity(**{**SMALL, "validation_fraction": 0.0}).fit(
        some[weights > 0], sample_weight=weights[weights > 0]
    )
    np.testing.assert_array_equal(one.score_samples(some), kept.score_samples(some))
    with pytest.raises(ValueError, match="sample_weight"):
        FlowDensity(**SMALL).fit(some, sample_weight=-weights)


@pytest.mark.parametrize("which", ["mixed", "conditional"])
def test_save_and_load(which, table, request, tmp_path: Path):
    density = request.getfixturevalue(which)
    density.save(tmp_path / "model")
    again = FlowDensity.load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(table), density.score_samples(table))
    given = table[["size", "colour"]].head(2) if which == "conditional" else None
    pd.testing.assert_frame_equal(
        again.sample(5, given=given, random_state=0), density.sample(5, given=given, random_state=0)
    )
    np.testing.assert_array_equal(again.row_status(table), density.row_status(table))
    assert again.meaning() == density.meaning()
    assert again.schema_ == density.schema_
    assert again.notes_ == density.notes_
    again.save(tmp_path / "again")
    for file in (tmp_path / "model").iterdir():
        other = tmp_path / "again" / file.name
        if file.suffix == ".json":  # keys may be in another order, and whole numbers come back as floats
            assert json.loads(file.read_text()) == json.loads(other.read_text())
        elif file.name != "manifest.sha256":
            assert file.read_bytes() == other.read_bytes(), file.name


@pytest.mark.thorough
def test_verified(table):
    """The one fit that is checked and compared: a condition, a state, a rounded value."""
    names = ["colour", "visits", "flag"]
    density = FlowDensity(**{**SMALL, "verify": True}, given=["flag"], schema=SCHEMA.select(names)).fit(table[names])
    assert density.checks_ is not None
    assert {"masses of states", "densities of margins", "samples within the schema"} <= {
        line.name for line in density.checks_.lines
    }
    assert not [line.sentence for line in density.checks_.lines if line.verdict == "fail"]
    assert len(density.compared()) == len(density.baselines_) > 0


@pytest.mark.thorough
def test_what_the_checks_of_a_table_are_for(mixed, monkeypatch):
    """The broken twins: masses that miss 1 by a thousandth, a slope off by as much, a bound that samples cross."""
    model = mixed.model_
    rows = model.draw(64, np.array([0, 1], np.uint32), None)
    masses = model.distribution.masses
    assert check_masses(masses, rows, None).verdict == "pass"
    assert check_units(model.distribution, model.layout, rows).verdict == "pass"
    assert [line.verdict for line in check_margins(model, rows, None)] == ["pass"]
    assert check_samples(model, None, 0).verdict == "pass"
    honest = AutoregressiveCategorical.each_log_prob
    monkeypatch.setattr(AutoregressiveCategorical, "each_log_prob", lambda *own: honest(*own) + 1e-3)
    assert check_masses(masses, rows, None).verdict == "fail"
    inverse = ColumnUnits.each_inverse
    monkeypatch.setattr(ColumnUnits, "each_inverse", lambda *own: (inverse(*own)[0], inverse(*own)[1] + 1e-3))
    assert check_units(model.distribution, model.layout, rows).verdict == "fail"
    value = UnitLaw.value
    monkeypatch.setattr(UnitLaw, "value", lambda *own: 1.01 * value(*own))
    assert [line.verdict for line in check_margins(model, rows, None)] == ["fail"]
    share = model.schema.column("share").model_copy(update={"high": 0.5})
    columns = tuple(share if column.name == "share" else column for column in model.schema.columns)
    narrow = dataclasses.replace(model, schema=TableSchema(columns=columns))
    assert check_samples(narrow, None, 0).verdict == "fail"


def test_tables_that_cannot_be_modelled(table):
    with pytest.raises(DataError, match="nothing to model"):
        FlowDensity(**SMALL).fit(table[["id", "unit"]])
    with pytest.raises(DataError, match="only 1"):
        FlowDensity(**SMALL).fit(table.head(1))
    with pytest.raises(DataError, match="lacks"):
        FlowDensity(**SMALL, schema=SCHEMA).fit(table.drop(columns="rain"))
    with pytest.raises(TypeError, match="schema"):
        FlowDensity(**SMALL, schema=3).fit(table)  # type: ignore[arg-type]
