"""Draws of a flow along its own order, in which what is known takes its value, with the weights that makes right."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray
from pushforward.bijections import Affine, Chain
from pushforward.bijections.base import fold_keys, run_batch
from pushforward.distributions import (
    AbstractDistribution,
    DiagonalNormal,
    Flow,
    MultivariateNormal,
    StandardNormal,
    StudentT,
    UniformBox,
)
from pushforward.inference.dependence import NormalFactor, closure, dependence, pairs_of

INDEPENDENT = (StandardNormal, DiagonalNormal, StudentT, UniformBox)


def over_independent(model: AbstractDistribution) -> Flow | None:
    """The same density as a flow over independent latents without a condition, None if it is not one."""
    if model.needs_key or len(model.event_shape) != 1:
        return None
    shape = model.event_shape
    if isinstance(model, INDEPENDENT):
        return Flow(model, Affine(loc=0.0, scale=1.0, shape=shape))
    if isinstance(model, MultivariateNormal):
        return Flow(StandardNormal(shape), NormalFactor(model))
    inner = over_independent(model.base) if isinstance(model, Flow) else None
    if inner is None or not isinstance(model, Flow):
        return None
    return model if isinstance(model.base, INDEPENDENT) else Flow(inner.base, Chain([inner.bijection, model.bijection]))


class Order(NamedTuple):
    """The order of a flow from data to latent.

    Attributes:
        latents: Place of each number's own latent, `(dim,)`.
        before: `(dim, dim)` booleans: whether number `i` depends on number `j`, itself among them.
    """

    latents: np.ndarray
    before: np.ndarray

    def exact_for(self, known: np.ndarray) -> bool:
        """Whether all that comes before what is known is known too, so that the rest follows from it."""
        return not (self.before[known] & ~known).any()


def order_of(flow: Flow) -> Order | None:
    """The order in which a flow over independent latents is autoregressive; None if there is none."""
    dim, pattern = flow.event_shape[0], dependence(flow.bijection, False)
    pairs = pairs_of(pattern)
    if pairs is None:
        return None
    latents, before = np.zeros(dim, int), np.zeros((dim, dim), bool)
    outputs, inputs = np.array(pairs.outputs), np.array(pairs.inputs)
    latents[inputs] = outputs
    before[np.ix_(inputs, inputs)] = closure(pattern[np.ix_(outputs, inputs)])
    return Order(latents, before)


class Step(NamedTuple):
    """One number of which something is known.

    Attributes:
        place: Place of the number.
        latent: Place of its latent.
        fresh: Whether what comes before it has to be computed anew first.
        ranged: Whether some row knows a range of it, and not its value.
    """

    place: int
    latent: int
    fresh: bool
    ranged: bool


def steps_of(order: Order, known: np.ndarray, ranged: np.ndarray) -> tuple[Step, ...]:
    """The steps of a walk, those first before which least is unknown.

    Args:
        order: Order of the flow.
        known: Whether something is known of each number in some row, `(dim,)`.
        ranged: Whether some row does not know its value, `(dim,)`.
    """
    unsettled = known & ranged
    # Every number before it that is not known counts.
    cost = (order.before & ~(known & ~ranged)).sum(axis=1)
    depth = order.before.sum(axis=1)
    places = sorted(np.flatnonzero(known), key=lambda i: (cost[i], depth[i], i))
    steps, done = [], np.zeros(len(known), bool)
    for place in _before_first(places, order.before):
        # What is drawn after a known number is right once that number has its latent.
        follows = order.before[place] & ~np.eye(len(known), dtype=bool)[place] & (~known | unsettled)
        fresh = bool(follows.any() and (order.before[follows][:, known & done].any() or (follows & unsettled).any()))
        steps.append(Step(int(place), int(order.latents[place]), fresh, bool(ranged[place])))
        done[place] = True
    return tuple(steps)


def _before_first(places: list[Any], before: np.ndarray) -> list[Any]:
    """The places in an order in which each comes after those before it."""
    out: list[Any] = []

    def add(place: Any) -> None:
        if place in out:
            return
        for other in places:
            if other != place and before[place, other]:
                add(other)
        out.append(place)

    for place in places:
        add(place)
    return out


def walk(
    flow: Flow, keys: PRNGKeyArray, low: Array, high: Array, condition: Array | None, *, steps: tuple[Step, ...]
) -> tuple[Array, Array]:
    r"""Rows in which what is known holds, and the logarithms of their weights, `(dim, n)` and `(n,)`.

    A number that is not known follows from its own latent, which is drawn from the base. A number whose value is known
    gets the latent that gives this value, and the row the weight $p(x_i \mid x_{<i})$; one that is known to lie in a
    range is drawn from its conditional distribution there, and the row gets the probability of the range. The mean
    of the weights is the density of what is known, and weighted rows follow the conditional distribution. The weights
    are all equal where everything before the known numbers is known.

    Args:
        flow: A flow over independent latents.
        keys: Keys `(n,)`.
        low: Lower ends `(dim, n)`.
        high: Upper ends `(dim, n)`.
        condition: Conditions `(*cond_shape, n)` or None.
        steps: What is known; see `steps_of`.
    """
    base: Any = flow.base
    z = base.sample_rows(fold_keys(keys, 0), None).astype(low.dtype)
    uniform = jax.vmap(lambda key: jax.random.uniform(key, (len(steps),), low.dtype), out_axes=-1)(fold_keys(keys, 1))
    point = (low == high) & jnp.isfinite(low)

    def decode(z: Array) -> Array:
        x = run_batch(flow.bijection, z, condition, None, True)[0]
        return jnp.where(point, low, x)

    def latent_of(x: Array, step: Step, value: Array) -> tuple[Array, Array]:
        """The latent of a number that has this value, and its slope."""
        one = jnp.zeros_like(x).at[step.place].set(1.0)
        moved, slopes = jax.jvp(
            lambda x: run_batch(flow.bijection, x, condition, None, False)[0], (x.at[step.place].set(value),), (one,)
        )
        return moved[step.latent], slopes[step.latent]

    def in_base(z: Array, step: Step, value: Array) -> tuple[Array, Array]:
        """The distribution function of one latent, and its density."""
        rows = z.at[step.latent].set(value)
        found, slopes = jax.jvp(lambda z: base.cdf_rows(z, None), (rows,), (jnp.ones_like(rows),))
        return found[step.latent], slopes[step.latent]

    x, log_weight = decode(z), jnp.zeros(low.shape[-1:], low.dtype)
    for n, step in enumerate(steps):
        x = decode(z) if step.fresh else x
        own, start, end = x[step.place], low[step.place], high[step.place]
        value = jnp.where(point[step.place], start, own)
        latent, slope = latent_of(x, step, value)
        density = in_base(z, step, latent)[1] * jnp.abs(slope)
        new, weight = latent, density
        if step.ranged:
            ends = []
            for number in (start, end):
                there, _ = latent_of(x, step, jnp.where(jnp.isfinite(number), number, own))
                share, _ = in_base(z, step, there)
                # An end that is not there is an end of the latent's distribution; so is one beyond the support.
                last = (number > own) == (slope > 0)
                ends.append(jnp.where(jnp.isfinite(number) & ~jnp.isnan(share), share, jnp.where(last, 1.0, 0.0)))
            first, final = jnp.minimum(*ends), jnp.maximum(*ends)
            drawn = z.at[step.latent].set(first + (final - first) * uniform[n])
            drawn = base.quantile_rows(jnp.clip(drawn, 0.0, 1.0), None)[step.latent]
            new = jnp.where(point[step.place], latent, drawn)
            weight = jnp.where(point[step.place], density, final - first)
        asked = point[step.place] | jnp.isfinite(start) | jnp.isfinite(end)
        z = z.at[step.latent].set(jnp.where(asked, new, z[step.latent]))
        log_weight = log_weight + jnp.where(asked, jnp.log(weight), 0.0)
    x = decode(z)
    # What rounding takes beyond an end is held to it; what lies beyond by more has no probability.
    held = jnp.clip(x, low, high)
    gap = jnp.abs(held - x) > 1e-6 * (1.0 + jnp.abs(x))
    lost = jnp.any(gap | jnp.isnan(x), axis=0) | jnp.isnan(log_weight)
    return held, jnp.where(lost, -jnp.inf, log_weight)
