"""Weighted rows of a distribution over numbers, given what is known: along its own order, or by a surrogate."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._programs import once, program
from pushforward._types import Array
from pushforward._vectorize import in_chunks
from pushforward.bijections import AbstractComposite, Affine, Chain, Layout
from pushforward.bijections.base import run_batch
from pushforward.distributions import AbstractDistribution, Flow
from pushforward.inference.chains import CHAINS, Problem, run_chains
from pushforward.inference.dependence import ELEMENTWISE
from pushforward.inference.flow_walk import Order, Step, order_of, over_independent, steps_of, walk
from pushforward.inference.known import Boxes, ConditioningError
from pushforward.inference.surrogate import FITTED, Asked, Surrogate, fit_surrogate, ordered, propose
from pushforward.inference.weighted import SIZES, ConditionalDraws, Source, Weighted, row_keys, weighted_rows

SURROGATE_SEED = np.array([0x70, 0x66], np.uint32)


class Core(eqx.Module):
    """A distribution as a core over numbers of the line and a map of each number to the data's units.

    Attributes:
        inner: The core.
        tail: The map, of numbers each on its own.
    """

    inner: AbstractDistribution
    tail: Chain


def core_of(model: AbstractDistribution) -> Core:
    """The core of a model: a flow without the last layers that map each number on its own."""
    members: list[Any] = [Affine(loc=0.0, scale=1.0, shape=model.event_shape)]
    if not isinstance(model, Flow):
        return Core(model, Chain(members))
    layers = layers_in_turn(model.bijection)
    n = len(layers)
    while n > 1 and isinstance(layers[n - 1], ELEMENTWISE):
        n -= 1
    return Core(Flow(model.base, Chain(layers[:n])), Chain([*layers[n:], *members]))


def layers_in_turn(bijection: Any) -> list[Any]:
    """The layers of nested chains in the order in which they run."""
    in_turn = isinstance(bijection, AbstractComposite) and bijection.layout == Layout(in_turn=True)
    return [layer for member in bijection.members for layer in layers_in_turn(member)] if in_turn else [bijection]


def check_model(name: str, model: AbstractDistribution) -> None:
    """Raise if a distribution cannot be conditioned.

    Raises:
        ConditioningError: It has a condition of its own, its log-density is random, or its events are no vectors.
    """
    fix = ""
    if model.cond_shape is not None:
        got, fix = "a conditional one", "Fix its condition first: flow.given(condition)."
    elif model.needs_key:
        got, fix = "one with a random log-density", "Take an exact log-determinant: pf.distributions.evaluation_form."
    elif len(model.event_shape) != 1:
        got, fix = f"events of shape {model.event_shape}", "Flatten the events."
    if fix:
        expected = "an unconditional model of vectors with an exact log-density"
        raise ConditioningError("unsupported", message(name, expected, got, fix))


class Along(NamedTuple):
    """A source of rows along the order of a flow.

    Attributes:
        source: The source.
        leads: Whether all that is known comes first, so that draws are exact.
    """

    source: Source
    leads: bool


def order_in(model: AbstractDistribution) -> Order | None:
    """The order in which a model is autoregressive, None if there is none."""
    flow = over_independent(model)
    return None if flow is None else order_of(flow)


def along_order(model: AbstractDistribution, boxes: Boxes) -> Along | None:
    """Rows along the model's own order, None if it has none."""
    flow, order = over_independent(model), once(order_in, model)
    if flow is None or order is None:
        return None
    known, ranged = (np.asarray(flags.any(axis=0)) for flags in (boxes.known, boxes.known & ~boxes.points))
    steps = steps_of(order, known, ranged)
    return Along(program(_along, flow, steps=steps), order.exact_for(known) and int(ranged.sum()) <= 1)


def _along(
    flow: Flow, seed: Array, which: Array, draw: Array, low: Array, high: Array, *, steps: tuple[Step, ...]
) -> tuple[Array, Array]:
    rows, log_weights = walk(flow, row_keys(seed, which, draw), low.T, high.T, None, steps=steps)
    return rows.T, log_weights


class Fitted(NamedTuple):
    """A core with a surrogate of it."""

    core: Core
    surrogate: Surrogate


def fitted(model: AbstractDistribution) -> Fitted:
    """The model's core and a mixture fitted to its draws."""
    return Fitted(core_of(model), once(_surrogate, model))


def _surrogate(model: AbstractDistribution) -> Surrogate:
    return fit_surrogate(plain_rows(core_of(model).inner, SURROGATE_SEED, FITTED), 0)


def plain_rows(
    model: AbstractDistribution, seed: np.ndarray, n: int, condition: np.ndarray | None = None
) -> np.ndarray:
    """Plain draws of a model in float64, `(n, dim)`, at one condition `(k,)` if it has any."""
    numbers = np.arange(n, dtype=np.uint32)
    conditions = None if condition is None else np.repeat(condition[None], n, axis=0)
    run = functools.partial(program(_drawn, model), seed)
    return in_chunks(run, SIZES, np.zeros_like(numbers), numbers, conditions)


def _drawn(model: AbstractDistribution, seed: Array, which: Array, draw: Array, condition: Array | None) -> Array:
    return model.sample_rows(row_keys(seed, which, draw), None if condition is None else condition.T).T


