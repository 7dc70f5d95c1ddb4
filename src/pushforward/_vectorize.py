"""Batching: the library's code has rows on the last axis, and users have any leading batch dimensions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape


def split_batch(name: str, what: str, x: Any, event_shape: Shape, dtype: Any = None) -> tuple[Array, Shape]:
    """The array `x` in floating type, and the batch dimensions before `event_shape`.

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


def common_batch(name: str, batch: Shape, cond_batch: Shape) -> Shape:
    """The batch dimensions of events and of conditions, broadcast together.

    Raises:
        ValueError: the dimensions do not broadcast.
    """
    try:
        return jnp.broadcast_shapes(batch, cond_batch)
    except ValueError as error:
        fix = "Give one condition per event, or one for all; for all pairs of them give x an axis: x[:, None]."
        expected = f"batch dimensions of x and condition that broadcast, {batch} being those of x"
        raise ValueError(message(name, expected, f"{cond_batch} for the condition", fix)) from error


def batch_keys(key: PRNGKeyArray, n: int, start: int | Array = 0) -> PRNGKeyArray:
    """One key per row, which depends on the row's number alone and so does not change if rows are chunked."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, start + jnp.arange(n, dtype=jnp.uint32))


def rows_last(function: Callable, batches: tuple[Shape, ...], *arguments: Array | None) -> Any:
    """Call `function` of rows on the last axis with arguments that have any leading batch dimensions.

    The batch dimensions are broadcast together, flattened, moved to the end for the call, and restored in the result.
    With the batch last, `W @ x` is one matrix product and each parameter of a spline is contiguous over the batch.

    Args:
        function: Function of arrays `(*event, n)` and keys `(n,)` that returns arrays with `n` on the last axis.
        batches: The batch dimensions of each argument, `()` for an argument of None.
        arguments: Arrays `(*batch, *event)`, keys `(*batch,)`, or None.
    """
    batch = jnp.broadcast_shapes(*batches)
    size = math.prod(batch)
    flat = []
    for argument, own in zip(arguments, batches, strict=True):
        if argument is None:
            flat.append(None)
            continue
        event = argument.shape[len(own) :]
        rows = jnp.broadcast_to(argument, batch + event).reshape((size, *event))
        flat.append(rows if jnp.issubdtype(rows.dtype, jax.dtypes.prng_key) else jnp.moveaxis(rows, 0, -1))
    out = function(*flat)
    return jax.tree.map(lambda leaf: jnp.moveaxis(leaf, -1, 0).reshape(batch + leaf.shape[:-1]), out)


def pad_rows(array: Any, n: int) -> Any:
    """The array with its first row repeated until it has `n` rows, so that the filling is finite if the data are.

    An array without rows is filled with zeros.
    """
    if len(array) == n:
        return array
    if not len(array):
        return np.zeros((n, *array.shape[1:]), array.dtype)
    if not isinstance(array, np.ndarray):
        return array[np.where(np.arange(n) < len(array), np.arange(n), 0)]
    return np.concatenate([array, np.broadcast_to(array[:1], (n - len(array), *array.shape[1:]))])


def in_chunks(function: Callable, size: int, *rows: Any) -> Any:
    """Run `function(*rows)` on chunks of `size` rows, with one compiled program for any number of rows.

    The last chunk is padded to the same size, and the results of the padding are dropped. All chunks are dispatched
    before the first result is fetched.

    Args:
        function: Function of arrays of `size` rows, rows first, that returns a tree of such arrays.
        size: Number of rows per chunk.
        rows: NumPy arrays or JAX keys of one length, rows first, or None, which is passed on; the first is not None.

    Returns:
        The tree with NumPy arrays of all rows.
    """
    n, parts = len(rows[0]), []
    starts = range(0, max(n, 1), size)
    for start in starts:
        parts.append(function(*(None if a is None else pad_rows(a[start : start + size], size) for a in rows)))
    host = [
        jax.tree.map(lambda a, count=n - start: np.asarray(a)[:count], part)
        for start, part in zip(starts, parts, strict=True)
    ]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *host)
