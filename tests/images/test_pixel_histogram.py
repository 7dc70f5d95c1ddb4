"""Histograms of pixels: exact bits, normal numbers, no steep slopes, and images of many levels or many pixels."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from pushforward.bijections import HistogramQuantile
from pushforward.distributions import Dequantized, Flow, StandardNormal
from pushforward.images import ImageDensity
from pushforward.images.pixel_histogram import MOST_BINS, differ, histogram_units, merged_edges, not_steeper
from pushforward.images.pixel_map import pixel_map

SHAPE = (1, 2, 2)
# Shares of four levels at each of four pixels, one of which is nearly always black.
SHARES = np.array([[0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25], [0.97, 0.01, 0.01, 0.01], [0.1, 0.2, 0.3, 0.4]])


def drawn(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.choice(4, n, p=own) for own in SHARES], 1).reshape(n, *SHAPE).astype(np.uint8)


def test_bits_of_independent_pixels_are_those_of_their_shares():
    units = histogram_units(drawn(20_000, 0), 4)
    model = Dequantized(Flow(StandardNormal(SHAPE), units), None, 4)
    test = drawn(200, 1)
    found = np.asarray(jax.vmap(model.log_prob)(test, key=jax.random.split(jax.random.key(2), 200)))
    shares = np.asarray(units.shares.value).reshape(4, 4)
    exact = np.log(shares[np.arange(4), test.reshape(-1, 4)]).sum(1)
    assert np.allclose(found, exact, atol=1e-4)  # whatever noise is drawn
    assert np.abs(shares - SHARES).max() < 0.02


@pytest.mark.parametrize("seen", [pytest.param(0, id="own"), pytest.param(1, id="of others, a twin that must fail")])
def test_numbers_are_normal(seen: int):
    levels = drawn(20_000, 3)
    units = histogram_units(levels[..., ::-1] if seen else levels, 4)
    own = drawn(2000, 4)
    rows = own + np.random.default_rng(5).random(own.shape)
    z = np.asarray(jax.vmap(units.inverse)(rows.astype(np.float32))).reshape(-1, 4)
    worst = min(stats.kstest(z[:, i], "norm").pvalue for i in range(4))
    assert (worst < 1e-6) if seen else (worst > 1e-3)


def test_levels_are_joined_where_least_is_lost():
    shares = np.full(256, 1e-3)
    shares[0], shares[255] = 0.6, 0.146
    edges = merged_edges(shares / shares.sum(), 8)
    assert edges[:2].tolist() == [0, 1]
    assert edges[-2:].tolist() == [255, 256]
    assert len(edges) == 9


def test_no_slope_is_steeper_than_the_limit():
    shares = np.array([[0.5, 1e-9, 1e-9, 0.5 - 2e-9]])
    bounded = not_steeper(shares, np.ones(4), np.array([10.0]))
    middle = np.cumsum(bounded, -1) - bounded / 2
    slope = stats.norm.pdf(stats.norm.ppf(middle)) / bounded
    assert slope.max() < 11
    assert np.isclose(bounded.sum(), 1)
    assert np.allclose(not_steeper(bounded, np.ones(4), np.array([100.0])), bounded, rtol=1e-12)


@pytest.mark.parametrize(("n", "shape", "n_levels"), [(1, (1, 3, 3), 256), (40, (3, 5, 7), 2), (30, (1, 4, 4), 65_536)])
def test_any_images(n: int, shape: tuple[int, int, int], n_levels: int):
    levels = np.random.default_rng(0).integers(0, n_levels, (n, *shape)).astype(np.uint16)
    units = histogram_units(levels, n_levels)
    edges = np.asarray(units.edges.value)
    assert edges[0] == 0
    assert edges[-1] == n_levels
    assert len(edges) == min(n_levels, MOST_BINS) + 1
    y = levels[:1].astype(np.float32) + 0.5
    x = jax.vmap(units.inverse)(y)
    assert np.allclose(jax.vmap(units.forward)(x), y, atol=1e-5 * n_levels)


def test_large_images_share_the_histogram_of_their_channel():
    levels = np.random.default_rng(0).integers(0, 8, (3, 2, 70, 70)).astype(np.uint8)
    assert np.asarray(histogram_units(levels, 8).shares.value).shape == (2, 1, 1, 8)


def test_a_model_starts_where_pixels_are_independent(tmp_path):
    levels = drawn(2000, 6)[:, 0]
    density = ImageDensity("gaussian", pixel_map="histogram", random_state=0).fit(levels, n_levels=4)
    entropy = -np.sum(SHARES * np.log2(SHARES)) / 4
    assert abs(density.bits_per_dim(levels).mean - entropy) < 0.05
    density.save(tmp_path / "model")
    again = ImageDensity.load(tmp_path / "model")
    assert np.array_equal(again.score_samples(levels[:20]), density.score_samples(levels[:20]))


@pytest.mark.parametrize("n_bins", [1, 2, 3, 63, 64, 65])
def test_bins_are_found_by_halving(n_bins: int):
    edges = np.arange(n_bins + 1.0)
    units = HistogramQuantile(edges, np.random.default_rng(n_bins).uniform(0.1, 1, n_bins))
    y = np.linspace(0.01, n_bins - 0.01, 301).astype(np.float32)
    share = np.asarray(units.shares.value)
    exact = stats.norm.ppf(np.interp(y, edges, np.concatenate([[0], np.cumsum(share)])))
    x = jax.vmap(units.inverse)(y)
    assert np.allclose(x, exact, atol=2e-5)
    assert np.allclose(jax.vmap(units.forward)(x), y, atol=2e-5 * n_bins)


def test_the_map_is_named_in_errors():
    with pytest.raises(ValueError, match="histogram, logit, affine"):
        pixel_map("log", drawn(5, 0), 4)


def test_photographs_take_the_logit_and_digits_their_histograms():
    rng = np.random.default_rng(7)
    alike = np.clip(rng.normal(128, 40, (300, 3, 6, 6)), 0, 255).astype(np.uint8)
    assert not differ(alike, 256)
    assert differ(drawn(300, 8), 4)
    models = [
        ImageDensity("gaussian").fit(images, n_levels=k) for images, k in ((alike, 256), (drawn(300, 8)[:, 0], 4))
    ]
    assert [model.recipe_.pixel_map for model in models] == ["logit", "histogram"]
