"""Rows of a table, drawn part by part: states, then the values of the flow, then the margins, each within limits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray
from pushforward.bijections.base import along, run_batch

if TYPE_CHECKING:
    from pushforward.distributions.table import TableDistribution

# A sample that is rounded down to its step may miss the multiple it stands for by this share of a step.
ROUNDING = 1e-6


class Limits(NamedTuple):
    """What is known of rows of a table.

    Attributes:
        allowed: Flags `(sum(sizes), n)` of the states that each variable may have; None without states.
        low: Lower ends `(n_values, n)` of the values, minus infinity where there is none.
        high: Upper ends; equal to `low` where a value is known.
    """

    allowed: Array | None
    low: Array
    high: Array


class FlowLimits(NamedTuple):
    """What is known of the flow's values, in its standard units, each `(n_flow, n)` but the states.

    Attributes:
        low: Lower ends.
        high: Upper ends.
        states: States of the rows, `(n_states, n)`.
        condition: Condition of the flow, or None.
    """

    low: Array
    high: Array
    states: Array
    condition: Array | None


# From keys and limits to standard values `(n_flow, n)` and log-weights `(n,)`.
FlowDraws = Callable[[PRNGKeyArray, FlowLimits], tuple[Array, Array]]


def draw_rows(
    table: TableDistribution,
    keys: PRNGKeyArray,
    condition: Array | None,
    limits: Limits | None = None,
    of_flow: FlowDraws | None = None,
) -> tuple[Array, Array]:
    r"""Rows `(dim, n)` within limits, and the logarithms of their weights `(n,)`.

    States, values of the flow and margins are drawn in this order, each given those before it and within its limits.
    The weight of a row is the product of the probabilities, or densities, of what is limited given what comes before.

    Args:
        table: The distribution.
        keys: Keys `(n,)`.
        condition: Conditions `(*cond_shape, n)` or None.
        limits: What is known; None for plain draws, whose weights are 1.
        of_flow: How the flow's values are drawn where some of them are limited; None draws them freely.
    """
    features, n_states = table.features(condition), len(table.own.sizes)
    of_states, of_values, of_margins = (jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, n) for n in range(3))
    states, log_weight = jnp.zeros((0, keys.shape[0])), jnp.zeros(keys.shape[0])
    if table.masses is not None:
        states, log_weight = table.masses.draw_within(of_states, features, None if limits is None else limits.allowed)
    context = table.context(states, features)
    n_values = len(table.own.state_of_value)
    x = jnp.concatenate([states, jnp.zeros((n_values, keys.shape[0]), states.dtype)])
    if table.values is not None and table.units is not None:
        own = context if table.values.cond_shape is not None else None
        places = np.array(table.flow_places)
        if limits is None or of_flow is None:
            standard = table.values.sample_rows(of_values, own)
            values = rounded(table, run_batch(table.units, standard, None, None, True)[0])
        else:
            low, high = limits.low[places], limits.high[places]
            values, weight = _within(table, of_values, FlowLimits(low, high, states, own), of_flow)
            log_weight = log_weight + weight
        x = x.astype(values.dtype).at[n_states + places].set(values)
    if table.margins is not None:
        _, there = table.margin_numbers(x)
        places = np.array(table.margin_places)
        ends = None if limits is None else (limits.low[places], limits.high[places])
        drawn, weights = table.margins.draw_within(of_margins, table.for_margins(x, context), there, ends)
        x = x.astype(drawn.dtype).at[n_states + places].set(drawn)
        log_weight = log_weight + jnp.sum(weights, axis=0)
    return x, log_weight


def rounded(table: TableDistribution, values: Array) -> Array:
    """The flow's values `(n_flow, n)` in the data's units, rounded down to their steps."""
    steps = along(jnp.asarray(table.steps.value, values.dtype))
    down = jnp.floor(values / jnp.where(steps > 0, steps, 1.0) + ROUNDING) * steps
    # What rounding takes up to the end of the last step belongs to that step.
    end = table.flow_ends(values.dtype)[1]
    down = jnp.where(down > end - 0.5 * steps, down - steps, down)
    return jnp.where(steps > 0, down, values)


class StandardLimits(NamedTuple):
    """Limits of the flow's values in its standard units.

    Attributes:
        low: Lower ends `(n_flow, n)`, equal to the upper ones at known values.
        high: Upper ends.
        log_slope: What the log-density of the known values gains in the data's units, `(n,)`; minus infinity where one
            lies beyond the ends of its column.
    """

    low: Array
    high: Array
    log_slope: Array


def standard_limits(table: TableDistribution, low: Array, high: Array) -> StandardLimits:
    """Limits `(n_flow, n)` of the flow's values in standard units; a known rounded value is at the middle of its step.

    Args:
        table: The distribution.
        low: Lower ends in the data's units.
        high: Upper ends.
    """
    units: Any = table.units
    point = low == high
    steps = along(jnp.asarray(table.steps.value, low.dtype))
    first, last = table.flow_ends(low.dtype)
    # A rounded value is taken at the middle of its step, as scoring takes it.
    ends = [jnp.where(point, end + 0.5 * steps, end) for end in (low, high)]
    safe = [jnp.where(jnp.isfinite(end), jnp.clip(end, first, last), _centre(table, end)) for end in ends]
    standard, slopes = zip(*(units.each_inverse(end) for end in safe), strict=True)
    rises = _centre(table, low, 1.0) > _centre(table, low)
    infinite = [jnp.where(rises, side, -side) * jnp.inf for side in (-1.0, 1.0)]
    standard = [jnp.where(jnp.isfinite(end), s, i) for end, s, i in zip(ends, standard, infinite, strict=True)]
    counted = jnp.asarray(table.counted)[:, None]
    known = slopes[0] + jnp.where(counted, jnp.log(jnp.where(counted, steps, 1.0)), 0.0)
    log_slope = jnp.sum(jnp.where(point, known, 0.0), axis=0)
    out = point & ((ends[0] < first) | (ends[0] > last))
    log_slope = jnp.where(jnp.any(out, axis=0), -jnp.inf, log_slope)
    return StandardLimits(jnp.minimum(*standard), jnp.maximum(*standard), log_slope)


def in_data_units(table: TableDistribution, values: Array, low: Array, high: Array) -> Array:
    """Standard values of the flow `(n_flow, n)` in the data's units, on their steps and within limits."""
    steps = along(jnp.asarray(table.steps.value, low.dtype))
    x = rounded(table, run_batch(table.units, values, None, None, True)[0])  # pyright: ignore[reportArgumentType]
    return jnp.where(low == high, low, jnp.clip(x, low, jnp.where(steps > 0, high - steps, high)))


def _within(
    table: TableDistribution, keys: PRNGKeyArray, limits: FlowLimits, of_flow: FlowDraws
) -> tuple[Array, Array]:
    """The flow's values within limits of the data's units, and log-weights."""
    own = standard_limits(table, limits.low, limits.high)
    values, log_weight = of_flow(keys, limits._replace(low=own.low, high=own.high))
    return in_data_units(table, values, limits.low, limits.high), log_weight + own.log_slope


def _centre(table: TableDistribution, like: Array, at: float = 0.0) -> Array:
    """A number within the support of each of the flow's values, `(n_flow, n)`, which has this standard number."""
    units: Any = table.units
    return run_batch(units, jnp.full_like(like, at), None, None, True)[0]
