"""Memorisation: level under the null, for poor models too; copies and near-copies are found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from pushforward.metrics import memorisation, nearness


@pytest.mark.parametrize("poor", [False, True])
def test_p_values_are_uniform_under_the_null(poor):
    rng = np.random.default_rng(0)

    def once():
        samples = rng.normal(size=(400, 2))
        samples = 2 * samples + 1 if poor else samples
        return memorisation(rng.normal(size=(200, 2)), rng.normal(size=(150, 2)), samples)

    results = [once() for _ in range(150)]
    assert stats.kstest([result.p_value for result in results], "uniform").pvalue > 1e-3
    # The twin: samples counted as if independent, though many of a poor model's share a neighbour.
    naive = [
        stats.binomtest(round(r.closer * 400), 400, r.closer_expected, alternative="greater").pvalue for r in results
    ]
    assert not poor or stats.kstest(naive, "uniform").pvalue < 1e-3


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_copies_with_a_little_noise(share):
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(1000, 3)), rng.normal(size=(1000, 3))
    samples = rng.normal(size=(1000, 3))
    assert not memorisation(train, held_out, samples).memorised
    count = int(share * 1000)
    samples[:count] = train[:count] + 0.01 * rng.normal(size=(count, 3))
    result = memorisation(train, held_out, samples)
    assert result.memorised
    assert result.copies == 0
    assert result.closer > result.closer_expected + share / 4
    assert "gives back rows" in result.sentence


def test_exact_copies():
    rng = np.random.default_rng(0)
    train, held_out = rng.normal(size=(300, 2)), rng.normal(size=(300, 2))
    samples = np.concatenate([train[:30], rng.normal(size=(270, 2))])
    result = memorisation(train, held_out, samples)
    assert result.copies == pytest.approx(0.1)
    assert result.copies_held_out == 0
    assert result.copies_p_value < 1e-6


def test_equal_rows_that_the_data_explain_are_no_copies():
    rng = np.random.default_rng(0)
    train, held_out, samples = (rng.integers(-1, 2, (400, 3)) * 1.0 for _ in range(3))
    result = memorisation(train, held_out, samples * 1.0)
    assert result.copies > 0.9
    assert result.copies_held_out > 0.9
    assert not result.memorised


def test_ratio():
    rng = np.random.default_rng(0)
    train, held_out = (
        rng.normal(size=(500, 4)) * [1, 1e200, 1e-200, 5],
        rng.normal(size=(500, 4)) * [1, 1e200, 1e-200, 5],
    )
    assert memorisation(train, held_out, held_out[::-1]).ratio == pytest.approx(1)
    assert memorisation(train, held_out, train).ratio == 0
    assert memorisation(train, held_out, 10 * held_out).ratio > 3
    small = [memorisation(train, held_out, held_out, max_rows=100, seed=1).ratio for _ in range(2)]
    assert small[0] == small[1]


def test_refusals():
    x = np.zeros((5, 2))
    with pytest.raises(ValueError, match="shape"):
        memorisation(x, x[:, :1], x)
    with pytest.raises(ValueError, match="finite"):
        memorisation(x, x, x + np.nan)
    with pytest.raises(ValueError, match="at least 2"):
        memorisation(x, x[:1], x)


@pytest.mark.parametrize("share", [0.2, 1.0])
def test_copies_are_found_without_held_out_rows(share):
    rng = np.random.default_rng(0)
    data, samples = rng.normal(size=(800, 3)), rng.normal(size=(800, 3))
    assert not nearness(data, samples).copied
    count = int(share * 800)
    samples[:count] = data[:count] + 0.01 * rng.normal(size=(count, 3))
    near = nearness(data, samples)
    assert near.copied
    assert near.copies == 0
    assert near.near > 2 * near.near_expected
    samples[:count] = data[:count]
    assert nearness(data, samples).copied
    assert nearness(data, samples).copies == pytest.approx(share)


def test_fresh_rows_are_seldom_called_copies():
    rng = np.random.default_rng(0)
    found = [nearness(rng.normal(size=(150, 2)), rng.normal(size=(150, 2))) for _ in range(100)]
    assert sum(near.copied for near in found) <= 1
    # The twin: as if rows that are each other's nearest were independent.
    z = np.array([(near.near - near.near_expected) / np.sqrt(near.near * 0.95 * 2 / 150 + 1e-9) for near in found])
    assert z.std() > 1.05
    assert np.mean([near.near for near in found]) == pytest.approx(0.05, abs=0.015)
    assert np.mean([near.ratio for near in found]) == pytest.approx(1, abs=0.05)


def test_equal_rows_of_discrete_data_are_no_copies_without_held_out_rows():
    rng = np.random.default_rng(0)
    data, samples = (rng.integers(-3, 4, (400, 3)) * 1.0 for _ in range(2))
    found = nearness(data, samples)
    assert found.copies > 0.5
    assert not found.copied
    assert nearness(data, data[rng.permutation(400)]).copied


def test_the_second_nearest_of_repeated_rows_is_the_other_one():
    data = np.repeat(np.arange(6.0)[:, None], 2, axis=0)
    found = nearness(data, np.arange(6.0)[:, None] + 0.25)
    assert found.copies_expected == 1
    assert np.isnan(found.ratio)
    assert np.isnan(found.near)
    assert not found.copied
