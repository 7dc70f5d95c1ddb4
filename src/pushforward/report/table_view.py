"""What the sections on a density look at: the model, the rows, their evaluation, and columns as they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pushforward.checking import CheckReport
from pushforward.plotting.columns import Pictured, pictured
from pushforward.plotting.fitted import sampled
from pushforward.report.canvas import Scale, Scales
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.evaluation import Evaluation
from pushforward.tables.reading.cells import Cells

# Columns that are drawn; of more, those of the strongest dependence. Rows of data and of samples that are drawn.
MOST_COLUMNS, MOST_ROWS = 200, 5000


@dataclass(frozen=True)
class View:
    """A density, and rows that it is held against.

    Attributes:
        density: Fitted density.
        table: Rows that it can score; None without data.
        numbers: Numbers `(n,)` of these rows in the table, from 1.
        evaluation: What `evaluate` found; None without data.
        checks: What `check` found; None if there are none.
        seed: Seed of all draws.
    """

    density: FlowDensity
    table: Cells | None
    numbers: np.ndarray
    evaluation: Evaluation | None
    checks: CheckReport | None
    seed: int

    @cached_property
    def few(self) -> Cells | None:
        """Some of the rows, as many as figures hold."""
        if self.table is None or len(self.table) <= MOST_ROWS:
            return self.table
        some = np.random.default_rng(self.seed).choice(len(self.table), MOST_ROWS, replace=False)
        return self.table.take(np.sort(some))

    @cached_property
    def drawn(self) -> Any:
        """Samples as an Arrow table; None for a model with conditions without data."""
        if self.density.given_ and self.few is None:
            return None
        count = MOST_ROWS if self.few is None else max(1000, len(self.few))
        return sampled(self.density, self.few, min(count, MOST_ROWS), self.seed)

    @cached_property
    def shown(self) -> Pictured | None:
        """The columns with their axes, data and samples, the conditions last; None where there are neither."""
        if self.few is None and self.drawn is None:
            return None
        own = [column.name for column in self.density.model_.layout.columns]
        schema = self.density.schema_.select([*own, *self.density.given_])
        return pictured("report", self.few, self.drawn, names=None, schema=schema, columns=None, most=MOST_COLUMNS)

    @cached_property
    def scales(self) -> tuple[Scale, ...]:
        """The scales of the columns shown."""
        made = Scales()
        return () if self.shown is None else tuple(made.of(axis) for axis in self.shown.axes)

    def only(self, places: list[int]) -> tuple[Pictured, tuple[Scale, ...]]:
        """Some of the columns shown, by their places."""
        shown: Any = self.shown
        data, samples = (None if of is None else of[:, places] for of in (shown.data, shown.samples))
        names, axes = (tuple(each[i] for i in places) for each in (shown.names, shown.axes))
        return Pictured(names, data, samples, axes, ""), tuple(self.scales[i] for i in places)
