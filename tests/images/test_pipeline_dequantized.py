"""Dequantized densities: exact on known laws, bounds everywhere else; the objective that trains them."""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

import pushforward as pf
from pushforward.distributions import Dequantized, UniformDequantizer, VariationalDequantizer, evaluation_form
from pushforward.images.noise_net import learned_noise
from pushforward.metrics.bits import bits_per_dim
from pushforward.objectives import ImageObjective

KEY = jax.random.key(0)
SHAPE, LEVELS = (1, 2, 2), 4
EVERY = np.array(list(itertools.product(range(LEVELS), repeat=4)), float).reshape(-1, *SHAPE)  # all 256 images
SMOOTH = pf.Flow(pf.StandardNormal(SHAPE), pf.Affine(loc=2.0, scale=1.0, shape=SHAPE))
# The law of a normal pixel between two whole numbers.
EXACT = np.log(np.diff(norm.cdf(np.arange(LEVELS + 1), 2.0, 1.0)))[EVERY.astype(int)].sum((1, 2, 3))


class Net(eqx.Module):
    """The means and log-deviations of learned noise, as functions of the image."""

    weight: jax.Array

    def __call__(self, image: jax.Array) -> jax.Array:
        return jnp.tanh(self.weight @ image.ravel()) + 0.5 * (jnp.arange(8) >= 4)


NOISE = VariationalDequantizer(
    pf.ConditionalNormal(Net(0.2 * jax.random.normal(jax.random.key(3), (8, 4))), SHAPE, SHAPE)
)


def estimates(dequantizer: Any, n_draws: int = 1, repeats: int = 200, flow: Any = SMOOTH) -> np.ndarray:
    """Repeated estimates of the log-probability of every image, `(repeats, 256)`."""
    pixels = Dequantized(flow, dequantizer, LEVELS, n_draws=n_draws)
    keys = jax.random.split(KEY, repeats)
    return np.asarray(jax.lax.map(lambda key: pixels.log_prob(EVERY, key=key), keys))


def test_bits_of_a_known_law_are_exact() -> None:
    """A density that is even over each level has one value for every noise: two bits for each of four levels."""
    box = pf.Flow(pf.UniformBox(jnp.zeros(SHAPE), 1.0), pf.Affine(scale=4.0, shape=SHAPE))
    found = estimates(None, repeats=2, flow=box)
    np.testing.assert_allclose(found, -4 * np.log(4), rtol=1e-12)
    assert bits_per_dim(found.mean(), 4) == pytest.approx(2.0, abs=1e-12)


@pytest.mark.parametrize(
    "dequantizer",
    [UniformDequantizer(), NOISE, learned_noise(KEY, SHAPE, n_layers=2, width=4)],
    ids=["uniform", "variational", "couplings"],
)
def test_the_bound_is_below_and_tightens(dequantizer: Any) -> None:
    one, many = estimates(dequantizer), estimates(dequantizer, n_draws=64, repeats=40)
    for found in (one, many):
        error = found.std(0, ddof=1) / np.sqrt(len(found))
        assert np.all(found.mean(0) < EXACT + 5 * error)  # a bound on every single image
    gap_of_one, gap_of_many = (np.exp(EXACT) @ (EXACT - found.mean(0)) for found in (one, many))
    assert 0 <= gap_of_many < gap_of_one / 2
    assert off_by(many) < 5


def off_by(log_probs: np.ndarray) -> float:
    """How far the probability of the first image is off, in standard errors: the weights are unbiased."""
    first = np.exp(log_probs[:, 0])
    return abs(first.mean() - np.exp(EXACT[0])) / (first.std(ddof=1) / np.sqrt(len(first)))


def test_noise_without_its_density_is_found_out() -> None:
    """The broken twin: learned noise whose log-density is left out gives another probability."""

    class Broken(UniformDequantizer):
        def draw_rows(self, keys: Any, levels: Any, n_levels: int) -> Any:
            noise, log_q = super().draw_rows(keys, levels, n_levels)
            return noise**2, log_q

    assert off_by(estimates(Broken(), n_draws=64, repeats=40)) > 5


def test_samples_are_levels_with_their_probabilities() -> None:
    pixels = Dequantized(SMOOTH, None, LEVELS)
    drawn = np.asarray(pixels.sample(KEY, 4000))
    assert set(np.unique(drawn)) <= set(range(LEVELS))
    # What lies beyond the levels is held to the first and the last one.
    edges = norm.cdf([1.0, 2.0, 3.0], 2.0, 1.0)
    expected = np.diff([0.0, *edges, 1.0])
    share = np.bincount(drawn.astype(int).ravel(), minlength=LEVELS) / drawn.size
    assert np.all(abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / drawn.size))


