"""A walk of rows through a bijection that replaces layers, given the rows that reach them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from pushforward._types import Array, PRNGKeyArray, is_array
from pushforward._vectorize import batch_keys
from pushforward.bijections.base import AbstractBijection, AbstractComposite, needed, run_batch

Visited = tuple[AbstractBijection, Array, Array]
Visit = Callable[[AbstractBijection, Array, Array | None, bool], Visited | None]


def visit_layers(
    bijection: AbstractBijection, rows: Array, condition: Array | None, forward: bool, visit: Visit
) -> Visited:
    """Map rows through a bijection, replacing layers on the way.

    Returns the new bijection, and the rows `(*event, n)` mapped through it with their log-determinants `(n,)`. A random
    log-determinant is drawn with a fixed key.

    Args:
        bijection: any; composites are entered, the layers of a `Scan` one after the other (as a scan, which can be
            compiled and differentiated). Arrays that the rows of a `Vmap` share with others of their own stay.
        rows: Array of shape `(*event, n)`.
        condition: Conditions of the rows, `(*cond_shape, n)` or None.
        forward: The direction in which the rows go.
        visit: Function of a layer, the rows that reach it, their conditions and their direction. It returns the layer's
            replacement, its image of the rows and log-determinants, or None for a layer that is to run unchanged.
    """

    def step(
        member: AbstractBijection, rows: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, Any]:
        condition, keys = needed(member, condition, keys)
        visited = visit(member, rows, condition, forward)
        if visited is not None:
            new, rows, log_det = visited
        elif isinstance(member, AbstractComposite):
            rows, log_det, arrays = member.run_with(step, rows, condition, keys, forward)
            new = member.with_members(tuple(map(_with_arrays, member.members, arrays)))
        else:
            new, (rows, log_det) = member, run_batch(member, rows, condition, keys, forward)
        return rows, log_det, _arrays_like(member, new)

    # The key reaches the log-determinant alone, never the rows.
    keys = batch_keys(jax.random.key(0), rows.shape[-1]) if bijection.traits.needs_key else None
    rows, log_det, arrays = step(bijection, rows, condition, keys, forward)
    return _with_arrays(bijection, arrays), rows, log_det


def _arrays_like(old: AbstractBijection, new: AbstractBijection) -> Any:
    """The arrays of the new layer in the types of the old layer's arrays; only arrays can come out of a scan."""
    before, after = eqx.filter(old, is_array), eqx.filter(new, is_array)
    return jax.tree.map(lambda was, now: now if now is was else now.astype(was.dtype), before, after)


def _with_arrays(old: AbstractBijection, arrays: Any) -> AbstractBijection:
    before, static = eqx.partition(old, is_array)

    def kept(was: Any, now: Any) -> Any:
        # A visit changes neither arrays whose double precision JAX would lose, nor arrays that rows share, since each
        # row has a copy of them.
        return now if was.dtype == now.dtype and was.shape == now.shape else was

    return eqx.combine(jax.tree.map(kept, before, arrays), static)
