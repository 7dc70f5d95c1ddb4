"""Weighted rows of a table's distribution, given what is known of their cells."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._programs import once, program
from pushforward._types import Array
from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.table import TableDistribution
from pushforward.distributions.table_draws import FlowLimits, Limits, draw_rows
from pushforward.inference.flow_sources import SURROGATE_SEED, order_for, order_in, plain_rows
from pushforward.inference.flow_walk import Order, Step, over_independent, steps_of, walk
from pushforward.inference.known import Boxes
from pushforward.inference.surrogate import FITTED, Asked, Surrogate, fit_surrogate, ordered, propose
from pushforward.inference.weighted import Source, row_keys

TableModel = TableDistribution | Ensemble
# The place of the choice of a member among what a row's key is folded with.
CHOICE = 0x6B6E6F


def table_boxes(allowed: np.ndarray, low: np.ndarray, high: np.ndarray, condition: np.ndarray | None = None) -> Boxes:
    """What is known of rows of a table, as boxes: values, a flag for each state that is allowed, and the condition.

    Args:
        allowed: Flags `(m, sum(sizes))`.
        low: Lower ends of the values `(m, n_values)`.
        high: Upper ends.
        condition: Condition of a model with conditions of its own, `(k,)`, the same for all, or one for each `(m, k)`.
    """
    none = np.zeros((len(low), 0))
    fixed = none if condition is None else np.broadcast_to(condition, (len(low), condition.shape[-1]))
    rest = np.concatenate([allowed.astype(np.float64), fixed], axis=1)
    return Boxes(np.concatenate([low, rest], axis=1), np.concatenate([high, rest], axis=1))


def member_of(model: TableModel) -> TableDistribution:
    """The distribution, or the first member of an ensemble, which has the structure of all."""
    return model.each[0] if isinstance(model, Ensemble) else model


def table_sources(model: TableModel, boxes: Boxes) -> list[Source]:
    """Where rows of a table may come from, given what is known, the best first.

    All sources draw states, values of the flow and margins in this order, each within what is known and given those
    before. They differ in the values of the flow: along the flow's own order, if it has one, or by a surrogate.

    Args:
        model: The distribution of the rows.
        boxes: What is known; see `table_boxes`. The same values are known in each of them.
    """
    member = member_of(model)
    places = list(member.flow_places)
    own = Boxes(boxes.low[:, places], boxes.high[:, places])
    if member.values is None or not own.known.any():
        return [program(_rows, model, steps=())]
    sources: list[Source] = []
    order = once(_flow_order, model)
    if order is not None:
        known, ranged = (np.asarray(flags.any(axis=0)) for flags in (own.known, own.known & ~own.points))
        sources.append(program(_rows, model, steps=steps_of(order, known, ranged)))
    places_in_order, n_points, n_ranges = order_for(own)
    condition = None
    if member.cond_shape is not None:
        condition = boxes.low[0, len(member.own.state_of_value) + sum(member.own.sizes) :]
    surrogate = once(_surrogate, model) if condition is None else _surrogate_at(model, condition)
    fixed = (tuple(surrogate), places_in_order, np.int64(n_points), np.int64(n_ranges))
    run = program(_proposed_rows, model)
    sources.append(lambda seed, which, draw, low, high: run(fixed, seed, which, draw, low, high))
    return sources


def _flow_order(model: TableModel) -> Order | None:
    values = member_of(model).values
    return None if values is None else order_in(values)


def _rows(
    model: TableModel, seed: Array, which: Array, draw: Array, low: Array, high: Array, *, steps: tuple[Step, ...]
) -> tuple[Array, Array]:
    def of_flow(member: TableDistribution) -> Any:
        if not steps:
            return None
        flow: Any = over_independent(member.values)  # pyright: ignore[reportArgumentType] - there are steps
        return lambda keys, known: walk(flow, keys, known.low, known.high, known.condition, steps=steps)

    return _drawn(model, row_keys(seed, which, draw), low.T, high.T, of_flow)


def _proposed_rows(
    model: TableModel, fixed: Any, seed: Array, which: Array, draw: Array, low: Array, high: Array
) -> tuple[Array, Array]:
    mixture, order, n_points, n_ranges = fixed
    surrogate = Surrogate(*mixture)
    parts = ordered(surrogate, order)

    def of_flow(member: TableDistribution) -> Any:
        def draws(keys: Any, known: FlowLimits) -> tuple[Array, Array]:
            values: Any = member.values
            favour: Array | float = 0.0
            if member.masses is not None:
                favour = jnp.asarray(surrogate.log_states) @ member.masses.one_hot(known.states).astype(known.low.dtype)
            asked = Asked(known.low[order], known.high[order], n_points, n_ranges)
            rows, log_proposed = propose(parts, keys, asked, favour)
            rows = jnp.zeros_like(rows).at[order].set(rows)
            log_prob = values.log_prob_rows(rows, known.condition, None)
            return rows, log_prob - log_proposed

        return draws

    return _drawn(model, row_keys(seed, which, draw), low.T, high.T, of_flow)


def _drawn(model: TableModel, keys: Any, low: Array, high: Array, of_flow: Any) -> tuple[Array, Array]:
    """Rows `(n, dim)` and log-weights `(n,)`; of an ensemble the row of a member, by what its weights say."""

    def one(member: Any) -> tuple[Array, Array]:
        n_values = len(member.own.state_of_value)
        last = n_values + sum(member.own.sizes)
        allowed = low[n_values:last] > 0.5 if member.own.sizes else None
        condition = None if member.cond_shape is None else low[last:]
        limits = Limits(allowed, low[:n_values], high[:n_values])
        rows, log_weights = draw_rows(member, keys, condition, limits, of_flow(member))
        return rows, jnp.where(jnp.isnan(log_weights), -jnp.inf, log_weights)

    if not isinstance(model, Ensemble):
        rows, log_weights = one(model)
        return rows.T, log_weights
    rows, log_weights = model.over_members(one)
    log_weights = log_weights + jnp.asarray(model.log_weights.value)[:, None]
    choices = jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, CHOICE)
    chosen = jax.vmap(jax.random.categorical)(choices, jnp.maximum(log_weights, -1e300).T)
    # The sum over members weighs as the one that is chosen does on average, and varies less.
    return jnp.take_along_axis(rows, chosen[None, None], axis=0)[0].T, jax.nn.logsumexp(log_weights, axis=0)


def _surrogate_at(model: TableModel, condition: np.ndarray) -> Surrogate:
    """The surrogate at a condition, kept until another condition is asked for."""
    kept = once(_last_surrogate, model)
    name = condition.tobytes()
    if name not in kept:
        found = _surrogate(model, condition)
        kept.clear()
        kept[name] = found
    return kept[name]


def _last_surrogate(model: TableModel) -> dict[bytes, Surrogate]:
    return {}


def _surrogate(model: TableModel, condition: np.ndarray | None = None) -> Surrogate:
    """A mixture fitted to draws of the flow's values, in its standard units, with the states that go with them."""
    member = member_of(model)
    rows = plain_rows(model, SURROGATE_SEED, FITTED, condition)
    conditions = None if condition is None else np.repeat(condition[None], FITTED, axis=0)
    standard = np.asarray(program(_standard, member)(rows, conditions))
    sizes = member.own.sizes
    states = [rows[:, i, None] == np.arange(size) for i, size in enumerate(sizes)]
    flags = np.concatenate(states, axis=1).astype(float) if states else None
    return fit_surrogate(standard, 0, flags)


def _standard(member: TableDistribution, rows: Array, conditions: Array | None) -> Array:
    return member.standard(rows.T, None if conditions is None else conditions.T, None).values.T
