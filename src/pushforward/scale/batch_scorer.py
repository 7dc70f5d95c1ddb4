"""Exact log-densities from record batch to record batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from pushforward._checks import message
from pushforward.scale.batch_function import (
    FAILED,
    AbstractBatchFunction,
    Failure,
    Outcome,
    Place,
    kept_columns,
    kept_fields,
)
from pushforward.scale.loaded import density_at
from pushforward.scale.sound_rows import Sound, sound_cells, sound_rows
from pushforward.tables.errors import DataError
from pushforward.tables.modelling.rows import SIZES
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.opened import BATCH_ROWS

if TYPE_CHECKING:
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.modelling.table_model import TableModel

GAP = "a cell is missing for which the model has no state: leave such rows out (missing='drop', --missing drop)"


@dataclass(frozen=True)
class BatchScorer(AbstractBatchFunction):
    r"""The log-density of each row, $\log p(x_i)$ in nats in the data's units, and its status.

    The result has the columns of `keep`, `log_prob`, with `parts` also `log_mass`, `log_density` and `bound_error`, and
    `status`: a word of `pushforward.checking.row_status`, `missing` or `failed`. The numbers of a row have the same
    bits in whatever batch it comes, because rows are computed in calls of one size.

    Attributes:
        missing: `"drop"` leaves rows with a missing cell that the model has no state for without a score; for
            `"error"` these are failures.
        parts: Whether the two parts of the log-density and its error are columns too.

    Example:
        >>> from pushforward.scale import BatchScorer
        >>> BatchScorer("model").schema_for(pa.schema([("size", pa.float64())])).names
        ['log_prob', 'status']
    """

    missing: Literal["error", "drop"] = "error"
    parts: bool = False

    verb: ClassVar[str] = "score"
    batch_rows: ClassVar[int] = BATCH_ROWS

    def __post_init__(self) -> None:
        if self.missing not in ("error", "drop"):
            fix = "'drop' leaves such rows without a score."
            raise ValueError(message("BatchScorer", "missing 'error' or 'drop'", repr(self.missing), fix))

    def columns(self, names: Iterable[str]) -> list[str]:
        """See `AbstractBatchFunction`."""
        return model_columns(density_at(self.model, self.digest).model_, names, self.keep)

    def schema_for(self, schema: pa.Schema) -> pa.Schema:
        """See `AbstractBatchFunction`."""
        own = [pa.field(name, pa.float64()) for name in self._numbers()]
        kept = kept_fields(schema, self.keep, (*self._numbers(), "status"))
        return pa.schema([*kept, *own, pa.field("status", pa.string())])

    def _numbers(self) -> tuple[str, ...]:
        return ("log_prob", *(("log_mass", "log_density", "bound_error") if self.parts else ()))

    def run(self, batch: pa.RecordBatch, place: Place | None = None) -> Outcome:
        """See `AbstractBatchFunction`."""
        density = density_at(self.model, self.digest)
        made = taken(density.model_, batch, density.unseen)
        n, reasons, rows = batch.num_rows, dict(made.reasons), np.flatnonzero(made.kept)
        if self.missing == "error":
            reasons |= {int(row): GAP for row in np.flatnonzero(made.missing)}
        found, bad = sound_cells(lambda cells: _score(density, cells), made.cells)
        reasons |= {int(rows[row]): f"{error}" for row, error in bad.items()}
        status = np.full(n, FAILED, object)
        if self.missing == "drop":
            status[made.missing] = "missing"
        there = np.delete(rows, list(bad))
        status[there] = found.status
        columns: dict[str, Any] = kept_columns(batch, self.keep, (*self._numbers(), "status"))
        for name, own in zip(self._numbers(), found.numbers, strict=False):
            columns[name] = spread(own, there, n)
        columns["status"] = pa.array(status.tolist(), pa.string())
        failures = tuple(Failure(row, reasons[row]) for row in sorted(reasons))
        result = pa.RecordBatch.from_arrays([*columns.values()], schema=self.schema_for(batch.schema))
        return Outcome(result, failures, dict(Counter(status.tolist())), found.numbers[0])


class _Found(NamedTuple):
    numbers: tuple[np.ndarray, ...]
    status: np.ndarray


def taken(model: TableModel, batch: pa.RecordBatch, unseen: str = "other", *, gaps: bool = False) -> Sound:
    """The rows of a batch that a model can take.

    Args:
        model: Fitted model.
        batch: Rows.
        unseen: `"error"` if a level of a condition that the fit never saw is a fault.
        gaps: Whether cells may be missing.

    Raises:
        DataError: A column is missing.
    """
    picked = model.pick(Cells(pa.Table.from_batches([batch]), "the batch"))
    columns = (*model.layout.columns, *(() if model.given_layout is None else model.given_layout.columns))
    known = frozenset(model.given if unseen == "error" else ())
    return sound_rows(picked, model.schema.reading, columns, known, gaps)


def _score(density: FlowDensity, cells: Cells) -> _Found:
    from pushforward.tables.estimators.verify import status_of

    n = len(cells)
    if not n:
        return _Found((np.zeros(0),) * 4, np.zeros(0, object))
    model = density.model_
    encoded, condition = model.encode(full(cells), density.unseen)
    scores, seen = model.score_seeing(encoded, condition)
    status = status_of(model, encoded, condition, scores.log_prob, seen)
    return _Found(tuple(own[:n] for own in (scores.log_prob, scores.mass, scores.density, scores.error)), status[:n])


def full(cells: Cells) -> Cells:
    """The rows, and the first one again until they fill a call of the largest size.

    Calls of one size alone give a row the same bits in whatever batch it comes.

    Args:
        cells: Rows, one at least.
    """
    n, most = len(cells), SIZES[-1]
    return cells if n >= most else cells.take(np.where(np.arange(most) < n, np.arange(most), 0))


def spread(values: np.ndarray, places: np.ndarray, n: int) -> pa.Array:
    """The values at their places among `n`, and gaps elsewhere."""
    whole, gap = np.zeros(n, values.dtype), np.ones(n, bool)
    whole[places], gap[places] = values, False
    return pa.array(whole, mask=gap)


def model_columns(model: TableModel, names: Iterable[str], keep: tuple[str, ...]) -> list[str]:
    """The columns that a model reads of a table, and those kept.

    Args:
        model: Fitted model.
        names: Names of the columns of the table.
        keep: Names of further columns.

    Raises:
        DataError: One of them is missing.
    """
    names = list(names)
    wanted = [*model.needed, *keep]
    lacking = [name for name in wanted if name not in names]
    if lacking:
        has = ", ".join(names[:20])
        raise DataError("columns", f"no column {lacking[0]!r}, which the model or --keep needs. There are {has}.")
    optional = [*(column.name for column in model.constants), *(rule.name for rule in model.schema.follows)]
    return list(dict.fromkeys([*wanted, *(name for name in optional if name in names)]))
