"""The numbers of rows, on which what is drawn for them depends."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pushforward._checks import message
from pushforward.scale.batch_function import Place
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.seeds import seed_words


class Numbered(NamedTuple):
    """What draws depend on.

    Attributes:
        numbers: Numbers of the rows `(n,)`.
        seed: Two words; those of another file are others.
    """

    numbers: np.ndarray
    seed: np.ndarray


def numbered(batch: pa.RecordBatch, name: str | None, place: Place | None, seed: int) -> Numbered:
    """The numbers of the rows of a batch: those of a column, or else those of their place in a file.

    Args:
        batch: Rows.
        name: Name of the column of numbers, or None.
        place: Where the rows stand, if it is known.
        seed: Seed of the draws.

    Raises:
        ValueError: Neither is known, for then rows of different batches would have the same draws.
        DataError: The column is missing, or holds something else than whole numbers from 0 on.
    """
    words = seed_words(seed, 2)
    if name is not None:
        if name not in batch.schema.names:
            raise DataError("columns", f"no column {name!r}, which numbers the rows.")
        column = batch.column(batch.schema.names.index(name))
        whole = pa.types.is_integer(column.type) and not column.null_count
        if not whole or (len(column) and np.asarray(column).min() < 0):
            got = f"{column.type} with {column.null_count} gaps"
            raise DataError("columns", message(f"column {name!r}", "whole numbers from 0 on", got, "Number the rows."))
        return Numbered(np.asarray(column).astype(np.int64), words)
    if place is None:
        fix = "Name the column that holds them: number='id'."
        raise ValueError(message("draws of a batch", "numbers of the rows, on which the draws depend", "none", fix))
    if place.file:
        words = np.random.SeedSequence([*words.tolist(), place.file]).generate_state(2, np.uint32)
    return Numbered(np.arange(place.row, place.row + batch.num_rows), words)
