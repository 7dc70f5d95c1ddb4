"""What `pushforward detect` keeps of the rows that pass: counts, a sample, and the most unusual ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pushforward.anomalies.bulk import JudgedBatch
from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells

# Rows that a figure is drawn from, and rows that are named.
SAMPLED, NAMED = 20_000, 10


class WorstRow(NamedTuple):
    """One of the most unusual rows: its number, counted from 1, its score and its p-value."""

    row: int
    score: float
    p_value: float

    def to_json(self) -> dict[str, float | None]:
        """The row as JSON has it; a score that is infinite is null."""
        return {"row": self.row, "score": self.score if np.isfinite(self.score) else None, "p_value": self.p_value}


@dataclass
class Sample:
    """Some of the rows, each as likely as any other: those with the smallest of random keys."""

    keys: np.ndarray = field(default_factory=lambda: np.zeros(0))
    scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    p_values: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def add(self, keys: np.ndarray, scores: np.ndarray, p_values: np.ndarray) -> None:
        """Take rows in, and leave out those with the largest keys."""
        keys, scores, p_values = (
            np.append(held, new) for held, new in ((self.keys, keys), (self.scores, scores), (self.p_values, p_values))
        )
        kept = np.argsort(keys, kind="stable")[:SAMPLED]
        self.keys, self.scores, self.p_values = keys[kept], scores[kept], p_values[kept]


class Tallies:
    """Counts of the rows that passed, in memory that does not grow; scores and labels are kept where there are labels.

    Args:
        n_calibration: Number of calibration rows.
        seed: Seed of the sample.

    Attributes:
        rows: Number of rows with a p-value.
        left_out: Number of rows without one.
        counts: How many p-values are `k / (n + 1)`, for `k` from 1: `(n + 1,)`.
        sample: Some of the rows.
        worst: The rows with the highest scores, the highest first.
        held: Their cells, by the numbers of the rows.
    """

    def __init__(self, n_calibration: int, seed: int):
        self.rows, self.left_out, self._seen = 0, 0, 0
        self.counts = np.zeros(n_calibration + 1, np.int64)
        self.sample = Sample()
        self.worst: list[WorstRow] = []
        self.held: dict[int, Cells] = {}
        self._rng = np.random.default_rng(seed)
        self._scores: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, batch: JudgedBatch, labels: np.ndarray | None) -> None:
        """Take the rows of a batch in.

        Args:
            batch: The batch.
            labels: Labels of all its rows, or None.
        """
        scores, p, places = batch.scores, batch.p_values, np.flatnonzero(batch.kept)
        self.rows, self.left_out = self.rows + len(p), self.left_out + len(batch.kept) - len(p)
        k = np.rint(p * len(self.counts)).astype(np.int64) - 1
        self.counts += np.bincount(k, minlength=len(self.counts))
        self.sample.add(self._rng.random(len(p)), scores, p)
        top = np.argsort(-scores, kind="stable")[:NAMED]
        found = [WorstRow(self._seen + int(places[i]) + 1, float(scores[i]), float(p[i])) for i in top]
        self.worst = sorted([*self.worst, *found], key=lambda row: (-row.score, row.row))[:NAMED]
        named = {row.row for row in self.worst}
        mine = {row: batch.rows.take(np.array([row - self._seen - 1])) for row in named if row > self._seen}
        self.held = {row: cells for row, cells in (self.held | mine).items() if row in named}
        self._seen += len(batch.kept)
        if labels is not None:
            self._scores.append(scores)
            self._labels.append(labels[batch.kept])

    def scores(self) -> np.ndarray:
        """The scores of all rows, where there are labels."""
        return np.concatenate([np.zeros(0), *self._scores])

    def labels(self) -> np.ndarray:
        """Flags of the anomalies: 1 of 0 and 1, -1 of -1 and 1.

        Raises:
            DataError: The labels are others.
        """
        values = np.concatenate([np.zeros(0), *self._labels])
        found = set(np.unique(values).tolist())
        if not (found <= {0.0, 1.0} or found <= {-1.0, 1.0}):
            expected = "labels 0 and 1 (1 is an anomaly) or 1 and -1 (-1 is an anomaly)"
            raise DataError("labels", f"expected {expected}, got {sorted(found)[:6]}.")
        return values == (-1.0 if -1.0 in found else 1.0)


def labels_of(cells: Cells, name: str) -> np.ndarray:
    """The labels of rows as numbers.

    Args:
        cells: The rows.
        name: Of the column.

    Raises:
        DataError: There is no such column, or it does not hold numbers or truth values.
    """
    column = cells.select([name]).table.column(0)
    try:
        return np.asarray(column.cast(pa.float64() if not pa.types.is_boolean(column.type) else pa.int8()), np.float64)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        what = f"column '{name}' holds {column.type}, not 0 and 1"
        raise DataError("labels", f"{cells.source}: {what}. Write 1 for an anomaly and 0 for a clean row.") from error
