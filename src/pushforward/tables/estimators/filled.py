"""A table whose gaps are filled: completed tables, medians and intervals, and what each row's draws are worth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pushforward._checks import message
from pushforward.tables.estimators.gap_draws import COMPLETE, CONDITION, FILLED, IMPOSSIBLE, POOR, RULE
from pushforward.tables.estimators.patching import Patch, patched
from pushforward.tables.kinds.base import AbstractAside, AbstractLevels, AbstractValues
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import Column

REASONS = {
    COMPLETE: "nothing of the model's columns is missing",
    FILLED: "",
    POOR: "the weighted rows are worth too few independent draws, or their Pareto k is too high",
    IMPOSSIBLE: "the model gives the observed cells no probability",
    CONDITION: "a column that the model is given is missing",
    RULE: "a column that follows from others is known, and one of these is missing",
}


@dataclass(frozen=True)
class FillReport:
    """What became of each row, `(n,)` each.

    Attributes:
        n_missing: Number of missing cells in the columns of the model.
        status: `complete` (nothing was missing), `filled`; or why a row was left as it is: `poor`, `impossible`,
            `condition` or `rule`, as `reasons` says in words.
        method: `exact` (draws of the model's own conditional distribution) or `importance` (resampled by weights);
            empty for rows without draws.
        ess: Effective number of the weighted rows behind the draws; NaN without any.
        pareto_k: Tail index of their weights: above 0.7 they are not to be trusted; NaN where there is none.
    """

    n_missing: np.ndarray
    status: np.ndarray
    method: np.ndarray
    ess: np.ndarray
    pareto_k: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each status that occurs."""
        return dict(Counter(self.status.tolist()))

    @property
    def reasons(self) -> list[str]:
        """Why each row was left as it is, in words; empty where it was filled."""
        return [REASONS[status] for status in self.status]

    @property
    def sentence(self) -> str:
        """The report in words."""
        return sentence_of(self.counts, int((self.method == "exact").sum()))

    def to_arrow(self, first: int = 0) -> pa.Table:
        """The report as a table with a row for each row, which are numbered from `first`."""
        return pa.table(
            {
                "row": np.arange(first, first + len(self.status)),
                "n_missing": self.n_missing,
                "status": pa.array(self.status.tolist(), pa.string()),
                "method": pa.array(self.method.tolist(), pa.string()),
                "ess": pa.array(self.ess, from_pandas=True),
                "pareto_k": pa.array(self.pareto_k, from_pandas=True),
                "reason": pa.array(self.reasons, pa.string()),
            }
        )


def sentence_of(counts: Mapping[str, int], n_exact: int) -> str:
    """The numbers of rows of each status in words."""
    n_filled = counts.get(FILLED, 0)
    text = f"{n_filled:,} rows are filled ({n_exact:,} by exact draws), {counts.get(COMPLETE, 0):,} had no gaps."
    left = [f"{counts[status]:,} because {REASONS[status]}" for status in (POOR, IMPOSSIBLE, CONDITION, RULE)
            if counts.get(status)]  # fmt: skip
    return text + (f" Left with their gaps: {'; '.join(left)}." if left else "")


class Missing(NamedTuple):
    """The missing cells of one column that have draws.

    Attributes:
        column: The column.
        places: Positions of the rows `(k,)`.
        draws: The cells, `k * n_draws`, those of the first row first.
    """

    column: Column
    places: np.ndarray
    draws: pa.Array


class Interval(NamedTuple):
    """Two tables between whose numbers the missing cells lie with some probability.

    Attributes:
        low: Lower ends.
        high: Upper ends.
    """

    low: Any
    high: Any


@dataclass(frozen=True)
class Filled:
    """A table with filled gaps; `FlowDensity.fill` gives it.

    Every table that comes out of it is of the kind that came in. Observed cells are as they were; rows that could not
    be filled keep their gaps, and `report` says why.

    Args:
        source: The table as it came.
        cells: Its cells.
        columns: The columns of the model, and those that follow from them, which the table has.
        missing: The cells with draws, by name of the column.
        n_draws: Number of draws.
        report: What became of each row.
    """

    source: Any
    cells: Cells
    columns: tuple[Column, ...]
    missing: Mapping[str, Missing]
    n_draws: int
    report: FillReport

    @cached_property
    def tables(self) -> tuple[Any, ...]:
        """The completed tables, one for each draw: what is computed of each varies as the gaps make it vary."""
        return tuple(self._with({name: np.full(len(m.places), i) for name, m in self.missing.items()})
                     for i in range(self.n_draws))  # fmt: skip

    def median(self) -> Any:
        """The table with the median of the draws in each gap; of levels without an order the most frequent one.

        Each gap has the median of its own: a row of them need not be a likely one. Give `interval` along.
        """
        return self._with({name: _at(m, self.n_draws, 0.5) for name, m in self.missing.items()})

    def interval(self, level: float = 0.9) -> Interval:
        """The tables with the ends of the central interval of each gap that holds this probability.

        Levels without an order have the most frequent one in both; `share` says how frequent it is.

        Args:
            level: Probability between 0 and 1; the draws have to be `2 / (1 - level) - 1` or more, which is 19 for 0.9.

        Raises:
            ValueError: The level is not between 0 and 1, or the draws are too few.
        """
        check_level("Filled.interval", level, self.n_draws)
        tails = (0.5 - level / 2, 0.5 + level / 2)
        low, high = (self._with({name: _at(m, self.n_draws, p) for name, m in self.missing.items()}) for p in tails)
        return Interval(low, high)

    def shares(self) -> dict[str, np.ndarray]:
        """For each column of levels without an order, the share of the draws that have the one of `median`.

        It is 1 where the cell was observed; columns without gaps are left out.
        """
        found = {}
        for name, m in self.missing.items():
            if isinstance(m.column.family, AbstractLevels) and m.column.kind != "ordinal":
                out = np.ones(len(self.cells))
                out[m.places] = _most_frequent(_states(m, self.n_draws))[1]
                found[name] = out
        return found

    def _with(self, which: Mapping[str, np.ndarray]) -> Any:
        """The table with one of the draws in each gap."""
        patches = {
            name: Patch(m.places, m.draws.take(pa.array(np.arange(len(m.places)) * self.n_draws + which[name])))
            for name, m in self.missing.items()
            if len(m.places)
        }
        return patched(self.source, self.cells, patches)


def check_level(name: str, level: float, n_draws: int) -> None:
    """Raise if the ends of an interval cannot be told from so many draws.

    Raises:
        ValueError: The level is not between 0 and 1, or the draws are too few.
    """
    if not 0 < level < 1:
        raise ValueError(message(name, "a probability between 0 and 1", repr(level), "The usual is 0.9."))
    least = int(np.ceil(round(2 / (1 - level), 6))) - 1
    if n_draws < least:
        raise ValueError(message(name, f"{least} draws or more for an interval of {level:g}", str(n_draws),
                                 f"Fill with n_draws={5 * least}."))  # fmt: skip


def _states(m: Missing, n_draws: int) -> np.ndarray:
    """The states of draws of levels, `(k, n_draws)`."""
    kind: Any = m.column.family
    return kind.read(pa.chunked_array([m.draws]), m.column, "the draws").states.reshape(-1, n_draws)


def _most_frequent(states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of a draw that has the most frequent state of each row, and that state's share."""
    counts = (states[:, :, None] == states[:, None, :]).sum(axis=2)
    best = counts.argmax(axis=1)
    return best, counts[np.arange(len(best)), best] / states.shape[1]


def _at(m: Missing, n_draws: int, probability: float) -> np.ndarray:
    """For each gap, the number of the draw that has this probability below it; of levels the most frequent."""
    kind = m.column.family
    if isinstance(kind, AbstractAside):
        return np.zeros(len(m.places), int)
    if not isinstance(kind, AbstractValues):
        states = _states(m, n_draws)
        if m.column.kind != "ordinal":
            return _most_frequent(states)[0]
        numbers = states.astype(float)
    else:
        cells = pa.chunked_array([m.draws])
        numbers = kind.read(cells, m.column, "the draws").reshape(-1, n_draws)
        if m.column.period is not None:
            numbers = _unrolled(numbers, m.column.period)
    # Between the i-th smallest and the i-th largest of n draws lies a share of (n + 1 - 2 i) / (n + 1).
    tail = max(round(min(probability, 1 - probability) * (n_draws + 1)), 1)
    tail = min(tail, (n_draws + 1) // 2)
    rank = tail if probability <= 0.5 else n_draws + 1 - tail
    return np.argsort(numbers, axis=1, kind="stable")[:, rank - 1]


def _unrolled(angles: np.ndarray, period: float) -> np.ndarray:
    """Angles counted from the one of each row that is nearest to the others."""

    def apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a - b + period / 2) % period - period / 2

    middle = np.abs(apart(angles[:, :, None], angles[:, None, :])).sum(axis=2).argmin(axis=1)
    return apart(angles, angles[np.arange(len(angles)), middle][:, None])


def stacked(filled: Filled) -> pa.Table:
    """The completed tables one after the other, numbered by a first column `draw` if there are several.

    Args:
        filled: Filled cells, whose tables are PyArrow tables.
    """
    if filled.n_draws == 1:
        return filled.tables[0]
    name = _free("draw", filled.cells.names)
    numbered = [
        table.add_column(0, name, pa.array(np.full(len(filled.cells), number)))
        for number, table in enumerate(filled.tables)
    ]
    return pa.concat_tables(numbered)


def in_one(filled: Filled, level: float | None) -> pa.Table:
    """The table of medians, and with a level also the ends of each number's interval and the share of each level.

    Columns `..._low` and `..._high` follow all columns of numbers of the model, and `..._share` all of levels, so that
    every batch of a table has the same columns. At observed cells both ends are the cell, and the share is 1.

    Args:
        filled: Filled cells, whose tables are PyArrow tables.
        level: Probability of the intervals, or None.
    """
    table = filled.median()
    if level is None:
        return table
    ends, shares, made = filled.interval(level), filled.shares(), {}
    for column in filled.columns:
        name = column.name
        if isinstance(column.family, AbstractLevels) and column.kind != "ordinal":
            made[f"{name}_share"] = pa.array(shares.get(name, np.ones(len(filled.cells))))
        elif not isinstance(column.family, AbstractAside):
            made |= {f"{name}_low": ends.low.column(name), f"{name}_high": ends.high.column(name)}
    for name, values in made.items():
        table = table.append_column(_free(name, table.column_names), values)
    return table


def _free(name: str, taken: Sequence[str]) -> str:
    """The name, with an underscore before it where it is taken."""
    return name if name not in taken else _free(f"_{name}", taken)
