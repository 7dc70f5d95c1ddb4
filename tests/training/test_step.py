"""The single step: what a benchmark compiles, and its guard."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pushforward as pf
from pushforward.objectives import MaximumLikelihood
from pushforward.training import make_step
from pushforward.training.ema import ema_update
from pushforward.training.schedule import rate_factor


@pytest.fixture(scope="module")
def flow() -> pf.Flow:
    return pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,)))


def test_step_is_the_optimisers(flow):
    params, rest = pf.trainable(flow)
    optimizer = optax.adam(1e-2)
    x = np.random.default_rng(0).normal(size=(16, 2)) + 1.0
    new, moments, info = jax.jit(make_step(MaximumLikelihood(), optimizer))(params, rest, optimizer.init(params), x)
    gradient = jax.grad(lambda p: MaximumLikelihood()(pf.combine(p, rest), x))(params)
    updates, expected_moments = optimizer.update(gradient, optimizer.init(params), params)
    for one, two in zip(
        jax.tree.leaves((new, moments)),
        jax.tree.leaves((optax.apply_updates(params, updates), expected_moments)),
        strict=True,
    ):
        np.testing.assert_allclose(one, two, rtol=1e-12)
    assert bool(info.ok)
    np.testing.assert_allclose(info.loss, MaximumLikelihood()(flow, x), rtol=1e-12)


def test_rate_and_share_multiply(flow):
    params, rest = pf.trainable(flow)
    optimizer = optax.sgd(1.0)
    x = np.ones((4, 2))
    step = jax.jit(make_step(MaximumLikelihood(), optimizer))
    one = step(params, rest, optimizer.init(params), x)[0]
    half = step(params, rest, optimizer.init(params), x, rate=0.25, share=2.0)[0]
    for start, whole, part in zip(*(jax.tree.leaves(tree) for tree in (params, one, half)), strict=True):
        np.testing.assert_allclose(part - start, 0.5 * (whole - start), rtol=1e-12)


@pytest.mark.parametrize("poison", [np.nan, np.inf, 1e300])
def test_non_finite_step_changes_nothing(flow, poison):
    params, rest = pf.trainable(flow)
    optimizer = optax.adam(1e-2)
    x = np.ones((4, 2))
    x[2, 0] = poison
    moments = optimizer.init(params)
    # An infinite coordinate has log-density -inf; 1e300 squared overflows.
    new, moved, info = jax.jit(make_step(MaximumLikelihood(), optimizer))(params, rest, moments, x)
    assert not bool(info.ok)
    for one, two in zip(jax.tree.leaves((new, moved)), jax.tree.leaves((params, moments)), strict=True):
        np.testing.assert_array_equal(one, two)


def test_without_the_guard_the_same_step_is_nan(flow):
    """The broken twin of the test above: the poison is real."""
    params, rest = pf.trainable(flow)
    x = np.ones((4, 2))
    x[2, 0] = np.nan
    optimizer = optax.adam(1e-2)
    gradient = jax.grad(lambda p: MaximumLikelihood()(pf.combine(p, rest), x))(params)
    updates, _ = optimizer.update(gradient, optimizer.init(params), params)
    assert any(np.isnan(leaf).any() for leaf in jax.tree.leaves(optax.apply_updates(params, updates)))


def test_schedule_warms_up_and_falls_to_zero():
    def factor(step, progress):
        return float(rate_factor(jnp.asarray(step), jnp.asarray(progress), jnp.asarray(10.0)))

    assert factor(0, 0.0) == pytest.approx(0.1)
    assert factor(9, 0.0) == pytest.approx(1.0)
    assert factor(100, 0.5) == pytest.approx(0.5)
    assert factor(100, 1.0) == pytest.approx(0.0, abs=1e-7)


def test_average_forgets_the_start_and_then_decays():
    average = jnp.zeros(1)
    for n in range(2000):
        average = ema_update(average, jnp.ones(1), jnp.asarray(n), jnp.asarray(0.9))
    assert float(average[0]) == pytest.approx(1.0)
    assert float(ema_update(jnp.zeros(1), jnp.ones(1), jnp.asarray(0), jnp.asarray(0.9))[0]) == pytest.approx(0.9)
    assert float(ema_update(jnp.zeros(1), jnp.ones(1), jnp.asarray(10_000), jnp.asarray(0.9))[0]) == pytest.approx(0.1)
    assert float(ema_update(jnp.zeros(1), jnp.ones(1), jnp.asarray(5), jnp.asarray(0.0))[0]) == 1.0
