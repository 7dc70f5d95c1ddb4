"""The only batching code: one event in, any leading batch dimensions out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape


def split_batch(name: str, what: str, x: Any, event_shape: Shape, dtype: Any = None) -> tuple[Array, Shape]:
    """`x` as a floating array, and the batch dimensions that stand before `event_shape`.

    Raises:
        ValueError: the trailing axes of `x` are not `event_shape`.
    """
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(dtype or jnp.result_type(float))
    batch = x.shape[: x.ndim - len(event_shape)]
    if x.ndim < len(event_shape) or x.shape[len(batch) :] != event_shape:
        fix = f"The trailing axes must be the event; reshape {what} to (*batch, {', '.join(map(str, event_shape))})."
        raise ValueError(message(name, f"{what} of shape (*batch, *{event_shape})", f"shape {x.shape}", fix))
    return x, batch


def batch_keys(key: PRNGKeyArray, n: int, start: int | Array = 0) -> PRNGKeyArray:
    """One key per row, a function of the row's number alone: however the rows are chunked, row i gets the same key."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, start + jnp.arange(n, dtype=jnp.uint32))


def vmap_last(function: Callable, *arguments: Array | None) -> Any:
    """`jax.vmap` over the first axis of each argument, with the batch on the **last** axis inside.

    `W @ x` then is one matrix product, and each parameter of a spline is contiguous over the batch. Arguments that
    are None, and keys (which have no axis to move), are handed through as they are.
    """
    moved, axes = [], []
    for argument in arguments:
        if argument is None:
            moved.append(None)
            axes.append(None)
        elif jnp.issubdtype(argument.dtype, jax.dtypes.prng_key):
            moved.append(argument)
            axes.append(0)
        else:
            moved.append(jnp.moveaxis(argument, 0, -1))
            axes.append(-1)
    out = jax.vmap(function, in_axes=tuple(axes), out_axes=-1)(*moved)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0), out)


def vectorize(function: Callable, batches: tuple[Shape, ...], *arguments: Array | None) -> Any:
    """Broadcast the batch dimensions of the arguments together, map `function` over them, restore the shape.

    Args:
        function: of one event per argument.
        batches: the batch dimensions of each argument, `()` where it is None.
        arguments: arrays `(*batch, *event)`, keys `(*batch,)`, or None.
    """
    batch = jnp.broadcast_shapes(*batches)
    if all(own == () for own in batches):
        return function(*arguments)
    size = 1
    for n in batch:
        size *= n
    flat = []
    for argument, own in zip(arguments, batches, strict=True):
        if argument is None:
            flat.append(None)
            continue
        event = argument.shape[len(own) :]
        flat.append(jnp.broadcast_to(argument, batch + event).reshape((size, *event)))
    out = vmap_last(function, *flat)
    return jax.tree.map(lambda leaf: leaf.reshape(batch + leaf.shape[1:]), out)
