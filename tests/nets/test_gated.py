"""The gated conditioner of Flow++."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.nets.gated import GatedMLP, layer_norm
from pushforward.testing import randomise

KEY = jax.random.key(6)


def test_every_input_reaches_every_output_of_its_own_row() -> None:
    net = randomise(GatedMLP(KEY, 2, (2, 3), width=8, depth=2, cond_shape=(1,), activation="silu"), KEY)
    rng = np.random.default_rng(0)
    x, condition = jnp.asarray(rng.standard_normal((2, 3))), jnp.asarray(rng.standard_normal((1, 3)))
    by_x, by_condition = jax.jit(jax.jacrev(net, argnums=(0, 1)))(x, condition)
    for jacobian in (by_x, by_condition):  # (2, 3, n, inputs, n)
        across = np.abs(np.moveaxis(np.asarray(jacobian), -2, -1)).min(axis=-1)
        assert np.all(across[..., np.eye(3, dtype=bool)] > 0)
        assert np.all(across[..., ~np.eye(3, dtype=bool)] == 0)
    with pytest.raises(ValueError, match="GatedMLP: expected a condition"):
        net(x)


def test_a_new_network_is_close_to_zero_but_not_flat_and_far_inputs_are_finite() -> None:
    net = GatedMLP(KEY, 3, (5,), width=64)
    assert 0 < np.abs(net(jnp.ones((3, 1)))).max() < 0.1
    assert np.all(np.isfinite(net(jnp.full((3, 1), 1e30))))
    assert GatedMLP(KEY, 0, (5,), width=4)(jnp.zeros((0, 2))).shape == (5, 2)


def test_layer_norm() -> None:
    h = np.random.default_rng(1).standard_normal((50, 3)) * [1.0, 1e5, 1e-1] + 3
    out = np.asarray(layer_norm(jnp.asarray(h)))
    np.testing.assert_allclose(out.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(out.std(0), 1, rtol=1e-3)
    assert np.all(np.asarray(layer_norm(jnp.ones((4, 1)))) == 0)
