"""Tables larger than memory, scored batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from pushforward._vectorize import ahead
from pushforward.tables.encoding import Layout, has_blanks
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.density import FlowDensity
from pushforward.tables.estimators.intake import rows_with_states
from pushforward.tables.estimators.verify import status_of
from pushforward.tables.modelling.rows import Scores
from pushforward.tables.reading.batches import BATCH_ROWS, iterate_cells


class ScoredBatch(NamedTuple):
    """The scores of consecutive rows of a table.

    Attributes:
        scores: Of the rows that are kept, each `(k,)`.
        status: Words `(k,)`; see `pushforward.checking.row_status`.
        kept: Flags `(n,)`: which rows of the batch have scores.
        unseen: For each column with levels never seen in the fit, some of them.
    """

    scores: Scores
    status: np.ndarray
    kept: np.ndarray
    unseen: dict[str, list[str]]


def score_batches(
    density: FlowDensity, source: Any, *, missing: str = "error", batch_rows: int = BATCH_ROWS
) -> Iterator[ScoredBatch]:
    """Score a table of any length with the memory of one batch.

    Args:
        density: Fitted estimator.
        source: As for `pushforward.tables.read_cells`.
        missing: `"drop"` leaves out rows with missing values that the model has no state for; `"error"` refuses them.
        batch_rows: Rows per batch.

    Raises:
        DataError: The table cannot be read, is not one of the model, or no row is left.
    """
    model, any_kept = density.model_, False
    fixed = Layout(tuple(column for column in model.schema.modelled if not column.missing))
    for batch in ahead(iterate_cells(source, batch_rows, conventions=model.schema.reading)):
        cells = model.pick(batch)
        blank = has_blanks(fixed, cells) if missing == "drop" else np.zeros(len(cells), bool)
        if len(blank) and blank.all():  # of this batch, perhaps not of the table
            nothing = np.empty(0)
            yield ScoredBatch(Scores(*[nothing] * len(Scores._fields)), np.empty(0, str), ~blank, {})
            continue
        any_kept = True
        taken, kept = rows_with_states(density, cells, missing)
        encoded, condition = model.encode(taken, density.unseen)
        scores, seen = model.score_seeing(encoded, condition)
        yield ScoredBatch(scores, status_of(model, encoded, condition, scores.log_prob, seen), kept, encoded.unseen)
    if not any_kept:
        raise DataError("missing", f"{source}: no row is left without missing values.")
