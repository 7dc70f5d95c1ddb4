"""The form in which a model is scored: random log-determinants replaced, and every fact that follows from them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

from pushforward._parts import rewritten
from pushforward.bijections import Continuous
from pushforward.bijections.continuous import evaluation_layer
from pushforward.bijections.residual import Residual, evaluation_log_det, residual_layers
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


def evaluation_form(model: Tree) -> Tree:
    """The model as it is to be scored and saved: deterministic, with the weights it has.

    A random log-determinant becomes `ExactLogDet` up to 64 dimensions. Beyond, it is a series of 40 terms with 16
    fixed probes; `log_det_error` bounds what the series leaves out. A random divergence becomes exact up to 64
    dimensions or where there is a closed form, beyond it one of 16 fixed probes; a continuous layer takes its solver
    for scoring. A model without any of these comes back as it is.

    Args:
        model: A bijection or distribution.
    """
    return rewritten(
        with_log_det(model, evaluation_log_det),
        lambda part: evaluation_layer(part) if isinstance(part, Continuous) else part,
    )


def log_det_error(model: Any) -> float:
    r"""The largest error of the log-determinants of a model in nats: the sum of the bounds of its layers.

    0 if all are exact, infinite if one depends on chance. For series with fixed probes it bounds what the series
    leaves out; the error of the probes comes on top, about $\sqrt{2/m}\,\|\log(I+J)\|_F$ for $m$ of them.

    Args:
        model: A bijection or distribution.
    """
    total = 0.0
    for layer in residual_layers(model):
        total += layer.net.count() * layer.log_det.error_bound(layer.net.lipschitz, math.prod(layer.in_shape))
    return total