def order_for(boxes: Boxes) -> tuple[np.ndarray, int, int]:
    """An order in which known numbers come first, then ranges, then the rest; and the numbers of the first two."""
    points, known = boxes.points.all(axis=0), boxes.known.any(axis=0)
    kind = np.where(points, 0, np.where(known, 1, 2))
    return np.argsort(kind, kind="stable"), int((kind == 0).sum()), int((kind == 1).sum())


def by_surrogate(model: AbstractDistribution, boxes: Boxes) -> Source:
    """Rows that a surrogate of the model proposes, weighed by the model's density over that of the proposal."""
    found = fitted(model)
    order, n_points, n_ranges = order_for(boxes)
    run = program(_proposed, found.core)
    fixed = (tuple(found.surrogate), order, np.int64(n_points), np.int64(n_ranges))
    return lambda seed, which, draw, low, high: run(fixed, seed, which, draw, low, high)


def _to_core(core: Core, low: Array, high: Array) -> tuple[Array, Array, Array]:
    """The ends of boxes `(dim, n)` in the core's units, and the log-slopes of the map to them at the known numbers."""
    zero = jnp.zeros_like(low[:, :1])
    rises = jax.jvp(lambda u: run_batch(core.tail, u, None, None, True)[0], (zero,), (jnp.ones_like(zero),))[1] > 0

    def back(x: Array) -> tuple[Array, Array]:
        return jax.jvp(lambda x: run_batch(core.tail, x, None, None, False)[0], (x,), (jnp.ones_like(x),))

    somewhere = run_batch(core.tail, zero, None, None, True)[0]
    ends, slope = [], jnp.ones_like(low)
    for end, side in ((low, -1.0), (high, 1.0)):
        there, slope = back(jnp.where(jnp.isfinite(end), end, somewhere))
        out = ~jnp.isfinite(end) | jnp.isnan(there)
        ends.append(jnp.where(out, jnp.where(rises, side, -side) * jnp.inf, there))
    point = (low == high) & jnp.isfinite(low)
    log_slope = jnp.sum(jnp.where(point, jnp.log(jnp.abs(slope)), 0.0), axis=0)
    return jnp.minimum(*ends), jnp.maximum(*ends), log_slope


def _proposed(
    core: Core, fixed: Any, seed: Array, which: Array, draw: Array, low: Array, high: Array
) -> tuple[Array, Array]:
    mixture, order, n_points, n_ranges = fixed
    low, high = low.T, high.T
    core_low, core_high, log_slope = _to_core(core, low, high)
    parts = ordered(Surrogate(*mixture), order)
    asked = Asked(core_low[order], core_high[order], n_points, n_ranges)
    rows, log_proposed = propose(parts, row_keys(seed, which, draw), asked)
    u = jnp.zeros_like(rows).at[order].set(rows)
    log_prob = core.inner.log_prob_rows(u, None, None)
    x = run_batch(core.tail, u, None, None, True)[0]
    held = jnp.clip(x, low, high)
    lost = jnp.any(jnp.abs(held - x) > 1e-6 * (1 + jnp.abs(x)), axis=0)
    log_weight = log_prob + log_slope - log_proposed
    return held.T, jnp.where(lost | jnp.isnan(log_weight), -jnp.inf, log_weight)


def by_chains(model: AbstractDistribution, boxes: Boxes, seed: np.ndarray, n: int) -> ConditionalDraws:
    """Draws by chains that start at resampled rows of the surrogate; for one case.

    Raises:
        ImportError: blackjax is not installed.
    """
    found = fitted(model)
    weighted = weighted_rows(by_surrogate(model, boxes), boxes, seed, 4096)
    starts = _starts(weighted, seed)
    order, n_points, n_ranges = order_for(boxes)
    run = program(_ends, found.core)
    low, high = (np.asarray(end)[:, 0] for end in run(boxes.low, boxes.high))
    starts = np.asarray(program(_inverse, found.core)(starts))
    problem = Problem(order, low[order], high[order], n_points, n_ranges)
    rows, report = run_chains(found.core.inner, found.surrogate, problem, starts, seed, n)
    rows = np.clip(np.asarray(program(_outward, found.core)(rows)), boxes.low, boxes.high)
    return ConditionalDraws(rows, report)


def _ends(core: Core, low: Array, high: Array) -> tuple[Array, Array]:
    first, last, _ = _to_core(core, low.T, high.T)
    return first, last


def _inverse(core: Core, rows: Array) -> Array:
    return run_batch(core.tail, rows.T, None, None, False)[0].T


def _outward(core: Core, rows: Array) -> Array:
    return run_batch(core.tail, rows.T, None, None, True)[0].T


def _starts(weighted: Weighted, seed: np.ndarray) -> np.ndarray:
    """Rows for the chains to start at, by the roots of their weights, so that no row starts them all."""
    log_weights = 0.5 * weighted.log_weights[0]
    weights = np.exp(log_weights - log_weights.max())
    rng = np.random.default_rng([*seed.tolist(), 4])
    n = min(CHAINS, int((weights > 0).sum()))
    places = rng.choice(len(weights), size=n, replace=False, p=weights / weights.sum())
    return weighted.rows[0][np.resize(places, CHAINS)]
