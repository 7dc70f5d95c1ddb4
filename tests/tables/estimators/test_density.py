"""`FlowDensity`: tables in, exact densities and rows of the same kind out."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import QuantileTransformer, StandardScaler

from pushforward.tables.estimators import FlowDensity

pytestmark = pytest.mark.float32
SMALL = {"flow": "realnvp", "n_layers": 2, "width": 16, "max_epochs": 100, "verify": False, "random_state": 0}


def table(n: int = 300) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    return np.stack([1e6 + 10 * x, 0.01 * (x**2 + 0.3 * rng.normal(size=n)), rng.normal(size=n)], axis=1)


@pytest.fixture(scope="module")
def fitted() -> FlowDensity:
    return FlowDensity(**SMALL).fit(table())


@pytest.fixture(scope="module")
def conditional() -> FlowDensity:
    frame = pd.DataFrame(table(), columns=["a", "b", "c"])
    return FlowDensity(**SMALL, given=["a", "c"]).fit(frame)


def test_beats_the_gaussian_in_the_units_of_the_data(fitted):
    x = table()
    gaussian = -0.5 * (3 * (1 + np.log(2 * np.pi)) + np.linalg.slogdet(np.cov(x.T))[1])
    assert fitted.score(x) > gaussian + 0.2


def test_scores_are_float64_and_do_not_depend_on_the_batch(fitted):
    x = np.tile(table(), (3, 1))
    scores = fitted.score_samples(x)
    assert scores.shape == (900,)
    assert scores.dtype == np.float64
    order = np.random.default_rng(0).permutation(900)
    np.testing.assert_allclose(fitted.score_samples(x[order]), scores[order], rtol=1e-12)
    np.testing.assert_allclose(fitted.score_samples(x[7:8]), scores[7:8], rtol=1e-12)


def test_score_is_the_weighted_mean(fitted):
    x, weights = table(), np.linspace(0, 1, 300)
    scores = fitted.score_samples(x)
    assert fitted.score(x) == pytest.approx(scores.mean())
    assert fitted.score(x, sample_weight=weights) == pytest.approx(np.average(scores, weights=weights))
    assert fitted.bits_per_dim(x) == pytest.approx(-scores.mean() / (3 * np.log(2)))


def test_change_of_units(fitted):
    x, scale = table(), np.array([8.0, 0.25, 2.0])
    other = FlowDensity(**SMALL).fit(scale * x)
    difference = other.score_samples(scale * x) - fitted.score_samples(x)
    np.testing.assert_allclose(difference, -np.sum(np.log(scale)), rtol=1e-9)


def test_same_seed_same_model_other_seed_other_model(fitted):
    x = table()
    np.testing.assert_array_equal(FlowDensity(**SMALL).fit(x).score_samples(x), fitted.score_samples(x))
    other = FlowDensity(**{**SMALL, "random_state": 1}).fit(x)
    assert np.abs(other.score_samples(x) - fitted.score_samples(x)).max() > 1e-3


def test_weight_zero_leaves_a_row_out():
    x = table()
    weights = np.ones(300)
    weights[200:] = 0
    one = FlowDensity(**SMALL).fit(x, sample_weight=weights)
    two = FlowDensity(**SMALL).fit(x[:200])
    np.testing.assert_array_equal(one.score_samples(x), two.score_samples(x))


def test_longer_samples_begin_with_the_shorter(fitted):
    long = fitted.sample(1200, random_state=3)
    np.testing.assert_array_equal(fitted.sample(5, random_state=3), long[:5])
    np.testing.assert_array_equal(fitted.sample(700, random_state=3), long[:700])
    assert not np.array_equal(fitted.sample(5, random_state=4), long[:5])
    assert not np.array_equal(fitted.sample(5), fitted.sample(5))


def test_samples_look_like_the_data(fitted):
    x, new = table(), fitted.sample(2000, random_state=0)
    assert np.isfinite(new).all()
    # Quartiles, which a few wild rows do not move.
    there, drawn = np.quantile(x, [0.25, 0.5, 0.75], axis=0), np.quantile(new, [0.25, 0.5, 0.75], axis=0)
    assert (np.abs(drawn - there) < 0.3 * (there[2] - there[0])).all()
    assert len(np.unique(new[:, 0])) == 2000  # float64: at 1e6, float32 has steps of 0.06


@pytest.mark.parametrize(("make", "kind"), [(pd.DataFrame, pd.DataFrame), (pl.DataFrame, pl.DataFrame)])
def test_frames_in_frames_out(make, kind):
    frame = make({"height": table()[:, 0], "weight": table()[:, 1]})
    density = FlowDensity(**{**SMALL, "max_epochs": 3}).fit(frame)
    new = density.sample(4, random_state=0)
    assert isinstance(new, kind)
    assert list(new.columns) == ["height", "weight"]
    assert density.score_samples(new).shape == (4,)
    assert list(vars(density)["feature_names_in_"]) == ["height", "weight"]


def test_set_output(fitted):
    density = pickle.loads(pickle.dumps(fitted))  # noqa: S301 - its own bytes: scikit-learn models must pickle
    assert isinstance(density.sample(2), np.ndarray)
    assert list(density.set_output(transform="pandas").sample(2).columns) == ["x0", "x1", "x2"]
    assert isinstance(density.set_output(transform="polars").sample(2), pl.DataFrame)
    assert isinstance(density.set_output(transform="default").sample(2), np.ndarray)
    with pytest.raises(ValueError, match="transform"):
        density.set_output(transform="excel")


def test_given_scores_the_others(conditional):
    frame = pd.DataFrame(table(), columns=["a", "b", "c"])
    assert conditional.given_ == ("a", "c")
    # b = 0.01 (x^2 + noise of 0.3): its conditional entropy is that of the noise.
    floor = np.log(0.003 * np.sqrt(2 * np.pi * np.e))
    assert conditional.score(frame) == pytest.approx(-floor, abs=0.5)
    other = frame.assign(a=frame["a"].iloc[::-1].to_numpy())
    assert conditional.score(other) < conditional.score(frame) - 1.0  # the condition matters


def test_given_is_a_density_of_the_others(conditional):
    """Over the column that is modelled, the density integrates to one."""
    b = np.linspace(-0.1, 0.3, 4001)
    grid = pd.DataFrame({"a": 1e6 + 5.0, "b": b, "c": 0.2})
    total = np.trapezoid(np.exp(conditional.score_samples(grid)), b)
    assert total == pytest.approx(1.0, abs=2e-3)


def test_sample_given_rows(conditional):
    rows = pd.DataFrame({"c": [0.0, 1.0], "ignored": [9, 9], "a": [1e6, 1e6 + 20]})
    new = conditional.sample(50, given=rows, random_state=0)
    assert list(new.columns) == ["a", "b", "c"]
    assert len(new) == 100
    assert (new["a"] == np.repeat([1e6, 1e6 + 20], 50)).all()
    assert (new["c"] == np.repeat([0.0, 1.0], 50)).all()
    assert new["b"][50:].mean() > new["b"][:50].mean() + 0.01
    assert np.isfinite(conditional.score_samples(new)).all()
    few = conditional.sample(3, given=rows, random_state=0)
    np.testing.assert_array_equal(few["b"].iloc[3:], new["b"].iloc[50:53])
    one = conditional.sample(2, given=[1e6, 0.0], random_state=0)
    np.testing.assert_array_equal(one["b"], new["b"].iloc[:2])


def test_given_by_position_and_constant_condition():
    x = table()
    x[:, 2] = 5.0
    density = FlowDensity(**{**SMALL, "max_epochs": 3}, given=[2, 0]).fit(x)
    assert density.given_ == ("x2", "x0")
    assert density.sample(3, given=np.array([[5.0, 1e6]]), random_state=0).shape == (3, 3)


@pytest.mark.parametrize(
    ("given", "error"),
    [(["z"], ValueError), ([7], ValueError), ([0, 0], ValueError), ([0, 1, 2], ValueError), ("a", TypeError)],
)
def test_wrong_given(given, error):
    with pytest.raises(error, match="given"):
        FlowDensity(**SMALL, given=given).fit(pd.DataFrame(table(), columns=["a", "b", "c"]))


def test_wrong_conditions_when_sampling(fitted, conditional):
    with pytest.raises(ValueError, match="no given"):
        fitted.sample(2, given=[[1.0]])
    with pytest.raises(ValueError, match="rows of"):
        conditional.sample(2)
    with pytest.raises(ValueError, match="columns"):
        conditional.sample(2, given=pd.DataFrame({"a": [1.0]}))
    with pytest.raises(ValueError, match="shape"):
        conditional.sample(2, given=[1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="finite"):
        conditional.sample(2, given=[np.nan, 2.0])
    with pytest.raises(ValueError, match="n_samples"):
        fitted.sample(0)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"flow": "glow"}, "expected flow"),
        ({"base": "cauchy"}, "expected base"),
        ({"bins": 8}, "no option of the flow realnvp"),
        ({"flow_options": {"dim": 9}}, "no option of the flow"),
    ],
)
def test_wrong_parameters(change, text):
    with pytest.raises(ValueError, match=text):
        FlowDensity(**{**SMALL, **change}).fit(table())


def test_columns_without_a_density():
    x = table()
    x[:, 1] = 3.0
    with pytest.raises(ValueError, match=r"single value in \['x1'\]"):
        FlowDensity(**SMALL).fit(x)
    with pytest.raises(ValueError, match="variance"):
        FlowDensity(**SMALL).fit(table() * [1.0, 1.0, 1e300])
    with pytest.raises(ValueError, match="minimum of 2"):
        FlowDensity(**SMALL).fit(table()[:1])
    with pytest.raises(ValueError, match="positive weight"):
        FlowDensity(**SMALL).fit(table(), sample_weight=np.eye(300)[0])


@pytest.mark.thorough
def test_pipeline_grid_search_and_clone():
    x = table(120)
    small = FlowDensity(**{**SMALL, "max_epochs": 3})
    pipeline = Pipeline([("scale", StandardScaler()), ("density", small)]).fit(x)
    assert pipeline.score_samples(x).shape == (120,)
    assert np.isfinite(pipeline.score(x))
    search = GridSearchCV(small, {"width": [8, 16]}, cv=2).fit(x)
    assert search.best_params_["width"] in (8, 16)
    assert search.best_estimator_.sample(2, random_state=0).shape == (2, 3)
    copy: Any = clone(small)
    assert copy.get_params() == small.get_params()
    assert Pipeline([("rank", QuantileTransformer(n_quantiles=20)), ("density", clone(small))]).fit(x).score(x) < 50


def test_student_t_base_and_options():
    density = FlowDensity(**{**SMALL, "max_epochs": 3}, base="student_t", flow_options={"linear": "permutation"})
    density.fit(np.random.default_rng(0).standard_t(2, size=(200, 2)))
    assert (density.config_["flow"], density.config_["base"]) == ("realnvp", "student_t")
    chosen = {"n_layers": 2, "width": 16, "linear": "permutation"}
    assert chosen.items() <= density.config_["arguments"].items()
    assert density.config_["arguments"]["depth"] == 2  # what was not chosen is written down too


@pytest.mark.thorough
def test_one_column():
    x = np.random.default_rng(0).normal(size=(200, 1))
    density = FlowDensity("nsf", n_layers=2, width=16, max_epochs=200, verify=False, random_state=0).fit(x)
    grid = np.linspace(-12, 12, 2001)[:, None]
    assert np.trapezoid(np.exp(density.score_samples(grid)), grid[:, 0]) == pytest.approx(1.0, abs=1e-3)


def test_save_and_load(fitted, tmp_path):
    fitted.save(tmp_path / "model")
    again = FlowDensity.load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(table()), fitted.score_samples(table()))
    np.testing.assert_array_equal(again.sample(5, random_state=0), fitted.sample(5, random_state=0))
    assert again.result_.verdict == fitted.result_.verdict
    assert again.config_ == fitted.config_
    assert again.columns_ == fitted.columns_


def test_save_and_load_conditional(conditional, tmp_path):
    frame = pd.DataFrame(table(), columns=["a", "b", "c"])
    conditional.save(tmp_path / "model")
    again = FlowDensity.load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(frame), conditional.score_samples(frame))
    assert again.given_ == ("a", "c")


def test_user_in_float64_gets_the_same_model(fitted):
    import jax

    x = table()
    with jax.enable_x64(True):
        other = FlowDensity(**SMALL).fit(x)
        scores = other.score_samples(x)
    np.testing.assert_allclose(scores, fitted.score_samples(x), rtol=1e-12)
