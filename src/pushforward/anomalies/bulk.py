"""Tables larger than memory and streams, judged batch by batch."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pushforward.anomalies.calibration import LARGEST
from pushforward.anomalies.detector import FlowOutlierDetector
from pushforward.tables.encoding import Layout, has_blanks
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.reading.batches import BATCH_ROWS, iterate_cells
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.streams import stream_cells


class JudgedBatch(NamedTuple):
    """Consecutive rows of a table with their p-values.

    Attributes:
        cells: The rows, with all their columns.
        rows: The rows as the detector takes them.
        kept: Flags `(n,)`: which of them have scores.
        each: Scores of these `(k, n_groups)`; see `FlowOutlierDetector.each_score`.
        p_values: Their p-values `(k,)`.
    """

    cells: Cells
    rows: Cells
    kept: np.ndarray
    each: np.ndarray
    p_values: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """One score of each row `(k,)`, the mean over the models; infinity is a row that cannot be."""
        mean = self.each.mean(axis=1)
        return np.where(mean >= LARGEST / self.each.shape[1], np.inf, mean)


def judge_batches(detector: FlowOutlierDetector, source: Any, *, leave: tuple[str, ...] = ()) -> Iterator[JudgedBatch]:
    """Judge a table of any length with the memory of one batch.

    Args:
        detector: Fitted detector.
        source: As for `pushforward.tables.read_cells`; `"-"` is CSV on standard input, which is judged as it comes.
        leave: Names of columns that are no columns of the model, such as labels.

    Raises:
        DataError: The table cannot be read, or is not one of the model.
    """
    density = first_density(detector)
    how = None if density is None else density.schema_.reading
    if isinstance(source, str) and source == "-":
        batches = stream_cells(sys.stdin.buffer, conventions=how)
    else:
        batches = iterate_cells(source, BATCH_ROWS, conventions=how)
    for cells in batches:
        own = cells.select([name for name in cells.names if name not in leave]) if leave else cells
        if detector.columns_ is not None:
            own = own.select([name for name in detector.columns_ if name in own.names])
        kept = ~_blank(density, own)
        if not kept.any():
            groups = detector.calibration_.n_groups
            yield JudgedBatch(cells, own, kept, np.zeros((0, groups)), np.zeros(0))
            continue
        each = detector.each_score(own if kept.all() else own.take(kept))
        yield JudgedBatch(cells, own, kept, each, detector.calibration_.p_values(each))


def first_density(detector: FlowOutlierDetector) -> FlowDensity | None:
    """A density of a detector, which knows what the columns are; None where no score has one.

    Args:
        detector: Fitted detector.
    """
    return next(iter(detector.models_[0].to_parts().densities.values()), None)


def _blank(density: FlowDensity | None, cells: Cells) -> np.ndarray:
    """The rows with missing cells for which there is no state."""
    if density is not None and set(density.model_.needed) <= set(cells.names):
        return has_blanks(Layout(tuple(c for c in density.schema_.modelled if not c.missing)), cells)
    columns: list[pa.ChunkedArray] = cells.table.columns
    return np.any([np.asarray(column.is_null(nan_is_null=True)) for column in columns], axis=0)
