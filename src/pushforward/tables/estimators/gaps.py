"""The gaps of a table's rows, as boxes of a model's states and values."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pushforward.inference.known import Boxes
from pushforward.inference.table_sources import table_boxes
from pushforward.tables.encoding import Layout, encode, gaps_of, places_of, remainders_of
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells


class Gaps(NamedTuple):
    """Rows of a table, some of whose cells are missing, as a model takes them.

    Attributes:
        rows: Encoded rows `(n, dim)`; what stands in a gap means nothing.
        condition: Conditions `(n, k)` of a model that has some, or None.
        blank: Which cells of the modelled columns are missing, `(n, n_columns)`.
        blank_condition: In which rows a condition is missing, `(n,)`.
    """

    rows: np.ndarray
    condition: np.ndarray | None
    blank: np.ndarray
    blank_condition: np.ndarray

    def take(self, places: np.ndarray) -> Gaps:
        """Some of the rows."""
        condition = None if self.condition is None else self.condition[places]
        return Gaps(self.rows[places], condition, self.blank[places], self.blank_condition[places])


def read_gaps(model: TableModel, cells: Cells) -> Gaps:
    """The rows of a table with the modelled columns, and what is missing in them.

    Raises:
        DataError: A cell holds something else than its column does.
    """
    condition, blank_condition = None, np.zeros(len(cells), bool)
    if model.given_layout is not None:
        condition = encode(model.given_layout, cells, gaps=True).rows
        blank_condition = np.asarray(gaps_of(model.given_layout, cells).any(axis=1))
    return Gaps(encode(model.layout, cells, gaps=True).rows, condition, gaps_of(model.layout, cells), blank_condition)


def gap_states(layout: Layout) -> list[int]:
    """For each variable of states the state that says that the cell is missing, -1 without one."""
    states = places_of(layout)[0]
    found = [-1] * len(layout.sizes)
    for i, place in states.items():
        if layout.columns[i].missing:
            found[place] = layout.columns[i].missing_state
    return found


def boxes_of_gaps(model: TableModel, gaps: Gaps) -> Boxes:
    """What is known of each row, one box for each: observed cells as they are, and that no cell is missing."""
    layout, (n, _) = model.layout, gaps.rows.shape
    state_places, value_places = places_of(layout)
    remainders, first = remainders_of(layout), len(layout.stated)
    starts = np.concatenate([[0], np.cumsum(layout.sizes)]).astype(int)
    allowed = np.ones((n, starts[-1]), bool)
    low, high = np.full((n, len(layout.valued)), -np.inf), np.full((n, len(layout.valued)), np.inf)
    for place, gap in enumerate(gap_states(layout)):
        if gap >= 0:
            allowed[:, starts[place] + gap] = False
    for i in range(len(layout.columns)):
        known = np.flatnonzero(~gaps.blank[:, i])
        there = np.ones(len(known), bool)
        if i in state_places:
            _fix(allowed, starts, state_places[i], known, gaps.rows)
            there = gaps.rows[known, state_places[i]] == 0
        if i in remainders:
            _fix(allowed, starts, remainders[i], known[there], gaps.rows)
        if i in value_places:
            values = gaps.rows[known[there], value_places[i]]
            low[known[there], value_places[i] - first] = high[known[there], value_places[i] - first] = values
    return table_boxes(allowed, low, high, gaps.condition)


def _fix(allowed: np.ndarray, starts: np.ndarray, place: int, which: np.ndarray, rows: np.ndarray) -> None:
    """Allow one state of a variable in some rows: the one that they have."""
    own = np.zeros((len(which), starts[place + 1] - starts[place]), bool)
    own[np.arange(len(which)), rows[which, place].astype(int)] = True
    allowed[which, starts[place] : starts[place + 1]] = own
