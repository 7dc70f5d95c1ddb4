"""Maximum likelihood: its value, its weights, and what must not count."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.objectives import MaximumLikelihood, weighted_mean


@pytest.fixture(scope="module")
def flow() -> pf.Flow:
    return pf.flows.realnvp(jax.random.key(0), dim=3, n_layers=2, width=8, linear="reverse")


def test_value_is_the_mean_negative_log_density(flow):
    x = np.random.default_rng(0).normal(size=(7, 3))
    expected = -np.mean(flow.log_prob(x))
    np.testing.assert_allclose(MaximumLikelihood()(flow, x), expected, rtol=1e-12)
    np.testing.assert_allclose(MaximumLikelihood().per_row(flow, x), -flow.log_prob(x), rtol=1e-12)


def test_weight_two_is_the_row_twice(flow):
    x = np.random.default_rng(1).normal(size=(6, 3))
    weights = np.array([1.0, 2.0, 1.0, 3.0, 1.0, 2.0])
    loss = MaximumLikelihood()

    def gradient(*arguments):
        params, rest = pf.trainable(flow)
        return jax.grad(lambda p: loss(pf.combine(p, rest), *arguments))(params)

    twice = np.repeat(x, weights.astype(int), axis=0)
    np.testing.assert_allclose(loss(flow, x, None, weights), loss(flow, twice), rtol=1e-13)
    for one, two in zip(
        jax.tree.leaves(gradient(x, None, weights)), jax.tree.leaves(gradient(twice, None, None)), strict=True
    ):
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-13)
    # The broken twin: weights that are ignored must be noticed.
    assert abs(float(loss(flow, x) - loss(flow, twice))) > 1e-3


def test_rows_of_weight_zero_do_not_count(flow):
    x = np.random.default_rng(2).normal(size=(5, 3))
    weights = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    np.testing.assert_allclose(
        MaximumLikelihood()(flow, x, None, weights), MaximumLikelihood()(flow, x[:3]), rtol=1e-13
    )


def test_condition_is_seen():
    flow = pf.flows.maf(jax.random.key(0), dim=2, condition_dim=1, n_layers=1, width=8, linear="reverse")
    params, rest = pf.trainable(flow)
    flow = pf.combine(jax.tree.map(lambda leaf: leaf + 0.1, params), rest)
    x, condition = np.zeros((4, 2)), np.linspace(-1, 1, 4)[:, None]
    per_row = MaximumLikelihood().per_row(flow, x, condition)
    np.testing.assert_allclose(per_row, -flow.log_prob(x, condition), rtol=1e-12)
    assert np.ptp(per_row) > 1e-3


def test_weighted_mean_of_filling_alone_is_zero():
    assert float(weighted_mean(np.ones(3), np.zeros(3))) == 0.0
    assert float(weighted_mean(np.array([1.0, 3.0]), np.array([1.0, 3.0]))) == 2.5
