"""Filled gaps from record batch to record batch."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pyarrow as pa

from pushforward._checks import check_int, message
from pushforward.scale.batch_function import FAILED, AbstractBatchFunction, Failure, Outcome, Place
from pushforward.scale.batch_scorer import model_columns, taken
from pushforward.scale.draw_numbers import Numbered, numbered
from pushforward.scale.loaded import density_at
from pushforward.scale.sound_rows import where_sound
from pushforward.tables.estimators.filled import Filled, check_level, in_one, stacked
from pushforward.tables.estimators.filling import FILLED_ROWS, fill_cells
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells, read_cells


@dataclass(frozen=True)
class BatchFiller(AbstractBatchFunction):
    """The rows with draws in their gaps, as `pushforward fill` writes them; a row that cannot be read is left out.

    The result has all columns of the batch, and before them `draw` if there are several draws. The draws of a row
    depend on the seed, its number and its cells; which of the rare levels stands in a gap depends on its batch too.

    Attributes:
        n_draws: Number of draws: of completed rows, or behind medians.
        median: Whether the median of the draws stands in each gap, once.
        interval: Probability of the intervals whose ends are further columns, or None.
        seed: Seed of the draws.
        number: Name of a column of whole numbers that number the rows; None where a job knows their place.
    """

    n_draws: int = 1
    median: bool = False
    interval: float | None = None
    seed: int = 0
    number: str | None = None

    verb: ClassVar[str] = "fill"
    batch_rows: ClassVar[int] = FILLED_ROWS
    line_for_line: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_int("BatchFiller", "n_draws", self.n_draws, 1)
        if self.keep:
            raise ValueError(message("BatchFiller", "no keep", repr(self.keep), "All columns are in the result."))
        if self.interval is not None:
            check_level("BatchFiller, interval", self.interval, self.n_draws)

    def columns(self, names: Iterable[str]) -> list[str]:
        """See `AbstractBatchFunction`."""
        names = list(names)
        model_columns(density_at(self.model, self.digest).model_, names, ())
        return names

    def schema_for(self, schema: pa.Schema) -> pa.Schema:
        """See `AbstractBatchFunction`."""
        return _schema(self, schema)

    def of_gaps(self, schema: pa.Schema) -> pa.Table:
        """The result of a batch of one row that has gaps alone."""
        gaps = pa.RecordBatch.from_arrays([pa.nulls(1, each.type) for each in schema], schema=schema)
        model = density_at(self.model, self.digest).model_
        return self._table(fill_cells(model, None, _cells(model, gaps), self.n_draws, np.zeros(2, np.uint32)))

    def _table(self, filled: Filled) -> pa.Table:
        return in_one(filled, self.interval) if self.median or self.interval is not None else stacked(filled)

    def run(self, batch: pa.RecordBatch, place: Place | None = None) -> Outcome:
        """See `AbstractBatchFunction`."""
        model = density_at(self.model, self.digest).model_
        own, made = numbered(batch, self.number, place, self.seed), taken(model, batch, gaps=True)
        rows, reasons = np.flatnonzero(made.kept), dict(made.reasons)
        schema = self.schema_for(batch.schema)
        filled, bad = self._filled(model, batch, rows, own)
        reasons |= {int(rows[row]): f"{error}" for row, error in bad.items()}
        counts = {} if filled is None else filled.report.counts
        table = schema.empty_table() if filled is None else self._table(filled).cast(schema)
        failures = tuple(Failure(row, reasons[row]) for row in sorted(reasons))
        counts = dict(Counter(counts) + Counter({FAILED: len(failures)}))
        (result,) = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]
        return Outcome(result, failures, counts)

    def _filled(
        self, model: TableModel, batch: pa.RecordBatch, rows: np.ndarray, own: Numbered
    ) -> tuple[Filled | None, dict[int, Exception]]:
        """The rows at which the model does not fail, filled, and with what it fails at others."""

        def fill(places: np.ndarray) -> Filled | None:
            which = rows[places]
            cells = _cells(model, batch.take(pa.array(which)))
            return fill_cells(model, None, cells, self.n_draws, own.seed, own.numbers[which]) if len(which) else None

        return where_sound(fill, len(rows))


@functools.lru_cache(maxsize=64)
def _schema(function: BatchFiller, schema: pa.Schema) -> pa.Schema:
    return function.of_gaps(schema).schema


def _cells(model: TableModel, batch: pa.RecordBatch) -> Cells:
    return read_cells(Cells(pa.Table.from_batches([batch]), "the batch"), conventions=model.schema.reading)
