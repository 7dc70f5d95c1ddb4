"""Fully connected conditioners."""

# Activations are applied to NumPy arrays, as JAX allows.
# pyright: reportArgumentType=false

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.nets.base import ACTIVATIONS, INPUT_LIMIT
from pushforward.nets.mlp import layer_norm
from pushforward.testing import cast, randomise

KEY = jax.random.key(6)
BLOCKS: Any = ("plain", "residual", "gated")


@pytest.mark.parametrize("blocks", BLOCKS)
@pytest.mark.parametrize(("in_size", "cond_shape"), [(3, None), (3, (2,)), (0, None), (0, (2, 2))])
def test_every_input_reaches_every_output(blocks: Any, in_size: int, cond_shape: Any) -> None:
    net = pf.MLP(KEY, in_size, (2, 4), width=8, cond_shape=cond_shape, activation="silu", blocks=blocks)
    net, rng = randomise(net, KEY), np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((in_size, 1)))
    condition = None if cond_shape is None else jnp.asarray(rng.standard_normal((*cond_shape, 1)))
    assert net(x, condition).shape == (2, 4, 1)
    for jacobian in jax.jit(jax.jacrev(net, argnums=(0,) if condition is None else (0, 1)))(x, condition):
        assert np.all(np.asarray(jacobian) != 0)


@pytest.mark.parametrize("blocks", BLOCKS)
def test_a_new_network_is_close_to_zero_but_not_flat(blocks: Any) -> None:
    x = jnp.ones((3, 1))
    net = pf.MLP(KEY, 3, (5,), width=64, blocks=blocks)
    assert 0 < np.abs(net(x)).max() < 0.1
    gradient = eqx.filter_jit(eqx.filter_grad(lambda n: jnp.sum(n(x))))
    assert all(np.any(np.asarray(leaf) != 0) for leaf in jax.tree.leaves(gradient(net)))


def test_activations_are_what_they_are_called() -> None:
    x = np.linspace(-3, 3, 13)
    assert set(ACTIVATIONS) == {"relu", "elu", "gelu", "silu", "sin", "softplus", "tanh"}
    np.testing.assert_allclose(ACTIVATIONS["silu"](x), x / (1 + np.exp(-x)))
    np.testing.assert_allclose(ACTIVATIONS["relu"](x), np.maximum(x, 0))
    np.testing.assert_allclose(ACTIVATIONS["softplus"](x), np.log1p(np.exp(x)))


@pytest.mark.parametrize("blocks", BLOCKS)
def test_huge_inputs_do_not_overflow(blocks: Any) -> None:
    net = cast(randomise(pf.MLP(KEY, 2, (3,), width=8, blocks=blocks), KEY), jnp.float32)
    x = np.array([[1e38, INPUT_LIMIT, np.nan], [-1e38, -INPUT_LIMIT, 0.0]], np.float32)
    out = np.asarray(eqx.filter_jit(net)(jnp.asarray(x)))
    assert np.all(np.isfinite(out[:, :2]))
    np.testing.assert_array_equal(out[:, 0], out[:, 1])
    assert np.all(np.isnan(out[:, 2]))


def test_gates_keep_rows_apart() -> None:
    net = randomise(pf.MLP(KEY, 2, (2, 3), width=8, cond_shape=(1,), activation="silu", blocks="gated"), KEY)
    rng = np.random.default_rng(0)
    x, condition = jnp.asarray(rng.standard_normal((2, 3))), jnp.asarray(rng.standard_normal((1, 3)))
    for jacobian in jax.jit(jax.jacrev(net, argnums=(0, 1)))(x, condition):  # (2, 3, n, inputs, n)
        across = np.abs(np.moveaxis(np.asarray(jacobian), -2, -1)).min(axis=-1)
        assert np.all(across[..., np.eye(3, dtype=bool)] > 0)
        assert np.all(across[..., ~np.eye(3, dtype=bool)] == 0)


def test_layer_norm() -> None:
    h = np.random.default_rng(1).standard_normal((50, 3)) * [1.0, 1e5, 1e-1] + 3
    out = np.asarray(layer_norm(jnp.asarray(h)))
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(out.std(0), 1, rtol=1e-3)
    assert np.all(np.asarray(layer_norm(jnp.ones((4, 1)))) == 0)


def test_errors() -> None:
    with pytest.raises(ValueError, match="MLP: expected width an integer >= 1"):
        pf.MLP(KEY, 3, (1,), width=0)
    with pytest.raises(ValueError, match="expected one of relu"):
        pf.MLP(KEY, 3, (1,), activation="swoosh")
    with pytest.raises(ValueError, match="MLP: expected blocks to be one of plain, residual, gated"):
        pf.MLP(KEY, 3, (1,), blocks="dense")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="MLP: expected a condition of shape"):
        pf.MLP(KEY, 3, (1,), cond_shape=(2,))(jnp.zeros((3, 1)))
