"""Multi-scale flows of images: exact log-determinants, round trips, classes, sizes, the start from data."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

import pushforward as pf
from marks import thorough
from pushforward._types import Shape
from pushforward.bijections import initialise
from pushforward.bijections.base import AbstractBatchedBijection, AbstractBijection, run_batch
from pushforward.distributions import evaluation_form
from pushforward.testing import cast, randomise

KEY = jax.random.key(18)
SHAPE = (1, 4, 4)
TINY: dict[str, dict[str, Any]] = {
    "nice": {"width": 4, "n_steps": 1},
    "realnvp": {"width": 4, "n_steps": 1, "blocks": "plain", "n_scales": 2},
    "glow": {"width": 4, "n_steps": 2, "n_scales": 2},
    "flowpp": {"width": 4, "n_steps": 1, "depth": 1, "components": 2, "n_heads": 2},
}


def made(name: str) -> pf.Flow:
    """A small model with noise on its weights, whose networks are smooth."""
    flow = getattr(pf.images, name)(KEY, shape=SHAPE, n_classes=2, activation="silu", **TINY[name])
    return randomise(flow, KEY, 0.2)


@eqx.filter_jit
def facts(flow: pf.Flow, x: jax.Array, condition: jax.Array) -> dict[str, jax.Array]:
    """What one event says of a flow: latent, Jacobian, log-density, the way back, and the effect of the class."""
    z, jacobian = flow.encode(x, condition), jax.jacfwd(lambda x: flow.encode(x, condition).ravel())(x)
    log_det = jnp.linalg.slogdet(jacobian.reshape(x.size, x.size))[1]
    return {
        "by_jacobian": jnp.sum(jax.scipy.stats.norm.logpdf(z)) + log_det,
        "log_prob": flow.log_prob(x, condition),
        "back": flow.decode(z, condition),
        "other_class": flow.log_prob(x, condition[::-1]),
    }


@pytest.mark.parametrize("name", ["nice", "glow", *thorough("realnvp", "flowpp")])
def test_log_density_against_autodiff(name: str) -> None:
    x, condition = jax.random.normal(KEY, SHAPE), jnp.array([1.0, 0.0])
    seen = facts(made(name), x, condition)
    np.testing.assert_allclose(seen["log_prob"], seen["by_jacobian"], rtol=1e-9)
    np.testing.assert_allclose(seen["back"], x, atol=1e-7)
    assert abs(seen["other_class"] - seen["log_prob"]) > 1e-6


class Shrunk(AbstractBatchedBijection):
    """A broken twin, whose log-determinants are a thousandth too small."""

    inner: AbstractBijection
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(self, inner: AbstractBijection):
        self.inner, self.in_shape, self.out_shape = inner, inner.in_shape, inner.out_shape
        self.cond_shape = inner.cond_shape

    def forward_rows(self, x: Any, condition: Any, keys: Any) -> Any:
        y, log_det = run_batch(self.inner, x, condition, keys, True)
        return y, 0.999 * log_det

    def inverse_rows(self, y: Any, condition: Any, keys: Any) -> Any:
        x, log_det = run_batch(self.inner, y, condition, keys, False)
        return x, 0.999 * log_det


def test_a_broken_log_determinant_is_found() -> None:
    flow = made("nice")
    broken = pf.Flow(flow.base, Shrunk(flow.bijection))
    seen = facts(broken, jax.random.normal(KEY, SHAPE), jnp.array([1.0, 0.0]))
    assert abs(seen["log_prob"] - seen["by_jacobian"]) > 1e-5


@pytest.mark.parametrize("name", ["glow", *thorough("nice", "realnvp", "flowpp")])
def test_round_trip_in_single_precision_after_training(name: str) -> None:
    digits: Any = load_digits()
    images = digits.images[:256, None].astype(np.float32)
    x = (jnp.asarray(images) + jax.random.uniform(KEY, images.shape, jnp.float32)) / 8 - 1
    flow = getattr(pf.images, name)(KEY, shape=(1, 8, 8), **TINY[name])
    flow = cast(initialise(cast(flow, jnp.float32), x), jnp.float32)
    params, rest = pf.trainable(flow)
    optimiser = optax.adam(3e-3)

    def loss(params: Any) -> Any:
        return -jnp.mean(pf.combine(params, rest).log_prob(x))

    @jax.jit
    def train(params: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            params, state = carry
            value, gradient = jax.value_and_grad(loss)(params)
            updates, state = optimiser.update(gradient, state)
            return (optax.apply_updates(params, updates), state), value

        (params, _), losses = jax.lax.scan(step, (params, optimiser.init(params)), None, length=60)
        flow = pf.combine(params, rest)
        return losses, flow.decode(flow.encode(x))

    losses, back = train(params)
    assert losses[-1] < losses[0] - 3  # NICE, whose volume cannot change, gains 4
    assert back.dtype == jnp.float32
    np.testing.assert_allclose(back, x, atol=1e-4)


@pytest.mark.parametrize(("name", "options"), thorough(("iresnet", {"n_terms": 30}), ("residual_flow", {})))
def test_residual_models(name: str, options: dict[str, Any]) -> None:
    """The evaluation form has the log-density of the Jacobian and comes back from its latents."""
    small = {"width": 3, "n_steps": 1, "n_dense": 1, "lipschitz": 0.5}
    flow = getattr(pf.images, name)(KEY, shape=(1, 2, 4), n_classes=2, **small, **options)
    assert flow.needs_key
    seen = facts(evaluation_form(randomise(flow, KEY, 0.2)), jax.random.normal(KEY, (1, 2, 4)), jnp.array([1.0, 0.0]))
    np.testing.assert_allclose(seen["log_prob"], seen["by_jacobian"], rtol=1e-6)
    np.testing.assert_allclose(seen["back"], jax.random.normal(KEY, (1, 2, 4)), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "shape", "n_scales", "text"),
    [
        ("glow", (1, 28, 28), 3, "n_scales=2"),
        ("realnvp", (1, 27, 27), 1, "even height and width"),
        ("iresnet", (1, 6, 6), 3, "n_scales"),
    ],
)
def test_sides_that_cannot_be_halved(name: str, shape: Any, n_scales: int, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        getattr(pf.images, name)(KEY, shape=shape, n_scales=n_scales)
