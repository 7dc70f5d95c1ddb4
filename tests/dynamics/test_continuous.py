"""Flows of fields against the matrix exponential and exact probability flows; solvers, gradients, rows, failures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

import pushforward as pf
from marks import thorough
from pushforward._types import Array
from pushforward.bijections import Continuous
from pushforward.dynamics import AbstractField, Adaptive, FixedSteps, NetworkField, PredictionField
from pushforward.nets import TimeMLP
from pushforward.numerics.trace_estimators import AbstractTrace, ExactTrace, Hutchinson, HutchPlusPlus
from pushforward.paths import (
    AbstractPath,
    LinearPath,
    SubVariancePreservingPath,
    VarianceExplodingPath,
    VariancePreservingPath,
)
from pushforward.testing import randomise

KEY = jax.random.key(5)
MATRIX = np.array([[0.3, -1.0, 0.2], [1.0, -0.4, 0.0], [0.5, 0.1, 0.2]])


class Linear(AbstractField):
    """v = A x, whose flow is the matrix exponential."""

    matrix: Array
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, matrix: Any):
        self.matrix = jnp.asarray(matrix)
        self.shape, self.cond_shape, self.start, self.end = (len(matrix),), None, 0.0, 1.0

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return self.matrix @ x

    def closed_form(self) -> None:
        return None

    def value_and_divergence(self, t: Array, x: Array, condition: Array | None, closed: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def linear() -> Linear:
    return Linear(MATRIX)


def test_the_flow_of_a_matrix_is_its_exponential(linear: Linear) -> None:
    flow = Continuous(linear, solver=Adaptive("dopri8", rtol=1e-10, atol=1e-10))
    x = jnp.array([1.0, -2.0, 0.5])
    y, log_det = flow.forward_and_log_det(x)
    np.testing.assert_allclose(y, expm(MATRIX) @ x, rtol=1e-9)
    np.testing.assert_allclose(log_det, np.trace(MATRIX), rtol=1e-9)


@pytest.mark.parametrize(("method", "order"), [*thorough(("euler", 1), ("heun", 2)), ("rk4", 4), ("tsit5", 5)])
def test_the_order_of_each_method_in_use(linear: Linear, method: Any, order: int) -> None:
    x, true = jnp.array([1.0, -2.0, 0.5]), expm(MATRIX) @ [1.0, -2.0, 0.5]
    errors = [np.linalg.norm(Continuous(linear, solver=FixedSteps(method, n)).forward(x) - true) for n in (4, 8)]
    assert abs(np.log2(errors[0] / errors[1]) - order) < 0.4, errors


class Exact(eqx.Module):
    """The noise that a network should predict for data of a normal distribution, in closed form."""

    mean: Array
    variance: Array
    path: AbstractPath
    dim: int = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, mean: Any, variance: Any, path: AbstractPath):
        self.mean, self.variance, self.path = jnp.asarray(mean), jnp.asarray(variance), path
        self.dim, self.cond_shape = len(mean), None

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        c = self.path.at(t)
        x = x * jnp.sqrt(c.alpha**2 + c.sigma**2)  # the field scales what a network sees
        return c.sigma * (x - c.alpha * self.mean) / (c.alpha**2 * self.variance + c.sigma**2)


@pytest.mark.parametrize(
    "path",
    [VariancePreservingPath(), SubVariancePreservingPath(), LinearPath(1e-3), VarianceExplodingPath(0.01, 50.0)],
    ids=lambda p: type(p).__name__,
)
def test_the_probability_flow_of_a_normal_has_its_likelihood(path: AbstractPath) -> None:
    mean, variance = np.array([0.5, -1.0]), np.array([0.25, 2.0])
    field = PredictionField(Exact(mean, variance, path), path, "noise")
    # At its start a diffusion's path still has a little of the data in it.
    c = path.at(jnp.asarray(path.start))
    base = pf.DiagonalNormal(c.alpha * mean, jnp.sqrt(c.alpha**2 * variance + c.sigma**2))
    flow = pf.Flow(base, Continuous(field, solver=Adaptive(rtol=1e-7, atol=1e-7)))
    x = mean + np.sqrt(variance) * np.random.default_rng(0).standard_normal((50, 2))
    # Where the variance explodes the mean does not move: one long step would do for it, not for its log-determinant.
    x[0] = mean
    # And at its end a little noise.
    c = path.at(jnp.asarray(path.end))
    spread = np.asarray(c.alpha**2 * variance + c.sigma**2)
    residual = (x - np.asarray(c.alpha) * mean) ** 2 / spread
    expected = -0.5 * (residual + np.log(2 * np.pi * spread)).sum(axis=1)
    np.testing.assert_allclose(flow.log_prob(x), expected, atol=1e-3)


@pytest.fixture(scope="module")
def network() -> NetworkField:
    return NetworkField(randomise(TimeMLP(KEY, 3, width=8, n_frequencies=1), KEY, 0.4))


@pytest.mark.parametrize("mixing", ["concat", "concatsquash", "film"])
@pytest.mark.parametrize("depth", [1, 2])
def test_the_trace_in_closed_form(mixing: Any, depth: int) -> None:
    net = randomise(TimeMLP(KEY, 4, width=7, depth=depth, mixing=mixing, cond_shape=(2,)), KEY, 0.5)
    x, t, condition = jnp.array([0.3, -2.0, 1.0, 0.1]), jnp.asarray(0.7), jnp.array([1.0, -1.0])
    value, trace = net.value_and_trace(t, x, condition, net.coupling())
    jacobian = jax.jacrev(lambda x: net(t, x, condition))(x)
    np.testing.assert_allclose(value, net(t, x, condition), rtol=1e-12)
    np.testing.assert_allclose(trace, jnp.trace(jacobian), rtol=1e-10)


def test_gradients_agree(network: NetworkField) -> None:
    x, found = jnp.array([0.5, -1.0, 2.0]), {}
    for gradient in ("checkpointed", "adjoint", "direct"):
        flow = Continuous(network, solver=Adaptive(rtol=1e-8, atol=1e-8, gradient=gradient))
        params, rest = pf.trainable(flow)

        def loss(params: Any, rest: Any = rest) -> Array:
            value, log_det = pf.combine(params, rest).inverse_and_log_det(x)
            return jnp.sum(value**2) + log_det

        leaves = jax.tree.leaves(jax.jit(jax.grad(loss))(params))
        found[gradient] = np.concatenate([np.ravel(leaf) for leaf in leaves])
    scale = np.abs(found["direct"]).max()
    np.testing.assert_allclose(found["checkpointed"], found["direct"], atol=1e-9 * scale)
    np.testing.assert_allclose(found["adjoint"], found["direct"], atol=1e-4 * scale)


@pytest.mark.parametrize("trace", [Hutchinson(2), *thorough(Hutchinson(2, "gaussian"), HutchPlusPlus(1, 1))], ids=repr)
def test_random_traces_are_unbiased(network: NetworkField, trace: AbstractTrace) -> None:
    n, solver = 2000, FixedSteps("rk4", 4)
    x = jnp.broadcast_to(jnp.array([[0.5], [-1.0], [2.0]]), (3, n))
    exact = Continuous(network, ExactTrace(), solver).report(x[:, :1], None, None, True).log_det[0]
    run = eqx.filter_jit(Continuous(network, trace, solver).report)
    draws = np.asarray(run(x, None, jax.random.split(KEY, n), True).log_det)
    error = draws.std() / np.sqrt(n)
    assert abs(draws.mean() - exact) < 4 * error
    assert abs(2 * draws.mean() - exact) > 4 * error  # the broken twin: summed over two probes, not averaged


def test_a_score_does_not_depend_on_the_batch(network: NetworkField) -> None:
    """Steps are chosen row by row: beside rows that need many, a row takes its own."""
    steep = jax.tree.map(lambda leaf: 3 * leaf if eqx.is_inexact_array(leaf) else leaf, network)
    flow = pf.Flow(pf.StandardNormal((3,)), Continuous(steep))
    x = np.random.default_rng(0).standard_normal((300, 3)) * np.geomspace(0.1, 30, 300)[:, None]
    together = np.asarray(flow.log_prob(x))
    np.testing.assert_allclose(flow.log_prob(x[:1]), together[:1], rtol=1e-10)
    np.testing.assert_allclose(flow.log_prob(x[::-1])[::-1], together, rtol=1e-10)
    found = flow.bijection.report(jnp.asarray(x.T), None, None, False)  # type: ignore[attr-defined]
    assert len(set(np.asarray(found.n_evaluations).tolist())) > 1


def test_the_log_det_sets_no_step(network: NetworkField) -> None:
    """The value is the same whether the log-determinant is asked for or not."""
    flow = Continuous(network)
    x = jnp.array([0.5, -1.0, 2.0])
    np.testing.assert_array_equal(jax.jit(flow_value(flow))(x), jax.jit(flow_pair(flow))(x)[0])


def flow_value(flow: Continuous) -> Callable[[Array], Array]:
    return lambda x: flow.forward(x)


def flow_pair(flow: Continuous) -> Callable[[Array], tuple[Array, Array]]:
    return lambda x: flow.forward_and_log_det(x)


def test_a_solve_that_fails_says_which_row() -> None:
    stiff = Linear(np.diag([-3.0, 60.0]))
    flow = Continuous(stiff, solver=Adaptive(rtol=1e-8, atol=1e-8, max_steps=30))
    x = jnp.array([[1.0, 0.0], [0.0, 1.0]]).T
    found = flow.report(x, None, None, True)
    np.testing.assert_array_equal(found.failed, [False, True])
    np.testing.assert_array_equal(np.isnan(found.log_det), [False, True])
    np.testing.assert_array_equal(np.isnan(found.value).any(axis=0), [False, True])


def test_errors() -> None:
    with pytest.raises(TypeError, match="velocity field"):
        Continuous(TimeMLP(KEY, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="method to be one of"):
        Adaptive("euler")
    with pytest.raises(ValueError, match="rtol > 0"):
        Adaptive(rtol=0.0)
    with pytest.raises(ValueError, match="predicts to be one of"):
        PredictionField(TimeMLP(KEY, 2), LinearPath(), "epsilon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="mixing to be one of"):
        TimeMLP(KEY, 2, mixing="hyper")  # type: ignore[arg-type]


@pytest.mark.thorough
@pytest.mark.parametrize("gradient", ["adjoint", "checkpointed"])
def test_every_mode(network: NetworkField, gradient: Any) -> None:
    """Those of a solve whose steps are all stored, which JAX differentiates by itself."""
    x, modes = jnp.array([0.5, -1.0, 2.0]), (jax.grad, jax.jacfwd, jax.hessian)

    def density(gradient: Any) -> Any:
        flow = pf.Flow(pf.StandardNormal((3,)), Continuous(network, solver=FixedSteps("rk4", 8, gradient)))
        return jax.jit(lambda x: [mode(flow.log_prob)(x) for mode in modes])

    for got, wanted in zip(density(gradient)(x), density("direct")(x), strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-5)
