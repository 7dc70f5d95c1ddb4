"""Neural ODEs as layers: against the matrix exponential at irregular times; gradients of losses at several; rows."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm

from marks import thorough
from pushforward._types import Array
from pushforward.dynamics import AbstractSolver, Adaptive, FixedSteps, NetworkField, NeuralODE
from pushforward.nets import TimeMLP
from pushforward.testing import randomise

KEY = jax.random.key(3)
MATRIX = np.array([[0.3, -1.0, 0.2], [1.0, -0.4, 0.0], [0.5, 0.1, 0.2]])
START = np.array([1.0, -2.0, 0.5])
TIMES = np.array([0.3, 0.31, 0.9, 0.9, 1.7, 2.2, 2.2])


class Linear(eqx.Module):
    """y' = A y + c."""

    matrix: Array

    def __call__(self, t: Array, y: Array, condition: Array | None = None) -> Array:
        return self.matrix @ y + (0.0 if condition is None else condition)


def exact(times: Any, t0: float, y0: Any = START, matrix: Any = MATRIX) -> np.ndarray:
    return np.stack([expm(matrix * (t - t0)) @ y0 for t in np.asarray(times)])


LINEAR = Linear(jnp.asarray(MATRIX))


@pytest.mark.parametrize(
    ("solver", "error"),
    [(Adaptive(rtol=1e-9, atol=1e-9), 1e-8), (FixedSteps("rk4", 64), 1e-7)],
    ids=lambda s: getattr(s, "method", None),
)
def test_states_of_a_matrix_at_irregular_times(solver: AbstractSolver, error: float) -> None:
    layer = eqx.filter_jit(NeuralODE(LINEAR, solver))
    for times in (TIMES, TIMES[::-1]):
        np.testing.assert_allclose(layer(START, times), exact(times, times[0]), atol=error)


@pytest.mark.thorough
def test_the_start_may_stand_before_the_times() -> None:
    """With an implicit method, whose interpolation is the less exact part."""
    layer = eqx.filter_jit(NeuralODE(LINEAR, Adaptive("kvaerno5", 1e-9, 1e-9)))
    np.testing.assert_allclose(layer(START, TIMES, t0=-0.5), exact(TIMES, -0.5), atol=1e-5)


@pytest.mark.thorough
def test_times_that_are_all_one() -> None:
    times = np.full(3, 0.7)
    for solver in (Adaptive(), FixedSteps()):
        found = eqx.filter_jit(NeuralODE.report)(NeuralODE(LINEAR, solver), START, times)
        np.testing.assert_array_equal(found.states, np.tile(START, (3, 1)))
        assert not found.failed


@pytest.mark.parametrize(("method", "order"), [*thorough(("euler", 1)), ("rk4", 4)])
def test_the_order_between_steps(method: Any, order: int) -> None:
    """At times that are no nodes of either grid: interpolation costs no order."""
    times = np.array([0.0, 0.37, 0.81, 1.0])
    layers = [eqx.filter_jit(NeuralODE(LINEAR, FixedSteps(method, n))) for n in (16, 32)]
    errors = [np.abs(layer(START, times) - exact(times, 0.0)) for layer in layers]
    rates = np.log2(errors[0][1:].max(axis=1) / errors[1][1:].max(axis=1))
    assert abs(rates.mean() - order) < 0.5, rates


def fixed(gradient: Any) -> AbstractSolver:
    return FixedSteps("rk4", 64, gradient)


def adaptive(gradient: Any) -> AbstractSolver:
    return Adaptive(rtol=1e-9, atol=1e-9, gradient=gradient)


NET = randomise(TimeMLP(KEY, 2, width=5, depth=1, n_frequencies=1, cond_shape=(1,)), KEY, 0.6)
POINT = (jnp.array([0.5, -1.0]), jnp.array([0.7]))


EVERY = np.linspace(1, 2, len(TIMES))


