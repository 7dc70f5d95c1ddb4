"""One network for all orders: exact in each, an unbiased bound over all, and completions of any mask."""

from __future__ import annotations

import itertools

import jax
import numpy as np
import pytest

import pushforward as pf
from distributions.pixels.models import KEY, noisy
from pushforward.distributions.pixels import AnyOrderPixels, CategoricalLevels
from pushforward.testing.statistics import check_mean
from pushforward.testing.trial import LawError

SHAPE = (1, 2, 2)
EVERY = np.array(list(itertools.product(range(3), repeat=4)), float).reshape(-1, *SHAPE)


@pytest.fixture(scope="module")
def model():
    law = CategoricalLevels(3)
    net = pf.nets.ConvNet(KEY, (2, 2, 2), (law.n_params, 1), width=4)
    return AnyOrderPixels(noisy(net, 0.3), law, SHAPE)


@pytest.fixture(scope="module")
def in_orders(model):
    """The log-masses of all 81 images in all 24 orders."""
    return np.stack([model.in_order(order).log_prob(EVERY) for order in itertools.permutations(range(4))])


def test_masses_sum_to_one_in_every_order(in_orders):
    assert np.allclose(np.exp(in_orders).sum(axis=1), 1.0, atol=1e-12)
    assert np.ptp(in_orders, axis=0).max() > 1e-3, "the orders differ"


def test_a_log_density_is_the_mean_over_orders_on_average(model, in_orders):
    x, seen = EVERY[50], in_orders[:, 50]
    drawn = np.asarray(model.log_prob(np.broadcast_to(x, (40_000, *SHAPE)), key=jax.random.key(1)))
    check_mean(drawn, seen.mean(), "the bound")
    with pytest.raises(LawError):
        check_mean(drawn, seen.max(), "the twin: the best order")
    assert np.all(in_orders.mean(axis=0) <= np.log(np.exp(in_orders).mean(axis=0)) + 1e-12)


def test_samples_and_completions(model, in_orders):
    x, log_prob = model.sample_and_log_prob(jax.random.key(2), 500)
    codes = (np.asarray(x).reshape(-1, 4) @ [27, 9, 3, 1]).astype(int)
    gaps = np.abs(in_orders[:, codes] - np.asarray(log_prob)).min(axis=0)
    assert gaps.max() < 1e-10, "a log-mass is that in one of the orders"
    known = np.array([[[False, True], [False, True]]])
    given = np.broadcast_to([[[0.0, 2.0], [0.0, 1.0]]], (200, *SHAPE))
    out = np.asarray(model.complete(jax.random.key(3), given, known))
    assert np.all(out[:, known] == [2, 1])
    assert set(np.unique(out[:, ~known])) == {0, 1, 2}
    with pytest.raises(ValueError, match="key"):
        model.log_prob(EVERY)
    assert model.log_prob(EVERY[:1] + 0.5, key=KEY)[0] == -np.inf
