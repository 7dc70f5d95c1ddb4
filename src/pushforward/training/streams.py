"""Streams: training rows that are read block by block while the device trains, so that they need not fit in memory."""

from __future__ import annotations

import abc
import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from pushforward._checks import as_key, check_int, check_number, message
from pushforward._types import PRNGKeyArray, Shape
from pushforward.training.batches import bucket, epoch_order
from pushforward.training.rows import MAX_HELD_OUT, held_out_rows, row_weights

CHUNK_ROWS = 256  # rows that are read at once; their changes have a generator of their own
AHEAD = 2  # chunks for each reader that are read before they are asked for


class Batch(NamedTuple):
    """Some rows on the host.

    Attributes:
        x: Rows `(n, *event_shape)` of finite numbers.
        condition: Conditions `(n, *cond_shape)`, or None.
        weights: Weights `(n,)`, or None where each row counts once.
    """

    x: Any
    condition: Any = None
    weights: Any = None

    def cut(self, start: int, stop: int) -> Batch:
        """The rows from a place on up to another."""
        return Batch(*(None if array is None else array[start:stop] for array in self))


class AbstractStream(abc.ABC):
    """The rows of a fit that come one block after the other, as `pushforward.fit(flow, stream, key=...)` takes them.

    A stream says how many training rows it has and gives them in another order in each epoch, which is decided by a
    seed. The order may depend on nothing else, such as the number of threads that read: then a fit that was killed
    goes on with the same weights bit for bit.

    Attributes:
        event_shape: Shape of a row.
        cond_shape: Shape of a row's condition, or None.
        n_rows: Number of training rows, those held out not among them.
        total_weight: Sum of the weights of the training rows.
        identity: Words that tell these rows from others, so that no checkpoint of other rows is taken up.
    """

    event_shape: Shape
    cond_shape: Shape | None
    n_rows: int
    total_weight: float
    identity: str

    @abc.abstractmethod
    def held_out(self) -> Batch | None:
        """The rows that are held out, all at once, or None without any."""

    @abc.abstractmethod
    def head(self, n: int) -> Batch:
        """At most `n` training rows, from which layers are set that start from data."""

    @abc.abstractmethod
    def blocks(self, seed: np.ndarray, epoch: int, start: int) -> Iterator[Batch]:
        """The training rows of an epoch in its order, in blocks of any size.

        Args:
            seed: Two words, which with the epoch decide the order and all changes of the rows.
            epoch: Number of the epoch.
            start: Number of rows of the epoch that are left out at its beginning.
        """


