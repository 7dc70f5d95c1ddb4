"""Fixed points: the bound is honest, gradients are implicit, rows stand alone, and what diverges is no number."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward.numerics.fixed_point import (
    AbstractFixedPoint,
    Anderson,
    FixedPointSolution,
    PlainIteration,
    solve_contraction,
)

D, N = 5, 40
RNG = np.random.default_rng(0)
RAW = RNG.standard_normal((D, D))
WEIGHT = jnp.asarray(RAW / np.linalg.norm(RAW, 2))
Y = jnp.asarray(3 * RNG.standard_normal((D, N)))
SOLVERS = [PlainIteration(), Anderson(), Anderson(1)]


def function(x: Any, weight: Any) -> Any:
    return jnp.sin(weight @ x)


def solve(lipschitz: float, solver: AbstractFixedPoint, y: Any = Y, weight: Any = WEIGHT) -> FixedPointSolution:
    return jax.jit(lambda y, w: solve_contraction(function, y, w, lipschitz, solver))(y, lipschitz * weight)


@pytest.mark.parametrize("solver", SOLVERS, ids=["plain", "anderson", "anderson of one"])
def test_solves(solver: AbstractFixedPoint) -> None:
    found = solve(0.95, solver)
    assert bool(found.converged.all())
    np.testing.assert_allclose(found.x + function(found.x, 0.95 * WEIGHT), Y, atol=1e-12)
    assert found.checked("test") is found


def test_anderson_takes_fewer_steps() -> None:
    assert int(solve(0.98, Anderson()).steps) < 0.6 * int(solve(0.98, PlainIteration()).steps)


@pytest.mark.parametrize("solver", SOLVERS[:2], ids=["plain", "anderson"])
def test_the_bound_is_honest(solver: AbstractFixedPoint) -> None:
    """In float32 and with coarse tolerances, against float64; |dx| alone, the broken twin, is none."""
    weight = jnp.asarray(np.diag([0.97, 0.9, 0.5, 0.97, -0.8]))

    def linear(x: Any, weight: Any) -> Any:
        return -(weight @ x)

    true = np.linalg.solve(np.eye(D) - np.asarray(weight), np.asarray(Y))
    for dtype, tolerance in ((jnp.float32, None), (jnp.float64, 1e-3), (jnp.float64, 1e-6)):
        own = dataclasses.replace(solver, tolerance=tolerance)
        found = solve_contraction(linear, Y.astype(dtype), weight.astype(dtype), 0.97, own)
        error = np.linalg.norm(np.asarray(found.x, np.float64) - true, axis=0)
        assert bool(found.converged.all())
        assert np.all(error <= np.asarray(found.bound))
        if tolerance is not None:
            assert np.all(np.asarray(found.bound) <= 1.01 * tolerance * (1 + np.abs(true).max(0) + np.abs(Y).max(0)))
    if isinstance(solver, PlainIteration):
        change = (
            0.03 / 0.97 * np.asarray(solve_contraction(linear, Y, weight, 0.97, PlainIteration(tolerance=1e-3)).bound)
        )
        assert np.any(np.linalg.norm(_coarse(linear, weight) - true, axis=0) > change)


def _coarse(linear: Any, weight: Any) -> np.ndarray:
    return np.asarray(solve_contraction(linear, Y, weight, 0.97, PlainIteration(tolerance=1e-3)).x)


def test_implicit_gradients() -> None:
    bar = jnp.asarray(RNG.standard_normal((D, N)))

    def loss(y: Any, weight: Any) -> Any:
        return jnp.sum(bar * solve_contraction(function, y, weight, 0.9, PlainIteration()).x)

    def unrolled(y: Any, weight: Any) -> Any:
        x, _ = jax.lax.scan(lambda x, _: (y - function(x, weight), None), y, None, length=400)
        return jnp.sum(bar * x)

    for got, expected in zip(
        jax.grad(loss, (0, 1))(Y, 0.9 * WEIGHT), jax.grad(unrolled, (0, 1))(Y, 0.9 * WEIGHT), strict=True
    ):
        np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10)


def test_every_mode() -> None:
    """Hessians forward over reverse and reverse over forward, of the steps unrolled."""

    def loss(y: Any, weight: Any) -> Any:
        return jnp.sum(jnp.sin(solve_contraction(function, y, weight, 0.5, PlainIteration()).x))

    def unrolled(y: Any, weight: Any) -> Any:
        x, _ = jax.lax.scan(lambda x, _: (y - function(x, weight), None), y, None, length=80)
        return jnp.sum(jnp.sin(x))

    at = Y[:, :2], 0.4 * WEIGHT
    wanted = jax.jit(jax.hessian(unrolled, 1))(*at)
    for mode in (jax.hessian(loss, 1), jax.jacrev(jax.jacfwd(loss, 1), 1)):
        np.testing.assert_allclose(jax.jit(mode)(*at), wanted, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("solver", SOLVERS[:2], ids=["plain", "anderson"])
def test_rows_stand_alone(solver: AbstractFixedPoint) -> None:
    whole = solve(0.9, solver)
    np.testing.assert_allclose(solve(0.9, solver, Y[:, 3:4]).x, whole.x[:, 3:4], atol=1e-13)
    poisoned = solve(0.9, solver, Y.at[0, 1].set(jnp.nan).at[1, 2].set(jnp.inf))
    assert np.isnan(poisoned.x[:, 1:3]).all()
    assert not bool(poisoned.converged[1:3].any())
    np.testing.assert_allclose(poisoned.x[:, 3:], whole.x[:, 3:], atol=1e-13)


@pytest.mark.parametrize("solver", [PlainIteration(max_steps=300), Anderson(max_steps=300)], ids=["plain", "anderson"])
def test_what_does_not_contract_is_no_number(solver: AbstractFixedPoint) -> None:
    """x - 1.5 x = y + drift has a solution that iteration does not reach; and 2 tanh oscillates between two points."""
    found = solve_contraction(lambda x, a: a * x, jnp.ones((2, 3)), jnp.asarray(1.5), 0.97, solver)
    if isinstance(solver, PlainIteration):
        assert np.isnan(found.x).all()
        with pytest.raises(pf.ConvergenceError, match="3 of 3 that did not"):
            found.checked("Residual")
    else:  # Anderson may solve what Banach cannot; if it says so, it is so
        there = np.asarray(found.converged)
        np.testing.assert_allclose(np.asarray(found.x)[:, there], 1 / 2.5, rtol=1e-9)
    drifting = solve_contraction(lambda x, a: -x - a, jnp.ones((2, 3)), jnp.asarray(1.0), 0.97, solver)
    assert np.isnan(drifting.x).all()  # x - x - 1 = 1 has none
    few = solve(0.97, dataclasses.replace(solver, max_steps=2))
    assert np.isnan(few.x[:, ~few.converged]).all()
    assert not bool(few.converged.all())


def test_errors() -> None:
    with pytest.raises(ValueError, match="lipschitz in"):
        solve_contraction(function, Y, WEIGHT, 1.0, PlainIteration())
    with pytest.raises(ValueError, match="tolerance > 0"):
        PlainIteration(tolerance=0.0)
    with pytest.raises(ValueError, match="depth"):
        Anderson(0)
