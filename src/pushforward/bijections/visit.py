"""A walk of rows through a bijection, on which layers are replaced by what the rows that reach them say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, is_array
from pushforward._vectorize import batch_keys
from pushforward.bijections.base import AbstractBijection, run_batch
from pushforward.bijections.combinators import Chain, Invert, Scan
from pushforward.bijections.convolution import Conv1x1
from pushforward.bijections.lifting import EmbedCondition, Partial, WithCondition

Visited = tuple[AbstractBijection, Array, Array]
Visit = Callable[[AbstractBijection, Array, Array | None, bool], Visited | None]


def visit_layers(
    bijection: AbstractBijection, rows: Array, condition: Array | None, forward: bool, visit: Visit
) -> Visited:
    """The new bijection, and the rows `(*event, n)` mapped through it with their log-determinants `(n,)`.

    Args:
        bijection: any; combinators are entered, the layers of a `Scan` one after the other (as a scan, which can be
            compiled and differentiated).
        rows: `(*event, n)`.
        condition: `(*cond_shape, n)` or None.
        forward: the direction in which the rows go.
        visit: of a layer, the rows that reach it, their conditions and their direction; gives the layer's replacement,
            its image of the rows and log-determinants, or None for a layer that is to run as it is.

    A random log-determinant is drawn with a fixed key.
    """
    visited = visit(bijection, rows, condition, forward)
    if visited is not None:
        return visited
    if isinstance(bijection, Chain):
        members, total = list(bijection.bijections), jnp.zeros(rows.shape[-1:], rows.dtype)
        order = range(len(members))
        for n in order if forward else reversed(order):
            members[n], rows, log_det = visit_layers(members[n], rows, condition, forward, visit)
            total = total + log_det
        return Chain(members), rows, total
    if isinstance(bijection, Scan):
        return _visit_scan(bijection, rows, condition, forward, visit)
    if isinstance(bijection, Invert):
        inner, rows, log_det = visit_layers(bijection.bijection, rows, condition, not forward, visit)
        return Invert(inner), rows, log_det
    if isinstance(bijection, EmbedCondition):
        embedded = None if condition is None else jax.vmap(bijection.embed, in_axes=-1, out_axes=-1)(condition)
        return _within(bijection, *visit_layers(bijection.bijection, rows, embedded, forward, visit))
    if isinstance(bijection, WithCondition):
        fixed = jnp.broadcast_to(bijection.condition[..., None], (*bijection.condition.shape, rows.shape[-1]))
        return _within(bijection, *visit_layers(bijection.bijection, rows, fixed, forward, visit))
    if isinstance(bijection, Partial):
        indices = np.array(bijection.indices)
        inner, part, log_det = visit_layers(bijection.bijection, rows[indices], condition, forward, visit)
        return _within(bijection, inner, rows.at[indices].set(part.astype(rows.dtype)), log_det)
    if isinstance(bijection, Conv1x1):
        pixels, conditions = bijection.to_pixels(rows), bijection.condition_of_pixels(condition)
        inner, out, log_dets = visit_layers(bijection.bijection, pixels, conditions, forward, visit)
        log_det = jnp.sum(log_dets.reshape(-1, rows.shape[-1]), axis=0)
        return _within(bijection, inner, out.reshape(rows.shape), log_det)
    # The key reaches the log-determinant alone, never the rows.
    keys = batch_keys(jax.random.key(0), rows.shape[-1]) if bijection.traits.needs_key else None
    return bijection, *run_batch(bijection, rows, condition, keys, forward)


def _within(outer: Any, inner: AbstractBijection, rows: Array, log_det: Array) -> Visited:
    return eqx.tree_at(lambda b: b.bijection, outer, inner), rows, log_det


def _visit_scan(scan: Scan, rows: Array, condition: Array | None, forward: bool, visit: Visit) -> Visited:
    arrays, static = eqx.partition(scan.layer, is_array)
    inexact = [leaf.dtype for leaf in jax.tree.leaves(arrays) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    dtype = jnp.result_type(rows, *inexact)

    def step(carry: tuple[Array, Array], own: Any) -> tuple[tuple[Array, Array], Any]:
        layer, out, log_det = visit_layers(eqx.combine(own, static), carry[0], condition, forward, visit)
        new = jax.tree.map(lambda before, after: after.astype(before.dtype), own, eqx.filter(layer, is_array))
        return (out.astype(dtype), (carry[1] + log_det).astype(dtype)), new

    start = (rows.astype(dtype), jnp.zeros(rows.shape[-1:], dtype))
    (out, total), new = jax.lax.scan(step, start, arrays, reverse=not forward)
    # An array of double precision that JAX would not keep so is none that a visit changes.
    kept = jax.tree.map(lambda old, now: old if old.dtype != now.dtype else now, arrays, new)
    return Scan(eqx.combine(kept, static), scan.n_layers, memory=scan.memory), out, total