class FunctionStream(AbstractStream):
    """The rows that a function reads by their numbers, such as images that are decoded when they are needed.

    An epoch's order is that of a fit from memory with the same key; only the rows' numbers are held in memory.

    Args:
        read: Function from row numbers `(m,)` to their rows `(m, *event_shape)`, or to these and their conditions. It
            is called in threads of its own.
        n: Number of all rows.
        key: JAX key that decides which rows are held out; with the key of the fit they are those of a fit from memory.
        weights: Weights `(n,)` of the rows, or None.
        validation: Share of the rows that is held out, in [0, 1).
        max_held_out: Largest number of rows that are held out; they are kept in memory.
        augment: Function `(x, generator)` that changes the training rows at random, such as by flips, and gives them
            back; the NumPy generator depends on the seed, the epoch and the place in its order alone. None changes
            nothing.
        n_readers: Number of threads that read; the order and the changes do not depend on it.
        chunk_rows: Number of rows that are read at once.
        identity: Words that tell these rows from others. None takes a hash of the held-out and the first rows.

    Raises:
        ValueError: There are too few rows, or a number is out of its range.
        TypeError: `read` or `augment` is no function.

    Example:
        >>> import jax, numpy as np, pushforward as pf
        >>> numbers = np.random.default_rng(0).normal(size=(200, 2))
        >>> stream = pf.training.FunctionStream(lambda rows: numbers[rows], 200, key=jax.random.key(2))
        >>> flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=8)
        >>> pf.fit(flow, stream, key=jax.random.key(2), max_epochs=10, progress=False).verdict.epochs
        10
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], Any],
        n: int,
        *,
        key: PRNGKeyArray,
        weights: Any = None,
        validation: float = 0.1,
        max_held_out: int = MAX_HELD_OUT,
        augment: Callable[[Any, np.random.Generator], Any] | None = None,
        n_readers: int = 1,
        chunk_rows: int = CHUNK_ROWS,
        identity: str | None = None,
    ):
        name = type(self).__name__
        for what, function in (("read", read), ("augment", augment)):
            if function is not None and not callable(function):
                raise TypeError(message(name, f"{what} a function", type(function).__name__, "Pass a function."))
        n, key = check_int(name, "n", n, 1), as_key(name, key)
        check_number(name, "validation", validation, low=0.0, high=1.0)
        self._read, self._augment = read, augment
        self._n_readers = check_int(name, "n_readers", n_readers, 1)
        self._chunk_rows = check_int(name, "chunk_rows", chunk_rows, 1)
        held_out = held_out_rows(n, validation, key, check_int(name, "max_held_out", max_held_out, 0))
        self._rows = np.delete(np.arange(n), held_out)
        self._held_out = held_out
        self._weights = None if weights is None else row_weights(name, weights, n)
        self.n_rows = len(self._rows)
        self.total_weight = float(self.n_rows if self._weights is None else self._weights[self._rows].sum())
        if not self.total_weight:
            raise ValueError(message(name, "training rows of positive weight", "none", "Hold out fewer rows."))
        one = self._take(self._rows[:1])
        self.event_shape = np.shape(one.x)[1:]
        self.cond_shape = None if one.condition is None else np.shape(one.condition)[1:]
        self.identity = self._hash() if identity is None else identity

    def _hash(self) -> str:
        sha = hashlib.sha256(f"{self.n_rows} {self.total_weight!r}".encode())
        for rows in (self._held_out[: self._chunk_rows], self._rows[: self._chunk_rows]):
            for array in self._take(rows) if len(rows) else ():
                sha.update(b"|" if array is None else np.ascontiguousarray(array).tobytes())
        return sha.hexdigest()

    def _take(self, rows: np.ndarray) -> Batch:
        """These rows, as `read` gives them."""
        found = self._read(rows)
        x, condition = found if isinstance(found, tuple) else (found, None)
        for what, array in (("rows", x), ("conditions", condition)):
            if array is not None and len(array) != len(rows):
                fix = "Give one for each row number that read gets, in their order."
                raise ValueError(message("FunctionStream", f"read to give {len(rows)} {what}", f"{len(array)}", fix))
        return Batch(x, condition, None if self._weights is None else self._weights[rows])

    def held_out(self) -> Batch | None:
        return self._take(self._held_out) if len(self._held_out) else None

    def head(self, n: int) -> Batch:
        return self._take(self._rows[:n])

    def blocks(self, seed: np.ndarray, epoch: int, start: int) -> Iterator[Batch]:
        n, size = self.n_rows, self._chunk_rows
        order = self._rows[np.asarray(_order(seed, np.int32(epoch), np.int32(n), bucket(n)))[:n]]

        def chunk(number: int) -> Batch:
            batch = self._take(order[number * size : (number + 1) * size])
            if self._augment is None:
                return batch
            generator = np.random.default_rng([*np.asarray(seed).tolist(), epoch, number])
            return batch._replace(x=self._augment(batch.x, generator))

        # Chunks begin at the same rows whatever `start` is, so that their changes are the same.
        skip = start % size
        for batch in in_order(chunk, range(start // size, -(-n // size)), self._n_readers):
            yield batch.cut(skip, len(batch.x)) if skip else batch
            skip = 0


def array_stream(
    x: Any,
    condition: Any = None,
    weights: Any = None,
    *,
    key: PRNGKeyArray,
    validation: float = 0.1,
    **how: Any,
) -> FunctionStream:
    """The stream of rows that are in memory, or in a memory-mapped file; a fit from it is that from memory bit for bit.

    Args:
        x: Array `(n, *event_shape)`, such as `np.load(path, mmap_mode="r")`.
        condition: Conditions `(n, *cond_shape)`, or None.
        weights: Weights `(n,)`, or None; rows of weight 0 are left out.
        key: JAX key of the fit.
        validation: Share of the rows that is held out.
        how: Further arguments of `FunctionStream`.
    """
    rows = np.arange(len(x)) if weights is None else np.flatnonzero(np.asarray(weights) > 0)

    def read(places: np.ndarray) -> Any:
        found = rows[places]
        return x[found] if condition is None else (x[found], condition[found])

    own = None if weights is None else np.asarray(weights, np.float64)[rows]
    return FunctionStream(read, len(rows), key=key, weights=own, validation=validation, **how)


@eqx.filter_jit
def _order(seed: Any, epoch: Any, n: Any, n_padded: int) -> jax.Array:
    return epoch_order(seed, epoch, n, n_padded)


def in_order(make: Callable[[Any], Batch], items: Iterable[Any], n_threads: int) -> Iterator[Batch]:
    """`make` of each item, in their order, with a few made ahead in threads.

    Args:
        make: Function that must not depend on the thread.
        items: What it is called with.
        n_threads: Number of threads; one is the caller's own, whose rows are read ahead of the device in any case.
    """
    if n_threads == 1:
        for item in items:
            yield make(item)
        return
    waiting: deque[Future[Batch]] = deque()
    pool = ThreadPoolExecutor(n_threads, thread_name_prefix="pushforward-reader")
    try:
        for item in items:
            waiting.append(pool.submit(make, item))
            if len(waiting) > AHEAD * n_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
