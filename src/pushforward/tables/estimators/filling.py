"""The gaps of a table, filled by a fitted `FlowDensity`: whole tables, and tables of any length batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pushforward._checks import check_int
from pushforward._vectorize import ahead
from pushforward.tables.encoding import Layout, gaps_of
from pushforward.tables.estimators.filled import Filled, FillReport, Missing
from pushforward.tables.estimators.frames import frame_kind, is_source
from pushforward.tables.estimators.gap_draws import COMPLETE, FILLED, RULE, draw_gaps
from pushforward.tables.estimators.gaps import read_gaps
from pushforward.tables.estimators.seeds import seed_words
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.batches import iterate_cells
from pushforward.tables.reading.cells import Cells, read_cells

if TYPE_CHECKING:
    from pushforward.tables.estimators.density import FlowDensity

# Rows of a batch of a table that is filled as it is read.
FILLED_ROWS = 4096


def fill_table(density: FlowDensity, X: Any, n_draws: Any, random_state: Any) -> Filled:
    """Fill the gaps of a table; see `FlowDensity.fill`, which has the arguments and the errors."""
    n = check_int("FlowDensity.fill", "n_draws", n_draws, 1)
    model = density.model_
    array = frame_kind(X) is None and not is_source(X)
    cells = read_cells(X, columns=density.columns_ if array else None, conventions=model.schema.reading)
    return fill_cells(model, X, cells, n, seed_words(random_state, 2))


def fill_batches(density: FlowDensity, source: Any, n_draws: int, random_state: Any) -> Iterator[Filled]:
    """Fill a table of any length with the memory of one batch.

    Args:
        density: Fitted estimator.
        source: As for `pushforward.tables.read_cells`.
        n_draws: Number of draws.
        random_state: Seed of the draws; those of a row do not depend on the batches.
    """
    model, seed, first = density.model_, seed_words(random_state, 2), 0
    for cells in ahead(iterate_cells(source, FILLED_ROWS, conventions=model.schema.reading)):
        yield fill_cells(model, cells, cells, n_draws, seed, np.arange(first, first + len(cells)))
        first += len(cells)


def fill_cells(
    model: TableModel, source: Any, cells: Cells, n_draws: int, seed: np.ndarray, numbers: np.ndarray | None = None
) -> Filled:
    """Fill the gaps of cells.

    Args:
        model: The model.
        source: The table that the cells were read from, in whose kind completed tables come out.
        cells: Cells with the columns of the model, and perhaps others, whose gaps stay.
        n_draws: Number of draws.
        seed: Two words.
        numbers: Numbers of the rows `(n,)`, on which their draws depend; None counts them from 0.
    """
    numbers = np.arange(len(cells)) if numbers is None else numbers
    picked = model.pick(cells)
    gaps, aside = read_gaps(model, picked), _aside_gaps(model, picked)
    blank, n = gaps.blank.any(axis=1), len(cells)
    n_missing = gaps.blank.sum(axis=1) + gaps.blank_condition + sum(aside.values(), np.zeros(n, int))
    broken = _known_sums(model, picked, gaps.blank)
    asked = np.flatnonzero((blank | gaps.blank_condition) & ~broken)
    drawn = draw_gaps(model, gaps.take(asked), n_draws, seed, numbers[asked])
    status = np.where(n_missing > 0, FILLED, COMPLETE).astype(object)
    status[asked], status[broken] = drawn.status, RULE
    method = np.where(status == FILLED, "exact", "").astype(object)
    method[asked[(drawn.status == FILLED) & ~drawn.exact]] = "importance"
    ess, k = np.full(n, np.nan), np.full(n, np.nan)
    ess[asked], k[asked] = drawn.ess, drawn.pareto_k
    places = np.flatnonzero(status == FILLED)
    rows = np.repeat(gaps.rows[places][:, None], n_draws, axis=1)
    rows[np.isin(places, asked)] = drawn.rows[drawn.status == FILLED]
    chance = seed + numbers[:1].astype(np.uint32)
    made = model.decode(rows.reshape(len(places) * n_draws, -1), chance) if len(places) else {}
    found = {}
    for name, own in (_modelled_gaps(model, gaps.blank) | aside).items():
        which = np.flatnonzero(own[places])
        if len(which):
            taken = (which[:, None] * n_draws + np.arange(n_draws)).ravel()
            found[name] = Missing(model.schema.column(name), places[which], made[name].take(pa.array(taken)))
    follows = [model.schema.column(rule.name) for rule in model.schema.follows if rule.name in cells.names]
    known = sorted((*model.layout.columns, *follows), key=lambda column: cells.names.index(column.name))
    report = FillReport(n_missing, status, method, ess, k)
    return Filled(source, cells, tuple(known), found, n_draws, report)


def _modelled_gaps(model: TableModel, blank: np.ndarray) -> dict[str, np.ndarray]:
    """The gaps of the modelled columns by name, `(n,)` each."""
    return {column.name: blank[:, i] for i, column in enumerate(model.layout.columns)}


def _aside_gaps(model: TableModel, cells: Cells) -> dict[str, np.ndarray]:
    """The gaps of the columns that are constant, or follow from others, by name, `(n,)` each."""
    found = {}
    for column in model.constants:
        if column.name in cells.names and column.value is not None:
            array = cells.table.column(column.name)
            found[column.name] = np.asarray(array.is_null(nan_is_null=True).to_numpy(), bool)
    for rule in model.schema.follows:
        if rule.name in cells.names:
            found[rule.name] = gaps_of(Layout((model.schema.column(rule.name),)), cells)[:, 0]
    return found


def _known_sums(model: TableModel, cells: Cells, blank: np.ndarray) -> np.ndarray:
    """The rows in which a column that follows from others is known while one of these is missing, `(n,)`."""
    own, found = _modelled_gaps(model, blank), np.zeros(len(cells), bool)
    for rule in model.schema.follows:
        if rule.name in cells.names:
            known = ~gaps_of(Layout((model.schema.column(rule.name),)), cells)[:, 0]
            lacking = [own[name] for name in rule.of if name in own]
            found |= known & np.any(lacking, axis=0)
    return found
