"""Many rows through one compiled program, block after block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pushforward._vectorize import THREADED_CHUNKS, in_chunks


def in_blocks(function: Callable, sizes: Sequence[int], *rows: Any) -> np.ndarray:
    """What `in_chunks` gives, without threads of its own.

    Two programs at once that solve triangular systems for many members have been seen to wait for each other for ever
    within XLA (two cores, 100,000 draws of five flows with LU layers). Each call here is of so few chunks that
    `in_chunks` runs them one after the other.

    Args:
        function: As for `in_chunks`; it returns one array.
        sizes: Numbers of rows per chunk, ascending.
        rows: Arrays or keys of one length, rows first.
    """
    block = THREADED_CHUNKS * sizes[-1]
    starts = range(0, max(len(rows[0]), 1), block)
    parts = [in_chunks(function, sizes, *(part[start : start + block] for part in rows)) for start in starts]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)
