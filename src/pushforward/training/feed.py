"""The rows of a stream on their way to the device: a thread reads the next blocks while the device trains on one."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from pushforward._checks import message
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import AbstractDistribution
from pushforward.training.batches import bucket, first_place
from pushforward.training.plan import Plan
from pushforward.training.rows import Rows, Table, read
from pushforward.training.streams import AbstractStream, Batch

BLOCK_BYTES = 2**24  # bytes of a block on the device; a few blocks are there at a time
BLOCKS_AHEAD = 2  # blocks that wait on the device
JOIN_SECONDS = 5.0  # seconds that the end of a fit waits for a thread that is reading, before it leaves it


@dataclass(frozen=True)
class Block:
    """The rows of some steps of an epoch on the device.

    Args:
        rows: Rows on the device.
        start: First step.
        stop: The step after the last one.
    """

    rows: Rows
    start: int
    stop: int


class Feed:
    """The blocks of a stream on the device, one after the other from a step on.

    It is used as `with feed.reading(step): problem, n_left = feed.into(problem, step)`.

    Args:
        stream: Stream of rows.
        flow: Model, whose event shapes the rows must have.
        preprocess: Bijection from the flow's events to the data, or None.
        plan: Plan of the fit.
        seed: Seed of the order of the rows.
        dtype: Type of the numbers on the device.
    """

    def __init__(
        self,
        stream: AbstractStream,
        flow: AbstractDistribution,
        preprocess: AbstractBijection | None,
        plan: Plan,
        seed: np.ndarray,
        dtype: Any,
    ):
        self.stream, self.flow, self.preprocess, self.seed, self.dtype = stream, flow, preprocess, seed, dtype
        self.steps_per_epoch, self.total_steps = int(plan.steps_per_epoch), int(plan.total_steps)
        size = -(-stream.n_rows // self.steps_per_epoch)
        numbers = int(np.prod(stream.event_shape)) + int(np.prod(stream.cond_shape or (0,))) + 1
        fits = BLOCK_BYTES // (size * numbers * np.dtype(dtype).itemsize)
        self.block_steps = max(1, min(fits, self.steps_per_epoch))
        self.block_rows = bucket(size * self.block_steps)
        self.block: Block | None = None
        self._waiting: queue.Queue[Block | BaseException] = queue.Queue(BLOCKS_AHEAD)
        self._closed = threading.Event()

    @property
    def unread(self) -> Rows:
        """The place of the rows before the first block."""
        return Rows(None, None, None, None, np.int32(self.stream.n_rows), np.int32(0))

    @contextlib.contextmanager
    def reading(self, step: int) -> Iterator[Feed]:
        """Read blocks from this step on, until the context ends."""
        config: Any = jax.config
        x64 = config.jax_enable_x64  # which each thread has for itself
        thread = threading.Thread(target=self._read_all, args=(step, x64), name="pushforward-feed", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._closed.set()
            with contextlib.suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()
            thread.join(JOIN_SECONDS)

    def into(self, problem: Any, step: int) -> tuple[Any, int]:
        """The problem with the rows of a step, and the number of steps from it on whose rows are there.

        Args:
            problem: Inputs of the fit's program.
            step: Step whose rows are wanted; steps after the last one have any.

        Raises:
            Exception: What was raised while the rows were read.
        """
        while self.block is None or self.block.stop <= step < self.total_steps:
            found = self._waiting.get()
            if isinstance(found, BaseException):
                raise found
            self.block = found
            problem = dataclasses.replace(problem, rows=found.rows)
        return problem, max(self.block.stop - step, 1)

    def rows_before(self, step: int) -> int:
        """Number of rows of all steps before this one."""
        epoch, position = divmod(step, self.steps_per_epoch)
        return epoch * self.stream.n_rows + self._first(position)

    def _read_all(self, step: int, x64: bool) -> None:
        try:
            with jax.enable_x64(x64):
                epoch, position = divmod(min(step, self.total_steps - 1), self.steps_per_epoch)
                while not self._closed.is_set() and epoch * self.steps_per_epoch < self.total_steps:
                    self._read_epoch(epoch, position)
                    epoch, position = epoch + 1, 0
        except BaseException as error:
            self._put(error)

    def _read_epoch(self, epoch: int, position: int) -> None:
        """Read the blocks of an epoch from a position on; all rows must have come in the end."""
        start = self._first(position)
        pieces = Pieces(self.stream.blocks(self.seed, epoch, start), start, self.stream.n_rows)
        with contextlib.closing(pieces):
            while position < self.steps_per_epoch and not self._closed.is_set():
                stop = min(position + self.block_steps, self.steps_per_epoch)
                first, end = self._first(position), self._first(stop)
                batch = pieces.take(end - first)
                name = f"fit, rows {first:,} to {end - 1:,} of epoch {epoch} of the stream"
                rows = read(self.flow, *batch, self.preprocess, name, keep_all=True)
                before = epoch * self.steps_per_epoch
                self._put(Block(self._on_device(rows, first), before + position, before + stop))
                position = stop
            if position == self.steps_per_epoch:
                pieces.check_end()

    def _first(self, position: int) -> int:
        return first_place(position, self.stream.n_rows, self.steps_per_epoch)

    def _on_device(self, rows: Table, first: int) -> Rows:
        n = self.stream.n_rows
        return rows.block(self.dtype, self.block_rows, n, n / self.stream.total_weight, first)

    def _put(self, item: Block | BaseException) -> None:
        """Wait for a place in the queue, as long as somebody reads from it."""
        while not self._closed.is_set():
            with contextlib.suppress(queue.Full):
                self._waiting.put(item, timeout=0.1)
                return


class Pieces:
    """The rows of an epoch, cut anew into pieces of the sizes that are asked for.

    Args:
        blocks: Blocks of a stream.
        start: Place of their first row.
        n_rows: Number of rows of the whole epoch.
    """

    def __init__(self, blocks: Iterator[Batch], start: int, n_rows: int):
        self.blocks, self.place, self.n_rows = blocks, start, n_rows
        self.rest: Batch | None = None

    def take(self, n: int) -> Batch:
        """The next `n` rows.

        Raises:
            ValueError: The stream has ended before.
        """
        parts: list[Batch] = []
        lacking = n
        while lacking:
            block = self.rest or next(self.blocks, None)
            self.rest = None
            if block is None:
                raise self._wrong(self.place + n - lacking)
            size = len(block.x)
            if size > lacking:
                block, self.rest = block.cut(0, lacking), block.cut(lacking, size)
            parts.append(block)
            lacking -= min(size, lacking)
        self.place += n
        if len(parts) == 1:
            return parts[0]
        return Batch(*(_joined(arrays) for arrays in zip(*parts, strict=True)))

    def check_end(self) -> None:
        """Raise a ValueError if more rows come."""
        more = 0 if self.rest is None else len(self.rest.x)
        more += sum(len(block.x) for block in self.blocks)
        if more:
            raise self._wrong(self.place + more)

    def close(self) -> None:
        """Tell the stream that nobody reads on."""
        close = getattr(self.blocks, "close", None)
        if close is not None:
            close()

    def _wrong(self, n: int) -> ValueError:
        fix = "Give every training row once in each epoch, and count them in n_rows."
        return ValueError(message("fit", f"{self.n_rows:,} rows in each epoch of the stream", f"{n:,}", fix))


def _joined(arrays: tuple[Any, ...]) -> Any:
    return None if any(array is None for array in arrays) else np.concatenate(arrays)
