"""One optimiser step as a pure function, to be compiled alone; the loop of `fit` takes the same one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from pushforward._types import Array, PyTree, combine
from pushforward.objectives import AbstractObjective, weighted_mean


class StepInfo(NamedTuple):
    """The loss of the batch before the step, and whether the step was taken (loss and gradient were finite)."""

    loss: Array
    ok: Array


def make_loss(objective: AbstractObjective, build: Callable[[Any], Any]) -> Callable[..., tuple[Array, Array]]:
    """The loss of a batch as a function `(params, x, condition, weights, key, share)`, and the loss of each row.

    Args:
        objective: Objective to minimise.
        build: Function from the parameters to the flow.
    """

    def loss(params: PyTree, x: Any, condition: Any, weights: Any, key: Any, share: Any) -> tuple[Array, Array]:
        rows = objective.per_row(build(params), x, condition, key)
        return weighted_mean(rows, weights) * share, rows

    return loss


def all_finite(value: Array, gradient: PyTree) -> Array:
    """Whether a loss and the norm of its gradient are finite."""
    squares = jax.tree.map(lambda leaf: jnp.sum(jnp.abs(leaf) ** 2), gradient)
    return jnp.isfinite(value) & jnp.isfinite(sum(jax.tree.leaves(squares), jnp.zeros(())))


def descend(
    optimizer: optax.GradientTransformation,
    params: PyTree,
    moments: PyTree,
    gradient: PyTree,
    rate: Any,
    **extra: Any,
) -> tuple[PyTree, PyTree]:
    """Parameters and optimiser's state after an update.

    Args:
        optimizer: An optax transformation of gradients into updates to be added.
        params: The parameters.
        moments: The optimiser's state.
        gradient: Gradient of the loss.
        rate: Factor of the updates.
        extra: `value`, `grad` and `value_fn`, for optimisers that search along a line.
    """
    updates, moved = optax.with_extra_args_support(optimizer).update(gradient, moments, params, **extra)
    updates = jax.tree.map(lambda u: u * jnp.asarray(rate, u.dtype), updates)
    # A loop carries the state, so it keeps its types: an optimiser may count in weakly typed numbers.
    moved = jax.tree.map(lambda new, old: new if new.dtype == old.dtype else new.astype(old.dtype), moved, moments)
    return optax.apply_updates(params, updates), moved


def make_step(
    objective: AbstractObjective, optimizer: optax.GradientTransformation, build: Callable[[Any, Any], Any] = combine
) -> Callable[..., tuple[PyTree, PyTree, StepInfo]]:
    r"""A pure function of one optimiser step, to be compiled by the caller, alone or within a scan.

    The function returned is
    `step(params, rest, moments, x, condition=None, weights=None, key=None, rate=1.0, share=1.0)`
    `-> params, moments, StepInfo`. A step whose loss or gradient is not finite changes nothing: parameters and
    moments come back as they went in, and `StepInfo.ok` is False.

    Args:
        objective: Objective to minimise.
        optimizer: An optax transformation of gradients into updates to be added; `moments = optimizer.init(params)`.
        build: Function that puts `params` and `rest` together to a flow.

    `rate` multiplies the updates; `share` multiplies the loss (and the gradient), for batches that hold more or less
    than an equal share of the total weight.

    Example:
        >>> import jax, optax, pushforward as pf
        >>> params, rest = pf.trainable(pf.flows.realnvp(jax.random.key(0), dim=2))
        >>> optimizer = optax.adam(1e-3)
        >>> step = jax.jit(pf.training.make_step(pf.MaximumLikelihood(), optimizer))
        >>> x = jax.random.normal(jax.random.key(1), (8, 2))
        >>> params, moments, info = step(params, rest, optimizer.init(params), x)
        >>> bool(info.ok)
        True
    """

    def step(
        params: PyTree,
        rest: PyTree,
        moments: PyTree,
        x: Any,
        condition: Any = None,
        weights: Any = None,
        key: Any = None,
        rate: Any = 1.0,
        share: Any = 1.0,
    ) -> tuple[PyTree, PyTree, StepInfo]:
        def loss(params: PyTree) -> Array:
            return make_loss(objective, lambda params: build(params, rest))(params, x, condition, weights, key, share)[
                0
            ]

        value, gradient = jax.value_and_grad(loss)(params)
        ok = all_finite(value, gradient)
        stepped = descend(optimizer, params, moments, gradient, rate, value=value, grad=gradient, value_fn=loss)
        params, moments = select(ok, stepped, (params, moments))
        return params, moments, StepInfo(value, ok)

    return step


def select(condition: Array, yes: PyTree, no: PyTree) -> PyTree:
    """`yes` where the scalar condition holds, else `no`, leaf by leaf and without touching the other's values."""
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
