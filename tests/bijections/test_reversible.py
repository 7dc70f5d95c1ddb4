"""Reversible layers: the gradients of stored activations, in memory that does not grow with depth."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import with_memory

KEY = jax.random.key(5)


def flow(n_layers: int, memory: Any) -> pf.Flow:
    made = pf.flows.realnvp(KEY, dim=4, condition_dim=2, n_layers=n_layers, width=16, depth=1, linear="reverse")
    noisy = pf.testing.randomise(made, KEY, 0.05)
    return with_memory(noisy, memory)


def loss_of(model: pf.Flow) -> tuple[Any, Any]:
    params, rest = pf.trainable(model)

    def loss(params: Any, x: jax.Array, condition: jax.Array, weights: jax.Array) -> jax.Array:
        return -jnp.mean(weights * pf.combine(params, rest).log_prob(x, condition))

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1, 2))), params


def rows(n: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.standard_normal(shape), "float32") for shape in ((n, 4), (n, 2), (n,)))  # type: ignore


@pytest.mark.float32
def test_gradients_are_those_of_stored_activations() -> None:
    (stored, params), (reversible, same) = loss_of(flow(8, "stored")), loss_of(flow(8, "reversible"))
    value, gradient = stored(params, *rows(64))
    again, other = reversible(same, *rows(64))
    np.testing.assert_allclose(again, value, rtol=1e-6)
    for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * float(jnp.abs(b).max()))


@pytest.mark.float32
@pytest.mark.parametrize(("memory", "low", "high"), [("reversible", 0.0, 1.2), ("stored", 2.0, 10.0)])
def test_memory_of_a_gradient_by_depth(memory: Any, low: float, high: float) -> None:
    """From 8 to 64 layers, beside the weights and their gradients; stored activations are the broken twin."""
    used = []
    for n_layers in (8, 64):
        gradient, params = loss_of(flow(n_layers, memory))
        used.append(gradient.lower(params, *rows(4096)).compile().memory_analysis().temp_size_in_bytes)
    assert low < used[1] / used[0] < high


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="memory 'stored' or 'reversible'"):
        pf.Scan.of(lambda key: pf.LULinear(key, 2), KEY, n_layers=2, memory="none")  # type: ignore[arg-type]
