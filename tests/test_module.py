"""Methods of models are functions to JAX, alone and inside other transformations, and are compiled once."""

from __future__ import annotations

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf

KEY = jax.random.key(3)
FLOW = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=1, width=4, linear="reverse")
X = jnp.array([[0.3, -1.0], [2.0, 0.1], [0.0, 0.0]])

METHODS: dict[str, tuple[Callable, Callable[[Callable], object]]] = {
    "log_prob": (FLOW.log_prob, lambda f: f(X)),
    "encode": (FLOW.encode, lambda f: f(X)),
    "decode": (FLOW.decode, lambda f: f(X)),
    "sample": (FLOW.sample, lambda f: f(KEY)),
    "sample_and_log_prob": (FLOW.sample_and_log_prob, lambda f: f(KEY)),
    "forward": (FLOW.bijection.forward, lambda f: f(X[0])),
    "inverse_and_log_det": (FLOW.bijection.inverse_and_log_det, lambda f: f(X[0])),
    "StandardNormal.log_prob": (pf.StandardNormal((2,)).log_prob, lambda f: f(X)),
    "path.sigma": (pf.paths.LinearPath().sigma, lambda f: f(X)),
}


@pytest.mark.parametrize("transform", [jax.jit, jax.checkpoint, eqx.filter_jit], ids=lambda t: t.__name__)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_taken_as_it_is(name: str, transform: Callable) -> None:
    method, call = METHODS[name]
    for got, expected in zip(jax.tree.leaves(call(transform(method))), jax.tree.leaves(call(method)), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


def test_it_works_inside_other_transformations() -> None:
    # Equinox's bound method compares the values of the arrays, which is an error while they are traced.
    compiled, expected = jax.jit(FLOW.log_prob), FLOW.log_prob(X)

    def nested(flow: pf.Flow, x: jax.Array) -> tuple[jax.Array, ...]:
        own = jax.jit(flow.log_prob)
        return own(x), own(x), jax.checkpoint(flow.log_prob)(x), compiled(x), jax.jit(FLOW.log_prob)(x)

    for got in jax.jit(nested)(FLOW, X):
        np.testing.assert_allclose(got, expected, rtol=1e-12)

    def loss(params: pf.Flow, rest: pf.Flow, wrap: Callable) -> jax.Array:
        return jnp.sum(wrap(pf.combine(params, rest).log_prob)(X))

    own, plain = (jax.grad(loss)(*pf.trainable(FLOW), wrap) for wrap in (jax.checkpoint, lambda f: f))
    for got, wanted in zip(jax.tree.leaves(own), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-10, atol=1e-12)


def test_methods_of_two_models_are_two_functions() -> None:
    other = pf.testing.randomise(FLOW, KEY)
    same = jax.tree.map(lambda leaf: leaf, FLOW)
    assert FLOW.log_prob == FLOW.log_prob
    assert hash(FLOW.log_prob) == hash(FLOW.log_prob)
    assert FLOW.log_prob != FLOW.encode
    assert FLOW.log_prob != same.log_prob
    np.testing.assert_allclose(jax.jit(other.log_prob)(X), other.log_prob(X), rtol=1e-12)
    assert not np.allclose(jax.jit(FLOW.log_prob)(X), other.log_prob(X))


def test_nothing_is_traced_twice() -> None:
    traces = []

    def run(method: Callable, x: jax.Array) -> jax.Array:
        traces.append(0)
        return method(x)

    for call in (jax.jit(run), eqx.filter_jit(run)):
        traces.clear()
        # As an argument a method is a tree: another model of the same structure is the same program.
        for flow in (FLOW, FLOW, pf.testing.randomise(FLOW, KEY)):
            np.testing.assert_allclose(call(flow.log_prob, X), flow.log_prob(X), rtol=1e-12)
        assert len(traces) == 1
