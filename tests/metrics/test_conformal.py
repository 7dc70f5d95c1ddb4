"""Conformal p-values: their formulas, their level on clean rows, and twins whose level is wrong."""

from __future__ import annotations

import numpy as np
import pytest

from pushforward.metrics import conformal_p_values, covariate_shift_weights, cross_conformal_p_values

LEVELS = (0.01, 0.05, 0.1, 0.2, 0.5)


def holds(p: np.ndarray) -> bool:
    """Whether clean p-values are at most each level as often as the level says, within three standard errors."""
    return all((p <= a).mean() <= a + 3 * np.sqrt(a * (1 - a) / len(p)) for a in LEVELS)


def test_the_formula_with_ties_and_infinities():
    known, own = np.array([1.0, 2.0, 2.0, np.inf]), np.array([-np.inf, 2.0, 2.5, np.inf])
    brute = [(1 + (known >= s).sum()) / 5 for s in own]
    assert conformal_p_values(known, own).tolist() == brute


def test_weights_of_one_change_nothing_and_others_follow_the_formula():
    rng = np.random.default_rng(0)
    known, own, w, v = rng.normal(size=30), rng.normal(size=9), rng.random(30), rng.random(9)
    plain = conformal_p_values(known, own)
    np.testing.assert_allclose(conformal_p_values(known, own, weights=np.ones(30), own_weights=np.ones(9)), plain)
    brute = [(v[j] + w[known >= own[j]].sum()) / (v[j] + w.sum()) for j in range(9)]
    np.testing.assert_allclose(conformal_p_values(known, own, weights=w, own_weights=v), brute)


def test_the_level_holds_on_clean_rows_and_not_without_the_row_itself():
    rng = np.random.default_rng(1)
    rows = rng.exponential(size=(4000, 20))
    p = np.array([conformal_p_values(row[:-1], row[-1:])[0] for row in rows])
    assert holds(p)
    assert abs((p <= 0.1).mean() - 0.1) < 0.015  # exact where 1 / (n + 1) divides the level
    assert not holds(p * 20 / 19 - 1 / 19)  # #{s_i >= s} / n


def test_a_calibration_set_that_the_model_has_seen_fails():
    """The score is the distance to the nearest of the rows of the fit."""
    rng = np.random.default_rng(2)

    def p_of(calibrate_on_fit: bool) -> np.ndarray:
        found = []
        for _ in range(600):
            fitted, held, row = np.split(rng.normal(size=(41, 3)), [20, 40])
            used = fitted if calibrate_on_fit else held
            near = np.sort(np.linalg.norm(used[:, None] - fitted, axis=2), axis=1)[:, int(calibrate_on_fit) * 0]
            found.append(conformal_p_values(near, np.linalg.norm(row[:, None] - fitted, axis=2).min(axis=1))[0])
        return np.array(found)

    assert holds(p_of(False))
    assert not holds(p_of(True))


def test_covariate_shift_needs_the_weights():
    rng = np.random.default_rng(3)
    known, own = rng.normal(size=(400, 150)), rng.normal(0.8, 1, size=400)

    def p_of(weighted: bool) -> np.ndarray:
        w, v = (np.exp(0.8 * known), np.exp(0.8 * own)) if weighted else (np.ones_like(known), np.ones_like(own))
        each = zip(known, own, w, v, strict=True)
        return np.array([conformal_p_values(k, [s], weights=a, own_weights=[b])[0] for k, s, a, b in each])

    assert holds(p_of(True))
    assert not holds(p_of(False))


def test_estimated_weights_follow_a_shift_of_the_means():
    rng = np.random.default_rng(4)
    reference, rows = rng.normal(size=(3000, 2)), rng.normal([1.0, 0.0], 1.0, size=(2000, 2))
    w, own = covariate_shift_weights(reference, rows)
    exact = np.exp(reference[:, 0] - 0.5)
    assert np.corrcoef(np.log(w), np.log(exact))[0, 1] > 0.99
    assert abs(w.mean() - 1) < 0.1
    p = conformal_p_values(reference[:, 0], rows[:, 0], weights=w, own_weights=own)
    right = conformal_p_values(reference[:, 0], rows[:, 0], weights=exact, own_weights=np.exp(rows[:, 0] - 0.5))
    assert np.abs(p - right).mean() < 0.02
    assert (conformal_p_values(reference[:, 0], rows[:, 0]) <= 0.1).mean() > 0.3


def test_cross_conformal_p_values_use_every_row_and_only_unseen_ones():
    """The model is the mean of its rows, and the score the distance from it, in 12 rows of 8 columns."""
    rng = np.random.default_rng(5)
    folds = np.arange(12) % 3

    def p_of(seen: bool) -> np.ndarray:
        found = []
        for _ in range(1500):
            rows, own = np.split(rng.normal(size=(13, 8)), [12])
            means = np.stack([rows.mean(axis=0) if seen else rows[folds != k].mean(axis=0) for k in range(3)])
            known = np.linalg.norm(rows - means[folds], axis=1)
            found.append(cross_conformal_p_values(known, np.linalg.norm(own - means, axis=1)[None])[0])
        return np.array(found)

    unseen = p_of(False)
    assert holds(unseen)
    assert set(np.unique(np.round(unseen * 13))) <= set(range(1, 14))
    assert not holds(p_of(True))


def test_the_level_is_exact_for_models_that_disagree_where_the_mean_of_models_is_not():
    """Each model adds an error of its own to a row's score, as networks of a few rows do."""
    rng = np.random.default_rng(6)
    n, m, k = 1000, 20_000, 5
    known = rng.normal(size=n) + 2 * rng.exponential(size=n)
    own = rng.normal(size=m)[:, None] + 2 * rng.exponential(size=(m, k))
    p = cross_conformal_p_values(known, own)
    assert abs((p <= 0.05).mean() - 0.05) < 3 * np.sqrt(0.05 * 0.95 * (1 / n + 1 / m))
    assert (conformal_p_values(known, own.mean(axis=1)) <= 0.05).mean() < 0.01
    # A row has one p-value, whatever stands beside it.
    np.testing.assert_array_equal(cross_conformal_p_values(known, own[7:9]), p[7:9])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: conformal_p_values([], [1.0]), "expected numbers of shape"),
        (lambda: conformal_p_values([1.0, np.nan], [1.0]), "NaN in 1 rows"),
        (lambda: conformal_p_values([1.0], [1.0], weights=[1.0]), "both kinds"),
        (lambda: conformal_p_values([1.0], [1.0], weights=[-1.0], own_weights=[1.0]), "finite weights >= 0"),
        (lambda: conformal_p_values([1.0], [1.0], weights=[0.0], own_weights=[0.0]), "a weight above zero"),
        (lambda: cross_conformal_p_values([1.0, 2.0], [[1.0, np.nan]]), "NaN in 1 rows"),
    ],
)
def test_mistakes_are_explained(call, words):
    with pytest.raises(ValueError, match=words):
        call()
