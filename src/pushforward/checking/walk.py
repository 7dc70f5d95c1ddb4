"""A walk through a bijection from data to latent, layer by layer, that sees what enters each spline.

`walk` maps rows as the bijection's inverse does. On the way it reports the numbers that enter the splines of each
layer, and can move rows onto a spline's knot, where the errors live that random inputs never meet (nflows issue 87).
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, is_array
from pushforward._vectorize import batch_keys
from pushforward.bijections import (
    Autoregressive,
    Chain,
    Coupling,
    EmbedCondition,
    Invert,
    Partial,
    RationalQuadraticMap,
    Scan,
    Vmap,
    WithCondition,
)
from pushforward.bijections.base import AbstractBijection, run_batch
from pushforward.numerics.rational_quadratic import MIN_BIN


class SplineInputs(eqx.Module):
    """What enters the splines of one layer: `values` `(k, n)`, which the splines act on within `[-bound, bound]`."""

    values: Array
    bound: float = eqx.field(static=True)


class Probe(NamedTuple):
    """Where rows are moved on the way: each row at one spline layer, in one coordinate, next to one knot.

    Args:
        layer: `(n,)` integers, counted from the data; -1 moves nothing.
        coordinate: `(n,)`, modulo the number of coordinates that the layer maps.
        knot: `(n,)`, modulo the number of knots; the first and the last are the bounds.
        ulps: `(n,)`, -1, 0 or 1: the next float below the knot, the knot, or the next above.
    """

    layer: Any
    coordinate: Any
    knot: Any
    ulps: Any

    @staticmethod
    def nowhere(n: int) -> Probe:
        """Rows that are left alone."""
        zero = np.zeros(n, np.int32)
        return Probe(zero - 1, zero, zero, zero)


class _State(NamedTuple):
    """Rows on their way, and how many spline layers lie behind them."""

    value: Array
    count: Array


def walk(
    bijection: AbstractBijection, x: Array, condition: Array | None, *, probe: Probe | None = None
) -> tuple[Array, list[SplineInputs]]:
    """Latents `(*in_shape, n)`, and what entered each spline layer, the one next to the data first.

    Known are the combinators and layers of `pushforward.bijections`; any other bijection is run as a whole.

    Args:
        bijection: from latent to data.
        x: `(*out_shape, n)`.
        condition: `(*cond_shape, n)` or None.
        probe: rows to move on the way.
    """
    probe = Probe.nowhere(x.shape[-1]) if probe is None else probe
    state, met = _walk(bijection, _State(x, jnp.zeros((), jnp.int32)), condition, False, probe)
    return state.value, met


def has_splines(bijection: AbstractBijection | None) -> bool:
    """Whether any layer that `walk` knows is made of splines."""

    def is_layer(node: Any) -> bool:
        return isinstance(node, Coupling | Autoregressive)

    layers = [node for node in jax.tree.leaves(bijection, is_leaf=is_layer) if is_layer(node)]
    return any(isinstance(layer.scalar_map, RationalQuadraticMap) for layer in layers)


def _walk(
    bijection: AbstractBijection, state: _State, condition: Array | None, forward: bool, probe: Probe
) -> tuple[_State, list[SplineInputs]]:
    if isinstance(bijection, Chain):
        met: list[SplineInputs] = []
        for member in bijection.bijections if forward else reversed(bijection.bijections):
            state, own = _walk(member, state, condition, forward, probe)
            met += own
        return state, met
    if isinstance(bijection, Scan):
        return _walk_scan(bijection, state, condition, forward, probe)
    if isinstance(bijection, Invert):
        return _walk(bijection.bijection, state, condition, not forward, probe)
    if isinstance(bijection, EmbedCondition):
        embedded = jax.vmap(bijection.embed, in_axes=-1, out_axes=-1)(condition)
        return _walk(bijection.bijection, state, embedded, forward, probe)
    if isinstance(bijection, WithCondition):
        n = state.value.shape[-1]
        fixed = jnp.broadcast_to(bijection.condition[..., None], (*bijection.condition.shape, n))
        return _walk(bijection.bijection, state, fixed, forward, probe)
    if isinstance(bijection, Partial):
        indices = np.array(bijection.indices)
        part, met = _walk(bijection.bijection, state._replace(value=state.value[indices]), condition, forward, probe)
        return _State(state.value.at[indices].set(part.value), part.count), met
    if isinstance(bijection, Vmap) and has_splines(bijection):
        return _walk_rows(bijection, state, condition, forward, probe)
    if isinstance(bijection, Coupling | Autoregressive) and isinstance(bijection.scalar_map, RationalQuadraticMap):
        return _walk_splines(bijection, bijection.scalar_map, state, condition, forward, probe)
    # The value does not depend on the key: only the log-determinant would, and it is dropped.
    keys = batch_keys(jax.random.key(0), state.value.shape[-1]) if bijection.traits.needs_key else None
    return state._replace(value=run_batch(bijection, state.value, condition, keys, forward)[0]), []


def _walk_scan(
    scan: Scan, state: _State, condition: Array | None, forward: bool, probe: Probe
) -> tuple[_State, list[SplineInputs]]:
    arrays, static = eqx.partition(scan.layer, is_array)

    def step(state: _State, own: Any) -> tuple[_State, list[SplineInputs]]:
        after, met = _walk(eqx.combine(own, static), state, condition, forward, probe)
        return after._replace(value=after.value.astype(state.value.dtype)), met

    arrays = jax.tree.map(jnp.asarray, arrays)
    inexact = [leaf.dtype for leaf in jax.tree.leaves(arrays) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    state = state._replace(value=state.value.astype(jnp.result_type(state.value, *inexact)))
    state, stacked = jax.lax.scan(step, state, arrays, reverse=not forward)
    order = range(scan.n_layers) if forward else reversed(range(scan.n_layers))
    return state, [jax.tree.map(operator.itemgetter(n), one) for n in order for one in stacked]


def _walk_rows(
    vmap: Vmap, state: _State, condition: Array | None, forward: bool, probe: Probe
) -> tuple[_State, list[SplineInputs]]:
    arrays, static = eqx.partition(vmap.bijection, is_array)
    rows, met, count = [], [], state.count
    for n in range(vmap.n):
        own = arrays if vmap.shared else jax.tree.map(operator.itemgetter(n), arrays)
        part, seen = _walk(eqx.combine(own, static), _State(state.value[n], count), condition, forward, probe)
        rows.append(part.value)
        count = part.count
        met += seen
    return _State(jnp.stack(rows), count), met


def _walk_splines(
    layer: Coupling | Autoregressive,
    spline: RationalQuadraticMap,
    state: _State,
    condition: Array | None,
    forward: bool,
    probe: Probe,
) -> tuple[_State, list[SplineInputs]]:
    value = state.value
    condition = None if layer.cond_shape is None else condition
    if isinstance(layer, Coupling):
        mapped = np.flatnonzero(np.array(layer.split))
        rest = value[np.flatnonzero(~np.array(layer.split))]
        params = layer.conditioner(rest, condition) if layer.cond_shape is not None else layer.conditioner(rest)
    else:
        mapped = np.arange(value.shape[0])
        # The parameters of a coordinate follow from those before it on the x side, which moving the coordinate itself
        # does not change.
        x = value if forward else run_batch(layer, value, condition, None, False)[0]
        params = layer.conditioner(x, condition)
    inputs = value[mapped]
    which = probe.coordinate % len(mapped)
    of_row = jnp.take_along_axis(params, which[None, None, :], axis=1)[:, 0]
    knots = spline_knots(of_row, spline.bins, spline.bound, by_height=not forward).astype(value.dtype)
    target = jnp.take_along_axis(knots, (probe.knot % (spline.bins + 1))[None], axis=0)[0]
    beside = jnp.nextafter(target, jnp.where(probe.ulps > 0, jnp.inf, -jnp.inf).astype(target.dtype))
    target = jnp.where(probe.ulps == 0, target, beside)
    chosen = (jnp.arange(len(mapped))[:, None] == which) & (probe.layer == state.count)
    moved = value.at[mapped].set(jnp.where(chosen, target, inputs))
    image = run_batch(layer, moved, condition, None, forward)[0]
    return _State(image, state.count + 1), [SplineInputs(inputs, spline.bound)]


def spline_knots(params: Array, bins: int, bound: float, by_height: bool) -> Array:
    """The knots `(bins + 1, *S)` of rational-quadratic splines with parameters `(3 * bins - 1, *S)`.

    Args:
        params: unconstrained.
        bins: number of bins.
        bound: the spline acts on `[-bound, bound]`.
        by_height: the knots on the y side instead of those on the x side.
    """
    raw = params[bins : 2 * bins] if by_height else params[:bins]
    sizes = 2 * bound * (MIN_BIN + (1 - bins * MIN_BIN) * jax.nn.softmax(raw, axis=0))
    inner = -bound + jnp.cumsum(sizes, axis=0)[:-1]
    ends = jnp.full((1, *params.shape[1:]), bound, inner.dtype)
    return jnp.concatenate([-ends, inner, ends])
