"""Maps of log-density against conditionals that are known, and ratios that undo the trap of simple images."""

from __future__ import annotations

import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.distributions import Dequantized
from pushforward.images import complexity_ratio, density_map, likelihood_ratio, perturbed, png_bits
from pushforward.images.density_maps import conditional_map

SHAPE, K = (1, 2, 2), 8


def gaussian() -> tuple[Dequantized, np.ndarray, np.ndarray]:
    """Images of four pixels that are jointly normal in levels."""
    mean = np.array([2.0, 3.0, 4.0, 5.0])
    cov = 2.0 * np.exp(-np.abs(np.subtract.outer(np.arange(4), np.arange(4))) / 2.0)
    base = pf.MultivariateNormal(mean, cov)
    return Dequantized(pf.Flow(base, pf.bijections.Reshape((4,), SHAPE)), n_levels=K), mean, cov


def test_a_map_is_the_conditional_of_each_pixel_given_all_others() -> None:
    model, mean, cov = gaussian()
    levels = np.array([[[[2, 3], [4, 5]]], [[[2, 7], [4, 5]]]])
    found, coarse = conditional_map(model, levels), conditional_map(model, levels, n_points=4)
    precision = np.linalg.inv(cov)
    for image, of_all, of_bins in zip(levels, found, coarse, strict=True):
        x = image.ravel() + 0.5
        for i in range(4):
            others = np.delete(np.arange(4), i)
            centre = mean[i] - precision[i, others] @ (x - mean)[others] / precision[i, i]
            log_density = -0.5 * precision[i, i] * (np.arange(K) + 0.5 - centre) ** 2
            own = image.ravel()[i]
            expected = log_density[own] - np.logaddexp.reduce(log_density)
            np.testing.assert_allclose(of_all.ravel()[i], expected, rtol=1e-9)
            expected = log_density[own] - np.logaddexp.reduce(log_density[own % 2 :: 2])
            np.testing.assert_allclose(of_bins.ravel()[i], expected, rtol=1e-9)
    # The pixel that does not fit its surroundings stands out, and was not the least probable of the other image.
    assert np.argmin(found[1]) == 1
    assert found[1].ravel()[1] < found[0].min() - 2


def test_channels_and_conditionals_in_order_add_up() -> None:
    pixels = pf.images.made(jax.random.key(0), shape=(2, 2, 2), n_levels=3, n_classes=2, width=4, depth=1)
    images = np.random.default_rng(0).integers(0, 3, (4, 2, 2, 2))
    found = density_map(pixels, images, [0, 1, 1, 0])
    assert found.shape == (4, 2, 2)
    given = jnp.eye(2)[np.array([0, 1, 1, 0])]
    np.testing.assert_allclose(found.sum(axis=(1, 2)), pixels.log_prob(images, given), rtol=1e-9)
    of_one = density_map(pixels, images, 1).sum(axis=(1, 2))
    np.testing.assert_allclose(of_one[1:3], found.sum(axis=(1, 2))[1:3], rtol=1e-9)
    for labels, words in (
        ([0, 1, 2, 0], "classes, got 2"),
        ([0], r"4 labels .* shape \(1,\)"),
        (None, "4 labels .* none"),
    ):
        with pytest.raises(ValueError, match=words):
            density_map(pixels, images, labels)
    with pytest.raises(ValueError, match="a model without classes"):
        density_map(gaussian()[0], np.zeros((1, *SHAPE)), [0])


def test_perturbed_images_and_ratios() -> None:
    images = np.full((4, 1, 16, 16), 7, np.uint8)
    noisy = perturbed(images, 0.25, n_levels=16)
    assert noisy.dtype == np.uint8
    assert noisy.max() < 16
    np.testing.assert_allclose((noisy != 7).mean(), 0.25 * 15 / 16, atol=0.05)
    np.testing.assert_array_equal(perturbed(images, 0.0), images)
    # A stand-in for the trap: a model that gives plain images the higher density, as PNG does.
    plain, own = images, noisy
    bits = png_bits(np.concatenate([plain, own]))
    assert bits[:4].max() < bits[4:].min() / 2
    model = SimpleNamespace(
        model_=pf.StandardNormal((1, 16, 16)),
        score_samples=lambda images: -0.5 * math.log(2) * png_bits(images) - (np.asarray(images).std((1, 2, 3)) == 0),
    )
    assert model.score_samples(plain).min() > model.score_samples(own).max()
    assert complexity_ratio(model, plain).max() < complexity_ratio(model, own).min()
    background = SimpleNamespace(
        model_=model.model_, score_samples=lambda images: -0.5 * math.log(2) * png_bits(images)
    )
    np.testing.assert_allclose(likelihood_ratio(model, background, np.concatenate([plain, own])), [-1] * 4 + [0] * 4)
    other = SimpleNamespace(model_=pf.StandardNormal((1, 8, 8)))
    with pytest.raises(ValueError, match="a background model of images"):
        likelihood_ratio(model, other, plain)
    with pytest.raises(ValueError, match="whole numbers from 0 to 255"):
        png_bits(plain + 0.5)


def test_refusals() -> None:
    with pytest.raises(TypeError, match="a model of levels or a dequantized flow"):
        conditional_map(pf.StandardNormal(SHAPE), jnp.zeros((1, *SHAPE)))
    with pytest.raises(ValueError, match="n_points"):
        conditional_map(gaussian()[0], jnp.zeros((1, *SHAPE)), n_points=1)
