"""A model with other solvers or other log-determinants; its weights are the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pushforward._parts import rewritten
from pushforward.bijections import Continuous
from pushforward.bijections.residual import Residual
from pushforward.dynamics.solvers import AbstractSolver
from pushforward.numerics.log_det_series import AbstractLogDet

Tree = TypeVar("Tree")


def with_log_det(model: Tree, log_det: AbstractLogDet | Callable[[Residual], AbstractLogDet]) -> Tree:
    """The model with another log-determinant in every contractive residual layer; its weights are the same.

    Args:
        model: A bijection or distribution.
        log_det: An estimator of log-determinants, or a function that returns one for each layer.
    """
    choose = (lambda layer: log_det) if isinstance(log_det, AbstractLogDet) else log_det

    def change(part: Any) -> Any:
        chosen = choose(part) if isinstance(part, Residual) else None
        return part if chosen is None or chosen is part.log_det else Residual(part.net, chosen, part.solver)

    return rewritten(model, change)


def with_solver(model: Tree, solver: AbstractSolver | Callable[[AbstractSolver], AbstractSolver]) -> Tree:
    """The model with another solver in every continuous layer; its weights are the same.

    Few steps of `FixedSteps("euler", ...)` sample fast from a field whose paths are straight.

    Args:
        model: A bijection or distribution.
        solver: A solver, or a function of each layer's own solver.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.dynamics import FixedSteps
        >>> flow = pf.flows.rectified_flow(jax.random.key(0), dim=2, width=8)
        >>> fast = pf.distributions.with_solver(flow, FixedSteps("euler", 2))
        >>> fast.sample(jax.random.key(1), 4).shape
        (4, 2)
    """
    choose = (lambda own: solver) if isinstance(solver, AbstractSolver) else solver

    def change(part: Any) -> Any:
        if not isinstance(part, Continuous):
            return part
        return Continuous(part.field, part.divergence, choose(part.solver), part.scoring)

    return rewritten(model, change)
