"""Baselines: closed forms, normalisation, units, and that nothing odd in the data breaks or weakens them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from pushforward.metrics import Baseline, baselines, compare
from pushforward.metrics.kernel_baseline import kernel_density


def rows(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_gaussian_is_the_closed_form():
    train, held_out = rows(300, 3) @ rows(3, 3, 5) + 4, rows(200, 3, 1) @ rows(3, 3, 5) + 4
    gaussian = baselines(train, held_out)[0]
    biased: Any = np.cov(train.T, bias=True)
    exact = stats.multivariate_normal(train.mean(0), biased).logpdf(held_out)
    np.testing.assert_allclose(gaussian.per_row, exact, rtol=1e-9)
    assert gaussian.nats == pytest.approx(exact.mean())
    assert gaussian.standard_error == pytest.approx(exact.std(ddof=1) / math.sqrt(200))
    unbiased = stats.multivariate_normal(train.mean(0), biased * 300 / 299).logpdf(held_out)
    assert abs(unbiased.mean() - gaussian.nats) > 1e-4  # the twin: not the maximum-likelihood covariance


def test_kernel_density_normalises_and_agrees_with_scikit_learn():
    from sklearn.neighbors import KernelDensity

    train = np.random.default_rng(0).gamma(2.0, 50.0, (200, 1))
    grid = np.linspace(-300, 1200, 4001)[:, None]
    kde = baselines(train, grid)[2]
    step = float(grid[1, 0] - grid[0, 0])
    assert np.exp(kde.per_row).sum() * step == pytest.approx(1, abs=1e-6)
    peak = train.std() / 200**0.2
    widths = np.geomspace(peak / 4, peak * 2, 9)
    left_out = []
    for width in widths:
        each = [
            KernelDensity(bandwidth=width).fit(np.delete(train, i, 0)).score_samples(train[i : i + 1])[0]
            for i in range(0, 200, 10)
        ]
        left_out.append(np.mean(each))
    best = KernelDensity(bandwidth=widths[int(np.argmax(left_out))]).fit(train).score_samples(grid[850:1700])
    assert np.abs(best - kde.per_row[850:1700]).mean() < 0.3  # much the same density, though chosen on a coarse grid
    at = float(kde.detail.split("bandwidth ")[1].split(" ")[0])
    quartiles = np.subtract(*np.quantile(train, [0.75, 0.25])) / 1.349
    same = KernelDensity(bandwidth=at * min(quartiles, train.std())).fit(train).score_samples(grid[850:1700])
    np.testing.assert_allclose(same, kde.per_row[850:1700], atol=0.05)  # the detail has three digits


def test_the_bandwidth_is_the_best_one_left_out():
    x, w = rows(300, 2), np.full(300, 1 / 300)
    found, detail = kernel_density(x, w, rows(2000, 2, 1), 0, 1e12)
    assert "Scott" in detail
    squares = ((rows(2000, 2, 1)[:, None] - x) ** 2).sum(-1)
    for h in (0.1, 1.2):  # clearly too narrow and too wide
        other = np.log(np.exp(-squares / (2 * h * h)).mean(1) / (2 * np.pi * h * h))
        assert found.mean() > other.mean()


def test_a_mixture_beats_the_gaussian_where_there_is_one():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [8, 0], [0, 8]])
    x = centres[rng.integers(0, 3, 1500)] + rng.normal(size=(1500, 2))
    gaussian, mixture, kernel = baselines(x[:1000], x[1000:])
    assert mixture.detail.startswith("3 components")
    parts = [stats.multivariate_normal(centre).pdf(x[1000:]) for centre in centres]
    truth = np.log(np.mean(parts, axis=0))
    assert abs(mixture.nats - truth.mean()) < 0.03
    assert gaussian.nats < kernel.nats < mixture.nats
    model, *_ = compare(truth, [mixture])
    assert "told apart" in model.sentence
    gain = compare(truth, [gaussian])[0]
    assert gain.gain > 10 * gain.standard_error
    assert "beats" in gain.sentence
    assert "worse" in compare(truth - 1, [mixture])[0].sentence


def test_one_component_where_the_data_are_normal():
    mixture = baselines(rows(400, 2), rows(100, 2, 1))[1]
    assert mixture.detail.startswith("1 component,")


def test_units_shift_the_log_density_by_their_logarithm():
    train, held_out = rows(150, 2), rows(50, 2, 1)
    scale = np.array([1e-200, 1e250])
    plain, scaled = baselines(train, held_out), baselines(train * scale, held_out * scale)
    for a, b in zip(plain, scaled, strict=True):
        np.testing.assert_allclose(a.per_row, b.per_row + np.log(scale).sum(), rtol=1e-6)
    moved = baselines(train + 1e6, held_out + 1e6)
    for a, b in zip(plain, moved, strict=True):
        np.testing.assert_allclose(a.nats, b.nats, atol=1e-4)


def test_a_weight_of_two_is_the_row_twice():
    train, held_out = rows(120, 2), rows(60, 2, 1)
    weights = np.where(np.arange(120) < 40, 2.0, 1.0)
    twice = np.concatenate([train, train[:40]])
    for a, b in zip(baselines(train, held_out, weights=weights), baselines(twice, held_out), strict=True):
        assert a.nats == pytest.approx(b.nats, abs=0.03), a.name
    gaussian = baselines(train, held_out, weights=weights)[0], baselines(twice, held_out)[0]
    np.testing.assert_allclose(gaussian[0].per_row, gaussian[1].per_row, rtol=1e-9)
    assert abs(baselines(train, held_out)[0].nats - gaussian[0].nats) > 1e-4  # the twin: weights do count
    v = np.where(np.arange(60) < 20, 2.0, 1.0)
    assert baselines(train, held_out, held_out_weights=v)[0].nats == pytest.approx(
        np.average(baselines(train, held_out)[0].per_row, weights=v)
    )


def test_few_rows_many_columns():
    train, held_out = rows(20, 60), rows(30, 60, 1)
    gaussian, mixture, kernel = baselines(train, held_out)
    assert "singular" in gaussian.detail
    # Not far from the truth, which no singular covariance is.
    assert gaussian.nats > -60 * 1.42 - 30
    assert math.isnan(mixture.nats)
    assert "too few" in mixture.detail
    assert "could not be fitted" in mixture.sentence
    assert np.isfinite(kernel.nats)
    assert "nothing to compare" in compare(np.zeros(30), [mixture])[0].sentence


def test_three_rows_and_one_column():
    for baseline in baselines(rows(3, 1), rows(1, 1, 1)):
        assert np.isfinite(baseline.nats)
        assert math.isnan(baseline.standard_error)


def test_copies_do_not_fool_the_bandwidth():
    """A row left out finds its copy: without care the best bandwidth is the smallest one."""
    train, held_out = rows(200, 2), rows(100, 2, 1)
    once, twice = baselines(train, held_out)[2], baselines(np.concatenate([train, train]), held_out)[2]
    assert abs(once.nats - twice.nats) < 0.02


def test_repeated_values_and_heavy_tails_stay_finite():
    rng = np.random.default_rng(0)
    for train in (rng.integers(0, 4, (200, 2)).astype(float), rng.standard_cauchy((300, 1))):
        for baseline in baselines(train[:150], train[150:], max_seconds=2):
            assert np.isfinite(baseline.nats), baseline.sentence


def test_the_same_seed_gives_the_same_and_max_rows_is_said():
    train, held_out = rows(500, 2), rows(50, 2, 1)
    first, again = (baselines(train, held_out, max_rows=100, seed=3) for _ in range(2))
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a.per_row, b.per_row)
    assert "100 of 500 rows" in first[2].detail
    assert "100 of" not in first[0].detail
    assert np.any(baselines(train, held_out, max_rows=100, seed=4)[2].per_row != first[2].per_row)


def test_what_cannot_be_used_is_refused():
    good = rows(10, 3)
    with pytest.raises(ValueError, match=r"constant in columns \[1\]"):
        baselines(good * [1, 0, 1], good)
    with pytest.raises(ValueError, match="shape"):
        baselines(good, good[:, :2])
    with pytest.raises(ValueError, match="finite"):
        baselines(good, np.where(good > 1, np.nan, good))
    with pytest.raises(ValueError, match="weights"):
        baselines(good, good, weights=-np.ones(10))
    with pytest.raises(TypeError, match="seed"):
        baselines(good, good, seed=None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="shape"):
        compare(np.zeros(3), [Baseline("Gaussian", 0.0, 0.1, "", np.zeros(4))])


def test_a_model_with_zero_density_or_nan_is_called_so():
    baseline = Baseline("Gaussian", -1.0, 0.1, "", np.full(4, -1.0))
    assert "density zero under the model" in compare([0, 0, -np.inf, 0], [baseline])[0].sentence
    nan = compare([0, 0, np.nan, 0], [baseline])[0]
    assert math.isnan(nan.gain)
    assert "NaN" in nan.sentence


def test_the_error_is_that_of_paired_differences():
    hard = np.linspace(-50, 0, 100)
    gain = compare(hard + 0.1, [Baseline("Gaussian", -25.0, 1.5, "", hard)])[0]
    assert gain.gain == pytest.approx(0.1)
    assert gain.standard_error < 1e-9


def test_a_row_out_of_all_bounds_has_density_zero():
    held_out = rows(20, 2, 1)
    held_out[3] = 1e300
    for baseline in baselines(rows(100, 2), held_out):
        assert baseline.per_row[3] == -np.inf, baseline.name
        assert np.isfinite(np.delete(baseline.per_row, 3)).all()
        assert baseline.nats == -np.inf
        assert baseline.name in compare(np.zeros(20), [baseline])[0].sentence
