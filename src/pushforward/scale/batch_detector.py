"""Anomaly scores and p-values from record batch to record batch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from pushforward._checks import message
from pushforward.anomalies.bulk import JudgedBatch, first_density
from pushforward.scale.batch_function import (
    FAILED,
    AbstractBatchFunction,
    Failure,
    Outcome,
    Place,
    kept_columns,
    kept_fields,
)
from pushforward.scale.batch_scorer import full, model_columns, spread, taken
from pushforward.scale.loaded import detector_at
from pushforward.scale.sound_rows import Sound, failing, sound_cells
from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.opened import BATCH_ROWS

if TYPE_CHECKING:
    from pushforward.anomalies.detector import FlowOutlierDetector

RESULTS = (("score", pa.float64()), ("p_value", pa.float64()), ("anomaly", pa.bool_()))
NAMES = tuple(name for name, _ in RESULTS)


@dataclass(frozen=True)
class BatchDetector(AbstractBatchFunction):
    """The score, the conformal p-value and the flag of each row, by a detector or by a density that held rows out.

    The result has the columns of `keep`, `score`, `p_value` and `anomaly`. Rows with a missing cell that the model has
    no state for have neither score nor p-value, and are not flagged.

    Attributes:
        fpr: False-positive rate: the share of clean rows that are flagged, at most.
    """

    fpr: float = 0.01

    verb: ClassVar[str] = "detect"
    batch_rows: ClassVar[int] = BATCH_ROWS

    def __post_init__(self) -> None:
        if not 0 < self.fpr < 1:
            raise ValueError(message("BatchDetector", "fpr between 0 and 1", repr(self.fpr), "0.01 is 1 %."))

    @property
    def decimal(self) -> str:
        """See `AbstractBatchFunction`."""
        density = first_density(detector_at(self.model, self.digest))
        return "." if density is None else density.schema_.reading.decimal

    def columns(self, names: Iterable[str]) -> list[str]:
        """See `AbstractBatchFunction`."""
        detector, names = detector_at(self.model, self.digest), list(names)
        density = first_density(detector)
        if detector.columns_ is None:
            return names
        if density is not None:
            found = model_columns(density.model_, names, self.keep)
            return list(dict.fromkeys([*found, *(name for name in detector.columns_ if name in names)]))
        lacking = [name for name in (*detector.columns_, *self.keep) if name not in names]
        if lacking:
            raise DataError("columns", f"no column {lacking[0]!r}. There are {', '.join(names[:20])}.")
        return list(dict.fromkeys([*detector.columns_, *self.keep]))

    def schema_for(self, schema: pa.Schema) -> pa.Schema:
        """See `AbstractBatchFunction`."""
        return pa.schema([*kept_fields(schema, self.keep, NAMES), *(pa.field(*each) for each in RESULTS)])

    def run(self, batch: pa.RecordBatch, place: Place | None = None) -> Outcome:
        """See `AbstractBatchFunction`."""
        detector = detector_at(self.model, self.digest)
        made = _rows(detector, batch, self.keep)
        rows, reasons = np.flatnonzero(made.kept), dict(made.reasons)
        each, bad = sound_cells(lambda cells: _each(detector, cells), made.cells)
        reasons |= {int(rows[row]): f"{error}" for row, error in bad.items()}
        there, n, size = np.delete(rows, list(bad)), batch.num_rows, len(detector.calibration_) + 1
        p = detector.calibration_.p_values(each) if len(each) else np.zeros(0)
        kept = np.zeros(n, bool)
        kept[there] = True
        scores = JudgedBatch(made.cells, made.cells, kept, each, p).scores
        flags = np.zeros(n, bool)
        # The largest k with k / (n + 1) <= fpr, for rounding must not take one away.
        flags[there] = np.rint(p * size) <= int(self.fpr * size * (1 + 1e-12))
        columns: dict[str, Any] = kept_columns(batch, self.keep, NAMES)
        columns |= {"score": spread(scores, there, n), "p_value": spread(p, there, n), "anomaly": pa.array(flags)}
        result = pa.RecordBatch.from_arrays([*columns.values()], schema=self.schema_for(batch.schema))
        counts = {"anomaly": int(flags.sum()), "ordinary": len(there) - int(flags.sum()), FAILED: len(reasons)}
        counts["missing"] = n - sum(counts.values())
        failures = tuple(Failure(row, reasons[row]) for row in sorted(reasons))
        return Outcome(result, failures, {word: count for word, count in counts.items() if count}, scores)


def _each(detector: FlowOutlierDetector, cells: Cells) -> np.ndarray:
    if not len(cells):
        return np.zeros((0, detector.calibration_.n_groups))
    return detector.each_score(full(cells))[: len(cells)]


def _rows(detector: FlowOutlierDetector, batch: pa.RecordBatch, keep: tuple[str, ...]) -> Sound:
    """The rows that a detector can judge, with the columns that its fit saw.

    Raises:
        DataError: A column is missing.
    """
    density, table = first_density(detector), pa.Table.from_batches([batch])
    if detector.columns_ is None:  # known by their places
        table = table.drop_columns([name for name in keep if name in table.column_names])
    own = Cells(table, "the batch")
    if density is not None and set(density.model_.needed) <= set(own.names):
        found = taken(density.model_, batch, density.unseen)
        others = [name for name in detector.columns_ or () if name in own.names and name not in found.cells.names]
        rest = own.take(found.kept).table
        for name in others:
            found = found._replace(cells=Cells(found.cells.table.append_column(name, rest.column(name)), own.source))
        if detector.columns_ is not None:
            names = [name for name in detector.columns_ if name in found.cells.names]
            found = found._replace(cells=found.cells.select(names))
        return found
    if detector.columns_ is not None:
        own = own.select(detector.columns_)
    return _numbers(own)


def _numbers(cells: Cells) -> Sound:
    """The rows of a table whose cells are all finite numbers."""
    missing, reasons, made = np.zeros(len(cells), bool), {}, {}
    for name in cells.names:
        whole: Any = cells.table.column(name).combine_chunks()
        try:
            numbers = np.asarray(whole.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
            bad = {}
        except pa.ArrowException:
            bad = failing(lambda places, whole=whole: _no_number(whole.take(pa.array(places))), len(whole))
            there = pa.array(np.arange(len(whole)), mask=np.isin(np.arange(len(whole)), list(bad)))
            some = whole.take(there) if len(bad) < len(whole) else pa.nulls(len(whole))
            numbers = np.asarray(some.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
        for row in bad:
            reasons.setdefault(row, f"'{name}' holds {str(whole[row])[:40]!r}; expected a number.")
        for row in np.flatnonzero(np.isinf(numbers)).tolist():
            reasons.setdefault(row, f"infinite values in '{name}'.")
        missing |= np.isnan(numbers)
        made[name] = numbers
    missing[list(reasons)] = False
    kept = ~missing
    kept[list(reasons)] = False
    return Sound(Cells(pa.table(made), cells.source).take(kept), kept, missing, reasons)


def _no_number(part: pa.Array) -> Exception | None:
    try:
        part.cast(pa.float64(), safe=False)
    except pa.ArrowException as error:
        return error
    return None
