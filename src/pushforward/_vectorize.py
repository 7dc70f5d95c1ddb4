"""Batching: the library's code has rows on the last axis, and users have any leading batch dimensions."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape

# From this many chunks on they run on threads, of which each holds the arrays of one chunk.
THREADED_CHUNKS = 4
MOST_THREADS = 8
Item = TypeVar("Item")
_END = object()


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


def in_chunks(function: Callable, sizes: int | Sequence[int], *rows: Any, devices: Sequence[Any] = ()) -> Any:
    """Run `function(*rows)` on chunks of rows of few sizes, with one compiled program for each size.

    All rows make one chunk of the smallest size that holds them, or else chunks of the largest size. What a chunk lacks
    is padded, and the results of the padding are dropped. Many chunks run on threads of their own, one for each core,
    because the parts of one program that cannot be shared out would leave the other cores idle; at most as many
    results are in flight.

    Args:
        function: Function of arrays of as many rows as a chunk, rows first, that returns a tree of such arrays. It may
            be called from several threads at once.
        sizes: Numbers of rows per chunk, ascending, or one of them.
        rows: NumPy arrays or JAX keys of one length, rows first, or None, which is passed on; the first is not None.
        devices: JAX devices that take the chunks in turn, each as JAX's default device while `function` runs; none
            leaves the choice to JAX.

    Returns:
        The tree with NumPy arrays of all rows.
    """
    n = len(rows[0])
    allowed = (sizes,) if isinstance(sizes, int) else sizes
    size = next((size for size in allowed if size >= n), allowed[-1])

    def chunk(start: int) -> Any:
        part = function(*(None if a is None else pad_rows(a[start : start + size], size) for a in rows))
        return jax.tree.map(lambda a: np.asarray(a)[: n - start], part)

    starts = range(0, max(n, 1), size)
    config = cast(Any, jax.config)
    x64, chosen = config.jax_enable_x64, config.jax_default_device

    def run(start: int) -> Any:
        device = devices[start // size % len(devices)] if devices else chosen
        with jax.enable_x64(x64), jax.default_device(device):  # which each thread has for itself
            return chunk(start)

    first = run(0)  # alone, so that the program is compiled once
    if len(starts) == 1:
        return first
    out = jax.tree.map(lambda a: np.empty((n, *a.shape[1:]), a.dtype), first)

    def fill(start: int, part: Any) -> None:
        for whole, own in zip(jax.tree.leaves(out), jax.tree.leaves(part), strict=True):
            whole[start : start + size] = own

    fill(0, first)
    rest = starts[1:]
    if len(devices) < 2 and (len(rest) < THREADED_CHUNKS or cores() == 1):
        for start in rest:
            fill(start, run(start))
        return out
    with ThreadPoolExecutor(min(max(cores(), len(devices)), len(rest))) as threads:
        for _ in threads.map(lambda start: fill(start, run(start)), rest):
            pass
    return out


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made by a thread of its own while the one before it is used.

    Args:
        items: What is to be made; it must not depend on the thread.

    Example:
        >>> list(ahead(range(3)))
        [0, 1, 2]
    """
    rest = iter(items)
    with ThreadPoolExecutor(1) as thread:
        following = thread.submit(next, rest, _END)
        while (item := following.result()) is not _END:
            following = thread.submit(next, rest, _END)
            yield cast(Any, item)


def cores() -> int:
    """The number of processor cores that this process may use, at most `MOST_THREADS`."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(mine, MOST_THREADS)
