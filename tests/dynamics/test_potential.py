"""Fields of potentials: a closed form that agrees with products, no rotation, training by their exact density."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.bijections import Continuous
from pushforward.dynamics import FixedSteps, NetworkField, PotentialField
from pushforward.dynamics.fields import value_and_divergence
from pushforward.nets import PotentialNet, TimeMLP
from pushforward.numerics.trace_estimators import ExactTrace
from pushforward.testing import randomise

KEY = jax.random.key(4)
T, X, CONDITION = jnp.asarray(0.3), jnp.array([0.5, -1.0, 2.0]), jnp.array([1.0, -0.5])


@pytest.fixture(scope="module")
def field() -> PotentialField:
    return PotentialField(randomise(PotentialNet(KEY, 3, width=6, depth=3, cond_shape=(2,)), KEY, 0.5))


def test_the_closed_form_is_the_trace_by_products(field: PotentialField) -> None:
    closed, products = (
        value_and_divergence(field, ExactTrace(), given, None, T, X, CONDITION) for given in (field.closed_form(), None)
    )
    np.testing.assert_allclose(closed[0], products[0], rtol=1e-12)
    np.testing.assert_allclose(closed[1], products[1], rtol=1e-10)


def test_it_moves_downhill_and_does_not_rotate(field: PotentialField) -> None:
    np.testing.assert_allclose(
        field(T, X, CONDITION), -jax.grad(field.net.value, argnums=1)(T, X, CONDITION), rtol=1e-10
    )
    jacobian = jax.jacfwd(lambda x: field(T, x, CONDITION))(X)
    np.testing.assert_allclose(jacobian, jacobian.T, rtol=1e-9, atol=1e-12)
    other = NetworkField(randomise(TimeMLP(KEY, 3, width=6), KEY, 0.5))
    jacobian = jax.jacfwd(lambda x: other(T, x))(X)
    assert np.abs(jacobian - jacobian.T).max() > 1e-2  # the broken twin: a network without a potential


@pytest.mark.thorough
def test_it_learns_a_density() -> None:
    """A normal of another mean and scale, by maximum likelihood: the entropy is reached."""
    rng, scale = np.random.default_rng(0), np.array([0.5, 1.5])
    rows = jnp.asarray(np.array([1.0, -1.0]) + scale * rng.standard_normal((512, 2)), jnp.float32)
    net = PotentialNet(KEY, 2, width=8)
    flow = pf.Flow(pf.StandardNormal((2,)), Continuous(PotentialField(net), solver=FixedSteps("rk4", 4)))
    result = pf.fit(flow, rows, key=KEY, max_epochs=40, progress=False, optimizer=pf.training.Adam(2e-2))
    entropy = float(np.sum(np.log(scale)) + np.log(2 * np.pi * np.e))
    assert float(jnp.mean(result.flow.log_prob(rows))) > -entropy - 0.05


def test_errors() -> None:
    with pytest.raises(TypeError, match="PotentialField: expected a PotentialNet, got TimeMLP"):
        PotentialField(TimeMLP(KEY, 2))  # type: ignore[arg-type]
