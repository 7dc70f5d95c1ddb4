"""A mixture of many models of one architecture, which run as one: their arrays are stacked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._parts import replaced
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape, is_array
from pushforward.bijections.base import fold_keys
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.compound import AbstractCompound, Step
from pushforward.distributions.table_parts import Parts

# The place of the choice of a member among what a row's key is folded with: no member folds so large a number.
CHOICE = 0x656E73


class Ensemble(AbstractCompound, AbstractDistribution):
    r"""The mixture $p(x) = \sum_k w_k\, p_k(x)$ of members of one architecture, such as one flow trained many times.

    The members differ in their numbers alone. Their arrays are stacked along a new first axis, so that one compiled
    program of the size of one member's runs them all.

    Args:
        members: Distributions of one structure, whose arrays have the same shapes.
        weights: Positive numbers, one per member, normalised here; None weighs all equally. They are not trained.

    Cost: scoring evaluates every member; sampling draws from every member and keeps one.

    Raises:
        ValueError: There is no member, two differ in more than their numbers, or weights do not fit.

    Source:
        Lakshminarayanan, Pritzel, Blundell, 2017, "Simple and scalable predictive uncertainty estimation using deep
        ensembles", arXiv 1612.01474.

    Example:
        >>> import jax, pushforward as pf
        >>> flows = [pf.flows.maf(jax.random.key(seed), dim=2, n_layers=2, width=8) for seed in range(3)]
        >>> both = pf.distributions.Ensemble(flows, weights=[0.4, 0.4, 0.2])
        >>> both.sample(jax.random.key(0), 5).shape, len(both.each)
        ((5, 2), 3)
    """

    stacked: Any
    log_weights: Fixed
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, members: Sequence[AbstractDistribution], weights: Any = None):
        members = tuple(members)
        if not members:
            raise ValueError(message("Ensemble", "one member or more", "none", "Give a list of distributions."))
        values = np.ones(len(members)) if weights is None else np.asarray(weights, np.float64)
        if values.shape != (len(members),) or not np.isfinite(values).all() or not (values > 0).all():
            fix = "Leave out a member instead of giving it the weight 0."
            expected = f"{len(members)} finite weights > 0, one per member"
            raise ValueError(message("Ensemble", expected, repr(weights), fix))
        self.stacked = _stack(members)
        self.log_weights = Fixed(np.log(values / values.sum()))  # pyright: ignore[reportArgumentType] - float64
        first = members[0]
        self.event_shape, self.cond_shape, self.needs_key = first.event_shape, first.cond_shape, first.needs_key

    @property
    def size(self) -> int:
        """The number of members."""
        return self.log_weights.value.shape[0]

    @property
    def each(self) -> tuple[Any, ...]:
        """The members one by one."""
        arrays, static = eqx.partition(self.stacked, _has_shape)

        def one(leaf: Any, i: int) -> Any:
            return jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) if not is_array(leaf) else leaf[i]

        return tuple(eqx.combine(jax.tree.map(lambda a, i=i: one(a, i), arrays), static) for i in range(self.size))

    def with_members(self, members: tuple[Any, ...]) -> Ensemble:
        return replaced(self, stacked=members[0], needs_key=members[0].needs_key)

    def over_members(self, function: Callable[[Any], Any]) -> Any:
        """What a function gives for each member, stacked along a first axis."""
        arrays, static = eqx.partition(self.stacked, is_array)
        return jax.vmap(lambda own: function(eqx.combine(own, static)))(arrays)

    def _mixed(self, log_probs: Array) -> Array:
        return jax.nn.logsumexp(jnp.asarray(self.log_weights.value, log_probs.dtype)[:, None] + log_probs, axis=0)

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        def one(member: Any) -> tuple[Array, Any]:
            return step(member, x, condition, keys, False)[1:]

        log_probs, extra = self.over_members(one)
        return self._mixed(log_probs), (extra,)

    def parts(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Parts:
        r"""The log-probability in its parts, for an ensemble of tables' distributions.

        The mass is that of the mixture, $P(s) = \sum_k w_k P_k(s)$. The density is that of the values given the
        states, $p(v \mid s) = p(s, v) / P(s)$, in which a member counts by what it gave to the states.

        Args:
            x: `(dim, n)`.
            condition: `(*cond_shape, n)` or None.
            keys: `(n,)`; None if and only if no key is needed.
        """
        mass, density = self.over_members(lambda member: member.parts(x, condition, keys))
        mixed, both = self._mixed(mass), self._mixed(mass + density)
        # A row whose states are impossible has no density given them.
        return Parts(mixed, jnp.where(jnp.isneginf(mixed), 0.0, both - jnp.where(jnp.isneginf(mixed), 0.0, mixed)))

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        logits = jnp.asarray(self.log_weights.value)
        choice = jax.vmap(lambda key: jax.random.categorical(key, logits))(_folded(keys))
        draws = self.over_members(lambda member: member.sample_rows(keys, condition))
        one = choice.reshape((1,) * (draws.ndim - 1) + choice.shape)
        return jnp.take_along_axis(draws, one, axis=0)[0]

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, fold_keys(keys, CHOICE + 1) if self.needs_key else None)


def _folded(keys: PRNGKeyArray) -> PRNGKeyArray:
    return jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, CHOICE)


def _stack(members: tuple[Any, ...]) -> Any:
    """The members as one tree whose arrays have a first axis; NumPy arrays, which keep float64, stay such."""
    split = [eqx.partition(member, is_array) for member in members]
    first = split[0]
    for arrays, static in split[1:]:
        same = jax.tree.structure(arrays) == jax.tree.structure(first[0]) and eqx.tree_equal(static, first[1]) is True
        pairs = zip(jax.tree.leaves(arrays), jax.tree.leaves(first[0]), strict=True) if same else ()
        if not same or any(a.shape != b.shape or a.dtype != b.dtype for a, b in pairs):
            fix = "Build all with the same arguments and other keys; different models are a Mixture."
            raise ValueError(message("Ensemble", "members that differ in their numbers alone", "others", fix))

    def together(*leaves: Any) -> Any:
        on_host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
        return np.stack(leaves) if on_host else jnp.stack(leaves)

    return eqx.combine(jax.tree.map(together, *(arrays for arrays, _ in split)), first[1])


def ensemble_like(member: Any, n: int) -> Ensemble:
    """An ensemble of `n` such members, of which arrays of JAX are shapes alone, as a template for a file of weights."""

    def together(leaf: Any) -> Any:
        if isinstance(leaf, jax.ShapeDtypeStruct):
            return jax.ShapeDtypeStruct((n, *leaf.shape), leaf.dtype)
        return np.stack([leaf] * n) if isinstance(leaf, np.ndarray) else leaf

    none = Ensemble([member])
    weights = Fixed(np.zeros(n))  # pyright: ignore[reportArgumentType]
    return replaced(none, stacked=jax.tree.map(together, member), log_weights=weights)


def _has_shape(leaf: Any) -> bool:
    return is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)
