"""Networks of time and state: shapes, rows, starts, gates; the potential's gradient and Laplacian against autodiff."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pushforward.nets import PotentialNet, TimeMLP, TimeResidualMLP
from pushforward.testing import randomise

KEY = jax.random.key(2)
X, T, CONDITION = np.random.default_rng(0).standard_normal((3, 5)), np.linspace(0, 1, 5), np.arange(10.0).reshape(2, 5)


@pytest.mark.parametrize(
    ("kind", "mixing"),
    [(TimeMLP, "film"), (TimeResidualMLP, "concat"), (TimeResidualMLP, "concatsquash"), (TimeResidualMLP, "film")],
)
def test_rows_stand_on_the_last_axis(kind: Any, mixing: Any) -> None:
    net = randomise(kind(KEY, 3, width=6, mixing=mixing, cond_shape=(2,)), KEY, 0.5)
    run = jax.jit(lambda *given: net(*given))
    together = run(T, X, CONDITION)
    assert together.shape == (3, 5)
    np.testing.assert_allclose(together, jax.jit(jax.vmap(net, in_axes=-1, out_axes=-1))(T, X, CONDITION), rtol=1e-11)
    # Time, event and condition each have an effect.
    for other in (run(T + 0.3, X, CONDITION), run(T, X + 0.3, CONDITION), run(T, X, CONDITION + 0.3)):
        assert (np.abs(other - together) > 1e-6).all()


def test_blocks_of_the_residual_network() -> None:
    """The formula of the docstring, written out for one block."""
    net = randomise(TimeResidualMLP(KEY, 3, width=4, depth=1, mixing="film", n_frequencies=1, activation="tanh"), KEY)
    x, t = X[:, 0], 0.3
    e = np.array([t, np.cos(np.pi * t), np.sin(np.pi * t)])
    first, inner, outer, last = (np.asarray(w) for w in (net.first, net.inner[0], net.outer[0], net.last))
    h = first[:, :-1] @ x + first[:, -1]
    hidden = np.tanh((1 + net.gates[0] @ e) * (inner[:, :-1] @ h + inner[:, -1]) + net.shifts[0] @ e)
    h = h + outer[:, :-1] @ hidden + outer[:, -1]
    expected = last[:, :-1] @ h + last[:, -1] + net.shifts[1] @ e
    np.testing.assert_allclose(net(jnp.asarray(t), jnp.asarray(x)), expected, rtol=1e-12)


def test_the_output_starts_near_zero_and_learns() -> None:
    net, x = TimeResidualMLP(KEY, 3, width=32, depth=6), jnp.asarray(X)
    value, gradients = jax.jit(jax.value_and_grad(lambda net: jnp.mean((net(jnp.asarray(T), x) - 1) ** 2)))(net)
    assert 0.9 < value < 1.1
    assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(gradients))
    potential = PotentialNet(KEY, 3, width=32, depth=3)
    value, gradients = jax.jit(jax.value_and_grad(lambda net: jnp.mean((net.gradient(T, x) - 1) ** 2)))(potential)
    assert 0.7 < value < 1.3
    assert all(np.abs(leaf).max() > 1e-4 for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(("depth", "cond_shape"), [(1, None), (2, (2,)), (4, (2,)), (3, None)])
def test_gradient_and_laplacian_are_those_of_the_value(depth: int, cond_shape: Any) -> None:
    net: Any = randomise(PotentialNet(KEY, 3, width=5, depth=depth, cond_shape=cond_shape), KEY, 0.7)
    given: Any = (jnp.asarray(T), jnp.asarray(X), None if cond_shape is None else jnp.asarray(CONDITION))
    each: Any = functools.partial(jax.vmap, in_axes=-1, out_axes=-1)

    @jax.jit
    def found(given: Any) -> Any:
        rows = (net.gradient(*given), *net.gradient_and_laplacian(*given, net.lengths()))
        return rows, each(lambda *own: net.gradient_and_laplacian(*own, net.lengths()))(*given)

    gradient_of: Any = jax.grad(net.value, argnums=1)
    hessian: Any = jax.hessian(net.value, argnums=1)

    @jax.jit
    def expected(given: Any) -> Any:
        traces = each(lambda *own: jnp.trace(hessian(*own)))(*given)
        return each(gradient_of)(*given), traces

    (alone, gradient, laplacian), events = found(given)
    by_autodiff = expected(given)
    for got, true in ((alone, 0), (gradient, 0), (laplacian, 1), (events[0], 0), (events[1], 1)):
        np.testing.assert_allclose(got, by_autodiff[true], rtol=1e-10, atol=1e-12)


def test_errors() -> None:
    with pytest.raises(ValueError, match="TimeResidualMLP: expected mixing to be one of"):
        TimeResidualMLP(KEY, 2, mixing="hyper")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="TimeResidualMLP: expected a condition of shape"):
        TimeResidualMLP(KEY, 3, cond_shape=(2,))(jnp.asarray(0.5), jnp.ones(3))
    with pytest.raises(ValueError, match="PotentialNet: expected a condition of shape"):
        PotentialNet(KEY, 3, cond_shape=(2,)).value(jnp.asarray(0.5), jnp.ones(3))
    with pytest.raises(ValueError, match="PotentialNet: expected rank an integer >= 1"):
        PotentialNet(KEY, 3, rank=0)


def test_the_trace_holds_far_beyond_any_data() -> None:
    net = randomise(TimeMLP(jax.random.key(1), 2, width=8), jax.random.key(2), 0.5)
    x, t = jnp.array([3e7, -4e6]), jnp.asarray(0.4)
    value, trace = net.value_and_trace(t, x, None, net.coupling())
    np.testing.assert_allclose(value, net(t, x), rtol=1e-12)
    np.testing.assert_allclose(trace, jnp.trace(jax.jacrev(lambda x: net(t, x))(x)), rtol=1e-10)
    assert abs(trace) > 1e-3
