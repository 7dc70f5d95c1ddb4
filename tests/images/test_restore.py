"""Restored images against posteriors that are known, and the problems that are refused."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.distributions import Dequantized
from pushforward.images import restore
from pushforward.images.restoration import ROUNDING, mask_of
from pushforward.inverse_problems import Importance
from pushforward.tables.errors import DataError

KEY, SHAPE, K = jax.random.key(0), (1, 2, 2), 32
METHOD = Importance(n_proposals=1024, n_starts=2)
MEAN = np.array([14.0, 15.0, 16.0, 17.0])
COV = 9.0 * np.exp(-np.abs(np.subtract.outer(np.arange(4), np.arange(4))) / 2.0)


@pytest.fixture(scope="module")
def model() -> Dequantized:
    """Images of four pixels that are jointly normal in levels."""
    base = pf.MultivariateNormal(np.zeros(4), COV)
    to_levels = pf.Chain([pf.Affine(loc=MEAN, scale=np.ones(4)), pf.bijections.Reshape((4,), SHAPE)])
    return Dequantized(pf.Flow(base, to_levels), n_levels=K)


def posterior(matrix: np.ndarray, y: np.ndarray, sd: float) -> np.ndarray:
    """The mean of the four pixels given noisy observations of sums of them."""
    gain = COV @ matrix.T @ np.linalg.inv(matrix @ COV @ matrix.T + sd**2 * np.eye(len(y)))
    return MEAN + gain @ (y - matrix @ MEAN)


def test_inpainting(model: Dequantized) -> None:
    image = np.array([[[[20, 0], [18, 0]]]])
    known = np.array([[True, False], [True, False]])
    found = restore(model, image, mask=known, n_draws=400, method=METHOD, random_state=0)
    assert found.draws.shape == (1, 400, *SHAPE)
    np.testing.assert_array_equal(found.draws[0, :, 0][:, known], np.broadcast_to([20, 18], (400, 2)))
    expected = posterior(np.eye(4)[[0, 2]], np.array([20.5, 18.5]), ROUNDING)
    np.testing.assert_allclose(found.mean[0].ravel()[[1, 3]], expected[[1, 3]] - 0.5, atol=0.6)
    assert found.trustworthy.all(), found.verdicts


@pytest.mark.thorough
def test_super_resolution_and_denoising(model: Dequantized) -> None:
    found = restore(model, np.full((1, 1, 1, 1), 18), factor=2, n_draws=400, method=METHOD, random_state=0)
    expected = posterior(np.full((1, 4), 0.25), np.array([18.5]), ROUNDING)
    np.testing.assert_allclose(found.mean[0].ravel(), expected - 0.5, atol=0.6)

    noisy = np.array([[[[20, 9], [18, 19]]]])
    found = restore(model, noisy, noise_sd=4.0, n_draws=400, method=METHOD, random_state=0)
    expected = posterior(np.eye(4), noisy.ravel() + 0.5, np.hypot(4.0, ROUNDING))
    np.testing.assert_allclose(found.mean[0].ravel(), expected - 0.5, atol=0.6)


@pytest.mark.parametrize("known", ["top-half", "left-half"])
def test_levels_are_completed_where_what_is_known_comes_first(known: str) -> None:
    pixels = pf.images.made(KEY, shape=SHAPE, n_levels=3, width=4, depth=1)
    image = np.array([[[[2, 1], [0, 0]]]])
    if known == "left-half":
        with pytest.raises(ValueError, match="first in the model's order"):
            restore(pixels, image, mask=known, n_draws=8, random_state=0)
        return
    found = restore(pixels, image, mask=known, n_draws=8, random_state=0)
    assert found.method == "complete"
    np.testing.assert_array_equal(found.draws[0, :, 0, 0], np.broadcast_to([2, 1], (8, 2)))
    assert len(np.unique(found.draws[0, :, 0, 1])) > 1
    with pytest.raises(ValueError, match="a mask without noise"):
        restore(pixels, image, mask=known, noise_sd=1.0, random_state=0)


def test_orders_that_begin_with_what_is_known() -> None:
    """A model of any order completes any mask; averaged orders do it in one of theirs, or say that they have none."""
    options: dict[str, Any] = {"shape": SHAPE, "n_levels": 3, "width": 4, "depth": 1}
    image, known = np.array([[[[2, 0], [1, 0]]]]), np.array([[[True, False], [True, False]]])
    found = restore(pf.images.any_order(KEY, **options), image, mask=known[0], n_draws=8, random_state=0)
    np.testing.assert_array_equal(found.draws[0, :, known], np.repeat([[2], [1]], 8, axis=1))
    assert found.trustworthy.all()
    averaged: Any = pf.images.made(KEY, **options, n_orders=2)
    fitting = np.zeros(4, bool)
    fitting[np.asarray(averaged.orders)[1, :2]] = True
    for mask, trusted in ((fitting.reshape(SHAPE), True), (~fitting.reshape(SHAPE), False)):
        found = restore(averaged, image, mask=mask, n_draws=8, random_state=0)
        assert found.trustworthy.all() == trusted, found.verdicts
        np.testing.assert_array_equal(found.draws[0, :, mask], np.repeat(image[0][mask][:, None], 8, axis=1))


def test_means_over_blocks_may_be_fractions(model: Dequantized) -> None:
    small = Importance(n_proposals=64, n_starts=1)
    found = restore(model, np.full((1, 1, 1, 1), 17.25), factor=2, n_draws=2, method=small, random_state=0)
    assert found.draws.shape == (1, 2, *SHAPE)
    with pytest.raises(DataError, match="means from 0 to 31"):
        restore(model, np.full((1, 1, 1, 1), 40.5), factor=2, n_draws=2, method=small, random_state=0)
    with pytest.raises(DataError, match="whole numbers from 0 to 31"):
        restore(model, np.full((1, *SHAPE), 1.5), mask="top-half", n_draws=2, method=small, random_state=0)


def test_masks_by_name() -> None:
    np.testing.assert_array_equal(mask_of("left-half", (2, 2, 4))[1, 0], [True, True, False, False])
    np.testing.assert_array_equal(mask_of("bottom-half", (1, 2, 1))[0, :, 0], [False, True])
    frame = mask_of("frame", (1, 8, 8))
    assert not frame[0, 3:5, 3:5].any()
    assert frame[0, 0].all()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "one of mask, factor and noise_sd"),
        ({"mask": "left-half", "factor": 2}, "both mask and factor"),
        ({"mask": "middle"}, "mask one of left-half"),
        ({"mask": np.ones((2, 2), bool)}, "known and unknown pixels"),
        ({"mask": np.ones((2, 2))}, "a mask of booleans"),
        ({"factor": 2}, r"observations of shape \(n, 1, 1, 1\)"),
        ({"noise_sd": -1.0}, "noise_sd"),
    ],
)
def test_refusals(model: Dequantized, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        restore(model, np.zeros((1, *SHAPE)), **arguments, random_state=0)
