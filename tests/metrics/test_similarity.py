"""Shape, Trend and detection: SDMetrics' definitions by hand, their level under the null, and broken twins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pushforward.metrics import detection_score, similarity

# scipy's types leave out the attributes of their results.
KS: Any = stats.ks_2samp
PEARSON: Any = stats.pearsonr


def pair(n: int, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    level = np.digitize(x + rng.normal(size=n), [-1.0, 0.0, 1.0]).astype(float)
    return {"x": x, "y": 0.8 * x + 0.6 * rng.normal(size=n), "level": level}


def test_shape_is_the_largest_difference_of_distribution_functions_and_the_total_variation():
    a, b = pair(400, 0), pair(300, 1)
    b["y"][:30] = np.nan  # gaps of a column of numbers are left out
    shape, _ = similarity(a, b, {"level": "category"}, n_null=2)
    assert shape.errors["x"] == pytest.approx(KS(a["x"], b["x"]).statistic)
    assert shape.errors["y"] == pytest.approx(KS(a["y"], b["y"][30:]).statistic)
    shares = [np.bincount(side["level"].astype(int), minlength=4) / len(side["level"]) for side in (a, b)]
    assert shape.errors["level"] == pytest.approx(0.5 * np.abs(shares[0] - shares[1]).sum())
    assert shape.error == pytest.approx(np.mean(list(shape.errors.values())))


def test_trend_is_half_the_difference_of_correlations_and_the_total_variation_of_pairs():
    a, b = pair(400, 0), pair(300, 1)
    a["x"][:40] = np.nan  # correlations are of the rows that have both
    _, trend = similarity(a, b, {"level": "category"}, n_null=2)
    r = PEARSON(a["x"][40:], a["y"][40:])[0], PEARSON(b["x"], b["y"])[0]
    assert trend.errors["x", "y"] == pytest.approx(0.5 * abs(r[0] - r[1]))
    edges = np.histogram_bin_edges(a["y"], 10)
    tables = []
    for side in (a, b):
        counts = np.zeros((12, 4))
        np.add.at(counts, (np.digitize(side["y"], edges), side["level"].astype(int)), 1 / len(side["y"]))
        tables.append(counts)
    assert trend.errors["y", "level"] == pytest.approx(0.5 * np.abs(tables[0] - tables[1]).sum())
    # A gap is a level in a pair with levels: with all of a bin's rows missing, nothing else could tell.
    blank = {**a, "x": np.full(400, np.nan)}
    assert similarity(a, blank, {"level": "category"}, n_null=2)[1].errors["x", "level"] > 0.8


def test_a_circle_is_binned_and_not_correlated():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 360, 2000)
    height = np.cos(np.deg2rad(angle)) + 0.1 * rng.normal(size=2000)
    data = {"angle": angle, "height": height}
    broken = {"angle": rng.permutation(angle), "height": height}
    assert similarity(data, broken, {"angle": "circular"}, n_null=2)[1].error > 0.4
    assert similarity(data, broken, n_null=2)[1].error < 0.05


def test_p_values_are_uniform_under_the_null_and_not_for_a_twin():
    def found(seed: int, shift: float = 0.0):
        b = pair(150, 2 * seed + 1)
        return similarity(pair(150, 2 * seed), {**b, "x": b["x"] + shift}, {"level": "category"}, seed=seed)

    results = [found(seed) for seed in range(120)]
    for which in (0, 1):
        values = [result[which].p_value for result in results]
        assert stats.kstest(values, "uniform").pvalue > 1e-3
        assert np.mean(np.array(values) < 0.05) < 0.12
    assert np.mean([found(seed, 1.0)[0].p_value < 0.05 for seed in range(20)]) > 0.9


def test_shuffled_columns_have_the_shape_and_not_the_trend():
    rng = np.random.default_rng(0)
    a = pair(2000, 0)
    shape, trend = similarity(a, {name: rng.permutation(column) for name, column in a.items()}, {"level": "category"})
    assert shape.error == 0
    assert trend.p_value < 1e-6
    assert trend.worst[0] == ("x", "y")
    assert "the largest: x and y" in trend.sentence


def test_constants_and_single_columns_have_no_trend():
    data = {"a": np.zeros(50), "b": np.arange(50.0)}
    _, trend = similarity(data, data, n_null=2)
    assert math.isnan(trend.errors["a", "b"])
    assert math.isnan(trend.error)
    assert similarity({"b": data["b"]}, {"b": data["b"]}, n_null=2)[1].sentence.endswith("to compare.")
    assert math.isnan(similarity(data, {**data, "a": np.full(50, np.nan)}, n_null=2)[0].errors["a"])
    huge = {"a": np.arange(50.0) * 1e300, "b": np.arange(50.0)}
    assert similarity(huge, huge, n_null=2)[1].error == 0


def test_similarity_refuses():
    data = {"a": np.zeros(5)}
    with pytest.raises(ValueError, match="same columns"):
        similarity(data, {"b": np.zeros(5)})
    with pytest.raises(ValueError, match="kinds"):
        similarity(data, data, {"a": "word"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="infinity"):
        similarity(data, {"a": np.array([1.0, np.inf])})


def rows(table: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack(list(table.values()), axis=1)


@pytest.mark.parametrize("learner", ["logistic", "boosting"])
def test_detection_cannot_tell_fresh_rows_and_can_tell_shifted_ones(learner):
    a, b = rows(pair(500, 0)), rows(pair(500, 1))
    fresh = detection_score(a, b, learner=learner, categorical=[2])
    assert not fresh.told
    assert fresh.score > 0.9
    assert "cannot tell" in fresh.sentence
    moved = detection_score(a, b + np.array([1.5, 0, 0]), learner=learner, categorical=[2])
    assert moved.told
    assert moved.score < 0.5
    assert moved.auc == pytest.approx(1 - moved.score / 2, abs=1e-12)


def test_boosting_sees_broken_dependence_and_logistic_regression_does_not():
    rng = np.random.default_rng(0)
    a = pair(1500, 0)
    twin = rows({name: rng.permutation(column) for name, column in a.items()})
    assert not detection_score(rows(a), twin, categorical=[2]).told
    assert detection_score(rows(a), twin, learner="boosting", categorical=[2]).score < 0.8


def test_the_standard_error_of_detection_is_that_of_fresh_rows():
    found = [
        detection_score(rows(pair(120, 2 * s)), rows(pair(120, 2 * s + 1)), categorical=[2], seed=s) for s in range(40)
    ]
    z = np.array([(result.auc - 0.5) / result.auc_error for result in found])
    assert 0.6 < z.std() < 1.5
    assert sum(result.told for result in found) <= 1


def test_detection_refuses():
    x = np.zeros((10, 2))
    with pytest.raises(ValueError, match="learner"):
        detection_score(x, x, learner="forest")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="within 0 to 1"):
        detection_score(x, x, categorical=[2])
    with pytest.raises(ValueError, match="infinity"):
        detection_score(x, x + np.inf)
