"""The training of an ensemble: each row says how much it counts for each member, and one program trains them all."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._parts import replaced
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.compound import AbstractCompound, Step
from pushforward.distributions.ensemble import Ensemble
from pushforward.objectives import AbstractObjective
from pushforward.objectives.base import Rows


class SharedRows(AbstractCompound, AbstractDistribution):
    r"""An ensemble as it is trained: the last numbers of a row are its shares $s_k$ in the losses of the members.

    The log-density of a row is $\sum_k s_k \log p_k(x)$: each member is trained as if it were alone, on the rows in
    which it has a share. Rows in which one member alone has a share, of 1, are scored by that member.

    Args:
        ensemble: The members.

    Shapes:
        events `(d + K,)`, for members over events `(d,)`.
    """

    ensemble: Ensemble
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, ensemble: Ensemble):
        self.ensemble = ensemble
        self.event_shape = (ensemble.event_shape[0] + ensemble.size,)
        self.cond_shape, self.needs_key = ensemble.cond_shape, ensemble.needs_key

    def with_members(self, members: tuple[Any, ...]) -> SharedRows:
        return replaced(self, ensemble=members[0], needs_key=members[0].needs_key)

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        d = self.ensemble.event_shape[0]

        def one(member: Any) -> tuple[Array, Any]:
            return step(member, x[:d], condition, keys, False)[1:]

        log_probs, extra = self.ensemble.over_members(one)
        return _shared(log_probs, x[d:]), (extra,)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        rows = self.ensemble.sample_rows(keys, condition)
        return jnp.concatenate([rows, jnp.full((self.ensemble.size, rows.shape[-1]), 1 / self.ensemble.size)])

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, keys if self.needs_key else None)


class EachMember(AbstractObjective):
    """An objective of one model, minimised for every member of an ensemble on the rows in which it has a share.

    Args:
        inner: Objective of a member.
    """

    inner: AbstractObjective
    in_nats: bool = eqx.field(static=True)
    is_regression: bool = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride] - as inside
    learning_rate: float = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    weight_decay: float = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]
    score_words: str = eqx.field(static=True)  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(self, inner: AbstractObjective):
        self.inner, self.in_nats, self.is_regression = inner, inner.in_nats, inner.is_regression
        self.learning_rate, self.weight_decay, self.score_words = (
            inner.learning_rate,
            inner.weight_decay,
            inner.score_words,
        )

    def at_step(self, step: Array) -> AbstractObjective:
        inner = self.inner.at_step(step)
        return self if inner is self.inner else EachMember(inner)

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The loss of each row, `(n,)`: the sum of the members' losses by the row's shares."""
        ensemble: Ensemble = flow.ensemble  # pyright: ignore[reportAttributeAccessIssue] - a `SharedRows`
        rows, shares = jnp.split(jnp.asarray(x), [ensemble.event_shape[0]], axis=1)
        losses = ensemble.over_members(lambda member: self.inner.per_row(member, rows, condition, key))
        return _shared(losses, shares.T)


def _shared(each: Array, shares: Array) -> Array:
    """The sum over members by shares, `(n,)`; where a member has no share, it may be anything."""
    return jnp.sum(jnp.where(shares > 0, shares * each, 0), axis=0)


def folds(n: int, n_members: int, fraction: float, key_words: list[int]) -> tuple[np.ndarray, ...]:
    """The places, ascending, of the rows that each member holds out: as many for each, and none for two of them.

    Args:
        n: Number of rows.
        n_members: Number of members.
        fraction: Share of the rows that a member holds out, in [0, 1): less if there are too many members.
        key_words: Words of the key that decides.
    """
    size = min(max(round(fraction * n), 1), n // n_members) if fraction > 0 else 0
    order = np.random.default_rng(key_words).permutation(n)
    return tuple(np.sort(order[k * size : (k + 1) * size]) for k in range(n_members))


def shares_of(held_out: tuple[np.ndarray, ...], n: int) -> np.ndarray:
    """The share of each member in the loss of each row, `(n, K)`: equal ones of those that do not hold it out."""
    trained = np.ones((n, len(held_out)))
    for k, rows in enumerate(held_out):
        trained[rows, k] = 0
    return trained / trained.sum(axis=1, keepdims=True)
