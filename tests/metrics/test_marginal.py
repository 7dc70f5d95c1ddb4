"""Tests per column: level under the null, ties, missing values, circles; and each finds a broken twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pushforward.metrics import marginal_test, marginal_tests
from pushforward.metrics.homogeneity import kuiper_p


def holes(rng, n, share):
    return np.where(rng.random(n) < share, np.nan, rng.normal(size=n))


# Two draws of the same law, and a third of another one.
CASES = {
    "continuous": ("numeric", lambda r, n: r.normal(size=n), lambda r, n: r.normal(0.25, 1, n)),
    "scale": ("numeric", lambda r, n: r.normal(size=n), lambda r, n: r.normal(0, 1.5, n)),
    "counts": ("numeric", lambda r, n: r.poisson(2, n), lambda r, n: r.poisson(2.4, n)),
    "many zeros": (
        "numeric",
        lambda r, n: r.exponential(size=n) * (r.random(n) < 0.5),
        lambda r, n: r.exponential(size=n) * (r.random(n) < 0.64),
    ),
    "missing": ("numeric", lambda r, n: holes(r, n, 0.2), lambda r, n: holes(r, n, 0.32)),
    "angles": ("circular", lambda r, n: r.random(n) * 360, lambda r, n: r.vonmises(1, 0.5, n) * 180 / np.pi + 180),
    "hours": ("circular", lambda r, n: r.integers(0, 24, n), lambda r, n: r.integers(0, 21, n)),
    "levels": (
        "category",
        lambda r, n: r.choice(list("abc"), n),
        lambda r, n: r.choice(list("abc"), n, p=[0.5, 0.2, 0.3]),
    ),
    "rare levels": (
        "category",
        lambda r, n: r.choice(9, n // 5, p=[0.72] + [0.035] * 8),
        lambda r, n: r.choice(9, n // 5, p=[0.4] + [0.075] * 8),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_level_and_broken_twin(name):
    kind, right, wrong = CASES[name]
    rng = np.random.default_rng(1)
    null = [marginal_test(right(rng, 400), right(rng, 500), kind, seed=i).p_value for i in range(150)]
    # Super-uniform (steps of a discrete statistic make it conservative), and not by much.
    above = stats.kstest(null, "uniform", alternative="greater").pvalue
    assert above > 1e-3, "too many small p-values"
    assert np.mean(null) < 0.65
    twin = [marginal_test(right(rng, 400), wrong(rng, 500), kind, seed=i).p_value for i in range(20)]
    assert np.mean(np.array(twin) < 0.05) > 0.7
    assert stats.kstest(twin, "uniform", alternative="greater").pvalue < 1e-3


def test_continuous_p_values_are_uniform():
    rng = np.random.default_rng(0)
    for kind in ("numeric", "circular"):
        null = [marginal_test(rng.random(401), rng.random(307), kind).p_value for _ in range(400)]
        assert stats.kstest(null, "uniform").pvalue > 1e-3
        squared = np.square(null)  # the broken twin: p-values that are too small
        assert stats.kstest(squared, "uniform").pvalue < 1e-3


def test_agrees_with_scipy_where_scipy_holds():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=800), rng.normal(0.1, 1, 900)
    ours, theirs = marginal_test(x, y), stats.ks_2samp(x, y)
    assert ours.statistic == pytest.approx(theirs.statistic)  # pyright: ignore[reportAttributeAccessIssue]
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=0.1)  # pyright: ignore[reportAttributeAccessIssue]
    a, b = rng.integers(0, 4, 300), rng.integers(0, 4, 400)
    table = np.stack([np.bincount(a, minlength=4), np.bincount(b, minlength=4)])
    result = stats.chi2_contingency(table, correction=False)
    assert marginal_test(a, b, "category").p_value == pytest.approx(result.pvalue)  # pyright: ignore


def test_the_asymptotic_law_would_be_wrong_under_ties():
    """Why labels are permuted: with repeated values the formula for continuous ones sees almost nothing."""
    x, y = np.arange(500) < 250, np.arange(500) < 290
    result = marginal_test(x, y)
    assert result.method == "permutation"
    assert result.p_value < 0.5 * float(stats.kstwobign.sf(result.statistic * math.sqrt(250)))


def test_kuiper_does_not_depend_on_the_cut():
    rng = np.random.default_rng(0)
    x, y = rng.vonmises(0, 2, 300) % 6.28, rng.vonmises(0.3, 2, 300) % 6.28
    first = marginal_test(x, y, "circular", period=6.28)
    turned = marginal_test(x + 2, y + 2 - 6.28, "circular", period=6.28)
    assert first.statistic == pytest.approx(turned.statistic)
    plain = [marginal_test((x + turn) % 6.28, (y + turn) % 6.28).statistic for turn in (0.0, 3.0)]
    assert abs(plain[0] - plain[1]) > 1e-3  # the twin: Kolmogorov-Smirnov does
    assert kuiper_p(0.0, 10.0) == 1.0


def test_missing_values_of_every_kind():
    values = np.array(["a", None, "b", float("nan")] * 50, object)
    there = np.array(["a", "b"] * 100, object)
    result = marginal_test(values, there, "category")
    assert result.missing_data == 0.5
    assert result.missing_samples == 0.0
    assert result.p_value < 1e-6
    gone = marginal_test(np.full(50, np.nan), np.arange(50.0))
    assert math.isnan(gone.statistic)
    assert gone.p_value < 1e-6
    assert marginal_test(np.full(50, np.nan), np.full(50, np.nan)).p_value == 1.0


def test_levels_the_data_lack_are_counted():
    result = marginal_test(["a"] * 50 + ["b"] * 50, ["a"] * 50 + ["c"] * 50, "category")
    assert "50 samples have levels that the data lack" in result.sentence


def test_many_columns_and_holm():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 40)), rng.normal(size=(300, 40))
    result = marginal_tests(x, y)
    assert result.rejected_holm == ()
    assert len(result.rejected) <= 2
    assert "0.4 expected by chance" in result.sentence
    y[:, 7] += 1
    broken = marginal_tests(x, y)
    assert broken.rejected_holm == ("7",)
    assert "7 beyond doubt" in broken.sentence


def test_columns_by_name_and_kind():
    rng = np.random.default_rng(0)
    data = {"x": rng.normal(size=100), "c": rng.choice(["u", "v"], 100), "h": rng.integers(0, 24, 100)}
    result = marginal_tests(data, data, {"c": "category", "h": "circular"}, periods={"h": 24})
    assert [test.test for test in result.tests.values()] == ["Kolmogorov-Smirnov", "chi-square", "Kuiper"]
    assert all(test.p_value == 1.0 for test in result.tests.values())
    again = marginal_tests(data, data, {"c": "category", "h": "circular"}, periods={"h": 24})
    assert again == result


def test_refusals():
    with pytest.raises(ValueError, match="kind"):
        marginal_test([1.0], [1.0], "ordinal")  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="infinity"):
        marginal_test([1.0, np.inf], [1.0])
    with pytest.raises(ValueError, match="period"):
        marginal_test([1.0], [1.0], period=3)
    with pytest.raises(ValueError, match="same columns"):
        marginal_tests({"a": [1.0]}, {"b": [1.0]})
    with pytest.raises(ValueError, match="kinds"):
        marginal_tests(np.zeros((3, 2)), np.zeros((3, 2)), ["numeric"])
    with pytest.raises(ValueError, match=r"\(n,\)"):
        marginal_test([], [1.0])
