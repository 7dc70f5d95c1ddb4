"""A table larger than memory as a fit takes it: a prepared sample of its rows, and a stream of all of them."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.tables.encoding import Layout, encode, has_blanks, in_steps, missing_values, numbers_of
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.base import Bounds
from pushforward.tables.modelling.conditions import conditions_of
from pushforward.tables.modelling.derived import sentences
from pushforward.tables.modelling.preparation import Prepared, layouts, prepare, schema_of
from pushforward.tables.modelling.survey import (
    Survey,
    blanks_in,
    quantile_error,
    schema_of_survey,
    survey,
    weights_of,
    with_rules,
)
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.shards import Shards
from pushforward.tables.schema import TableSchema
from pushforward.training.feed import Pieces
from pushforward.training.rows import MAX_HELD_OUT
from pushforward.training.streams import AbstractStream, Batch, in_order

# Bytes of the rows that are shuffled at once. Pieces of the table come in a random order; this many rows of them are
# put in a random order of their own.
WINDOW_BYTES = 2**26


@dataclass(frozen=True)
class Streamed:
    """A table larger than memory, prepared.

    Attributes:
        sample: The rows of the sample; columns and notes are those of the table.
        held_out: Places in the sample of the rows that are held out.
        order: Places in the sample of the other rows, in a random order.
        found: What one pass found.
        kept: Number of training rows of each piece.
        weights: Column of the weights, or None.
        drop: Whether rows with missing cells are left out.
        total_weight: Sum of the weights of the training rows.
        n_left_out: Number of rows that are left out.
        taken: Places in the survey's sample of the rows of `sample`.
    """

    sample: Prepared
    held_out: np.ndarray
    order: np.ndarray
    found: Survey
    kept: np.ndarray
    weights: str | None
    drop: bool
    total_weight: float
    n_left_out: int
    taken: np.ndarray

    def with_ends(self, schema: TableSchema) -> TableSchema:
        """The schema whose columns have seen the smallest and the largest number of all rows."""
        columns = []
        for column in schema.columns:
            tally = self.found.tallies.get(column.name)
            if column.seen is not None and tally is not None and tally.low is not None:
                cells = Cells(pa.table({column.name: pa.array([tally.low.as_py(), tally.high.as_py()], tally.kind)}))
                low, high = in_steps(numbers_of(cells, column), column)
                seen = (min(float(low), column.seen[0]), max(float(high), column.seen[1]))
                column = column.model_copy(update={"seen": seen})
            columns.append(column)
        return schema.model_copy(update={"columns": tuple(columns)})

    @property
    def n_rows(self) -> int:
        """Number of all rows that are fitted or held out."""
        return int(self.kept.sum()) + len(self.held_out)


def prepare_streamed(
    shards: Shards,
    weights: str | None,
    *,
    seed: Sequence[int],
    validation: float,
    schema: Any,
    given: Sequence[str | int] | None,
    missing: str,
    bounds: Bounds = "natural",
    order: Sequence[str] = (),
) -> Streamed:
    """Read a table once, find what its columns are, and draw the rows that are held out.

    Args:
        shards: The table.
        weights: Column of the weights of the rows, or None.
        seed: Words of the seed of the sample and of the rows that are held out.
        validation: Share of the rows that is held out, at most `MAX_HELD_OUT`.
        schema: As for `prepare`, and all below.
        given: Conditions.
        missing: What happens to missing cells.
        bounds: Which bounds detected columns have.
        order: Names of the columns that the model has first.

    Raises:
        DataError: As for `prepare`.
    """
    found = survey(shards, seed, weights)
    names, label = [name for name in found.shards.names if name != weights], shards.label
    sample, n = found.sample.select(names), int(found.rows.sum())
    if schema is None:
        known, notes = schema_of_survey(found, names, missing == "model", bounds)
    else:
        known, sample, notes = schema_of(sample, schema, missing == "model", bounds)
        known = known.model_copy(update={"rows": n})
    strict = Layout(tuple(column for column in known.modelled if not column.missing))
    if missing == "error":
        gaps = [(c.name, found.tallies[c.name].n_missing) for c in strict.columns if found.tallies[c.name].n_missing]
        if gaps:
            raise missing_values(sample, gaps, n)
    rows, blank = blanks_in(found, strict) if missing == "drop" else (found.rows, np.zeros(len(sample), bool))
    if n - rows.sum():
        notes.append(f"{label}: {n - rows.sum():,} of {n:,} rows have missing values and are left out.")
    own = None if weights is None else weights_of(found.sample, weights)
    taken = np.flatnonzero(~blank if own is None else ~blank & (own > 0))
    if len(taken) < 2:
        raise DataError("missing", f"{label}: fewer than 2 rows are left without missing values.")
    sample, own = sample.take(taken), None if own is None else own[taken]
    if schema is None:
        known = with_rules(known, sample, [names[i] for i in conditions_of(given, names)])
        notes += sentences(label, known.follows)
    how: dict[str, Any] = {"given": given, "missing": missing, "bounds": bounds, "order": order}
    prepared = prepare(sample, own, names=None, schema=known, **how)
    if n > len(found.sample):
        notes.append(
            f"{label}: {n:,} rows are read in pieces. Steps, atoms and quantiles are those of {len(found.sample):,} "
            f"random rows: quantiles are off by {quantile_error(len(found.sample)):.2%} of the rows at most."
        )
    prepared = replace(prepared, notes=(*notes, *prepared.notes))
    by_rank = np.argsort(found.ranks[taken], kind="stable")
    n_held_out = min(max(round(validation * int(rows.sum())), 1), MAX_HELD_OUT) if validation > 0 else 0
    n_held_out = n_held_out if n_held_out < len(taken) else 0
    held_out, others = np.sort(by_rank[:n_held_out]), by_rank[n_held_out:]
    kept = rows - np.bincount(found.pieces[taken[held_out]], minlength=len(rows))
    total = float(kept.sum()) if own is None else found.weight - float(own[held_out].sum())
    return Streamed(
        prepared, held_out, others, found, kept, weights, missing == "drop", total, n - int(rows.sum()), taken
    )


class TableStream(AbstractStream):
    """The encoded rows of a table larger than memory, in standard units.

    In each epoch the pieces of the table come in another order, and windows of rows from them are shuffled. The order
    depends on the seed, the epoch and the table alone.

    Args:
        table: The prepared table.
        standardise: Function from encoded rows to standard units.
        standardise_given: The same for conditions, or None without any.
        n_readers: Number of threads that encode.
        window_bytes: Bytes of the rows that are shuffled at once.
    """

    def __init__(
        self,
        table: Streamed,
        standardise: Callable[[np.ndarray], np.ndarray],
        standardise_given: Callable[[np.ndarray], np.ndarray] | None = None,
        n_readers: int = 1,
        window_bytes: int = WINDOW_BYTES,
    ):
        self._table, self._n_readers = table, n_readers
        self._units = standardise, standardise_given
        self._layout, self._given = layouts(table.sample)
        self._strict = Layout(tuple(column for column in table.sample.schema.modelled if not column.missing))
        places = table.taken[table.held_out]
        self._out = {
            int(piece): table.found.places[places[table.found.pieces[places] == piece]]
            for piece in np.unique(table.found.pieces[places])
        }
        self.event_shape = (self._layout.dim,)
        self.cond_shape = None if self._given is None else (self._given.dim,)
        self.n_rows, self.total_weight = int(table.kept.sum()), table.total_weight
        numbers = self._layout.dim + (0 if self._given is None else self._given.dim) + 1
        self._window = max(1, window_bytes // (4 * numbers))
        sha = hashlib.sha256(np.ascontiguousarray(table.sample.rows).tobytes())
        sha.update(f"{table.kept.tolist()} {self._window} {table.weights} {table.total_weight!r}".encode())
        self.identity = sha.hexdigest()

    def _of_sample(self, rows: np.ndarray) -> Batch:
        sample = self._table.sample
        condition = None if sample.condition is None else sample.condition[rows]
        return self._standard(sample.rows[rows], condition, None if sample.weights is None else sample.weights[rows])

    def _standard(self, rows: np.ndarray, condition: np.ndarray | None, weights: np.ndarray | None) -> Batch:
        of_rows, of_given = self._units
        own = None if condition is None or of_given is None else of_given(condition).astype(np.float32)
        return Batch(of_rows(rows).astype(np.float32), own, weights)

    def held_out(self) -> Batch | None:
        return self._of_sample(self._table.held_out) if len(self._table.held_out) else None

    def head(self, n: int) -> Batch:
        return self._of_sample(self._table.order[:n])

    def blocks(self, seed: np.ndarray, epoch: int, start: int) -> Iterator[Batch]:
        words = [*np.asarray(seed).tolist(), epoch]
        pieces = np.random.default_rng(words).permutation(len(self._table.kept))
        number = start // self._window
        rows = Pieces(self._encoded(pieces, number * self._window), number * self._window, self.n_rows)
        with contextlib.closing(rows):
            for first in range(number * self._window, self.n_rows, self._window):
                window = rows.take(min(self._window, self.n_rows - first))
                order = np.random.default_rng([*words, 1 + first // self._window]).permutation(len(window.x))
                order = order[max(start - first, 0) :]
                yield Batch(*(None if array is None else array[order] for array in window))
            rows.check_end()

    def _encoded(self, pieces: np.ndarray, start: int) -> Iterator[Batch]:
        """The encoded training rows of these pieces, without the first ones."""
        ends = np.cumsum(self._table.kept[pieces])
        first = int(np.searchsorted(ends, start, side="right"))
        skip = start - int(ends[first - 1] if first else 0)
        for batch in in_order(self._encode, self._cells(pieces[first:]), self._n_readers):
            n = min(skip, len(batch.x))
            skip -= n
            if n < len(batch.x):
                yield batch.cut(n, len(batch.x)) if n else batch

    def _cells(self, pieces: np.ndarray) -> Iterator[tuple[int, int, Cells]]:
        """The cells of these pieces, batch by batch, with their piece and their place in it."""
        names = [column.name for layout in (self._layout, self._given) if layout for column in layout.columns]
        names += [] if self._table.weights is None else [self._table.weights]
        for piece in pieces.tolist():
            place = 0
            for cells in self._table.found.shards.read(piece, names):
                yield piece, place, cells
                place += len(cells)

    def _encode(self, some: tuple[int, int, Cells]) -> Batch:
        """The training rows of a batch."""
        piece, place, cells = some
        out = self._out.get(piece, np.zeros(0, np.int64)) - place
        keep = np.ones(len(cells), bool)
        keep[out[(out >= 0) & (out < len(cells))]] = False
        if self._table.drop:
            keep &= ~has_blanks(self._strict, cells)
        if not keep.all():
            cells = cells.take(keep)
        condition = None if self._given is None else encode(self._given, cells).rows
        weights = None if self._table.weights is None else weights_of(cells, self._table.weights)
        return self._standard(encode(self._layout, cells).rows, condition, weights)
