"""Ranks, coverage, TARP and the classifiers: calibrated posteriors pass, and broken twins fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from pushforward.metrics import (
    c2st_accuracy,
    coverage_curve,
    density_levels,
    ecdf_band,
    local_c2st,
    outside_band,
    pairs_needed,
    rank_levels,
    ranks,
    tarp_levels,
    uniformity,
)

N, DRAWS = 2500, 99


def conjugate(shift: float = 0.0, width: float = 1.0, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Pairs of a conjugate model, and draws from its posterior, perhaps shifted or narrowed."""
    rng = np.random.default_rng(seed)
    theta = rng.normal(size=(N, 2))
    x = theta + rng.normal(size=theta.shape)
    sd = np.sqrt(0.5)
    draws = x / 2 + sd * (shift + width * rng.normal(size=(DRAWS, N, 2)))
    q: Any = stats.norm(x / 2 + sd * shift, sd * width)
    return theta, x, draws, q.logpdf(theta).sum(axis=1), q.logpdf(draws).sum(axis=-1)


def p_values(shift: float = 0.0, width: float = 1.0) -> dict[str, float]:
    theta, x, draws, own, others = conjugate(shift, width)
    levels = rank_levels(ranks(draws, theta), DRAWS)
    return {
        "ranks": min(uniformity(levels[:, i]).p_value for i in range(2)),
        "coverage": uniformity(density_levels(others, own)).p_value,
        "tarp": uniformity(tarp_levels(draws, theta, x + 1)).p_value,
    }


def test_a_calibrated_posterior_passes_everything() -> None:
    assert min(p_values().values()) > 0.01


def test_broken_twins_fail() -> None:
    assert p_values(shift=0.1)["ranks"] < 0.005
    assert p_values(width=0.9)["ranks"] < 1e-4
    assert p_values(width=0.9)["coverage"] < 1e-4
    assert p_values(shift=0.3)["tarp"] < 1e-4
    assert pairs_needed(2) < N


def test_the_band_holds_uniform_functions_as_often_as_it_says() -> None:
    grid = np.linspace(0.05, 0.95, 19)
    low, high = ecdf_band(200, grid, confidence=0.9)
    u = np.sort(np.random.default_rng(0).uniform(size=(1000, 200)), axis=1)
    functions = np.stack([np.searchsorted(row, grid, side="right") / 200 for row in u])
    inside = ((functions >= low) & (functions <= high)).all(axis=1).mean()
    assert 0.87 < inside < 0.94
    assert outside_band(u[0] ** 1.5)


def test_levels_of_uniform_numbers_cover_themselves() -> None:
    levels = np.random.default_rng(0).uniform(size=4000)
    np.testing.assert_allclose(coverage_curve(levels, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)


def test_pairs_needed_is_enough_for_a_small_shift() -> None:
    n = pairs_needed()
    rng = np.random.default_rng(0)
    seen = [uniformity(stats.norm.cdf(rng.normal(0.1, 1, n))).p_value < 0.01 for _ in range(60)]
    assert np.mean(seen) > 0.85
    quiet = [uniformity(rng.uniform(size=n)).p_value < 0.01 for _ in range(200)]
    assert np.mean(quiet) < 0.04


def test_the_local_test_sees_a_posterior_that_is_wrong_at_one_observation() -> None:
    rng = np.random.default_rng(0)
    theta, x, draws, *_ = conjugate()
    at = np.array([0.5, 0.5])
    here = at / 2 + np.sqrt(0.5) * rng.normal(size=(300, 2))
    right = local_c2st(theta, draws[0], draws[1:3], x, (here, at), n_null=15)
    wrong = local_c2st(theta, draws[0] + 0.6, draws[1:3] + 0.6, x, (here + 0.6, at), n_null=15)
    assert right.p_value > 0.05
    assert wrong.p_value <= 1 / 16


def test_c2st_accuracy_of_equal_and_of_different_sets() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 400, 2))
    assert abs(c2st_accuracy(a, b, folds=3) - 0.5) < 0.06
    assert c2st_accuracy(a, b + 2, folds=3) > 0.85


def test_errors() -> None:
    with pytest.raises(ValueError, match="Draw for every observation"):
        ranks(np.zeros((3, 4)), np.zeros((4, 1)))
    with pytest.raises(ValueError, match="20 or more levels"):
        uniformity(np.zeros(3))
    with pytest.raises(ValueError, match="n_draws"):
        rank_levels([5], 4)
