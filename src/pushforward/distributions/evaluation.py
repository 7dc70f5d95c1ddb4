"""The form in which a model is scored: random log-determinants replaced, and every fact that follows from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, TypeVar

import equinox as eqx

from pushforward._types import Traits
from pushforward.bijections import Continuous, Invert
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.continuous import evaluation_layer
from pushforward.bijections.residual import Residual, evaluation_log_det, residual_layers
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.table import TableDistribution
from pushforward.dynamics.solvers import AbstractSolver
from pushforward.numerics.log_det_series import AbstractLogDet

Tree = TypeVar("Tree")


def with_log_det(model: Tree, log_det: AbstractLogDet | Callable[[Residual], AbstractLogDet]) -> Tree:
    """The model with another log-determinant in every contractive residual layer; its weights are the same.

    Args:
        model: a bijection or distribution.
        log_det: an estimator, or a function that gives one for each layer.
    """
    choose = (lambda layer: log_det) if isinstance(log_det, AbstractLogDet) else log_det

    def change(layer: Residual) -> Residual:
        chosen = choose(layer)
        return layer if chosen is layer.log_det else Residual(layer.net, chosen, layer.solver)

    return _changed(model, {Residual: change})


def with_solver(model: Tree, solver: AbstractSolver | Callable[[AbstractSolver], AbstractSolver]) -> Tree:
    """The model with another solver in every continuous layer; its weights are the same.

    Few steps of `FixedSteps("euler", ...)` sample fast from a field whose paths are straight.

    Args:
        model: a bijection or distribution.
        solver: a solver, or a function of each layer's own.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.dynamics import FixedSteps
        >>> flow = pf.flows.rectified_flow(jax.random.key(0), dim=2, width=8)
        >>> fast = pf.distributions.with_solver(flow, FixedSteps("euler", 2))
        >>> fast.sample(jax.random.key(1), 4).shape
        (4, 2)
    """
    choose = (lambda own: solver) if isinstance(solver, AbstractSolver) else solver

    def change(layer: Continuous) -> Continuous:
        return Continuous(layer.field, layer.divergence, choose(layer.solver), layer.scoring)

    return _changed(model, {Continuous: change})


def evaluation_form(model: Tree) -> Tree:
    """The model as it is to be scored and saved: deterministic, with the weights it has.

    A random log-determinant becomes `ExactLogDet` up to 64 dimensions. Beyond, it is a series of 40 terms with 16
    fixed probes; `log_det_error` bounds what the series leaves out. A random divergence becomes exact up to 64
    dimensions or where there is a closed form, beyond it one of 16 fixed probes; a continuous layer takes its solver
    for scoring. A model without any of these comes back as it is.

    Args:
        model: a bijection or distribution.
    """
    return _changed(with_log_det(model, evaluation_log_det), {Continuous: evaluation_layer})


def log_det_error(model: Any) -> float:
    r"""How far the log-determinants of a model may be off, in nats: the bounds of its layers, added up.

    0 if all are exact, infinite if one depends on chance. For series with fixed probes it bounds what the series
    leaves out; the error of the probes comes on top, about $\sqrt{2/m}\,\|\log(I+J)\|_F$ for $m$ of them.

    Args:
        model: a bijection or distribution.
    """
    total = 0.0
    for layer in residual_layers(model):
        total += layer.net.count() * layer.log_det.error_bound(layer.net.lipschitz, math.prod(layer.in_shape))
    return total


def _changed(node: Any, change: dict[type, Callable]) -> Any:
    """The tree with every layer of some kinds changed, and the static facts that its holders derived from them."""
    if type(node) in change:
        return change[type(node)](node)
    if isinstance(node, tuple | list):
        members = [_changed(member, change) for member in node]
        same = all(new is old for new, old in zip(members, node, strict=True))
        return node if same else type(node)(members)
    if not isinstance(node, eqx.Module):
        return node
    fields = {field.name: getattr(node, field.name) for field in dataclasses.fields(node)}
    new = {name: _changed(value, change) for name, value in fields.items()}
    if all(new[name] is fields[name] for name in new):
        return node
    if isinstance(node, AbstractBijection):
        members = [value for value in _members(new) if isinstance(value, AbstractBijection)]
        traits = Traits.worst(*(member.traits for member in members))
        new["traits"] = traits.swapped() if isinstance(node, Invert) else traits
    elif isinstance(node, AbstractDistribution):
        random = [value.traits.needs_key for value in _members(new) if isinstance(value, AbstractBijection)]
        random += [value.needs_key for value in _members(new) if isinstance(value, AbstractDistribution)]
        new["needs_key"] = any(random) or (isinstance(node, TableDistribution) and node.noisy)
    # As Equinox itself rebuilds a module from its leaves: the constructor would draw new weights.
    copy = object.__new__(type(node))
    for name, value in new.items():
        object.__setattr__(copy, name, value)
    return copy


def _members(fields: dict[str, Any]) -> list[Any]:
    """The values of a module's fields, and what stands in tuples and lists among them."""
    return [v for value in fields.values() for v in (value if isinstance(value, tuple | list) else (value,))]
