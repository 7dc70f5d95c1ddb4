"""Walks through a bijection from data to latent, layer by layer, and reports what enters each spline.

`walk_splines` maps rows as the bijection's inverse does. On the way it reports the numbers that enter the splines of
each layer. It can also move rows onto a spline's knot, where random inputs never find errors (nflows issue 87).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._parts import parts
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward._vectorize import batch_keys
from pushforward.bijections import Autoregressive, Coupling, RationalQuadraticMap
from pushforward.bijections.base import (
    AbstractBijection,
    AbstractComposite,
    AbstractTwoWayBijection,
    needed,
    run_batch,
)
from pushforward.distributions.compound import own as own_condition
from pushforward.distributions.compound import score_member
from pushforward.numerics.rational_quadratic_spline import MIN_BIN


class SplineInputs(eqx.Module):
    """The inputs `values` `(k, n)` of the splines of one layer, which act on the interval from `low` to `high`."""

    values: Array
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)


class Probe(NamedTuple):
    """Tells where rows are moved on the way: each row at one spline layer, in one coordinate, next to one knot.

    Args:
        layer: Numbers `(n,)` of the layers, counted from the data; -1 moves nothing.
        coordinate: Numbers `(n,)` of the coordinates, modulo the number of coordinates that the layer maps.
        knot: Numbers `(n,)` of the knots, modulo their number; the first and the last are the bounds.
        ulps: Offsets `(n,)` of -1, 0 or 1: the next float below the knot, the knot, or the next float above.
    """

    layer: Any
    coordinate: Any
    knot: Any
    ulps: Any

    @staticmethod
    def nowhere(n: int) -> Probe:
        """The probe that moves no row."""
        zero = np.zeros(n, np.int32)
        return Probe(zero - 1, zero, zero, zero)


class _Numbered(AbstractTwoWayBijection):
    """A spline layer with its number, an array that a scan hands out like any other array of its layers."""

    layer: Coupling | Autoregressive
    number: Any
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, layer: Coupling | Autoregressive, number: Any):
        self.layer, self.number = layer, number
        self.in_shape, self.out_shape = layer.in_shape, layer.out_shape
        self.cond_shape, self.traits = layer.cond_shape, layer.traits

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        return run_batch(self.layer, value, condition, keys, forward)


def walk_splines(
    bijection: AbstractBijection, x: Array, condition: Array | None, *, probe: Probe | None = None
) -> tuple[Array, list[SplineInputs]]:
    """Map rows to latents `(*in_shape, n)`, and report what entered each spline layer, from the data inwards.

    Composites are entered; any other bijection than a layer of splines is run as a whole. If one layer gets a row
    several times (pixels, rows of an event with shared parameters), each time counts as further coordinates.

    Args:
        bijection: Bijection from latent to data.
        x: Rows `(*out_shape, n)`.
        condition: Conditions `(*cond_shape, n)`, or None.
        probe: Where rows are moved on the way; None moves none.
    """
    wanted = Probe.nowhere(x.shape[-1]) if probe is None else probe
    numbered = _numbered(bijection, False, np.zeros((), np.int32))

    def step(
        member: AbstractBijection, rows: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, Any]:
        condition, keys = needed(member, condition, keys)
        if isinstance(member, _Numbered):
            image, met = _through_splines(member, rows, condition, forward, wanted)
            return image, jnp.zeros(rows.shape[-1:], image.dtype), met
        if isinstance(member, AbstractComposite):
            return member.run_with(step, rows, condition, keys, forward)
        return *run_batch(member, rows, condition, keys, forward), None

    # The values do not depend on the keys: only the log-determinants would, and they are dropped.
    keys = batch_keys(jax.random.key(0), x.shape[-1]) if bijection.traits.needs_key else None
    z, _, extras = step(numbered, x, condition, keys, False)
    stacks = jax.tree.leaves(extras, is_leaf=lambda node: isinstance(node, SplineInputs))
    layers = [part for part in parts(numbered) if isinstance(part, _Numbered)]
    met = {}
    for layer, stack in zip(layers, stacks, strict=True):
        numbers = np.ravel(layer.number)
        each = stack.values.reshape(len(numbers), *stack.values.shape[-2:])
        for number, own in zip(numbers, each, strict=True):
            met[int(number)] = SplineInputs(own, stack.low, stack.high)
    return z, [met[number] for number in sorted(met)]


class Walked(NamedTuple):
    """Where rows end, and whether they passed a spline on the way.

    Attributes:
        latents: Latents `(*in_shape, n)`.
        missed: Flags `(n,)`: whether a coordinate lay outside the interval of a spline.
    """

    latents: Array
    missed: Array


def score_walking(
    flow: Any, x: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
) -> tuple[Array, Array, Walked]:
    """A step of a compound for a flow as its member: its log-densities, and the walk that they come from.

    Args:
        flow: A `Flow`.
        x: Rows `(*event_shape, n)`.
        condition: Conditions `(*cond_shape, n)`, or None.
        keys: Keys `(n,)`, or None.
        forward: Not used: a flow is scored.
    """
    n = x.shape[-1]

    def through(
        member: AbstractBijection, rows: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, Any]:
        condition, keys = needed(member, condition, keys)
        if isinstance(member, AbstractComposite):
            return member.run_with(through, rows, condition, keys, forward)
        met = None
        if isinstance(member, Coupling | Autoregressive) and _is_spline_layer(member):
            spline: Any = member.scalar_map
            own = rows[np.flatnonzero(np.array(member.split))] if isinstance(member, Coupling) else rows
            met = jnp.any((own < spline.low) | (own > spline.high), axis=0)
        return *run_batch(member, rows, condition, keys, forward), met

    def step(member: Any, rows: Array, *arguments: Any) -> tuple[Array, Array, Any]:
        if not isinstance(member, AbstractBijection):
            return score_member(member, rows, *arguments)
        z, log_det, met = through(member, rows, *arguments)
        return z, log_det, (z, met)

    log_prob, (_, (z, met)) = flow.score_with(step, x, own_condition(flow, condition), keys)
    missed = jnp.zeros(n, bool)
    for flags in jax.tree.leaves(met):
        missed = missed | jnp.any(flags.reshape(-1, n), axis=0)
    return x, log_prob, Walked(z, missed)


def _is_spline_layer(part: Any) -> bool:
    vectors = isinstance(part, Coupling | Autoregressive) and len(part.in_shape) == 1
    return vectors and isinstance(part.scalar_map, RationalQuadraticMap)


def has_splines(bijection: AbstractBijection | None) -> bool:
    """Whether any layer is made of splines."""
    return any(map(_is_spline_layer, parts(bijection)))


def _count(bijection: AbstractBijection) -> int:
    """The number of spline layers; each layer of a stack counts."""
    if not isinstance(bijection, AbstractComposite):
        return int(_is_spline_layer(bijection))
    return (bijection.layout.stacked or 1) * sum(map(_count, bijection.members))


def _numbered(bijection: Any, forward: bool, first: np.ndarray) -> Any:
    """The bijection with its spline layers numbered in the order in which rows meet them.

    Args:
        bijection: Any bijection.
        forward: Whether rows run from latent to data.
        first: Number of the first spline layer, one for each layer of a stack.
    """
    if _is_spline_layer(bijection):
        return _Numbered(bijection, first)
    if not isinstance(bijection, AbstractComposite) or not has_splines(bijection):
        return bijection
    layout, members = bijection.layout, list(bijection.members)
    forward = forward != layout.inverted
    backwards = layout.in_turn and not forward
    if layout.stacked is not None:
        places = np.arange(layout.stacked, dtype=np.int32)
        first = first[..., None] + sum(map(_count, members)) * (places[::-1] if backwards else places)
    order = range(len(members))
    for place in reversed(order) if backwards else order:
        n = _count(members[place])
        members[place] = _numbered(members[place], forward, first)
        first = first + n
    return bijection.with_members(tuple(members))


def _through_splines(
    numbered: _Numbered, value: Array, condition: Array | None, forward: bool, probe: Probe
) -> tuple[Array, SplineInputs]:
    layer = numbered.layer
    spline: Any = layer.scalar_map
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
    inputs, n = value[mapped], len(probe.layer)
    # If rows come several times, each time is another coordinate.
    times = value.shape[-1] // n
    probe = Probe(*(jnp.tile(jnp.asarray(part), times) for part in probe))
    place = probe.coordinate % (len(mapped) * times)
    which = place // times
    of_row = jnp.take_along_axis(params, which[None, None, :], axis=1)[:, 0]
    knots = spline_knots(of_row, spline, by_height=not forward).astype(value.dtype)
    target = jnp.take_along_axis(knots, (probe.knot % (spline.bins + 1))[None], axis=0)[0]
    beside = jnp.nextafter(target, jnp.where(probe.ulps > 0, jnp.inf, -jnp.inf).astype(target.dtype))
    target = jnp.where(probe.ulps == 0, target, beside)
    here = (probe.layer == numbered.number) & (place % times == jnp.arange(n * times) // n)
    chosen = (jnp.arange(len(mapped))[:, None] == which) & here
    moved = value.at[mapped].set(jnp.where(chosen, target, inputs))
    image = run_batch(layer, moved, condition, None, forward)[0]
    return image, SplineInputs(inputs.reshape(-1, n), spline.low, spline.high)


def spline_knots(params: Array, spline: RationalQuadraticMap, by_height: bool) -> Array:
    """The knots `(bins + 1, *S)` of rational-quadratic splines with parameters `(n_params, *S)`.

    Args:
        params: Unconstrained parameters of the splines.
        spline: Map with the number of bins and the interval.
        by_height: Whether the knots are those on the y side, else on the x side.
    """
    bins, size = spline.bins, spline.high - spline.low
    raw = params[bins : 2 * bins] if by_height else params[:bins]
    sizes = size * (MIN_BIN + (1 - bins * MIN_BIN) * jax.nn.softmax(raw, axis=0))
    inner = spline.low + jnp.cumsum(sizes, axis=0)[:-1]
    low, high = (jnp.full((1, *params.shape[1:]), end, inner.dtype) for end in (spline.low, spline.high))
    return jnp.concatenate([low, inner, high])
