"""TarFlow and Jet: densities before and after training, samples in every way, guidance and denoising."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pushforward as pf
from pushforward.bijections import GaussSeidelJacobi, with_inversion
from pushforward.images import AttentionTemperature, ClassifierFree, ProductOfNormals, denoise, guided
from pushforward.testing import randomise
from pushforward.testing.trial import cast

KEY = jax.random.key(2)
SHAPE, CLASSES = (2, 4, 4), 3
SIZES: dict[str, Any] = {"shape": SHAPE, "patch": 2, "width": 8, "depth": 1, "n_heads": 2}
NAMES = {"tarflow": {"n_blocks": 2}, "jet": {"n_steps": 1}}


def images(n: int = 64) -> tuple[jax.Array, jax.Array]:
    """Images whose neighbours are alike, brighter the higher their class."""
    labels = jnp.arange(n) % CLASSES
    noise = jax.random.normal(KEY, (n, *SHAPE))
    return jnp.cumsum(noise, axis=-1) * 0.5 + labels[:, None, None, None], jnp.eye(CLASSES)[labels]


def trained(flow: pf.Flow, steps: int = 40) -> pf.Flow:
    x, condition = images()
    params, rest = pf.trainable(flow)
    optimiser = optax.adam(1e-2)

    def loss(params: Any) -> jax.Array:
        return -jnp.mean(pf.combine(params, rest).log_prob(x, condition))

    @jax.jit
    def run(params: Any) -> Any:
        def step(carry: Any, _: None) -> Any:
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimiser.update(gradient, state)
            return (eqx.apply_updates(params, updates), state), value

        (params, _), losses = jax.lax.scan(step, (params, optimiser.init(params)), None, steps)
        return params, losses

    params, losses = run(params)
    assert losses[-1] < losses[0] - 5
    return pf.combine(params, rest)


@pytest.fixture(scope="module", params=NAMES)
def flow(request: pytest.FixtureRequest) -> pf.Flow:
    """A trained flow of each kind."""
    return trained(getattr(pf.images, request.param)(KEY, n_classes=CLASSES, **SIZES, **NAMES[request.param]))


@pytest.fixture(scope="module")
def wild() -> pf.Flow:
    """A TarFlow with random weights, whose start token maps the first patch too."""
    return randomise(pf.images.tarflow(KEY, n_classes=CLASSES, **SIZES, n_blocks=2, start_token=True), KEY)


def test_log_determinants_are_those_of_autodiff(flow: pf.Flow) -> None:
    x, c = (given[1] for given in images())

    @jax.jit
    def run(bijection: Any) -> tuple[jax.Array, jax.Array]:
        jacobian = jax.jacobian(lambda x: bijection.inverse(x, c))(x).reshape(x.size, x.size)
        return jnp.linalg.slogdet(jacobian)[1], bijection.inverse_and_log_det(x, c)[1]

    params, rest = pf.trainable(flow.bijection)
    for model in (params, randomise(params, KEY)):
        exact, found = jax.jit(lambda p: run(pf.combine(p, rest)))(model)
        np.testing.assert_allclose(found, exact, atol=1e-9)


def test_float32_round_trips_after_training(flow: pf.Flow) -> None:
    x, c = images()
    single = cast(flow, jnp.float32)
    x, c = x.astype(jnp.float32), c.astype(jnp.float32)
    back = single.decode(single.encode(x, c), c)
    assert back.dtype == jnp.float32
    assert np.abs(back - x).max() < 1e-4


def test_samples_in_sweeps_are_those_step_after_step(wild: pf.Flow) -> None:
    c = jnp.eye(CLASSES)
    exact, log_prob = wild.sample_and_log_prob(KEY, 2, c)
    np.testing.assert_allclose(wild.log_prob(exact, c), log_prob, atol=1e-9)
    fast = with_inversion(wild, GaussSeidelJacobi(tolerance=1e-12, block=3))
    found, in_sweeps = fast.sample_and_log_prob(KEY, 2, c)
    np.testing.assert_allclose(found, exact, atol=1e-9)
    np.testing.assert_allclose(in_sweeps, log_prob, atol=1e-9)


@pytest.mark.parametrize("guidance", [ClassifierFree(2.0), ProductOfNormals(1.5), AttentionTemperature(1.0, 2.0)])
def test_a_guided_model_knows_the_density_of_its_samples(wild: pf.Flow, guidance: Any) -> None:
    c = jnp.eye(CLASSES)
    strong = guided(wild, guidance)
    x, log_prob = strong.sample_and_log_prob(KEY, 2, c)
    np.testing.assert_allclose(strong.log_prob(x, c), log_prob, atol=1e-9)
    assert np.abs(log_prob - wild.log_prob(x, c)).max() > 1e-2  # it is another density


def test_guidance_replaces_guidance(wild: pf.Flow) -> None:
    strong = guided(guided(wild, ProductOfNormals(1.0)), ClassifierFree(2.0))
    once = guided(wild, ClassifierFree(2.0))
    assert eqx.tree_equal(strong, once)
    assert eqx.tree_equal(guided(strong, ClassifierFree(0.0)), wild)


def test_the_product_of_normals_is_the_product() -> None:
    """Of normals with deviations 1 and 2 and weight 1 the product is p^2 / q, up to a constant."""
    made = pf.bijections.ProductOfNormalsMap(1e9, 1.0)
    params = jnp.array([0.5, 0.0, -1.0, np.log(2.0), 1.0])[:, None]
    x = jnp.linspace(-3.0, 3.0, 7)
    z, log_slope = made.forward_and_log_det(x, jnp.broadcast_to(params, (5, 7)))
    found = log_slope - z**2 / 2
    expected = -((x - 0.5) ** 2) + (x + 1.0) ** 2 / 8
    np.testing.assert_allclose(found - found[0], expected - expected[0], atol=1e-8)


def test_the_weight_grows_along_the_tokens() -> None:
    net = pf.nets.CausalTransformer(KEY, 3, 2, 1, width=4, depth=1, n_heads=2, cond_shape=(2,))
    pair = pf.nets.WithContrast(net, net, drop_condition=True, annealed=True)
    params = pair(jnp.ones((3, 2, 4)), jnp.ones((2, 4)))
    assert params.shape == (3, 3, 2, 4)
    np.testing.assert_allclose(params[-1, :, 0, 0], [0.0, 0.5, 1.0])


def test_denoising_is_the_posterior_mean_of_a_normal() -> None:
    noisy = pf.Flow(pf.StandardNormal((1, 2, 2)), pf.Affine(loc=1.0, scale=5.0**0.5, shape=(1, 2, 2)))
    y = jax.random.normal(KEY, (3, 1, 2, 2))
    np.testing.assert_allclose(denoise(noisy, y, 1.0), 1 + (y - 1) * 4 / 5, atol=1e-12)


def test_normal_noise_makes_the_density_of_noisy_images() -> None:
    """Of levels drawn around 8 with deviation 4, and noise of deviation 3, the density is N(8.5, 25)."""
    levels = jnp.clip(jnp.round(8 + 4 * jax.random.normal(KEY, (4000, 1, 1, 1))), -20, 40)
    noise, log_q = pf.distributions.GaussianNoise(3.0).draw_rows(
        jax.random.split(KEY, 4000), jnp.moveaxis(levels, 0, -1), 256
    )
    noisy = jnp.moveaxis(levels, 0, -1) + noise
    assert not np.any(log_q)
    np.testing.assert_allclose([noisy.mean(), noisy.std()], [8.5, 5.0], atol=0.3)
    flow = pf.Flow(pf.StandardNormal((1, 1, 1)), pf.Affine(loc=8.5, scale=5.0, shape=(1, 1, 1)))
    clean = denoise(flow, jnp.moveaxis(noisy, -1, 0), 3.0)
    error = jnp.std(clean - 0.5 - levels)
    np.testing.assert_allclose(error, 3 * 4 / 5, rtol=0.1)  # the posterior deviation of a normal


@pytest.mark.parametrize(
    ("run", "error", "says"),
    [
        (lambda: guided(pf.Reverse(2), ClassifierFree(1.0)), TypeError, "class as their condition"),
        (lambda: guided(pf.Reverse(2), 1.0), TypeError, "ClassifierFree"),
        (lambda: guided(pf.Reverse(2), ProductOfNormals(-1.0)), ValueError, "weight"),
        (lambda: guided(pf.Reverse(2), AttentionTemperature(1.0, 0.0)), ValueError, "temperature"),
        (lambda: denoise(pf.StandardNormal((1, 1, 1)), jnp.zeros((1, 1, 1)), 0.0), ValueError, "noise_sd"),
        (lambda: pf.images.tarflow(KEY, shape=(1, 6, 6)), ValueError, "multiples of 4"),
        (lambda: pf.images.jet(KEY, shape=(1, 4, 4), patch=1), ValueError, "patches of two numbers"),
    ],
)
def test_wrong_arguments_are_named(run: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        run()
