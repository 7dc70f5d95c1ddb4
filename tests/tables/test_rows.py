"""Rows scored and drawn in chunks: no size of chunk, no neighbour and no thread has a say in a row's numbers."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward import _programs
from pushforward.tables.modelling import rows
from pushforward.tables.modelling.rows import sample_rows, score_rows


@pytest.fixture(scope="module")
def density():
    x = np.random.default_rng(0).normal(size=(200, 3)) * [1.0, 10.0, 0.1]
    x[:, 1] += x[:, 0] ** 2
    return pf.FlowDensity(n_layers=2, width=8, bins=4, max_epochs=3, verify=False, random_state=0).fit(x)


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(1).normal(size=(9000, 3)) * [1.0, 10.0, 0.1]


def test_a_row_scores_the_same_in_chunks_of_every_size(density, points):
    whole = density.score_samples(points)  # chunks of 4,096 rows, on threads
    for n in (1, 2, 65, 513):
        np.testing.assert_allclose(density.score_samples(points[:n]), whole[:n], rtol=0, atol=1e-12)
    shuffled = np.random.default_rng(2).permutation(len(points))
    np.testing.assert_array_equal(density.score_samples(points[shuffled]), whole[shuffled])


def test_a_longer_sample_begins_with_the_shorter_one(density):
    seed = np.array([3, 4], np.uint32)
    model = density.model_.distribution
    longest = sample_rows(model, seed, 9000, None)
    for n in (1, 7, 100, 1000, 4097):
        np.testing.assert_array_equal(sample_rows(model, seed, n, None), longest[:n])
    assert len(np.unique(longest[:, 0])) == len(longest)
    np.testing.assert_array_equal(sample_rows(model, seed, 9000, None, range(5000, 5100)), longest[5000:5100])


def test_eight_threads_score_what_one_does(density, points):
    parts = np.array_split(points[:4000], 200)
    expected = [density.score_samples(part) for part in parts]
    with ThreadPoolExecutor(8) as threads:
        for own, other in zip(expected, threads.map(density.score_samples, parts), strict=True):
            np.testing.assert_array_equal(own, other)


def test_models_of_one_structure_share_their_programs_and_none_is_kept(density, points):
    traced = []

    def counted(model, x, condition, *, n_draws):
        traced.append(x.shape)
        return rows._score(model, x, condition, n_draws=n_draws)

    first = density.model_.distribution
    second = jax.tree.map(lambda leaf: leaf, first)  # the same numbers in another object
    x = points[:5]
    for model in (first, second, first):
        _programs.program(counted, model, n_draws=0)(x, None)
    assert traced == [(5, 3)]
    name = (_programs._split, id(second))
    assert name in _programs._kept
    del second, model
    gc.collect()
    assert name not in _programs._kept
    np.testing.assert_array_equal(score_rows(first, x, None).log_prob, density.score_samples(x))


def test_fits_that_differ_in_rates_seeds_and_few_rows_share_their_programs():
    x = np.random.default_rng(0).normal(size=(130, 2))
    how = {"n_layers": 1, "width": 8, "bins": 4, "max_epochs": 1, "verify": False}
    pf.FlowDensity(**how, random_state=0).fit(x)
    compiled = []

    def heard(event: str, duration_secs: float, **_: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            compiled.append(event)

    jax.monitoring.register_event_duration_secs_listener(heard)
    pf.FlowDensity(**how, random_state=1, learning_rate=1e-3, weight_decay=0.1).fit(x)
    assert not compiled
    pf.FlowDensity(**how, random_state=0).fit(x[:125])
    assert len(compiled) <= 6, compiled  # none of a model's size: what pads and splits arrays of another length
