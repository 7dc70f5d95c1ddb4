"""How far a log-density may be off: the error of random probes, and that of solvers of differential equations."""

from __future__ import annotations

import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import ConvergenceError, message
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import batch_keys, rows_last, split_batch
from pushforward.bijections import Chain, Continuous, EmbedCondition, Invert
from pushforward.bijections.base import AbstractBijection, fold_keys, run_batch
from pushforward.bijections.lifting import WithCondition
from pushforward.distributions.base import AbstractDistribution, split_condition
from pushforward.distributions.evaluation import with_solver
from pushforward.distributions.flow import Flow
from pushforward.distributions.table import TableDistribution

N_DRAWS = 8  # of the key, whose mean is the log-density where it is random


class Estimate(NamedTuple):
    """Log-densities and how far they may be off, each of the batch's shape.

    Attributes:
        log_prob: in nats; where it is random the mean over draws of the key. NaN where a solve failed.
        probe_error: the standard error of that mean, 0 where nothing is random.
        solver_error: the change when solvers of differential equations work at half their tolerance, or with twice
            their fixed steps; 0 without any.
        n_evaluations: of velocity fields, per row and draw.
        failed: rows whose solve ran out of steps or blew up.
    """

    log_prob: np.ndarray
    probe_error: np.ndarray
    solver_error: np.ndarray
    n_evaluations: np.ndarray
    failed: np.ndarray

    def require(self) -> np.ndarray:
        """The log-densities, if every solve reached its end.

        Raises:
            ConvergenceError: it names the rows that did not.
        """
        rows = np.flatnonzero(np.ravel(self.failed))
        if len(rows):
            most = int(np.max(self.n_evaluations))
            got = f"{len(rows)} failed, the first {rows[:5].tolist()}, after {most} evaluations"
            fix = (
                "The steps ran out or the state blew up: look for outliers among these rows, allow more steps "
                "(Adaptive(max_steps=...)), loosen the tolerance, or take an implicit method (kvaerno5)."
            )
            raise ConvergenceError(message("log_prob", "every row to be solved", got, fix))
        return self.log_prob


def log_prob_with_error(
    model: AbstractDistribution, x: Array, condition: Array | None, key: PRNGKeyArray | None
) -> Estimate:
    """What `log_prob(..., with_error=True)` gives.

    Args:
        model: any distribution.
        x: events `(*batch, *event_shape)`.
        condition: `(*batch, *cond_shape)`, or None.
        key: needed iff the log-density is random.

    Cost: two log-densities per draw, the second at half the tolerance; one draw, or `N_DRAWS` of a random one.
    """
    name = f"{type(model).__name__}.log_prob"
    x, batch = split_batch(name, "x", x, model.event_shape)
    condition, cond_batch = split_condition(name, condition, model.cond_shape)
    keys = [None] if key is None else list(jax.random.split(key, N_DRAWS))
    tight = with_solver(model, lambda solver: solver.tighter())
    drawn = [_scored(model, tight, x, condition, own, batches=(batch, cond_batch)) for own in keys]
    values, changes, counts, failed = (
        np.stack([np.asarray(part) for part in parts]) for parts in zip(*drawn, strict=True)
    )
    error = np.zeros(values.shape[1:]) if key is None else values.std(axis=0, ddof=1) / N_DRAWS**0.5
    # Both use the same probes, so that the difference is the solver's.
    return Estimate(
        values.mean(axis=0), error, np.abs(changes.mean(axis=0)), counts.mean(axis=0), np.asarray(failed.any(axis=0))
    )


@eqx.filter_jit
def _scored(
    model: AbstractDistribution,
    tight: AbstractDistribution,
    x: Array,
    condition: Array | None,
    key: PRNGKeyArray | None,
    *,
    batches: tuple,
) -> tuple[Array, Array, Array, Array]:
    shape = np.broadcast_shapes(*batches)
    keys = None if key is None else batch_keys(key, math.prod(shape)).reshape(shape)

    def run(x: Array, condition: Array | None, keys: PRNGKeyArray | None = None) -> tuple:
        value, count, failed = _log_prob(model, x, condition, keys)
        return value, value - _log_prob(tight, x, condition, keys)[0], count, failed

    arguments = (x, condition) if keys is None else (x, condition, keys)
    return rows_last(run, batches if keys is None else (*batches, shape), *arguments)


def _log_prob(
    model: AbstractDistribution, x: Array, condition: Array | None, keys: PRNGKeyArray | None
) -> tuple[Array, Array, Array]:
    """Log-densities of rows on the last axis, evaluations of fields, and which rows failed."""
    n = x.shape[-1]
    if isinstance(model, TableDistribution) and model.values is not None:
        seen = model.standard(x, condition, keys)
        own = fold_keys(keys, 3) if model.values.needs_key else None
        value, count, failed = _log_prob(model.values, seen.values, seen.condition, own)
        return jnp.where(jnp.isneginf(seen.log_prob), -jnp.inf, value + seen.log_prob), count, failed
    if not isinstance(model, Flow):
        return model.log_prob_rows(x, condition, keys), jnp.zeros(n, int), jnp.zeros(n, bool)
    outside = jnp.isinf(jnp.max(jnp.abs(x), axis=tuple(range(x.ndim - 1)), initial=0))
    start = jnp.where(outside, 0, x)
    z, log_det, count, failed = _solved(model.bijection, start, condition, fold_keys(keys, 1), False)
    own = condition if model.base.cond_shape is not None else None
    base = model.base.log_prob_rows(z, own, fold_keys(keys, 0) if model.base.needs_key else None)
    return jnp.where(outside, -jnp.inf, base + log_det), count, failed


def _solved(
    bijection: AbstractBijection, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
) -> tuple[Array, Array, Array, Array]:
    """`run_batch` with the evaluations of fields and the failures on the way."""
    n = value.shape[-1]
    if isinstance(bijection, Continuous):
        own = condition if bijection.cond_shape is not None else None
        found = bijection.report(value, own, keys if bijection.traits.needs_key else None, forward)
        return found.value, found.log_det, found.n_evaluations, found.failed
    if isinstance(bijection, Invert):
        return _solved(bijection.bijection, value, condition, keys, not forward)
    if isinstance(bijection, EmbedCondition):
        embedded = jax.vmap(bijection.embed, in_axes=-1, out_axes=-1)(condition)
        return _solved(bijection.bijection, value, embedded, keys, forward)
    if isinstance(bijection, WithCondition):
        fixed = jnp.broadcast_to(bijection.condition[..., None], (*bijection.condition.shape, n))
        return _solved(bijection.bijection, value, fixed, keys, forward)
    log_det, count, failed = jnp.zeros(n, value.dtype), jnp.zeros(n, int), jnp.zeros(n, bool)
    if not isinstance(bijection, Chain):
        return (*run_batch(bijection, value, condition, keys, forward), count, failed)
    places = range(len(bijection.bijections))
    for place in places if forward else reversed(places):
        member, own = bijection.bijections[place], fold_keys(keys, place)
        value, more, evaluations, lost = _solved(member, value, condition, own, forward)
        log_det, count, failed = log_det + more, count + evaluations, failed | lost
    return value, log_det, count, failed
