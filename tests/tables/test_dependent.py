"""Columns that follow from others: which are found, and which are not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import pushforward as pf
from pushforward.tables.dependent import Follows, copies, sums


def numbers(n: int = 200) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"a": rng.normal(5, 2, n), "b": np.round(rng.normal(size=n), 2), "c": rng.normal(size=n) ** 2}


def test_a_copy_of_any_type_is_found():
    words = pa.array(["a", "b", None])
    found = copies(
        {"x": words, "y": pa.array(["b", "a", None]), "z": pa.array(["a", "b", None]), "w": pa.array([1.0, 2.0, 3.0])}
    )
    assert found == [Follows(name="z", of=("x",))]
    assert "'z' equals 'x'" in found[0].sentence


@pytest.mark.parametrize("factor", [2.54, -0.001, 1.0, 1e6])
def test_a_line_of_one_column_is_found_with_its_factor(factor):
    columns = numbers()
    columns["cm"] = factor * columns["a"] + 3.0
    (found,) = sums(columns)
    assert (found.name, found.of) == ("cm", ("a",))
    assert found.factors[0] == pytest.approx(factor, rel=1e-12)
    assert found.offset == pytest.approx(3.0, rel=1e-6)
    assert found.holds(columns["cm"], columns).all()


def test_a_line_is_found_in_a_table_of_few_rows_and_a_sum_is_not():
    columns = {name: values[:8] for name, values in numbers().items()}
    columns["cm"], columns["all"] = 2.54 * columns["a"], columns["a"] + columns["b"] + columns["c"]
    assert [follows.name for follows in sums(columns)] == ["cm"]


def test_a_sum_of_others_is_found_with_the_terms_that_it_has():
    columns = numbers()
    columns["total"] = columns["a"] + columns["c"]
    columns["rest"] = 100 - columns["b"] - 2 * columns["c"]
    found = {follows.name: follows for follows in sums(columns)}
    assert set(found) == {"total", "rest"}
    assert found["total"].of == ("a", "c")
    assert found["total"].factors == pytest.approx((1.0, 1.0))
    assert dict(zip(found["rest"].of, found["rest"].factors, strict=True)) == pytest.approx({"b": -1.0, "c": -2.0})
    assert found["rest"].offset == pytest.approx(100.0)


def test_one_row_that_disobeys_is_enough_and_so_is_noise():
    columns = numbers()
    columns["cm"] = 2.54 * columns["a"]
    columns["cm"][17] += 1e-4
    columns["near"] = columns["c"] * (1 + 1e-5 * np.random.default_rng(1).normal(size=200))
    assert sums(columns) == []


def test_two_values_and_constants_follow_from_nothing():
    rng = np.random.default_rng(0)
    flag = rng.integers(0, 2, 50).astype(float)
    assert sums({"x": flag, "y": 1 - flag, "z": np.ones(50)}) == []


def test_a_row_that_breaks_the_rule_is_told():
    follows = Follows(name="cm", of=("inch",), factors=(2.54,))
    holds = follows.holds(np.array([2.54, 5.0]), {"inch": np.array([1.0, 2.0])})
    assert holds.tolist() == [True, False]


@pytest.fixture(scope="module")
def fitted() -> tuple[pf.FlowDensity, pd.DataFrame]:
    rng = np.random.default_rng(0)
    inch = np.round(rng.normal(30, 5, 120), 1)
    words = rng.choice(["a", "b"], 120)
    table = pd.DataFrame(
        {"inch": inch, "word": words, "cm": 2.54 * inch, "again": words, "other": rng.normal(size=120)}
    )
    how = {"n_layers": 2, "width": 8, "max_epochs": 3, "verify": False, "random_state": 0}
    return pf.FlowDensity(**how).fit(table), table


def test_a_model_sets_them_aside_names_each_pair_and_recomputes_them(fitted, tmp_path):
    density, table = fitted
    assert {rule.name for rule in density.schema_.follows} == {"cm", "again"}
    assert any("'cm' is 2.54 x 'inch'" in note for note in density.notes_)
    assert any("'again' equals 'word'" in note for note in density.notes_)
    density.save(tmp_path / "model")
    for model in (density, pf.FlowDensity.load(tmp_path / "model")):
        drawn = model.sample(50, random_state=1)
        assert list(drawn.columns) == list(table.columns)
        np.testing.assert_allclose(drawn["cm"], 2.54 * drawn["inch"], rtol=1e-12)
        assert (drawn["again"] == drawn["word"]).all()
        assert np.isfinite(model.score_samples(drawn)).all()


def test_a_row_that_breaks_a_rule_has_density_0(fitted):
    density, table = fitted
    wrong = table.head(4).copy()
    wrong.loc[0, "cm"] += 0.1
    wrong.loc[1, "again"] = "a" if wrong.loc[1, "word"] == "b" else "b"
    score = density.score_samples(wrong)
    assert np.isneginf(score[:2]).all()
    assert np.isfinite(score[2:]).all()
    assert density.row_status(wrong)[:2].tolist() == ["extrapolated", "extrapolated"]


def test_columns_of_an_array_are_held_to_it_too():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 3))
    x[:, 2] = x[:, 0] - 2 * x[:, 1]
    how = {"n_layers": 1, "width": 8, "max_epochs": 2, "verify": False, "random_state": 0}
    density = pf.FlowDensity(**how).fit(x)
    drawn = density.sample(20, random_state=0)
    assert drawn.shape == (20, 3)
    np.testing.assert_allclose(drawn[:, 2], drawn[:, 0] - 2 * drawn[:, 1], atol=1e-12)
    wrong = x[:2].copy()
    wrong[0, 2] += 1e-3
    assert np.isneginf(density.score_samples(wrong)).tolist() == [True, False]
    assert "'x2' is 1 x 'x0' + -2 x 'x1'" in density.notes_[0]
