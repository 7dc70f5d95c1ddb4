"""Selections at a false discovery rate, and the bound for any selection, beside twins that promise too much."""

from __future__ import annotations

import numpy as np
import pytest

from pushforward.metrics import (
    benjamini_hochberg,
    conformal_p_values,
    false_discovery_bound,
    weighted_selection,
)
from pushforward.metrics.false_discoveries import selected_threshold


def rates(select, *, runs: int, seed: int):
    """False discovery proportions and shares of 20 anomalies found, over runs with 80 clean rows."""
    rng, false, found = np.random.default_rng(seed), [], []
    for _ in range(runs):
        known, clean = rng.normal(size=300), rng.normal(size=80)
        own = np.append(clean, rng.normal(4.0, 1.0, size=20))
        chosen = select(known, own)
        false.append(chosen[:80].sum() / max(chosen.sum(), 1))
        found.append(chosen[80:].mean())
    return np.array(false), np.array(found)


def at_most(values: np.ndarray, level: float) -> bool:
    return values.mean() <= level + 3 * values.std() / np.sqrt(len(values))


def test_benjamini_and_hochberg_hold_the_rate_and_a_cut_at_the_rate_does_not():
    false, found = rates(lambda k, s: benjamini_hochberg(conformal_p_values(k, s), 0.1), runs=300, seed=0)
    assert at_most(false, 0.1)
    assert found.mean() > 0.7
    false, _ = rates(lambda k, s: conformal_p_values(k, s) <= 0.1, runs=300, seed=0)
    assert not at_most(false, 0.1)


def test_counts_of_p_values_say_the_same():
    rng = np.random.default_rng(1)
    for size in (0.0, 2.0, 4.0):
        p = conformal_p_values(rng.normal(size=99), np.append(rng.normal(size=40), rng.normal(size, 1, 10)))
        counts = np.bincount(np.rint(p * 100).astype(int) - 1, minlength=100)
        k = selected_threshold(counts, 0.1)
        np.testing.assert_array_equal(benjamini_hochberg(p, 0.1), p <= k / 100 + 1e-12)


def shifted_rates(weighted: bool) -> np.ndarray:
    """Clean scores are higher in one group, which is a tenth of the calibration rows and half of the others."""
    rng, false, found = np.random.default_rng(2), [], []
    for seed in range(150):
        group, own_group = rng.random(300) < 0.1, rng.random(100) < 0.5
        known, own = rng.normal(2 * group, 1), rng.normal(2 * own_group, 1)
        own[80:] = rng.normal(6, 1, 20)
        w, own_w = (np.where(each, 0.5 / 0.1, 0.5 / 0.9) for each in (group, own_group))
        if weighted:
            chosen = weighted_selection(known, own, w, own_w, 0.2, seed=seed)
        else:
            chosen = benjamini_hochberg(conformal_p_values(known, own), 0.2)
        false.append(chosen[:80].sum() / max(chosen.sum(), 1))
        found.append(chosen[80:].mean())
    assert np.mean(found) > 0.8
    return np.array(false)


def test_weighted_selection_holds_the_rate_under_a_shift_and_the_plain_one_does_not():
    assert at_most(shifted_rates(weighted=True), 0.2)
    assert not at_most(shifted_rates(weighted=False), 0.2)


def test_weighted_selection_is_its_algorithm():
    """Against the algorithm written out row by row."""
    rng = np.random.default_rng(3)
    known, own = rng.normal(size=60), np.append(rng.normal(size=8), rng.normal(3.0, 1.0, size=5))
    w, v, q = rng.random(60) + 0.2, rng.random(13) + 0.2, 0.3
    m, judged = len(own), []
    for j in range(m):
        auxiliary = [
            0.0 if i == j else (w[known >= own[i]].sum() + v[j] * (own[j] >= own[i])) / (w.sum() + v[j])
            for i in range(m)
        ]
        judged.append(benjamini_hochberg(auxiliary, q).sum())
    judged, p = np.array(judged), conformal_p_values(known, own, weights=w, own_weights=v)
    first = p <= q * judged / m
    drawn = judged * np.random.default_rng(7).random()
    sizes = [r for r in range(1, m + 1) if (first & (drawn <= r)).sum() >= r]
    expected = first & (drawn <= max(sizes, default=0))
    assert expected.any()
    np.testing.assert_array_equal(weighted_selection(known, own, w, v, q, seed=7), expected)


def test_the_bound_holds_for_all_cuts_at_once_and_the_expected_count_does_not():
    rng = np.random.default_rng(4)
    bound = false_discovery_bound(200, 300, 0.9)
    k, broken, naive = bound.thresholds, [], []
    for _ in range(600):
        p = conformal_p_values(rng.normal(size=200), rng.normal(size=300))
        counts = np.searchsorted(np.sort(p), k / 201 + 1e-9)
        broken.append((counts > bound.most).any())
        naive.append((counts > 300 * k / 201 + 1.645 * np.sqrt(300 * k / 201)).any())
    broken, naive = np.array(broken, float), np.array(naive, float)
    assert at_most(broken, 0.1)
    assert broken.mean() > 0.04  # it is no larger than it has to be
    assert not at_most(naive, 0.1)


def test_the_bound_of_a_selection_is_the_smallest_over_thresholds():
    rng = np.random.default_rng(5)
    known, own = rng.normal(size=500), np.append(rng.normal(size=150), rng.normal(6, 1, size=50))
    p, bound = conformal_p_values(known, own), false_discovery_bound(500, 200, 0.9)
    chosen = p <= 0.2
    brute = min((chosen & (p > k / 501 + 1e-9)).sum() + b for k, b in zip(bound.thresholds, bound.most, strict=True))
    assert bound.false(p, chosen) == min(brute, chosen.sum())
    assert bound.false(p, chosen) >= (chosen & (np.arange(200) < 150)).sum()
    best = bound.proportion(p, p <= 1 / 501)
    assert best < 0.5
    assert bound.false(p, np.zeros(200, bool)) == 0
    assert bound.proportion(p, np.zeros(200, bool)) == 0
    assert bound.false(p, rng.random(200) < 0.5) <= 100


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: benjamini_hochberg([0.1], 1.0), "a rate between 0 and 1"),
        (lambda: benjamini_hochberg([1.5], 0.1), "p-values from 0 to 1"),
        (lambda: false_discovery_bound(10, 10, 90), "a confidence between 0 and 1"),
        (lambda: false_discovery_bound(0, 10), "a row of each kind"),
        (lambda: false_discovery_bound(10, 10).false([0.5], [True]), "expected 10 rows"),
    ],
)
def test_mistakes_are_explained(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_nothing_to_select_from():
    assert benjamini_hochberg([], 0.1).shape == (0,)
    assert weighted_selection([1.0], [], [1.0], [], 0.1).shape == (0,)
    assert selected_threshold(np.zeros(10, int), 0.1) == 0
