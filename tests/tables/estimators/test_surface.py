"""What users of scikit-learn expect of `FlowDensity`: any random state, gaps in arrays, remarks, settings that last."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone

import pushforward as pf
from pushforward.tables.estimators import FlowDensity, evaluate
from pushforward.tables.estimators.seeds import seed_number, seed_words
from pushforward.tables.modelling.records import Settings
from pushforward.tables.schema import Column, TableSchema

pytestmark = pytest.mark.float32
TINY: dict[str, Any] = {
    "flow": "realnvp",
    "n_layers": 1,
    "width": 8,
    "max_epochs": 2,
    "verify": False,
    "random_state": 0,
}


def rows(n: int = 60) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, 2))


@pytest.fixture(scope="module")
def gappy() -> FlowDensity:
    return FlowDensity(**TINY, missing="model").fit(gaps())


def gaps() -> np.ndarray:
    x = rows()
    x[3, 1] = np.nan
    return x


RANDOM_STATES = {
    "int": lambda: 7,
    "numpy int": lambda: np.int64(7),
    "RandomState": lambda: np.random.RandomState(7),
    "Generator": lambda: np.random.default_rng(7),
}


@pytest.mark.parametrize("kind", RANDOM_STATES)
def test_every_random_state_is_taken_everywhere(kind: str, gappy: FlowDensity) -> None:
    make = RANDOM_STATES[kind]
    first, second = (FlowDensity(**{**TINY, "random_state": make()}).fit(rows()) for _ in range(2))
    np.testing.assert_array_equal(first.score_samples(rows()), second.score_samples(rows()))
    np.testing.assert_array_equal(first.sample(3, random_state=make()), second.sample(3, random_state=make()))
    assert first.sample(3, random_state=make()).shape == (3, 2)
    assert seed_number(make()) == seed_number(make())


def test_a_generator_moves_on_and_none_differs(gappy: FlowDensity) -> None:
    generator = np.random.default_rng(0)
    assert not np.array_equal(seed_words(generator, 4), seed_words(generator, 4))
    assert not np.array_equal(seed_words(None, 4), seed_words(None, 4))
    for wrong in ("seed", -1, 2**32, 0.5):
        with pytest.raises(ValueError, match=r"(?i)seed"):
            gappy.sample(1, random_state=wrong)


def test_check_and_evaluate_take_a_generator(gappy: FlowDensity) -> None:
    report = gappy.check(gaps(), random_state=np.random.default_rng(0))
    assert report.lines[0].name == gappy.check(gaps(), random_state=np.random.default_rng(0)).lines[0].name
    for state in (np.random.default_rng(1), np.random.RandomState(1)):
        assert evaluate(gappy, gaps()[:20], n_samples=20, seed=state).rows == 20  # pyright: ignore[reportArgumentType]


def test_a_repeated_number_in_an_array_is_remarked() -> None:
    x = np.random.default_rng(0).poisson(3, (200, 1))
    with pytest.warns(pf.TableWarning, match="numbers repeat in x0"):
        density = FlowDensity(**TINY).fit(x)
    assert any("numbers repeat in x0" in note for note in density.notes_)


def test_ordinary_tables_have_no_remarks() -> None:
    """Neither normal numbers, nor whole numbers in a frame, which repeat by nature."""
    counts = pd.DataFrame({"n": np.random.default_rng(0).poisson(40, 300)})
    with warnings.catch_warnings():
        warnings.simplefilter("error", pf.TableWarning)
        assert FlowDensity(**TINY).fit(rows(200)).notes_ == ()
        assert FlowDensity(**TINY).fit(counts).notes_ == ()


def test_repeated_rows_are_remarked_once_they_are_no_chance() -> None:
    x = rows(100)
    x[50:] = x[:50]
    with pytest.warns(pf.TableWarning, match="50 of 100 rows repeat"):
        FlowDensity(**TINY).fit(x)


def test_remarks_are_the_callers_where_one_asks_for_them() -> None:
    x, told = np.repeat(rows(30), 2, axis=0), []
    with warnings.catch_warnings():
        warnings.simplefilter("error", pf.TableWarning)
        FlowDensity(**TINY).fit(x, on_prepared=lambda prepared: told.extend(prepared.notes))
    assert any("repeat" in note for note in told)


def test_gaps_in_an_array_are_missing_values(gappy: FlowDensity) -> None:
    """One of 60 rows has a gap in the second column."""
    with pytest.warns(pf.TableWarning, match="1 of 60 rows have missing values"):
        dropped = FlowDensity(**TINY, missing="drop").fit(gaps(), sample_weight=np.arange(60.0) + 1)
    assert (dropped._n_rows, dropped.n_rows_left_out_) == (59, 1)
    with pytest.raises(pf.DataError, match=r"NaN in 1 of 60 rows, by column x1 \(1\)"):
        FlowDensity(**TINY).fit(gaps())
    with pytest.raises(pf.DataError, match="x1"):
        dropped.score_samples(gaps())
    assert (gappy._n_rows, gappy.n_rows_left_out_) == (60, 0)
    assert np.isfinite(gappy.score_samples(gaps())).all()
    drawn = gappy.sample(2000, random_state=0)
    assert isinstance(drawn, np.ndarray)
    assert not np.isnan(drawn[:, 0]).any()
    assert 0 < np.isnan(drawn[:, 1]).mean() < 0.2


def test_infinity_stays_an_error() -> None:
    with pytest.raises(ValueError, match="infinity"):
        FlowDensity(**TINY, missing="drop").fit(np.where(np.isnan(gaps()), np.inf, gaps()))


def test_every_parameter_has_a_place_in_the_folder() -> None:
    stored = {info.alias or name for name, info in Settings.model_fields.items()} - {"output"}
    of_the_schema = {"na", "decimal", "strip"}  # `TableSchema.reading`
    assert stored | of_the_schema == set(FlowDensity().get_params())


SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "numbers": {
        "bins": None,
        "depth": 1,
        "batch_size": np.int64(32),
        "learning_rate": 1e-3,
        "weight_decay": np.float32(0.5),
        "validation_fraction": 0.25,
    },
    "a budget": {"max_seconds": 30},
    "words": {"objective": "likelihood", "missing": "drop", "progress": False, "base": "student_t"},
    "options of the flow": {"flow_options": {"linear": "lu"}},
    "given by position": {"given": [0]},
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_loaded_model_knows_its_settings(case: str, tmp_path: Path) -> None:
    density = FlowDensity(**{**TINY, **SETTINGS[case]}).fit(rows())
    density.save(tmp_path / "m")
    loaded = FlowDensity.load(tmp_path / "m")
    expected = {**density.get_params(), **({"given": ["x0"]} if "given" in SETTINGS[case] else {})}
    assert loaded.get_params() == expected
    copied: Any = clone(loaded)
    again = copied.fit(rows())
    if "max_seconds" in SETTINGS[case]:  # the clock bends the numbers
        return
    np.testing.assert_array_equal(again.score_samples(rows()), density.score_samples(rows()))
    loaded.save(tmp_path / "n")
    assert FlowDensity.load(tmp_path / "n").get_params() == expected


def test_a_schema_and_what_json_cannot_hold(tmp_path: Path) -> None:
    schema = TableSchema(columns=(Column(name="a", kind="real"), Column(name="b", kind="positive", low=0.0)))
    frame = pd.DataFrame({"a": rows()[:, 0], "b": np.abs(rows()[:, 1])})
    density = FlowDensity(**{**TINY, "random_state": np.random.default_rng(0)}, schema=schema).fit(frame)
    density.save(tmp_path / "m")
    loaded = FlowDensity.load(tmp_path / "m")
    assert loaded.random_state is None
    assert isinstance(loaded.schema, TableSchema)
    assert [column.kind for column in loaded.schema.columns] == ["real", "positive"]
    copied: Any = clone(loaded)
    assert copied.fit(frame).schema_.names == ("a", "b")


MAKERS = {
    "array": lambda x: x,
    "list": lambda x: x.tolist(),
    "pandas": lambda x: pd.DataFrame(x, columns=["a", "b"]),
    "polars": lambda x: pl.DataFrame(x, schema=["a", "b"]),
    "dict": lambda x: {"a": x[:, 0], "b": x[:, 1]},
}


@pytest.mark.parametrize("kind", MAKERS)
def test_samples_are_the_same_after_loading_and_copying(kind: str, tmp_path: Path) -> None:
    density = FlowDensity(**TINY).fit(MAKERS[kind](rows()))
    density.save(tmp_path / "m")
    before = density.sample(3, random_state=0)
    pickled = pickle.loads(pickle.dumps(density))  # noqa: S301 - its own bytes
    for other in (FlowDensity.load(tmp_path / "m"), copy.deepcopy(density), pickled):
        after = other.sample(3, random_state=0)
        assert type(after) is type(before)
        plain = [np.asarray(pd.DataFrame(x) if kind == "dict" else x) for x in (after, before)]
        np.testing.assert_array_equal(plain[0], plain[1])
        copied: Any = clone(other)
        assert copied.get_params() == density.get_params()


def test_the_output_that_was_set_lasts(tmp_path: Path) -> None:
    density = FlowDensity(**TINY).fit(rows()).set_output(transform="polars")
    density.save(tmp_path / "m")
    assert isinstance(FlowDensity.load(tmp_path / "m").sample(2), pl.DataFrame)


def test_notebooks_show_a_page_without_scripts_or_assets() -> None:
    name = "<script>alert(1)</script>"
    density = FlowDensity(**TINY)
    assert "<pre>" in density._repr_mimebundle_()["text/html"]
    density.fit(pd.DataFrame({name: rows()[:, 0], "b": rows()[:, 1]}))
    for page in (density._repr_mimebundle_()["text/html"], density._repr_html_(), density.result_._repr_html_()):
        assert "<script" not in page
        assert "http" not in page
        assert "Held-out log-density" in page
    assert "&lt;script&gt;" in density._repr_html_()
