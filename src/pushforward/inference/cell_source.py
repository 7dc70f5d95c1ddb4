"""Weighted rows of a table's distribution whose unknown cells a network of conditionals proposes, whatever is known."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._parts import replaced
from pushforward._programs import program
from pushforward._types import Array
from pushforward._vectorize import in_chunks
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.margins import ConditionalMargins
from pushforward.distributions.spaces import Place, Spaces
from pushforward.distributions.table import TableDistribution
from pushforward.distributions.table_draws import in_data_units, standard_limits
from pushforward.inference.cell_network import CellNetwork, MaskedCells
from pushforward.inference.table_sources import TableModel, member_of
from pushforward.inference.weighted import SIZES, Source, row_keys
from pushforward.training import fit
from pushforward.training.options import Stopping

# A logistic law of this scale has the variance of a standard normal one.
LOGISTIC = 0.5513
# Bins of the splines where no margin says how many.
BINS = 8
# Passes over the rows at most, and epochs without a rise of the held-out score, which is noisy.
EPOCHS, PATIENCE = 60, 12
WIDTH, DEPTH = 128, 2


def fit_cells(
    model: TableModel,
    rows: np.ndarray,
    condition: np.ndarray | None = None,
    *,
    gaps: Sequence[int] | None = None,
    seed: int = 0,
    max_epochs: int = EPOCHS,
    max_seconds: float | None = None,
) -> CellNetwork:
    """A network of the conditional distributions of all cells, learned from rows.

    Args:
        model: The distribution of a table's rows, whose columns and units it takes.
        rows: Rows `(n, dim)`, draws of the model or others.
        condition: Their conditions `(n, k)`, or None.
        gaps: For each variable the state that says that a cell is missing, -1 without one; None for no such states.
        seed: Seed of the initial weights and of the training.
        max_epochs: Number of passes over the rows at most.
        max_seconds: Wall-clock budget; None sets none.
    """
    member = member_of(model)
    sizes, n_values = member.own.sizes, len(member.own.state_of_value)
    key, fit_key = jax.random.split(jax.random.fold_in(jax.random.key(seed), 0x63656C))
    rows = rows[np.isfinite(rows).all(axis=1)]
    with jax.enable_x64(False):
        start = CellNetwork(
            key,
            _laws(key, member) if n_values else None,
            sizes=sizes,
            state_of_value=member.own.state_of_value,
            gaps=[-1] * len(sizes) if gaps is None else gaps,
            cond_size=0 if member.given is None else member.given.n_features,
            width=WIDTH,
            depth=DEPTH,
        )
        result = fit(
            start,
            _standardised(member, rows, condition),
            condition=None if condition is None else np.asarray(program(_features, member)(condition)),
            key=fit_key,
            objective=MaskedCells(),
            max_epochs=max_epochs,
            progress=False,
            options=[Stopping(max_seconds, PATIENCE)],
        )
    trained: Any = result.flow
    if trained.laws is None:
        return trained
    return eqx.tree_at(lambda net: net.laws.spaces, trained, _spaces(member, standardised=False))


def _laws(key: Any, member: TableDistribution) -> ConditionalMargins:
    """The distribution functions of all numbers, those of the margins starting at their columns' own."""
    margins = member.margins
    spaces, places = _spaces(member, standardised=True), list(member.margin_places)
    bins = BINS if margins is None else margins.bins
    blank = [Place() for _ in spaces.spaces]
    laws = ConditionalMargins(key, blank, bins=bins, width=1)
    start = np.zeros((len(np.asarray(laws.floor)) // len(blank), len(blank)), np.float32)
    if margins is not None:
        start[:, places] = np.asarray(margins.floor).reshape(-1, len(places))
    laws = ConditionalMargins(key, blank, start=start, bins=bins, width=1)
    return replaced(laws, spaces=spaces, net=None)


def _spaces(member: TableDistribution, *, standardised: bool) -> Spaces:
    """The spaces of all numbers: of the flow's in its standard units, of the margins in the data's, or scaled too."""
    n = len(member.own.state_of_value)
    line = Place("line", scale=LOGISTIC)
    if member.margins is None:
        return Spaces([line] * n)
    own = member.margins.spaces.standardised() if standardised else member.margins.spaces
    places, units = [line] * n, np.zeros(n)
    for number, place in enumerate(member.margin_places):
        places[place] = _place(own, number)
    found = Spaces(places)
    units[list(member.flow_places)] = np.asarray(found.log_unit.value)[list(member.flow_places)]
    units[list(member.margin_places)] = np.asarray(own.log_unit.value)
    return eqx.tree_at(lambda s: s.log_unit.value, found, units)


def _place(spaces: Spaces, i: int) -> Place:
    """The place that one column of spaces was made of."""
    parts = (spaces.loc, spaces.scale, spaces.tail, spaces.low_power, spaces.high_power, spaces.bend, spaces.step)
    loc, scale, tail, low, high, bend, step = (float(np.asarray(part.value)[i]) for part in parts)
    heavy = tail if spaces.heavy[i] else None
    return Place(spaces.spaces[i], loc, scale, heavy, low, high, bend, step, spaces.rounded[i], bool(spaces.counted[i]))


def _features(member: TableDistribution, condition: Array) -> Any:
    features = member.features(condition.T)
    return None if features is None else features.T


def _standardised(member: TableDistribution, rows: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    """Rows as the network sees them in training: states, numbers of the flow in standard units, scaled margins."""
    out, n_states = member.standardise(rows), len(member.own.sizes)
    if member.values is not None:
        standard = in_chunks(program(_standard_values, member), SIZES, rows, condition)
        out[:, n_states + np.array(member.flow_places)] = standard
    return out


def _standard_values(member: TableDistribution, rows: Array, condition: Array | None) -> Array:
    return member.standard(rows.T, None if condition is None else condition.T, None).values.T


class Pair(eqx.Module):
    """A distribution of a table's rows with a network of its cells.

    Attributes:
        model: The distribution.
        network: The network.
    """

    model: TableModel
    network: CellNetwork


def cell_source(pair: Pair, *, weigh: bool = True) -> Source:
    """Rows whose unknown cells the network proposes; boxes of one call may know other cells each.

    Args:
        pair: The distribution and the network.
        weigh: Whether rows are weighed by the distribution's density over that of the network. If not, the draws are
            those of the network itself, and all weigh the same.
    """
    return program(_proposed, pair, weigh=weigh)


def _proposed(
    pair: Pair, seed: Array, which: Array, draw: Array, low: Array, high: Array, *, weigh: bool
) -> tuple[Array, Array]:
    member, network = member_of(pair.model), pair.network
    sizes, n_values = member.own.sizes, len(member.own.state_of_value)
    n_states, last = len(sizes), n_values + sum(sizes)
    allowed, given = low.T[n_values:last] > 0.5, low.T[last:]
    condition = None if member.cond_shape is None else given
    low, high = low.T[:n_values], high.T[:n_values]
    ends, log_slope = jnp.stack([low, high]), jnp.zeros(low.shape[-1], low.dtype)
    of_flow = np.array(member.flow_places, int)
    if member.values is not None:
        own = standard_limits(member, low[of_flow], high[of_flow])
        ends, log_slope = ends.at[:, of_flow].set(jnp.stack([own.low, own.high])), own.log_slope
    points = (low == high) & jnp.isfinite(low)
    rows, known = jnp.where(points, ends[0], 0.0), points
    if n_states:
        starts = np.concatenate([[0], np.cumsum(sizes)])
        blocks = [allowed[start:end] for start, end in itertools.pairwise(starts)]
        states = jnp.stack([jnp.argmax(block, axis=0) for block in blocks])
        rows = jnp.concatenate([states.astype(low.dtype), rows])
        known = jnp.concatenate([jnp.stack([block.sum(axis=0) == 1 for block in blocks]), known])
    features = member.features(condition)
    keys = row_keys(seed, which, draw)
    rows, log_proposed = network.draw(keys, rows, known, _drawable(member, allowed), ends, features)
    x = rows
    if member.values is not None:
        values = in_data_units(member, rows[n_states + of_flow], low[of_flow], high[of_flow])
        x = rows.at[n_states + of_flow].set(values)
    if not weigh:
        return x.T, jnp.zeros(x.shape[-1], x.dtype)

    def log_prob(one: TableDistribution) -> Array:
        return _log_prob(one, x, rows[n_states + of_flow], condition)

    model = pair.model
    if isinstance(model, Ensemble):
        each = model.over_members(log_prob) + jnp.asarray(model.log_weights.value)[:, None]
        found = jax.nn.logsumexp(each, axis=0)
    else:
        found = log_prob(model)
    log_weight = found + log_slope - log_proposed
    return x.T, jnp.where(jnp.isnan(log_weight), -jnp.inf, log_weight)


def _drawable(member: TableDistribution, allowed: Array) -> Array:
    """The allowed states that samples may have; of a variable without any, all that are allowed."""
    if member.masses is None:
        return allowed
    sums = np.repeat(np.eye(len(member.own.sizes)), member.own.sizes, axis=1)
    both = allowed & jnp.asarray(member.masses.drawable)[:, None]
    some = sums.T @ (sums @ both.astype(float)) > 0.5
    return jnp.where(some, both, allowed)


def _log_prob(member: TableDistribution, x: Array, standard: Array, condition: Array | None) -> Array:
    """The log-density of rows whose numbers of the flow are in its standard units."""
    features = member.features(condition)
    context = member.context(x, features)
    total = jnp.zeros(x.shape[-1], x.dtype)
    if member.masses is not None:
        total = total + member.masses.log_prob_rows(x[: len(member.own.sizes)], features, None)
    if member.values is not None:
        own = context if member.values.cond_shape is not None else None
        total = total + member.values.log_prob_rows(standard, own, None)
    if member.margins is not None:
        numbers, there = member.margin_numbers(x)
        each = member.margins.each_log_prob(numbers, member.for_margins(x, context), there)
        total = total + jnp.sum(each, axis=0)
    return total
