"""Reverse KL: a target without data is learned, and the path gradient has no noise at the optimum."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.objectives import ReverseKL
from pushforward.objectives.reparametrised import draws_and_log_prob, fixed
from pushforward.training import Adam, fit

KEY = jax.random.key(0)
LOC, CHOLESKY = np.array([1.0, -2.0]), np.array([[1.0, 0.0], [0.8, 0.6]])
LOG_Z = 3.0


def log_density(x: Any) -> Any:
    """A correlated Gaussian with covariance [[1, 0.8], [0.8, 1]], times e^3."""
    z = jnp.linalg.solve(CHOLESKY, x - LOC)
    return LOG_Z - 0.5 * jnp.sum(z**2) - jnp.log(2 * jnp.pi) - np.log(0.6)


@pytest.fixture(scope="module")
def learned() -> pf.FitResult:
    flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=4, width=16)
    objective = ReverseKL(log_density, n_samples=128)
    return fit(flow, key=KEY, objective=objective, optimizer=Adam(5e-3), max_epochs=30, progress=False)


def test_a_correlated_gaussian_is_learned(learned: pf.FitResult):
    x, log_q = learned.flow.sample_and_log_prob(jax.random.key(2), 20_000)
    gap = np.asarray(log_q) - np.asarray(jax.vmap(log_density)(x)) + LOG_Z
    assert gap.mean() + 4 * gap.std() / np.sqrt(len(gap)) >= 0
    assert gap.mean() < 0.01
    # The twin: the untrained flow is far off.
    flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=4, width=16)
    x, log_q = flow.sample_and_log_prob(jax.random.key(2), 20_000)
    assert float(jnp.mean(log_q - jax.vmap(log_density)(x))) + LOG_Z > 1


def test_log_z_within_four_standard_errors(learned: pf.FitResult):
    x, log_q = learned.flow.sample_and_log_prob(jax.random.key(3), 20_000)
    weights = np.exp(np.asarray(jax.vmap(log_density)(x)) - np.asarray(log_q))
    error = weights.std() / np.sqrt(len(weights))
    assert abs(weights.mean() - np.exp(LOG_Z)) < 4 * error
    verdict = learned.verdict
    assert verdict.held_out_nats is not None
    assert verdict.standard_error is not None
    assert LOG_Z - 0.02 < verdict.held_out_nats < LOG_Z + 4 * verdict.standard_error + 1e-3
    assert "Lower bound of log Z" in verdict.text
    assert "density" not in verdict.text


@pytest.mark.parametrize("path_gradient", [True, False])
def test_the_path_gradient_has_no_noise_at_the_optimum(path_gradient: bool):
    """The flow is its target: each draw's path gradient is 0; the plain one has mean 0, and is the twin."""
    flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine([1.0, -1.0], [0.5, 2.0]))
    params, rest = pf.trainable(flow)
    objective = ReverseKL(lambda x: 2.0 + flow.log_prob(x), path_gradient=path_gradient)

    def gradient(key: Any) -> Any:
        leaves = jax.tree.leaves(jax.grad(lambda p: objective(pf.combine(p, rest), np.zeros((8, 0)), key=key))(params))
        return jnp.concatenate([leaf.ravel() for leaf in leaves])

    drawn = np.asarray(jax.vmap(gradient)(jax.random.split(KEY, 200)))
    assert objective(flow, np.zeros((8, 0)), key=KEY) == pytest.approx(-2.0)
    if path_gradient:
        np.testing.assert_allclose(drawn, 0, atol=1e-12)
    else:
        assert drawn.std() > 0.1
        assert (np.abs(drawn.mean(0)) < 4 * drawn.std(0) / np.sqrt(200) + 1e-12).all()


def test_a_conditional_target():
    """x given c is normal around 2 c: one flow for all conditions."""
    condition = np.linspace(-1, 1, 500)[:, None]
    flow = pf.flows.maf(jax.random.key(1), dim=1, condition_dim=1, n_layers=1, width=16)
    objective = ReverseKL(lambda x, c: -0.5 * jnp.sum((x - 2 * c) ** 2, axis=-1), batched=True)
    how = {"optimizer": Adam(1e-2), "max_epochs": 150, "progress": False}
    trained = fit(flow, condition=condition, key=KEY, objective=objective, **how).flow
    x = np.asarray(trained.sample(jax.random.key(2), (), np.repeat([[-0.5], [0.5]], 5000, axis=0)))
    np.testing.assert_allclose(x.reshape(2, 5000).mean(1), [-1.0, 1.0], atol=0.1)
    np.testing.assert_allclose(x.reshape(2, 5000).std(1), 1.0, atol=0.1)


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"x": np.zeros((10, 2))}, ValueError, "no rows for ReverseKL"),
        ({"validation": np.zeros((10, 2))}, TypeError, "validation a fraction"),
        ({"objective": None}, ValueError, "objectives.ReverseKL"),
        ({"objective": ReverseKL(lambda x: x)}, ValueError, "one number per event"),
    ],
)
def test_errors_name_the_fix(change: dict[str, Any], error: type[Exception], text: str):
    flow = pf.Flow(pf.StandardNormal((2,)), pf.Affine(0.0, 1.0, (2,)))
    with pytest.raises(error, match=text):
        fit(flow, **{"key": KEY, "progress": False, "objective": ReverseKL(log_density), **change})
    with pytest.raises(TypeError, match="a function log_density"):
        ReverseKL(3.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["realnvp", "maf"])
def test_the_carried_path_gradient_is_that_of_a_second_pass(name: str):
    """For a conditional flow: by its weights and by its condition; the twin is the plain gradient of the same draws."""
    flow = getattr(pf.flows, name)(jax.random.key(1), dim=3, condition_dim=2, n_layers=2, width=8)
    params, rest = pf.trainable(flow)
    params = jax.tree.map(lambda leaf: leaf + 0.1 * jax.random.normal(KEY, leaf.shape), params)
    condition = jax.random.normal(KEY, (16, 2))

    def second_pass(flow: Any, key: Any, shape: Any, condition: Any) -> Any:
        x = flow.sample(jax.random.split(key)[0], shape, condition)
        return x, fixed(flow).log_prob(x, fixed(condition))

    def gradient(draw: Any) -> Any:
        def loss(params: Any, condition: Any) -> Any:
            x, log_q = draw(pf.combine(params, rest), KEY, (), condition)
            return jnp.mean(log_q + jnp.sum(jnp.cosh(0.3 * x), axis=-1))

        leaves = jax.tree.leaves(jax.grad(loss, (0, 1))(params, condition))
        return np.concatenate([np.ravel(leaf) for leaf in leaves])

    expected = gradient(second_pass)
    np.testing.assert_allclose(gradient(draws_and_log_prob), expected, atol=1e-12)
    plain = gradient(lambda *given: draws_and_log_prob(*given, path_gradient=False))
    assert np.abs(plain - expected).max() > 1e-3


def test_models_that_are_no_flow_take_a_second_pass():
    """A normal with its target: zero for each draw."""
    normal = pf.MultivariateNormal([1.0, 0.0], [[1.0, 0.5], [0.5, 2.0]])
    params, rest = pf.trainable(normal)
    objective = ReverseKL(normal.log_prob, 8)
    found = jax.grad(lambda params: objective(pf.combine(params, rest), np.zeros((8, 0)), key=KEY))(params)
    assert all(np.abs(leaf).max() < 1e-12 for leaf in jax.tree.leaves(found))
