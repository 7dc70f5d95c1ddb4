"""`log_prob(..., with_error=True)`: errors that cover the truth, evaluations counted, failures named."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward._checks import ConvergenceError
from pushforward.bijections import Continuous
from pushforward.distributions import Estimate, evaluation_form, with_solver
from pushforward.dynamics import Adaptive, FixedSteps
from pushforward.testing import randomise

KEY = jax.random.key(17)
X = np.random.default_rng(0).standard_normal((8, 2)) * np.geomspace(0.3, 3, 8)[:, None]


def wild(name: str, **options: Any) -> pf.Flow:
    """Weights as after training, or worse."""
    return randomise(pf.flows.ZOO[name](KEY, dim=2, width=8, depth=1, **options), KEY, 0.5)


@pytest.fixture(scope="module")
def flow() -> pf.Flow:
    return wild("cnf")


@pytest.fixture(scope="module")
def strict(flow: pf.Flow) -> np.ndarray:
    return np.asarray(with_solver(flow, lambda solver: solver.strict()).log_prob(X))


def test_the_error_of_probes_covers_the_exact_value() -> None:
    """And would not cover one draw that claims none, the broken twin."""
    flow = wild("ffjord")
    exact = np.asarray(evaluation_form(flow).log_prob(X))
    found = flow.log_prob(X, key=KEY, with_error=True)

    def covered(value: Any, error: np.ndarray) -> bool:
        return bool(np.all(np.abs(value - exact) < 4 * error + found.solver_error + 1e-9))

    assert (found.probe_error > 0).all()
    assert covered(found.log_prob, found.probe_error)
    assert not covered(flow.log_prob(X, key=KEY), np.zeros(8))
    assert found.solver_error.max() < 0.1 * found.probe_error.max()  # both solves see the same probes
    with pytest.raises(ValueError, match="key"):
        flow.log_prob(X, with_error=True)


@pytest.mark.parametrize("solver", [Adaptive(rtol=1e-3, atol=1e-3), FixedSteps("heun", 8)], ids=["adaptive", "fixed"])
def test_the_error_of_the_solver_is_the_distance_to_a_strict_solve(
    flow: pf.Flow, strict: np.ndarray, solver: Any
) -> None:
    found = with_solver(flow, solver).log_prob(X, with_error=True)
    distance = np.abs(found.log_prob - strict).max()
    assert distance > 1e-5
    assert distance / 10 < found.solver_error.max() < 10 * distance
    np.testing.assert_array_equal(found.probe_error, 0)
    assert not found.failed.any()
    np.testing.assert_array_equal(found.require(), found.log_prob)


def test_it_shrinks_with_the_tolerance(flow: pf.Flow, strict: np.ndarray) -> None:
    flow = with_solver(flow, Adaptive(rtol=1e-7, atol=1e-7))  # above, 1e-3
    found = flow.log_prob(X, with_error=True)
    assert found.solver_error.max() < 1e-4
    assert np.abs(found.log_prob - strict).max() < 1e-4
    np.testing.assert_allclose(found.log_prob, flow.log_prob(X), atol=1e-12)
    assert len(set(found.n_evaluations.tolist())) > 1


def test_rows_that_fail_are_named(flow: pf.Flow) -> None:
    layer: Any = flow.bijection
    x = X * np.array([1, 1, 1, 1, 1, 30, 1, 30])[:, None]
    steps = np.asarray(layer.report(x.T, None, None, False).n_evaluations) / 7  # stages of tsit5
    allowed = int(np.median(steps))
    few = pf.Flow(flow.base, Continuous(layer.field, solver=Adaptive(max_steps=allowed)))
    found = few.log_prob(x, with_error=True)
    np.testing.assert_array_equal(found.failed, steps > allowed)
    assert 0 < found.failed.sum() < 8
    np.testing.assert_array_equal(np.isnan(found.log_prob), found.failed)
    rows = np.flatnonzero(found.failed)
    with pytest.raises(ConvergenceError, match=rf"{len(rows)} failed, the first \[{rows[0]}, .*outliers among these"):
        found.require()


@pytest.mark.thorough
def test_conditional_flows_of_two_fields() -> None:
    """Evaluations and errors of all fields on the way add up."""
    flow = wild("cnf", n_layers=2, condition_dim=1, method="rk4", n_steps=3).given(np.array([0.5]))
    found = flow.log_prob(X[None], with_error=True)
    np.testing.assert_allclose(found.log_prob, flow.log_prob(X[None]), atol=1e-9)
    np.testing.assert_array_equal(found.n_evaluations, np.full((1, 8), 2 * 3 * 4))
    assert (found.solver_error > 0).all()


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["score_sde", "ncsn", "rectified_flow"])
def test_flows_of_other_kinds(name: str) -> None:
    flow = wild(name, condition_dim=1)
    condition = np.linspace(-1, 1, 8)[:, None]
    found = flow.log_prob(X, condition, with_error=True)
    np.testing.assert_allclose(found.log_prob, flow.log_prob(X, condition), atol=1e-9)
    fixed = flow.given(condition[0]).log_prob(X[:1], with_error=True)
    np.testing.assert_allclose(fixed.log_prob, found.log_prob[:1], atol=1e-9)
    np.testing.assert_array_equal(fixed.n_evaluations, found.n_evaluations[:1])


def test_a_flow_that_solves_nothing_has_no_error() -> None:
    flow = wild("realnvp", n_layers=2)
    found = flow.log_prob(X, with_error=True)
    np.testing.assert_allclose(found.log_prob, flow.log_prob(X), rtol=1e-12)
    for part in (found.probe_error, found.solver_error, found.n_evaluations, found.failed):
        np.testing.assert_array_equal(part, 0)
    assert np.isneginf(flow.log_prob(np.array([[np.inf, 0.0]]), with_error=True).log_prob).all()
    empty = np.zeros(0)
    nothing = Estimate(empty, empty, empty, empty, empty.astype(bool))
    assert nothing.require().shape == (0,)
