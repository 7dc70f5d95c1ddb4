"""Draws of a model with their log-density, and the gradient that a loss of them gets: plain, or of the path alone."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from pushforward._checks import check_sample_shape
from pushforward._types import Array, PRNGKeyArray, Shape, is_array
from pushforward._vectorize import batch_keys, rows_last
from pushforward.bijections.base import AbstractBijection, AbstractComposite, needed, run_batch
from pushforward.distributions import AbstractDistribution, Flow
from pushforward.distributions.base import split_condition
from pushforward.distributions.compound import own


def fixed(tree: Any) -> Any:
    """The tree with gradients kept from its arrays."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if is_array(leaf) else leaf, tree)


def draws_and_log_prob(
    flow: AbstractDistribution,
    key: PRNGKeyArray,
    sample_shape: int | Shape = (),
    condition: Any = None,
    *,
    path_gradient: bool = True,
) -> tuple[Array, Array]:
    r"""Draws of a model and their log-densities, to be differentiated by the model's arrays and by the condition.

    With `path_gradient`, the log-density has the gradient
    $\nabla_x \log q(x)$ along the path of the draws and no other: the score of $q$, whose mean is zero, is left out
    (sticking the landing). For a `Flow`, $\nabla_x \log q$ is carried along with the draws, layer by layer: a layer $f$
    takes $g$ to $J_f^{-\top} (g - \nabla_z \log |\det J_f|)$, the pull-back of its inverse at the point where it just
    arrived. There what both directions compute, such as the network of a coupling, is computed once. Other models take
    a second pass, the density of the draws.

    Args:
        flow: The model.
        key: JAX key.
        sample_shape: Number of draws, or their shape, for each condition.
        condition: Conditions `(*batch, *cond_shape)`, or None.
        path_gradient: Whether to leave out the score.

    Source: Roeder, Wu, Duvenaud, 2017, arXiv 1703.09194; the recursion: Vaitl, Winkler, Richter, Kessel, 2024,
        arXiv 2403.15881, prop. 3.1.
    """
    draw_key, own_key = jax.random.split(key)
    if not path_gradient:
        return flow.sample_and_log_prob(draw_key, sample_shape, condition)
    if isinstance(flow, Flow) and not flow.needs_key:
        condition, batch = split_condition("draws_and_log_prob", condition, flow.cond_shape)
        shape = check_sample_shape("draws_and_log_prob", sample_shape) + batch

        def carry(keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
            return _carried(flow, keys, condition)

        keys = batch_keys(draw_key, math.prod(shape)).reshape(shape)
        return rows_last(carry, (shape, batch), keys, condition)
    x = flow.sample(draw_key, sample_shape, condition)
    return x, fixed(flow).log_prob(x, fixed(condition), key=own_key if flow.needs_key else None)


def _carried(flow: Flow, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
    """Draws, rows on the last axis, with log-densities whose gradient follows the path alone."""
    n = keys.shape[0]
    z = flow.base.sample_rows(keys, own(flow.base, condition))
    base, given, start = fixed((flow.base, own(flow.base, condition), z))
    log_prob, pull = jax.vjp(lambda z: base.log_prob_rows(z, given, None), start)
    # Composites split, permute and join their rows, which does to gradients what it does to events. So the gradients
    # go along as further rows, behind the events.
    both = jnp.concatenate([z, *pull(jnp.ones_like(log_prob))], axis=-1)
    conditions = None if condition is None else jnp.concatenate([condition, condition], axis=-1)

    def events_of(rows: Array) -> tuple[Array, Array]:
        halves = rows.reshape(*rows.shape[:-1], -1, 2, n)  # a member may be given several rows per event, `(more, n)`
        first, second = (halves[..., half, :].reshape(*rows.shape[:-1], -1) for half in (0, 1))
        return first, second

    def joined(events: Array, others: Array) -> Array:
        parts = [a.reshape(*a.shape[:-1], -1, n) for a in (events, others)]
        return jnp.stack(parts, axis=-2).reshape(*events.shape[:-1], -1)

    def step(
        member: AbstractBijection, rows: Array, conditions: Array | None, keys: Any, forward: bool
    ) -> tuple[Array, Array, None]:
        if isinstance(member, AbstractComposite):
            return *member.run_with(step, rows, needed(member, conditions, None)[0], None, forward)[:2], None
        x, gradient = events_of(rows)
        given = None if conditions is None else events_of(conditions)[0]
        y, log_det = run_batch(member, x, given, None, forward)
        still, at, held = fixed((member, y, given))
        (_, back_det), pull = jax.vjp(lambda y: run_batch(still, y, held, None, not forward), at)
        (carried,) = pull((jax.lax.stop_gradient(gradient).astype(at.dtype), jnp.ones_like(back_det)))
        return joined(y, carried), joined(log_det, jnp.zeros_like(log_det)), None

    out, log_det, _ = step(flow.bijection, both, conditions, None, True)
    (x, gradient), total = events_of(out), events_of(log_det)[0]
    value = jax.lax.stop_gradient(log_prob - total)
    along = jax.lax.stop_gradient(gradient) * (x - jax.lax.stop_gradient(x))  # zero, with the gradient of the path
    return x, value + jnp.sum(along, axis=tuple(range(x.ndim - 1)))