def loss(params: Any, y0: Array, condition: Array, weights: Array, times: Array, solver: AbstractSolver) -> Array:
    """Of the states at all times, each with a weight of its own."""
    states = NeuralODE(eqx.combine(params, eqx.filter(NET, eqx.is_array, inverse=True)), solver)(y0, times, condition)
    return jnp.sum(weights[:, None] * jnp.sin(states))


@functools.cache
def compiled(solver: AbstractSolver) -> Any:
    return jax.jit(jax.grad(functools.partial(loss, solver=solver), argnums=(0, 1, 2)))


def gradients(solver: AbstractSolver, weights: Any = EVERY, times: Any = TIMES) -> np.ndarray:
    found = compiled(solver)(eqx.filter(NET, eqx.is_array), *POINT, weights, times)
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(found)])


@pytest.mark.parametrize(
    "other",
    thorough(fixed("adjoint"), fixed("direct"), adaptive("adjoint")),
    ids=lambda solver: f"{type(solver).__name__}, {solver.gradient}",
)
def test_gradients_of_a_loss_at_several_times_agree(other: AbstractSolver) -> None:
    own = fixed("checkpointed") if isinstance(other, FixedSteps) else adaptive("checkpointed")
    for times in (TIMES, TIMES[::-1]):
        expected = gradients(own, times=times)
        scale = np.abs(expected).max()
        np.testing.assert_allclose(gradients(other, times=times), expected, atol=1e-6 * scale)
        # The broken twin: a loss that leaves out one of the times.
        without = EVERY * (np.arange(len(TIMES)) != 4)
        assert np.abs(gradients(other, without, times) - expected).max() > 1e-2 * scale


def test_gradients_are_those_of_finite_differences() -> None:
    solver, params = fixed("checkpointed"), eqx.filter(NET, eqx.is_array)
    leaves, structure = jax.tree.flatten((params, *POINT))
    sizes = np.cumsum([leaf.size for leaf in leaves])[:-1]
    flat = np.concatenate([np.ravel(leaf) for leaf in leaves])
    direction = np.random.default_rng(0).standard_normal(len(flat))

    @jax.jit
    def at(step: Array) -> Array:
        pieces = jnp.split(flat + step * direction, sizes)
        own = [piece.reshape(leaf.shape) for piece, leaf in zip(pieces, leaves, strict=True)]
        params, y0, condition = jax.tree.unflatten(structure, own)
        return loss(params, y0, condition, jnp.asarray(EVERY), jnp.asarray(TIMES), solver)

    difference = (at(jnp.asarray(1e-4)) - at(jnp.asarray(-1e-4))) / 2e-4
    np.testing.assert_allclose(gradients(solver) @ direction, difference, rtol=1e-5)


def test_a_row_is_solved_as_if_it_were_alone() -> None:
    """Padded series of different lengths, side by side with one that needs many steps."""
    layer = NeuralODE(LINEAR, Adaptive(rtol=1e-6, atol=1e-6))
    y0 = START * np.array([1.0, 1e3, -0.1])[:, None]
    times = np.array([[0.0, 0.4, 1.0, 1.0], [0.0, 2.0, 5.0, 9.0], [1.0, 1.0, 1.0, 1.0]])
    condition, t0 = np.arange(9.0).reshape(3, 3), np.array([0.0, -0.5, 0.9])
    together = eqx.filter_jit(NeuralODE.batch)(layer, y0, times, condition, t0=t0)
    assert together.states.shape == (3, 4, 3)
    assert len(set(np.asarray(together.n_evaluations).tolist())) > 1
    run = eqx.filter_jit(NeuralODE.report)
    for row in range(3):
        alone = run(layer, y0[row], times[row], condition[row], t0=jnp.asarray(t0[row]))
        np.testing.assert_allclose(alone.states, together.states[row], rtol=1e-9)
        assert alone.n_evaluations == together.n_evaluations[row]


