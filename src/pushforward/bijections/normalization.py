"""Activation normalisation, and the explicit function that sets it from data."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._parts import parts
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward._vectorize import split_batch
from pushforward.bijections.base import (
    AbstractBatchedBijection,
    AbstractBijection,
    AbstractComposite,
    Layout,
    along,
    run_batch,
)
from pushforward.bijections.mixture_start import fitted_to, is_mixture_layer
from pushforward.bijections.visit import Visited, visit_layers
from pushforward.bijections.whitening import PartialWhitening, whitened_by

# Smallest standard deviation that is divided by: a coordinate that is constant in the first batch is left alone.
MIN_DEVIATION = 1e-6


class ActNorm(AbstractBatchedBijection):
    r"""A trained affine map of each coordinate, $y = e^{s} \odot x + b$.

    `ActNorm((c, h, w))` normalises every pixel of images, and `Conv1x1(ActNorm(c), (c, h, w))` every channel. It is the
    identity until `initialise` sets it from a batch. The first call is like any other: there is no hidden
    initialisation, no flag and no state.

    Args:
        shape: Length of the vector, or shape of the event.

    Source: Kingma and Dhariwal, 2018, section 3.1, arXiv 1807.03039.
    """

    log_scale: Array
    bias: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, shape: int | Shape):
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        self.in_shape = self.out_shape = tuple(check_int("ActNorm", "dim", size, 1) for size in sizes)
        self.log_scale, self.bias = jnp.zeros(self.in_shape), jnp.zeros(self.in_shape)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        y = x * along(jnp.exp(self.log_scale)) + along(self.bias)
        return y, jnp.broadcast_to(jnp.sum(self.log_scale), x.shape[-1:])

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        x = (y - along(self.bias)) * along(jnp.exp(-self.log_scale))
        return x, jnp.broadcast_to(-jnp.sum(self.log_scale), y.shape[-1:])


def initialise(flow: Any, batch: Any, condition: Any = None) -> Any:
    """The flow with each `ActNorm` set so that, from data to latent, its output has mean 0 and variance 1.

    Likewise, each `PartialWhitening` is set so that its output has no narrow direction, and the mixtures of normals of
    a Gaussianization are fitted to the rows that reach them. Layers are visited from the data inwards, also within
    composites, and one by one within a `Scan`; a flow without such layers is returned unchanged. Call this function
    once, before training, with a few hundred rows; the result depends on the batch alone.

    Args:
        flow: The `Flow` to set.
        batch: Array of shape `(n, *event_shape)`, two rows or more, in the units the flow's data side expects.
        condition: `(n, *cond_shape)` for a conditional flow.

    Raises:
        ValueError: fewer than two rows.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.realnvp(jax.random.key(0), dim=2, actnorm=True)
        >>> batch = 3.0 + jax.random.normal(jax.random.key(1), (256, 2))
        >>> flow = pf.bijections.initialise(flow, batch)
    """
    if not starts_from_data(flow):
        return flow
    rows, lead = split_batch("initialise", "batch", batch, flow.event_shape)
    if len(lead) != 1 or lead[0] < 2:
        fix = "Pass some hundred rows of the training data."
        raise ValueError(message("initialise", "a batch of two rows or more", f"shape {rows.shape}", fix))
    conditions = None if condition is None else jnp.moveaxis(jnp.asarray(condition), 0, -1)
    bijection = _set_from(flow.bijection, jnp.moveaxis(rows, 0, -1), conditions)
    return eqx.tree_at(lambda f: f.bijection, flow, bijection)


def _set_from(bijection: AbstractBijection, rows: Array, conditions: Array | None) -> AbstractBijection:
    """The bijection with its layers set from rows on the data's side.

    Members in turn on the latent's side of all layers that are set do not run: an equation to be solved there would
    take longer than the rest of the start.
    """
    if not isinstance(bijection, AbstractComposite) or bijection.layout != Layout(in_turn=True):
        return visit_layers(bijection, rows, conditions, False, _start)[0]
    members = list(bijection.members)
    places = [n for n, member in enumerate(members) if any(_is_set(part) for part in parts(member))]
    if not places:
        return bijection
    for n in range(len(members) - 1, places[0], -1):
        members[n], rows, _ = visit_layers(members[n], rows, conditions, False, _start)
    members[places[0]] = _set_from(members[places[0]], rows, conditions)
    return bijection.with_members(tuple(members))


def starts_from_data(flow: Any) -> bool:
    """Whether `initialise` would set any layer of the flow."""
    return any(_is_set(part) for part in parts(flow))


def _is_set(node: Any) -> bool:
    return isinstance(node, ActNorm | PartialWhitening) or is_mixture_layer(node)


def _start(layer: AbstractBijection, rows: Array, condition: Array | None, forward: bool) -> Visited | None:
    if isinstance(layer, ActNorm):
        mean, deviation = jnp.mean(rows, -1), jnp.std(rows, -1)
        log_deviation = jnp.where(deviation > MIN_DEVIATION, jnp.log(jnp.maximum(deviation, MIN_DEVIATION)), 0.0)
        new = (-log_deviation, -mean * jnp.exp(-log_deviation)) if forward else (log_deviation, mean)
        layer = eqx.tree_at(lambda b: (b.log_scale, b.bias), layer, new)
    elif type(layer) is PartialWhitening:
        layer = whitened_by(layer, rows, forward)
    elif forward and is_mixture_layer(layer):
        layer = fitted_to(layer, rows)
    else:
        return None
    return layer, *run_batch(layer, rows, condition, None, forward)
