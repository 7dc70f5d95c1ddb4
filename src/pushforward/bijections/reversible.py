"""Gradients of stacked layers from their outputs: memory that does not grow with depth."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray
from pushforward.bijections.base import AbstractBijection, fold_keys, run_batch
from pushforward.numerics.derivatives import own_derivatives


def run_reversibly(
    differentiable: tuple[Any, Array, Array | None], rest: Any, keys: PRNGKeyArray | None, n_layers: int, forward: bool
) -> tuple[Array, Array]:
    r"""Run stacked layers one after the other, keeping only the last output for the gradient.

    The backward pass goes through the layers from the last to the first. Each one's input is its inverse at its output,
    and its gradient is taken there: $\bar x = J^\top \bar y + \bar\ell\,\nabla\log|\det J|$.

    Args:
        differentiable: The layers' inexact arrays with a first axis of `n_layers`, the events `(*event, n)`, and the
            conditions `(*cond, n)` or None.
        rest: All other leaves of the layers.
        keys: JAX keys, one per row, `(n,)` or None.
        n_layers: Number of layers.
        forward: Whether to map forward, or backwards.

    Returns:
        Values `(*event, n)` and log-determinants `(n,)`.

    Source: Gomez, Ren, Urtasun, Grosse, 2017, section 3.1, arXiv 1707.04585.
    """

    def run(differentiable: tuple[Any, Array, Array | None], others: tuple) -> tuple[Array, Array]:
        arrays, value, condition = differentiable
        keys, indices = others

        def step(carry: tuple[Array, Array], inputs: tuple) -> tuple[tuple[Array, Array], None]:
            own, index, n = inputs
            out, log_det = run_batch(_layer(own, index, rest), carry[0], condition, fold_keys(keys, n), forward)
            return (out.astype(value.dtype), (carry[1] + log_det).astype(value.dtype)), None

        start = (value, jnp.zeros(value.shape[-1:], value.dtype))
        out, _ = scan(step, start, (arrays, indices, jnp.arange(n_layers)), reverse=not forward)
        return out

    def keep(differentiable: tuple, others: tuple) -> tuple[tuple[Array, Array], tuple]:
        out = reversible(differentiable, others)  # itself, for derivatives of higher order
        return out, ((differentiable, others), out[0])

    def pull(kept: tuple, bars: tuple[Array, Array]) -> tuple[Any, None]:
        (differentiable, (keys, indices)), out = kept
        others = jax.tree.map(lambda leaf: None, (keys, indices))
        return _pull_back(differentiable, rest, keys, indices, n_layers, forward, out, bars), others

    reversible = own_derivatives(run, keep, pull)
    return reversible(differentiable, (keys, _stacked(rest)))


def _stacked(rest: Any) -> Any:
    return eqx.filter(rest, eqx.is_array)


def _layer(own: Any, index: Any, rest: Any) -> AbstractBijection:
    return eqx.combine(own, index, eqx.filter(rest, eqx.is_array, inverse=True))


def _pull_back(
    differentiable: tuple[Any, Array, Array | None],
    rest: Any,
    keys: PRNGKeyArray | None,
    indices: Any,
    n_layers: int,
    forward: bool,
    out: Array,
    bars: tuple[Array, Array],
) -> tuple[Any, Array, Array | None]:
    """The cotangents of the differentiable arrays, from the output and its cotangents."""
    (arrays, _, condition), (by_out, by_total) = differentiable, bars
    no_condition = condition is None
    by_condition = jnp.zeros((), out.dtype) if no_condition else jnp.zeros_like(condition)

    def step(carry: tuple[Array, Array, Array], inputs: tuple) -> tuple[tuple[Array, Array, Array], Any]:
        value, by_value, by_condition = carry
        own, index, n = inputs
        own_keys = fold_keys(keys, n)
        before = run_batch(_layer(own, index, rest), value, condition, own_keys, not forward)[0].astype(value.dtype)

        def run(own: Any, before: Array, condition: Array | None) -> tuple[Array, Array]:
            image, log_det = run_batch(_layer(own, index, rest), before, condition, own_keys, forward)
            return image.astype(value.dtype), log_det.astype(value.dtype)

        _, pull = jax.vjp(run, own, before, condition)
        by_own, by_before, by_own_condition = pull((by_value, by_total))
        if not no_condition:
            by_condition = by_condition + by_own_condition
        return (before, by_before, by_condition), by_own

    inputs = (arrays, indices, jnp.arange(n_layers))
    start = (out, by_out, by_condition)
    (_, by_value, by_condition), by_arrays = scan(step, start, inputs, reverse=forward)
    return by_arrays, by_value, None if no_condition else by_condition