def test_other_numbers_have_no_probability() -> None:
    pixels = Dequantized(SMOOTH, None, LEVELS)
    rows = np.ones((5, *SHAPE))
    rows[0, 0, 0, 0], rows[1, 0, 0, 0], rows[2, 0, 0, 0], rows[3, 0, 0, 0] = -1, 0.5, 4, np.nan
    found = np.asarray(pixels.log_prob(rows, key=KEY))
    assert np.all(found[:3] == -np.inf)
    assert np.isnan(found[3])
    assert np.isfinite(found[4])
    with pytest.raises(ValueError, match="key"):
        pixels.log_prob(rows)


def test_rows_do_not_depend_on_each_other() -> None:
    pixels = Dequantized(SMOOTH, NOISE, LEVELS)
    np.testing.assert_allclose(pixels.log_prob(EVERY, key=KEY)[:3], pixels.log_prob(EVERY[:3], key=KEY), rtol=1e-12)
    x, log_prob = pixels.sample_and_log_prob(KEY, 3)
    assert np.isfinite(log_prob).all()
    np.testing.assert_array_equal(x, pixels.sample(KEY, 5)[:3])


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"flow": 3}, TypeError, "a density"),
        ({"dequantizer": "uniform"}, TypeError, "a dequantizer"),
        ({"n_levels": 1}, ValueError, "n_levels"),
        ({"n_draws": 0}, ValueError, "n_draws"),
        ({"flow": pf.StandardNormal((1, 3, 3)), "dequantizer": NOISE}, ValueError, "noise of shape"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Dequantized(**{"flow": SMOOTH, **arguments})
    with pytest.raises(ValueError, match="given an image"):
        VariationalDequantizer(pf.StandardNormal(SHAPE))


def test_layers_that_start_from_data_do_so_behind_the_noise() -> None:
    flat = pf.bijections.Reshape(SHAPE, (4,))
    flow = pf.Flow(pf.StandardNormal(SHAPE), pf.Chain([flat, pf.ActNorm(4), pf.Invert(flat)]))
    pixels = Dequantized(flow, None, LEVELS)
    result = pf.fit(pixels, EVERY, key=KEY, max_epochs=1, progress=False)
    trained: Any = result.flow
    assert isinstance(trained, Dequantized)
    inner: Any = trained.flow
    bias = inner.bijection.members[1].bias
    np.testing.assert_allclose(bias, 2.0, atol=0.2)  # the middle of 0 .. 4, and a little training
    assert evaluation_form(trained).n_levels == LEVELS


def test_training_mirrors_images_and_drops_classes() -> None:
    """Each image is scored as it is or mirrored, in training alone; the key decides it."""
    chain = pf.Chain([pf.Affine(loc=jnp.arange(4.0).reshape(SHAPE), shape=SHAPE)])
    flow, images = pf.Flow(pf.StandardNormal(SHAPE), chain), EVERY[:200]
    objective = ImageObjective(pf.MaximumLikelihood(), flips=True)
    plain, mirrored = -flow.log_prob(images), -flow.log_prob(images[..., ::-1])
    np.testing.assert_array_equal(objective.per_row(flow, images, None, KEY), plain)
    found = objective.at_step(jnp.zeros(())).per_row(flow, images, None, KEY)
    is_plain, is_mirrored = np.isclose(found, plain), np.isclose(found, mirrored)
    assert np.all(is_plain | is_mirrored)
    assert 60 < np.sum(is_mirrored & ~is_plain) < 140


def test_a_regression_sees_levels_with_noise() -> None:
    """Another loss than a likelihood is taken of the density within, at levels with noise."""

    class Squares(pf.objectives.AbstractObjective):
        in_nats: ClassVar[bool] = False

        def per_row(self, flow: Any, x: Any, condition: Any = None, key: Any = None) -> Any:
            return jnp.sum(x - jnp.floor(x), axis=(1, 2, 3)) + 0 * flow.log_prob(x)

    found = ImageObjective(Squares()).per_row(Dequantized(SMOOTH, None, LEVELS), EVERY, None, KEY)
    assert abs(found.mean() - 2.0) < 0.3  # four uniform numbers
    with pytest.raises(ValueError, match="uniform noise"):
        ImageObjective(Squares()).per_row(Dequantized(SMOOTH, NOISE, LEVELS), EVERY, None, KEY)
