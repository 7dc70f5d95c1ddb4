"""Tails: exact counts under the null, and which columns are heavy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from pushforward.metrics import tail_exceedances, tail_index
from pushforward.metrics.tails import _beta_binomial_tails

LIGHT = {
    "normal": lambda r, n: r.normal(size=n),
    "uniform": lambda r, n: r.random(n),
    "exponential": lambda r, n: r.exponential(size=n),
    "lognormal": lambda r, n: r.lognormal(0, 0.5, n),
    "rounded": lambda r, n: np.round(r.normal(size=n), 1),
    "clipped": lambda r, n: np.clip(r.normal(size=n), -1, 1),
}
HEAVY = {
    "t3": (lambda r, n: r.standard_t(3, n), 3),
    "t2": (lambda r, n: r.standard_t(2, n), 2),
    "cauchy": (lambda r, n: r.standard_cauchy(n), 1),
    "pareto": (lambda r, n: r.pareto(2, n), 2),
}


@pytest.mark.parametrize("k", [0, 3, 20, 60])
def test_beta_binomial_is_scipys(k):
    law = stats.betabinom(1000, 20, 980)
    below, above = _beta_binomial_tails(k, 1000, 20, 980)
    assert below == pytest.approx(law.cdf(k), rel=1e-9)
    assert above == pytest.approx(law.sf(k - 1), rel=1e-6)


def test_p_values_under_the_null_and_without_the_error_of_the_threshold():
    """Samples are no more than the data here: counted as if the threshold were exact, far too many would fail."""
    rng = np.random.default_rng(0)
    lines = [tail_exceedances(rng.normal(size=20_000), rng.normal(size=5000), [0.01]).lines[0] for _ in range(300)]
    p_values = np.array([line.p_value for line in lines])
    # One-sided: steps and the doubling of the smaller tail make it conservative.
    assert stats.kstest(p_values, "uniform", alternative="greater").pvalue > 1e-3
    assert np.mean(p_values) < 0.6
    naive = [stats.binomtest(line.observed, 20_000, 0.01).pvalue for line in lines]
    assert stats.kstest(naive, "uniform", alternative="greater").pvalue < 1e-6


def test_too_light_and_too_heavy_are_found_on_the_right_side():
    rng = np.random.default_rng(0)
    model = rng.normal(size=100_000)
    skewed = np.where(rng.random(20_000) < 0.5, rng.standard_t(2, 20_000), rng.normal(size=20_000))
    skewed = np.where(skewed < 0, -np.abs(rng.normal(size=20_000)), skewed)
    result = tail_exceedances(skewed, model)
    found = {(line.side, line.level): line.verdict for line in result.lines}
    assert found["upper", 1e-3] == "model too light"
    assert found["lower", 1e-3] == "as expected"
    assert found["upper", 1e-4] == "not enough samples"
    assert "contradict" in result.sentence
    light = tail_exceedances(rng.uniform(-2, 2, 20_000), model, [1e-2])
    assert [line.verdict for line in light.lines] == ["model too heavy"] * 2
    assert [math.copysign(1, line.threshold) for line in light.lines] == [1, -1]


def test_the_interval_is_clopper_and_pearsons():
    rng = np.random.default_rng(0)
    line = tail_exceedances(rng.normal(size=3000), rng.normal(size=30_000), [0.01]).lines[0]
    exact = stats.binomtest(line.observed, 3000).proportion_ci(0.95, "exact")
    assert (line.low, line.high) == pytest.approx((exact.low, exact.high))


def test_repeated_values():
    rng = np.random.default_rng(0)
    lines = tail_exceedances(rng.poisson(3, 5000), rng.poisson(3, 50_000)).lines
    assert not {"model too light", "model too heavy"} & {line.verdict for line in lines}
    clipped = tail_exceedances(np.minimum(rng.normal(size=500), 0), np.minimum(rng.normal(size=50_000), 0), [0.01])
    assert [line.verdict for line in clipped.lines] == ["ties", "as expected"]
    assert "Nothing" not in clipped.sentence


def test_nothing_can_be_said_without_samples():
    result = tail_exceedances(np.arange(100.0), np.arange(100.0), [1e-3])
    assert all(line.verdict == "not enough samples" and line.observed == -1 for line in result.lines)
    assert "20,000 needed" in result.lines[0].sentence
    assert "draw more samples" in result.sentence


@pytest.mark.parametrize("name", LIGHT)
def test_light_columns_are_not_heavy(name):
    rng = np.random.default_rng(0)
    for n, repetitions, allowed in ((500, 100, 4), (3000, 100, 4), (30_000, 10, 1)):
        heavy = [tail_index(LIGHT[name](rng, n)).heavy for _ in range(repetitions)]
        assert sum(heavy) <= allowed, n


@pytest.mark.parametrize("name", HEAVY)
def test_heavy_columns_are(name):
    draw, alpha = HEAVY[name]
    rng = np.random.default_rng(0)
    results = [tail_index(1e3 * draw(rng, 2000) - 50) for _ in range(100)]
    assert np.mean([result.heavy for result in results]) > 0.85  # 0.9 and more in a thousand runs
    df = [result.df for result in results if result.df is not None]
    assert 0.6 * alpha < np.median(df) < 1.4 * alpha
    large = tail_index(draw(rng, 50_000))
    assert large.heavy
    assert large.upper == pytest.approx(alpha, rel=0.25)
    assert "Student-t" in large.sentence


def test_the_side_is_the_right_one():
    result = tail_index(-np.random.default_rng(0).pareto(1.5, 5000))
    assert result.lower == pytest.approx(1.5, rel=0.3)
    assert result.upper == math.inf
    assert result.heavy


def test_scale_does_not_matter():
    x = np.random.default_rng(0).standard_t(2, 1000)
    plain, huge = tail_index(x), tail_index(x * 1e300)
    assert huge.upper == pytest.approx(plain.upper)
    assert huge.heavy == plain.heavy


def test_few_rows_and_constants_are_not_judged():
    for x in (np.arange(20.0), np.zeros(500), np.arange(500) % 2.0):
        result = tail_index(x)
        assert not result.heavy
        assert result.df is None
    assert "too few rows" in tail_index(np.arange(20.0)).sentence


def test_refusals():
    with pytest.raises(ValueError, match="finite"):
        tail_index([1.0, np.nan])
    with pytest.raises(ValueError, match="finite"):
        tail_exceedances([np.inf], [1.0])
    with pytest.raises(ValueError, match="levels"):
        tail_exceedances([1.0], [1.0], [0.7])
