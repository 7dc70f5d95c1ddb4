"""Draws of the missing cells of rows given the observed ones, and what the draws of each row are worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward._programs import once
from pushforward.inference.cell_network import CellNetwork
from pushforward.inference.cell_source import Pair, cell_source, fit_cells
from pushforward.inference.flow_sources import SURROGATE_SEED, order_in, plain_rows
from pushforward.inference.known import Boxes
from pushforward.inference.table_sources import table_sources
from pushforward.inference.weighted import EQUAL, Source, weighted_rows
from pushforward.metrics import effective_sample_size, pareto_k
from pushforward.metrics.weights import heavy_tailed
from pushforward.tables.encoding import Layout, places_of, remainders_of
from pushforward.tables.estimators.gaps import Gaps, boxes_of_gaps, gap_states
from pushforward.tables.modelling.rows import sample_rows
from pushforward.tables.modelling.table_model import TableModel

# Draws of the model that the network of its cells learns from.
LEARNED = 8192
# Weighted rows of each row in turn, until its draws are worth enough.
ROUNDS = (64, 192, 768, 3072)
# A row whose weighted rows are worth fewer than this after the last round is refused.
LEAST_EFFECTIVE = 20.0
# Weighted rows none of which has a weight, from which on a row is called impossible.
SURE = 256
# Rows whose weighted rows are held at once.
BLOCK = 1024
COMPLETE, FILLED, POOR, IMPOSSIBLE, CONDITION, RULE = STATUSES = (
    "complete",
    "filled",
    "poor",
    "impossible",
    "condition",
    "rule",
)


@dataclass(frozen=True)
class Drawn:
    """Draws for the rows of a table that have gaps.

    Attributes:
        rows: Encoded rows `(n, n_draws, dim)`, of meaning where `status` is `filled`.
        status: A word for each row `(n,)`; see `FillReport`.
        exact: Whether the draws are exact, `(n,)`.
        ess: Effective number of the weighted rows behind the draws, `(n,)`; NaN where there are none.
        pareto_k: Their tail index; NaN where there is none.
    """

    rows: np.ndarray
    status: np.ndarray
    exact: np.ndarray
    ess: np.ndarray
    pareto_k: np.ndarray


def draw_gaps(model: TableModel, gaps: Gaps, n_draws: int, seed: np.ndarray, numbers: np.ndarray) -> Drawn:
    """Draws of what is missing in rows, each of which lacks something.

    Rows whose missing cells come last in the model's own order have exact draws. Those of the others are resampled
    from weighted rows that a network of the model's cells proposes, more of them where the weights are poor.

    Args:
        model: The model.
        gaps: The rows.
        n_draws: Number of draws for each row.
        seed: Two words.
        numbers: Numbers of the rows `(n,)`; the draws of a row depend on the seed, its number and its cells alone.
    """
    n, dim = gaps.rows.shape
    found = Drawn(
        np.zeros((n, n_draws, dim)),
        np.full(n, FILLED, object),
        np.zeros(n, bool),
        np.full(n, np.nan),
        np.full(n, np.nan),
    )
    found.status[gaps.blank_condition] = CONDITION
    open_rows = ~gaps.blank_condition
    leading = open_rows & comes_last(model, gaps.blank)
    boxes = boxes_of_gaps(model, gaps)
    for block in _blocks(np.flatnonzero(leading)):
        own = _of(boxes, block)
        source = table_sources(model.distribution, own)[0]
        weighted = weighted_rows(source, own, seed, n_draws, numbers=numbers[block])
        possible = np.asarray(np.isfinite(weighted.log_weights).all(axis=1))
        even = possible & (np.ptp(np.where(possible[:, None], weighted.log_weights, 0.0), axis=1) <= EQUAL)
        found.rows[block], found.exact[block] = weighted.rows, even
        found.ess[block[even]] = n_draws
        found.status[block[~possible]] = IMPOSSIBLE
    rest = np.flatnonzero(open_rows & ~found.exact & (found.status != IMPOSSIBLE))
    if len(rest):
        source = cell_source(Pair(model.distribution, _network(model, gaps.condition)))
        for block in _blocks(rest):
            _resample(source, _of(boxes, block), seed, numbers[block], block, found)
    return found


def _blocks(places: np.ndarray) -> list[np.ndarray]:
    return [places[start : start + BLOCK] for start in range(0, len(places), BLOCK)]


def _of(boxes: Boxes, places: np.ndarray) -> Boxes:
    return Boxes(boxes.low[places], boxes.high[places])


def _resample(
    source: Source, boxes: Boxes, seed: np.ndarray, numbers: np.ndarray, places: np.ndarray, found: Drawn
) -> None:
    """Draws of rows by their weights, in rounds of more weighted rows for those that need them."""
    n_draws, open_rows, done = found.rows.shape[1], np.arange(len(places)), 0
    rows: np.ndarray = np.zeros((len(places), 0, found.rows.shape[2]))
    log_weights = np.zeros((len(places), 0))
    for number, n in enumerate(ROUNDS):
        more = weighted_rows(source, _of(boxes, open_rows), seed, n, numbers=numbers[open_rows], first=done)
        rows = np.concatenate([rows, more.rows], axis=1)
        log_weights, done = np.concatenate([log_weights, more.log_weights], axis=1), done + n
        last, going = number == len(ROUNDS) - 1, []
        for i, place in enumerate(open_rows):
            own, where = log_weights[i], places[place]
            if not np.isfinite(own).any():
                found.status[where] = IMPOSSIBLE
                if done < SURE:
                    going.append(i)
                continue
            found.ess[where], found.pareto_k[where] = effective_sample_size(own), pareto_k(own)
            good = found.ess[where] >= (LEAST_EFFECTIVE if last else max(LEAST_EFFECTIVE, n_draws))
            good = good and not heavy_tailed(found.pareto_k[where], found.ess[where], len(own))
            found.status[where] = FILLED if good else POOR
            if good:
                found.rows[where] = rows[i][_chosen(own, n_draws, [*seed.tolist(), int(numbers[place])])]
            else:
                going.append(i)
        if not going:
            return
        rows, log_weights, open_rows = rows[going], log_weights[going], open_rows[going]


def _chosen(log_weights: np.ndarray, n: int, seed: list[int]) -> np.ndarray:
    """Places of rows chosen by their weights: by even steps of their sum, in a random order."""
    weights = np.exp(log_weights - log_weights.max())
    rng = np.random.default_rng(seed)
    steps = (np.arange(n) + rng.uniform(size=n)) / n
    places = np.searchsorted(np.cumsum(weights) / weights.sum(), steps)
    return rng.permutation(np.minimum(places, len(weights) - 1))


def _network(model: TableModel, condition: np.ndarray | None) -> CellNetwork:
    """The network of a model's cells, learned once as long as the model lives, or at the conditions at hand."""
    return once(_learned, model) if condition is None else _learned(model, condition)