def test_a_solve_that_fails_says_which_row_and_from_when() -> None:
    """y' = y^2 blows up at 1 / y(0)."""
    layer = NeuralODE(lambda t, y, condition: y**2, Adaptive(max_steps=60))
    run = eqx.filter_jit(NeuralODE.batch)
    found = run(layer, np.array([[0.1], [0.5], [1.0]]), np.array([0.0, 0.5, 1.5, 3.0]))
    np.testing.assert_array_equal(found.failed, [False, True, True])
    missing = [[False] * 4, [False, False, False, True], [False, False, True, True]]
    np.testing.assert_array_equal(np.isnan(found.states[..., 0]), missing)
    np.testing.assert_allclose(found.states[1, 1:3, 0], [1 / 1.5, 1 / 0.5], rtol=1e-3)
    # Steps of a fixed length pass the pole, and overflow.
    assert run(NeuralODE(layer.net, FixedSteps("rk4", 40)), np.ones((1, 1)), np.array([0.0, 50.0])).failed


def test_times_out_of_order_under_a_transformation_fail_row_by_row() -> None:
    times = jnp.array([[0.0, 1.0, 0.5], [0.0, 0.5, 1.0], [0.0, 0.5, jnp.nan]])
    found = jax.jit(jax.vmap(lambda times: NeuralODE(LINEAR, FixedSteps()).report(START, times)))(times)
    np.testing.assert_array_equal(found.failed, [True, False, True])
    assert np.isnan(found.states[0]).all()


def test_a_field_is_solved_within_its_bounds() -> None:
    field = NetworkField(TimeMLP(KEY, 2, width=4))
    with pytest.raises(ValueError, match=r"times within 0.0 and 1.0.*got \[0\. 2\.\]"):
        NeuralODE(field)(np.ones(2), np.array([0.0, 2.0]))


def test_errors() -> None:
    layer = NeuralODE(LINEAR)
    with pytest.raises(TypeError, match="NeuralODE: expected a network, got int"):
        NeuralODE(3)
    with pytest.raises(ValueError, match=r"ascend or descend, got \[0\.  1\.  0\.5\]\. Sort"):
        layer(START, np.array([0.0, 1.0, 0.5]))
    with pytest.raises(ValueError, match=r"ascend or descend, got \[0\. 1\. 0\.\] in row 1"):
        layer.batch(np.ones((2, 3)), np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 0.0]]))
    with pytest.raises(ValueError, match="t0 and then times"):
        layer(START, np.array([0.0, 1.0]), t0=0.5)
    with pytest.raises(ValueError, match="times of one axis, with entries, got shape"):
        layer(START, np.zeros(0))
    with pytest.raises(ValueError, match=r"output of the state's shape \(2,\), got shape \(3,\)"):
        NeuralODE(lambda t, y, condition: jnp.zeros(3))(np.ones(2), TIMES)
    with pytest.raises(ValueError, match="condition with 2 rows, as y0 has, got shape"):
        layer.batch(np.ones((2, 3)), TIMES, np.ones((5, 3)))


@pytest.mark.thorough
@pytest.mark.parametrize("gradient", ["checkpointed", "adjoint"])
def test_every_mode_of_differentiation(gradient: Any) -> None:
    """Against a solve whose steps are all stored, of what the network closes over and of the start."""
    times = jnp.array([0.0, 0.3, 1.0])

    def run(gradient: Any) -> Any:
        def total(w: Array) -> Array:
            model = NeuralODE(lambda t, y, c: jnp.tanh(w[:2] * y) + w[2], fixed(gradient))
            return jnp.sum(jnp.sin(model(w[:2], times)))

        return lambda w: (jax.grad(total)(w), jax.jacfwd(total)(w), jax.hessian(total)(w))

    w = jnp.array([0.5, -1.0, 0.3])
    got, wanted = jax.jit(run(gradient))(w), jax.jit(run("direct"))(w)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8), got, wanted)
