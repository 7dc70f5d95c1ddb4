"""Networks for one event in a coupling: they are mapped over rows, and the error for others names the convention."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.nets import PerEvent

KEY = jax.random.key(2)
SPLIT = np.array([False, True, True, False, True])
X = jax.random.normal(KEY, (6, 5))
MAP = pf.AffineMap()


def test_a_network_for_one_event_is_taken():
    net = eqx.nn.MLP(2, 6, 8, 1, key=KEY)
    coupling = pf.Coupling(SPLIT, net, MAP)
    flow = pf.Flow(pf.StandardNormal((5,)), coupling)
    y = flow.decode(X)
    rest = X[:, ~SPLIT]
    params = jax.vmap(net)(rest).reshape(6, 2, 3)
    mapped, _ = MAP.forward_and_log_det(X[:, SPLIT], jnp.moveaxis(params, 1, 0))
    np.testing.assert_allclose(y[:, SPLIT], mapped, rtol=1e-10)
    np.testing.assert_allclose(y[:, ~SPLIT], rest)
    np.testing.assert_allclose(flow.encode(y), X, rtol=1e-9)
    assert flow.log_prob(X[0]).shape == ()


@pytest.mark.parametrize("joined", [True, False])
def test_it_sees_the_condition_joined_or_as_an_argument(joined: bool):
    inner = eqx.nn.MLP(5, 6, 8, 1, key=KEY)
    net: Any = inner if joined else lambda x, c: inner(jnp.concatenate([x, c])).reshape(2, 3)
    coupling = pf.Coupling(SPLIT, net, MAP, cond_shape=(3,))
    c = jax.random.normal(KEY, (6, 3))
    y = jax.vmap(coupling.forward)(X, c)
    params = jax.vmap(inner)(jnp.concatenate([X[:, ~SPLIT], c], 1)).reshape(6, 2, 3)
    mapped, _ = MAP.forward_and_log_det(X[:, SPLIT], jnp.moveaxis(params, 1, 0))
    np.testing.assert_allclose(y[:, SPLIT], mapped, rtol=1e-10)


def test_functions_of_rows_stay_as_they_are():
    def rows(x: jax.Array) -> jax.Array:
        return jnp.broadcast_to(x.sum(0), (2, 3, x.shape[-1]))

    assert pf.Coupling(SPLIT, rows, MAP).conditioner is rows
    assert isinstance(pf.Coupling(SPLIT, lambda x: jnp.zeros((2, 3)), MAP).conditioner, PerEvent)


def test_another_network_is_refused_with_the_convention():
    with pytest.raises(ValueError, match=r"from \(2, n\) to \(2, 3, n\), the batch on the last axis.*eqx.nn.MLP"):
        pf.Coupling(SPLIT, eqx.nn.MLP(3, 6, 8, 1, key=KEY), MAP)
