"""Draws of a model from record batch to record batch: of conditions, or of bare numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from pushforward._checks import check_int, message
from pushforward.scale.batch_function import (
    FAILED,
    AbstractBatchFunction,
    Failure,
    Outcome,
    Place,
    kept_columns,
    kept_fields,
)
from pushforward.scale.draw_numbers import numbered
from pushforward.scale.loaded import density_at
from pushforward.scale.sound_rows import sound_rows
from pushforward.tables.encoding import as_asked, encode
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.drawing import PIECE_ROWS
from pushforward.tables.estimators.samples import clipped
from pushforward.tables.kinds.text import arrow_type
from pushforward.tables.modelling.rows import sample_numbered
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells


@dataclass(frozen=True)
class BatchSampler(AbstractBatchFunction):
    """Draws of a density: one for each row of the batch, or with conditions `n_draws` for each row of them.

    A batch holds the columns that the model is given, or bare numbers if it is given none. A draw depends on the seed,
    the number of its row and its own number alone; levels that share a state are told apart by the chance of the batch.

    Attributes:
        n_draws: Number of draws for each row; of a model without conditions it is 1, and the batch has a row for each.
        seed: Seed of the draws.
        clip: `"observed"` holds every number to the range of the data.
        number: Name of a column of whole numbers that number the rows; None where a job knows their place.
    """

    n_draws: int = 1
    seed: int = 0
    clip: Literal["observed"] | None = None
    number: str | None = None

    verb: ClassVar[str] = "sample"
    line_for_line: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_int("BatchSampler", "n_draws", self.n_draws, 1)
        if self.clip not in (None, "observed"):
            raise ValueError(message("BatchSampler", "clip None or 'observed'", repr(self.clip), "Leave it out."))

    @property
    def batch_rows(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Rows of a batch, whose draws are those of one piece."""
        return max(1, PIECE_ROWS // self.n_draws)

    def columns(self, names: Iterable[str]) -> list[str]:
        """See `AbstractBatchFunction`."""
        names, model = list(names), density_at(self.model, self.digest).model_
        wanted = [*model.given, *self.keep, *([self.number] if self.number else [])]
        lacking = [name for name in wanted if name not in names]
        if lacking:
            raise DataError("columns", f"no column {lacking[0]!r}. There are {', '.join(names[:20])}.")
        return list(dict.fromkeys(wanted))

    def schema_for(self, schema: pa.Schema) -> pa.Schema:
        """See `AbstractBatchFunction`."""
        model = density_at(self.model, self.digest).model_
        drawn = _drawn(model, np.zeros(1, np.int64), None, self, np.zeros(2, np.uint32))
        own = [pa.field(name, drawn[name].type) for name in drawn]
        return pa.schema([*kept_fields(schema, self.keep, drawn), *own])

    def run(self, batch: pa.RecordBatch, place: Place | None = None) -> Outcome:
        """See `AbstractBatchFunction`."""
        density = density_at(self.model, self.digest)
        model, own = density.model_, numbered(batch, self.number, place, self.seed)
        if not model.given and self.n_draws != 1:
            fix = "Pass a batch with a row for each draw."
            raise ValueError(
                message("BatchSampler", "n_draws 1 for a model without conditions", f"{self.n_draws}", fix)
            )
        kept, reasons, asked = np.ones(batch.num_rows, bool), {}, None
        if model.given_layout is not None:
            picked = Cells(pa.Table.from_batches([batch]), "the batch").select(model.given)
            known = frozenset(model.given if density.unseen == "error" else ())
            found = sound_rows(picked, model.schema.reading, model.given_layout.columns, known)
            kept, reasons, asked = found.kept, dict(found.reasons), found.cells
            reasons |= {int(row): "a condition is missing" for row in np.flatnonzero(found.missing)}
        schema, rows = self.schema_for(batch.schema), np.flatnonzero(kept)
        if not len(rows):
            result = pa.RecordBatch.from_pylist([], schema=schema)
        else:
            drawn = _drawn(model, own.numbers[rows], asked, self, own.seed)
            each = pa.array(np.repeat(rows, self.n_draws))
            first = {name: array.take(each) for name, array in kept_columns(batch, self.keep, drawn).items()}
            table = pa.table({**first, **drawn}).cast(schema)
            (result,) = table.combine_chunks().to_batches()
        counts = {"drawn": result.num_rows, **({FAILED: len(reasons)} if reasons else {})}
        return Outcome(result, tuple(Failure(row, reasons[row]) for row in sorted(reasons)), counts)


def _drawn(
    model: TableModel, numbers: np.ndarray, asked: Cells | None, how: BatchSampler, seed: np.ndarray
) -> dict[str, Any]:
    """The columns of draws: `n_draws` for each number, those of the first one first."""
    n = how.n_draws if model.given else 1
    each = np.repeat(numbers, n).astype(np.uint64)
    condition = None
    if model.given:
        which, draw = each, np.tile(np.arange(n), len(numbers))
        if model.given_layout is not None and asked is not None:
            condition = encode(model.given_layout, asked).rows.repeat(n, axis=0)
        else:  # the schema alone is asked for
            condition = np.zeros((len(each), 0 if model.given_layout is None else model.given_layout.dim))
    else:
        which, draw = each >> np.uint64(32), each & np.uint64(2**32 - 1)
    rows = sample_numbered(model.distribution, seed, which.astype(np.uint32), draw.astype(np.uint32), condition)
    if how.clip is not None:
        rows = clipped(model.layout, rows)
    drawn = model.decode(rows, seed + np.uint32(int(each[0]) * n % 2**32))
    if model.given_layout is not None:
        if asked is not None:
            drawn |= as_asked(model.given_layout, asked, n)
        else:
            drawn |= {
                column.name: pa.nulls(len(each), arrow_type(column.type)) for column in model.given_layout.columns
            }
    return {name: drawn[name] for name in model.names_out() if name in drawn}
