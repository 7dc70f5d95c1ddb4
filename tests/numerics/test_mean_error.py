"""Means and their standard errors."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.numerics.mean_error import mean_and_error

VALUES = np.random.default_rng(0).normal(size=(3, 40))


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
def test_equal_weights(array):
    mean, error = mean_and_error(array(VALUES), axis=1)
    assert type(mean) is type(error) is type(array(VALUES))
    np.testing.assert_allclose(mean, VALUES.mean(axis=1))
    np.testing.assert_allclose(error, VALUES.std(axis=1, ddof=1) / np.sqrt(40))
    np.testing.assert_allclose(mean_and_error(array(VALUES.T), array(np.full(40, 3.0)))[1], error)


def test_rows_of_weight_zero_do_not_count():
    weights = np.repeat([0.0, 2.0], 20)
    for found, expected in zip(
        mean_and_error(VALUES, weights, axis=1), mean_and_error(VALUES[:, 20:], axis=1), strict=True
    ):
        np.testing.assert_allclose(found, expected)


def test_no_error_of_one_value_nor_of_an_infinite_mean():
    assert mean_and_error(np.array([2.0]))[0] == 2.0
    assert np.isnan(mean_and_error(np.array([2.0]))[1])
    mean, error = mean_and_error(np.array([1.0, -np.inf]))
    assert mean == -np.inf
    assert np.isnan(error)
