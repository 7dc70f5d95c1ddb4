"""What `pushforward score` says of all rows that pass."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from pushforward.scale.moments import Moments
from pushforward.tables.estimators.bulk import ScoredBatch


@dataclass
class Totals:
    """What is said of all rows, gathered batch by batch; means are over the rows with a finite log-density."""

    rows: int = 0
    left_out: int = 0
    log_prob: Moments = field(default_factory=Moments)
    mass: Moments = field(default_factory=Moments)
    density: Moments = field(default_factory=Moments)
    status: Counter[str] = field(default_factory=Counter)

    def add(self, batch: ScoredBatch) -> None:
        """Take the rows of a batch in."""
        scores, left = batch.scores, int((~batch.kept).sum())
        self.rows, self.left_out = self.rows + len(scores.log_prob), self.left_out + left
        self.status.update(batch.status.tolist())
        there = np.isfinite(scores.log_prob)
        self.log_prob = self.log_prob.joined(Moments.of(scores.log_prob))
        self.mass = self.mass.joined(Moments.of(scores.mass[there]))
        self.density = self.density.joined(Moments.of(scores.density[there]))
