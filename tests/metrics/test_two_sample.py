"""The classifier test: honest under the null, copies included, and sees shifts, dependence and categories."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pushforward.metrics import c2st


def test_p_values_under_the_null():
    rng = np.random.default_rng(0)
    results = [c2st(rng.normal(size=(60, 2)), rng.normal(size=(60, 2)), seed=i, folds=2, n_null=5) for i in range(16)]
    p_values = [result.p_value for result in results]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3
    assert abs(np.mean([result.auc for result in results]) - 0.5) < 0.05
    assert stats.kstest(np.array(p_values) ** 4, "uniform").pvalue < 1e-3  # the twin: p-values that are too small


def shifted(rng, n):
    return rng.normal([0.3, 0, 0], 1, (n, 3))


def dependent(rng, n):
    x = rng.normal(size=(n, 3))
    x[:, 1] = 0.6 * x[:, 0] + 0.8 * x[:, 1]  # the same normal columns, no longer independent
    return x


@pytest.mark.parametrize("broken", [shifted, dependent])
def test_power(broken):
    rng = np.random.default_rng(0)
    result = c2st(rng.normal(size=(1000, 3)), broken(rng, 1000), seed=0, folds=3, n_null=5)
    assert result.p_value < 0.01
    assert result.auc > 0.54
    assert "differ" in result.sentence


def test_categories_are_no_amounts():
    """Every other level is more frequent in the one set: as amounts, eight leaves a tree could not follow it."""
    rng = np.random.default_rng(0)
    even = rng.permutation(100) % 2 == 0
    p = np.where(even, 1.5, 0.5) / 100
    a, b = rng.integers(0, 100, (800, 1)), rng.choice(100, (800, 1), p=p / p.sum())
    named = c2st(a, b, categorical=[0], folds=2, n_null=3)
    assert named.p_value < 0.01


def test_copies_within_one_set_are_no_difference():
    """Each row twice: its copy in another fold would give it away."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(150, 2)), rng.normal(size=(300, 2))
    result = c2st(np.concatenate([x, x]), y, folds=3, n_null=5)
    assert result.copies == 150
    assert result.rows == (150, 300)
    assert result.p_value > 0.01
    both = c2st(x, x, folds=2, n_null=3)  # every sample copies a row: all ranks are tied in pairs
    assert both.auc == pytest.approx(0.5, abs=0.05)


def test_values_that_repeat_by_chance_all_count():
    rng = np.random.default_rng(0)
    result = c2st(rng.integers(0, 3, (100, 2)), rng.integers(0, 3, (100, 2)), folds=2, n_null=3)
    assert result.copies == 0
    assert result.rows == (100, 100)


def test_missing_values_are_seen():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(300, 1)), rng.normal(size=(300, 1))
    b[:120] = np.nan
    assert c2st(a, b, folds=2, n_null=4).p_value < 0.01


def test_the_same_seed_gives_the_same():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(60, 1)), rng.normal(size=(60, 1))
    first, again = (c2st(a, b, seed=5, folds=2, n_null=3) for _ in range(2))
    assert first.auc == again.auc
    np.testing.assert_array_equal(first.null, again.null)


def test_refusals():
    x = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.raises(ValueError, match="shape"):
        c2st(x, x[:, :1])
    with pytest.raises(ValueError, match="at least 20"):
        c2st(x[:10], x)
    with pytest.raises(ValueError, match="folds"):
        c2st(x, x, folds=1)
    with pytest.raises(ValueError, match="categorical"):
        c2st(x, x, categorical=[2])
    with pytest.raises(ValueError, match="infinity"):
        c2st(x, np.where(x > 1, np.inf, x))
