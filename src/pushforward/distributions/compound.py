"""The contract of distributions on rows, which stand on the last axis, and that of distributions made of others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx

from pushforward._parts import AbstractWhole, Part
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBijection, run_member


class AbstractRows(Part):
    """The contract of a distribution for `n` rows on the last axis; `AbstractDistribution` gives it its public methods.

    Attributes:
        event_shape: The shape of one event.
        cond_shape: The shape of the condition, None if unconditional.
        needs_key: True iff `log_prob` is a random estimate.
    """

    event_shape: eqx.AbstractVar[Shape]
    cond_shape: eqx.AbstractVar[Shape | None]
    needs_key: eqx.AbstractVar[bool]

    @abstractmethod
    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        """The log-densities `(n,)` of rows `(*event_shape, n)`.

        Args:
            x: `(*event_shape, n)`.
            condition: `(*cond_shape, n)`; None if and only if the distribution is unconditional.
            keys: `(n,)`; None if and only if no key is needed.
        """

    @abstractmethod
    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        """One row `(*event_shape, n)` per key `(n,)`, a function of that key alone."""

    @abstractmethod
    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        """Rows and their log-densities, which may be cheaper and safer than scoring the rows afterwards."""


# As of bijections; of a distribution it gives the rows, their log-densities, anything else.
Step = Callable[[Any, Array, Array | None, PRNGKeyArray | None, bool], tuple[Array, Array, Any]]


class AbstractCompound(AbstractRows, AbstractWhole):
    """A distribution made of bijections and distributions, its `members`, which it shows and scores with any step.

    Final subclasses implement `score_with`, which says once which rows, condition and keys each member gets.
    """

    @abstractmethod
    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        """Log-densities, and for each of `members`, in their order, what the step gave besides.

        Args:
            step: Function of a member, its rows, their conditions, their keys and the direction of a bijection, here
                always False: from data to latent.
            x: `(*event_shape, n)`.
            condition: `(*cond_shape, n)` or None.
            keys: `(n,)` or None.
        """

    def log_prob_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
        return self.score_with(score_member, x, condition, keys)[0]


def score_member(
    member: Any, rows: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
) -> tuple[Array, Array, None]:
    """The step that only scores."""
    if isinstance(member, AbstractBijection):
        return run_member(member, rows, condition, keys, forward)
    return rows, member.log_prob_rows(rows, *needed_to_score(member, condition, keys)), None


def own(member: AbstractRows, condition: Array | None) -> Array | None:
    """The condition for a member, which takes none if it is unconditional."""
    return condition if member.cond_shape is not None else None


def needed_to_score(
    member: AbstractRows, condition: Array | None, keys: PRNGKeyArray | None
) -> tuple[Array | None, PRNGKeyArray | None]:
    """The condition, unless the distribution is unconditional; the keys, unless it needs none."""
    return own(member, condition), keys if member.needs_key else None
