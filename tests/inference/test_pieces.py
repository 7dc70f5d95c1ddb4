"""Importance sampling, resampling, independent Metropolis and the latent space, against Gaussian targets."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.inference import importance, independent_metropolis, inverse_and_gradient, pull_back

KEY = jax.random.key(0)
LOG_Z = 3.0
LOC, SCALE = np.array([1.0, -2.0]), np.array([0.5, 1.5])


def log_density(x: Any) -> Any:
    """Independent normals times e^3."""
    return LOG_Z + jnp.sum(jax.scipy.stats.norm.logpdf(x, LOC, SCALE))


def gaussian(factor: float = 1.0, shift: float = 0.0) -> pf.Flow:
    """The target's own normal, its scales multiplied and its mean moved by so many of them."""
    return pf.Flow(pf.StandardNormal((2,)), pf.Affine(LOC + shift * SCALE, factor * SCALE))


@pytest.fixture(scope="module")
def flow() -> pf.Flow:
    """A flow with networks, far from its start."""
    made = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=16)
    params, rest = pf.trainable(made)
    params = jax.tree.map(lambda leaf: leaf + 0.2 * jax.random.normal(KEY, leaf.shape), params)
    return pf.combine(params, rest)


def test_the_exact_flow_has_equal_weights():
    found = importance(gaussian(), log_density, 1000, KEY)
    np.testing.assert_allclose(found.log_weights, LOG_Z, atol=1e-10)
    assert found.log_z == pytest.approx(LOG_Z)
    assert found.ess == pytest.approx(1000)
    assert "can be trusted" in found.sentence


def test_weights_are_unbiased():
    """The mean weight over 50,000 draws, within four standard errors; its twin forgets a tenth of a nat."""
    found = importance(gaussian(1.3, 0.2), log_density, 50_000, KEY)
    assert abs(found.log_z - LOG_Z) < 4 * found.log_z_error < 0.02
    assert abs(found.log_z + 0.1 - LOG_Z) > 4 * found.log_z_error
    share = found.ess / 50_000
    assert found.log_z_error == pytest.approx(math.sqrt((1 / share - 1) / 50_000), rel=1e-3)
    assert found.pareto_k < 0.3
    np.testing.assert_allclose(found.weights @ found.draws, LOC, atol=0.05)
    np.testing.assert_array_equal(found.draws[:10], gaussian(1.3, 0.2).sample(KEY, 10))


def test_a_flow_that_is_too_narrow_is_named():
    found = importance(gaussian(0.4), log_density, 20_000, KEY)
    assert found.pareto_k > 0.7
    assert "not reliable" in found.sentence


def test_undefined_and_empty_targets_are_said():
    def corner(x: Any) -> Any:
        return jnp.where(x[0] > 1, jnp.nan, log_density(x))

    found = importance(gaussian(), corner, 100, KEY)
    assert 20 < found.n_undefined < 80
    assert math.isnan(found.log_z)
    assert "undefined" in found.sentence
    half = importance(gaussian(1.1), lambda x: jnp.where(x[0] > 1, -jnp.inf, log_density(x)), 20_000, KEY)
    assert abs(half.log_z - LOG_Z - math.log(0.5)) < 4 * half.log_z_error
    empty = importance(gaussian(), lambda x: -jnp.inf * jnp.ones(()), 100, KEY)
    assert empty.log_z == -math.inf
    assert "do not overlap" in empty.sentence
    with pytest.raises(ValueError, match="weights above zero"):
        empty.resample(10, KEY)


def test_resampling_has_the_moments_of_the_target():
    found = importance(gaussian(1.5, 0.5), log_density, 40_000, KEY)
    drawn = found.resample(4000, jax.random.key(3))
    np.testing.assert_array_less(np.abs(drawn.mean(0) - LOC), 4 * SCALE / math.sqrt(4000))
    np.testing.assert_array_less(np.abs(drawn.std(0) / SCALE - 1), 4 / math.sqrt(8000))
    # The twin: the draws without their weights.
    assert (np.abs(found.draws[:4000].mean(0) - LOC) > 4 * SCALE / math.sqrt(4000)).all()
    again = found.resample(4000, jax.random.key(3))
    np.testing.assert_array_equal(drawn, again)
    assert np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1] < 0.1  # in random order


def test_chains_have_the_moments_of_the_target():
    run = independent_metropolis(gaussian(1.5, 0.5), log_density, 2000, KEY, n_chains=8)
    assert run.draws.shape == (8, 2000, 2)
    assert (run.acceptance > 0.3).all()
    assert (run.acceptance < 0.9).all()
    means = np.asarray(run.draws).mean(1)
    error = means.std(0, ddof=1) / math.sqrt(8)
    np.testing.assert_array_less(np.abs(means.mean(0) - LOC), 5 * error)  # Student's t with 7 degrees of freedom
    np.testing.assert_array_less(np.abs(means.mean(0) - LOC), 0.06 * SCALE)
    np.testing.assert_allclose(np.asarray(run.draws).reshape(-1, 2).std(0), SCALE, rtol=0.06)
    exact = independent_metropolis(gaussian(), log_density, 50, KEY, n_chains=2)
    np.testing.assert_allclose(exact.acceptance, 1.0)


def test_pull_back_of_the_flow_itself_is_its_base(flow: pf.Flow):
    z = np.asarray(jax.random.normal(KEY, (5, 2)))
    np.testing.assert_allclose(pull_back(flow.log_prob, flow).rows(z), flow.base.log_prob(z), atol=1e-8)


def test_inverse_and_gradient_are_those_of_the_pulled_back_density(flow: pf.Flow):
    x = np.asarray(jax.random.normal(KEY, (2, 3, 2)))
    gradient = jax.vmap(jax.vmap(jax.grad(log_density)))(x)
    found = inverse_and_gradient(flow, x, gradient)
    latent = pull_back(log_density, flow)
    np.testing.assert_allclose(found.latent, flow.encode(x), atol=1e-10)
    values = np.asarray(latent.rows(found.latent.reshape(-1, 2))).reshape(2, 3)
    np.testing.assert_allclose(jax.vmap(jax.vmap(log_density))(x) + found.log_det, values, atol=1e-8)
    expected = jax.vmap(jax.grad(latent))(found.latent.reshape(-1, 2)).reshape(2, 3, 2)
    np.testing.assert_allclose(found.gradient, expected, atol=1e-7)
    # The twin: without the log-determinant's part.
    pulled = jax.vmap(jax.grad(lambda z: log_density(flow.bijection.forward(z))))(found.latent.reshape(-1, 2))
    assert np.abs(pulled - expected.reshape(-1, 2)).max() > 0.01
    one = inverse_and_gradient(flow, x[0, 0], gradient[0, 0])
    np.testing.assert_allclose(one.gradient, found.gradient[0, 0], atol=1e-10)


def test_refusals(flow: pf.Flow):
    conditional = pf.flows.realnvp(KEY, dim=2, condition_dim=1, n_layers=1, width=8)
    with pytest.raises(ValueError, match="Fix the condition"):
        importance(conditional, log_density, 10, KEY)
    with pytest.raises(TypeError, match="a flow"):
        importance(log_density, log_density, 10, KEY)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="a function of one event"):
        importance(flow, 3.0, 10, KEY)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="one number"):
        importance(flow, lambda x: x, 10, KEY)
    with pytest.raises(TypeError, match="latent space"):
        pull_back(log_density, pf.StandardNormal((2,)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match="pull_back"):
        pull_back(3.0, flow)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="gradients of shape"):
        inverse_and_gradient(flow, np.zeros((3, 2)), np.zeros(2))
