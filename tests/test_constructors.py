"""Constructors take traced arrays: under `jit`, `grad` and `eqx.filter_vmap` they give what they give otherwise."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf

X = jnp.array([0.3, 0.6])
A = jnp.array([0.8, 1.7])
CONDITIONAL = pf.flows.maf(jax.random.key(0), dim=2, condition_dim=2, n_layers=1, width=4, depth=1, linear="reverse")

# Name: a number computed by an object that is made of two numbers above 0.
MADE: dict[str, Callable[[jax.Array], jax.Array]] = {
    "DiagonalNormal": lambda a: pf.DiagonalNormal(a - 1, a).log_prob(X),
    "UniformBox": lambda a: pf.UniformBox(-a, a).log_prob(X),
    "StudentT": lambda a: pf.StudentT(a).log_prob(X),
    "Mixture": lambda a: pf.Mixture([pf.StandardNormal((2,)), pf.UniformBox([0.0, 0.0], 1.0)], weights=a).log_prob(X),
    "MultivariateNormal, cov": lambda a: pf.MultivariateNormal(a, jnp.diag(a) + 0.3).log_prob(X),
    "MultivariateNormal, scale_tril": lambda a: pf.MultivariateNormal(0.0, scale_tril=jnp.diag(a)).log_prob(X),
    "ConditionalNormal": lambda a: pf.ConditionalNormal(lambda c: jnp.concatenate([a, c]), (2,), (2,)).log_prob(X, a),
    "Joint": lambda a: pf.Joint([pf.StudentT(a[:1]), pf.DiagonalNormal(a[1:], a[:1])], [[1], [0]]).log_prob(X),
    "Joint.entropy": lambda a: pf.Joint([pf.StudentT(a[:1]), pf.DiagonalNormal(a[1:], a[:1])]).entropy(),
    "StudentT.cdf": lambda a: pf.StudentT(a).cdf(X).sum(),
    "StudentT.quantile": lambda a: pf.StudentT(a).quantile(X).sum(),
    "Flow.given": lambda a: CONDITIONAL.given(a).log_prob(X),
    "lists of traced numbers": lambda a: pf.DiagonalNormal([a[0], 0.0], [1.0, a[1]]).log_prob(X),
}


@pytest.mark.parametrize("name", MADE)
def test_traced_arrays_are_taken(name: str) -> None:
    made = MADE[name]
    value = made(A)
    np.testing.assert_allclose(jax.jit(made)(A), value, rtol=1e-10)
    np.testing.assert_allclose(eqx.filter_vmap(made)(jnp.stack([A, 2 * A])), [value, made(2 * A)], rtol=1e-10)
    gradient = jax.grad(made)(A)
    for i, step in enumerate(1e-5 * np.eye(2)):
        np.testing.assert_allclose(gradient[i], (made(A + step) - made(A - step)) / 2e-5, rtol=1e-5, atol=1e-8)


def test_the_gradient_by_a_scale_is_known() -> None:
    gradient = jax.grad(lambda s: pf.DiagonalNormal(jnp.zeros(2), s).log_prob(jnp.ones(2)))
    for s in (jnp.ones(2), jnp.array([0.5, 3.0])):
        np.testing.assert_allclose(gradient(s), -1 / s + 1 / s**3, rtol=1e-12, atol=1e-12)


def test_objects_are_made_in_a_batch() -> None:
    scales = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    batch = eqx.filter_vmap(lambda s: pf.DiagonalNormal(jnp.zeros(2), s))(scales)
    scores = eqx.filter_vmap(lambda d: d.log_prob(X))(batch)
    np.testing.assert_allclose(scores, [pf.DiagonalNormal([0.0, 0.0], s).log_prob(X) for s in scales], rtol=1e-12)


def test_values_are_checked_where_they_are_known() -> None:
    # A number that is known is checked inside of compiled functions too.
    with pytest.raises(ValueError, match="finite scales > 0, got"):
        jax.jit(lambda x: pf.DiagonalNormal(0.0, np.array([1.0, -1.0])).log_prob(x))(X)
    assert np.isnan(jax.jit(lambda s: pf.DiagonalNormal(jnp.zeros(2), s).log_prob(X))(-A))
