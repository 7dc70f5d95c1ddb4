"""The check of solvers: passes where the tolerance is kept, fails for few steps, and says how many rows failed."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import pushforward as pf
from pushforward.checking.context import Context
from pushforward.checking.report import CheckLine
from pushforward.checking.solver import check_solver
from pushforward.distributions import with_solver
from pushforward.dynamics import AbstractSolver, Adaptive, FixedSteps
from pushforward.testing import randomise

KEY = jax.random.key(4)


@pytest.fixture(scope="module")
def flow() -> pf.Flow:
    return randomise(pf.flows.cnf(KEY, dim=2, width=8, depth=1), KEY, 0.5)


@pytest.fixture(scope="module")
def points(flow: pf.Flow) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(flow.sample(KEY, 100), np.float64)


def line(flow: pf.Flow, points: np.ndarray, solver: AbstractSolver | None = None) -> CheckLine:
    context = Context.of(flow if solver is None else with_solver(flow, solver), points, None, KEY)
    # Drawing samples would take a strict solve for each solver; this check only looks where it is told to.
    context.__dict__["points"] = points
    return check_solver(context)


def test_a_healthy_flow_passes(flow: pf.Flow, points: np.ndarray) -> None:
    found = line(flow, points)
    assert found.verdict == "pass", found
    assert "evaluations of the velocity" in found.sentence


def test_few_steps_fail(flow: pf.Flow, points: np.ndarray) -> None:
    found = line(flow, points, FixedSteps("euler", 2))
    assert found.verdict == "fail", found
    assert "Tighten the tolerance" in found.sentence
    assert (found.figure or 0) > 0.05


def test_rows_that_cannot_be_solved_fail(flow: pf.Flow, points: np.ndarray) -> None:
    found = line(flow, points, Adaptive(max_steps=3))
    assert found.verdict == "fail", found
    assert "100 rows could not be solved: allow more steps" in found.sentence


def test_flows_of_layers_are_skipped(points: np.ndarray) -> None:
    assert line(pf.flows.realnvp(KEY, dim=2, n_layers=2, width=8, linear="reverse"), points).verdict == "skipped"


@pytest.mark.thorough
def test_the_whole_report_of_a_flow_of_a_field(flow: pf.Flow, points: np.ndarray) -> None:
    """The laws are held against strict solves, so that the solver's tolerance fails none of them."""
    report = pf.check(flow, points, key=KEY)
    assert not {found.name for found in report.failed} - {"latents, each coordinate", "latents, jointly"}, str(report)
    assert report["solver"].verdict == report["log-det against autodiff"].verdict == "pass"
