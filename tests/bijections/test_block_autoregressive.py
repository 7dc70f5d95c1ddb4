"""Block neural autoregressive layers: triangular, exact, onto R; and short fits of the flows of integrals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import BlockAutoregressive
from pushforward.testing import randomise

KEY = jax.random.key(6)


def test_there_and_back_for_wild_weights_far_out() -> None:
    """Onto R: what a network of tanh alone could not reach has an inverse, too, and rows stay on their own."""
    layer = randomise(BlockAutoregressive(KEY, 2, width=4, depth=2), KEY, 3.0)
    y = np.array([[0.3, -0.7], [1e3, -1e3], [-1e30, 2.0], [50.0, 1e30], [0.0, 0.0], [np.nan, 1.0]])

    @eqx.filter_jit
    def tour(y: Array) -> tuple[Array, ...]:
        x, inverse_log_det = jax.vmap(layer.inverse_and_log_det)(y)
        again, log_det = jax.vmap(layer.forward_and_log_det)(x)
        return x, inverse_log_det, again, log_det

    x, inverse_log_det, again, log_det = (np.asarray(a) for a in tour(jnp.asarray(y)))
    assert np.all(np.isfinite(x[:5]))
    np.testing.assert_allclose(again[:5], y[:5], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(inverse_log_det[:5], -log_det[:5], rtol=1e-6, atol=1e-6)
    assert np.isnan(x[5]).any()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BlockAutoregressive(KEY, 0), "BlockAutoregressive: expected dim"),
        (lambda: BlockAutoregressive(KEY, 2, width=0), "expected width"),
        (lambda: BlockAutoregressive(KEY, 2, depth=0), "expected depth"),
        (lambda: pf.flows.bnaf(KEY, dim=0), "bnaf: expected dim"),
    ],
)
def test_constructors_refuse(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()


def two_moons(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    angle, upper = np.pi * rng.random(n), rng.random(n) < 0.5
    x = np.stack([np.cos(angle), np.sin(angle)], 1)
    x = np.where(upper[:, None], x, [1.0, 0.4] - x) + 0.1 * rng.standard_normal((n, 2))
    return (x - [0.5, 0.2]) / [0.88, 0.5]


FITS: dict[str, Callable[[], pf.Flow]] = {
    "umnn": lambda: pf.flows.umnn(
        KEY, dim=2, n_layers=1, width=16, depth=1, nodes=12, integrand_width=8, integrand_depth=1, embedding=4
    ),
    "sos": lambda: pf.flows.sos(KEY, dim=2, n_layers=1, width=16, depth=1, linear="reverse"),
    "bernstein": lambda: pf.flows.bernstein(KEY, dim=2, n_layers=1, width=16, depth=1, degree=12),
    "bnaf": lambda: pf.flows.bnaf(KEY, dim=2, width=6, depth=1),
}
BETTER = 0.2  # nats per row, on rows not fitted to


@pytest.mark.thorough
@pytest.mark.parametrize("name", FITS)
def test_a_short_fit_is_better_than_a_gaussian(name: str) -> None:
    train, held_out = two_moons(512, 0), two_moons(512, 1)
    params, rest = pf.trainable(FITS[name]())
    optimiser = optax.adam(2e-2)

    def loss(params: Any) -> Array:
        return -jnp.mean(pf.combine(params, rest).log_prob(train))

    @jax.jit
    def fit(params: Any) -> tuple[Any, Array]:
        def step(carry: Any, _: None) -> Any:
            gradient = jax.grad(loss)(carry[0])
            updates, state = optimiser.update(gradient, carry[1])
            return (eqx.apply_updates(carry[0], updates), state), None

        (params, _), _ = jax.lax.scan(step, (params, optimiser.init(params)), None, length=120)
        return params, jnp.mean(pf.combine(params, rest).log_prob(held_out))

    covariance = np.cov(train.T)
    centred = held_out - train.mean(0)
    quadratic = np.einsum("ni,ij,nj->n", centred, np.linalg.inv(covariance), centred)
    gaussian = -0.5 * (quadratic.mean() + np.linalg.slogdet(2 * np.pi * covariance)[1])
    # The broken twin is the flow before it is fitted.
    assert float(jnp.mean(pf.combine(params, rest).log_prob(held_out))) < gaussian + BETTER
    assert float(fit(params)[1]) > gaussian + BETTER
