"""The schema of a table in a file, found column by column, so that no long file is ever held as a whole."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward._vectorize import cores
from pushforward.tables.detect import detect_schema
from pushforward.tables.kinds.base import Bounds
from pushforward.tables.reading.batches import column_batches, columns_apart
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.conventions import USUAL, Conventions
from pushforward.tables.schema import Column, TableSchema

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Cells of a table from which on its columns are read apart; a table of fewer is read at once.
LONG = 2**24
# Rows of a long column that its shape is told from. The share of the rows below a number is then known to within a
# standard error of 0.1 %; ends, gaps and that there is no step are those of all rows.
SAMPLED = 2**18
# Kinds that a sample tells: numbers on a line, without steps and atoms.
TOLD = ("real", "positive", "bounded")


def detect_file(
    source: Any,
    columns: Sequence[str] | None = None,
    *,
    conventions: Conventions | None = None,
    missing: bool = False,
    bounds: Bounds = "natural",
) -> tuple[TableSchema, list[str]]:
    """The schema of a table, and remarks; as `detect_schema` finds it, with the memory of one column.

    Parquet files of `LONG` cells or more are read column by column. A column of numbers without steps and atoms is
    never held: it is read through once, and what cannot be counted is told from every k-th row.

    Args:
        source: as for `read_cells`.
        columns: the names to keep, in this order; None keeps all.
        conventions: as for `read_cells`.
        missing: as for `detect_schema`.
        bounds: as for `detect_schema`.

    Raises:
        DataError: as `read_cells` and `detect_schema` do.
    """
    how = conventions or USUAL
    apart = columns_apart(source, columns) if how.usual else None
    if apart is None or apart.rows * len(apart.names) < LONG:
        found, _, notes = detect_schema(read_cells(source, columns, conventions=how), missing=missing, bounds=bounds)
        return found, notes
    whole = threading.Lock()  # one whole column in memory at a time

    def one(name: str) -> tuple[Column, list[str]]:
        sample = _sample(column_batches(source, name), max(1, -(-apart.rows // SAMPLED)))
        if sample is not None:
            cells = Cells(pa.table({name: sample}), apart.label)
            found, _, notes = detect_schema(cells, missing=missing, bounds=bounds)
            column = found.columns[0]
            if column.kind in TOLD and column.step is None and not column.atoms and not notes:
                return column, notes
        with whole:
            found, _, notes = detect_schema(read_cells(source, [name]), missing=missing, bounds=bounds)
        return found.columns[0], notes

    with ThreadPoolExecutor(cores()) as threads:
        each = list(threads.map(one, apart.names))
    schema = TableSchema(rows=apart.rows, reading=how, columns=tuple(column for column, _ in each))
    return schema, [note for _, notes in each for note in notes]


def _sample(batches: Iterator[pa.Array], every: int) -> pa.ChunkedArray | None:
    """Every k-th cell of a column of fractions, with its smallest and its largest, and a gap if there are any.

    The result is None for cells of another type, and for a column that holds infinite numbers or none.
    """
    taken: list[pa.Array] = []
    ends: list[tuple[float, float]] = []
    start, gaps, kind = 0, False, None
    for cells in batches:
        kind = cells.type
        if not pa.types.is_float32(kind) and not pa.types.is_float64(kind):
            return None
        numbers = cells.to_numpy(zero_copy_only=False)
        low, high = np.fmin.reduce(numbers), np.fmax.reduce(numbers)
        if np.isinf(low) or np.isinf(high):
            return None
        if not np.isnan(low):
            ends.append((low, high))
        gaps = gaps or bool(np.isnan(numbers.sum()))
        taken.append(cells.take(pa.array(np.arange(-start % every, len(cells), every))))
        start += len(cells)
    if not ends:
        return None
    whole = pa.chunked_array(taken, kind)
    numbers = whole.to_numpy()
    extra = [end for end in (min(low for low, _ in ends), max(high for _, high in ends)) if not (numbers == end).any()]
    extra += [None] if gaps and not np.isnan(numbers).any() else []
    return pa.chunked_array([*taken, pa.array(extra, kind)])