def _learned(model: TableModel, condition: np.ndarray | None = None) -> CellNetwork:
    gaps = gap_states(model.layout)
    if condition is None:
        return fit_cells(model.distribution, plain_rows(model.distribution, SURROGATE_SEED, LEARNED), gaps=gaps)
    own = condition[np.arange(LEARNED) % len(condition)]
    return fit_cells(model.distribution, sample_rows(model.distribution, SURROGATE_SEED, 1, own), own, gaps=gaps)


def comes_last(model: TableModel, blank: np.ndarray) -> np.ndarray:
    """In which rows all missing cells come after the observed ones in the model's own order, `(n,)`.

    The order is that of `TableDistribution`: states, numbers of the flow, and the others, each given those before it.

    Args:
        model: The model.
        blank: Which cells are missing, `(n, n_columns)`.
    """
    layout, member = model.layout, model.member
    states, values = _unknown(layout, blank)
    gap = np.array(gap_states(layout), int) >= 0
    # A state that can only be "there is a number" is known, and one that may be anything but "missing" is so in part.
    states = states & (np.array(layout.sizes, int) - gap > 1)
    known_states, last = ~states, np.ones(len(blank), bool)
    partly = states & gap
    before = np.cumsum(states, axis=1) - states
    last &= ~((known_states | partly) & (before > 0)).any(axis=1)
    any_state, any_known = states.any(axis=1), (~values).any(axis=1)
    last &= ~(any_state & any_known)
    of_flow, of_margins = list(member.flow_places), list(member.margin_places)
    own, others = values[:, of_flow], values[:, of_margins]
    if of_flow:
        mixed = own.any(axis=1) & ~own.all(axis=1)
        order: Any = once(order_in, member.values)
        if order is None:
            last &= ~mixed
        else:
            needs = (~own).astype(float) @ order.before.astype(float) > 0
            last &= ~(needs & own).any(axis=1)
        last &= ~(own.any(axis=1) & (~others).any(axis=1))
    later = np.cumsum(others, axis=1) - others
    return last & ~(~others & (later > 0)).any(axis=1)


def _unknown(layout: Layout, blank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which states and which values are not known, `(n, n_states)` and `(n, n_values)`."""
    state_places, value_places = places_of(layout)
    first = len(layout.stated)
    states, values = np.zeros((len(blank), first), bool), np.zeros((len(blank), len(layout.valued)), bool)
    for places in (state_places, remainders_of(layout)):
        for i, place in places.items():
            states[:, place] = blank[:, i]
    for i, place in value_places.items():
        values[:, place - first] = blank[:, i]
    return states, values
