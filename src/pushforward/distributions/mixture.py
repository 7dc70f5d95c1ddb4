"""Mixtures of distributions."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_floats, check_values, message, positive
from pushforward._parts import replaced
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import fold_keys
from pushforward.bijections.combinators import shared_condition
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.closed_form import AbstractClosedForm, closed_forms
from pushforward.distributions.compound import AbstractCompound, Step, own


class Mixture(AbstractCompound, AbstractClosedForm):
    r"""The mixture $p(x) = \sum_k w_k\, p_k(x)$, in logs throughout, with trained weights and components.

    Args:
        components: One distribution or more over events of the same shape: normals, flows, mixtures.
        weights: Positive numbers, one per component, normalised here; None weighs all equally.

    Cost: scoring evaluates every component; sampling draws from every component and keeps one.

    Raises:
        ValueError: There is no component, shapes differ, or weights do not fit.

    Example:
        >>> import jax, pushforward as pf
        >>> pair = pf.Mixture([pf.DiagonalNormal([-2.0], [1.0]), pf.DiagonalNormal([2.0], [0.5])], weights=[0.3, 0.7])
        >>> pair.sample(jax.random.key(0), 5).shape
        (5, 1)
    """

    components: tuple[AbstractDistribution, ...]
    logits: Array
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, components: Sequence[AbstractDistribution], weights: Any = None):
        self.components = tuple(components)
        if not self.components:
            raise ValueError(message("Mixture", "one component or more", "none", "Give a list of distributions."))
        shapes = {c.event_shape for c in self.components}
        if len(shapes) > 1:
            fix = "All components are over the same events; parts of an event are a Joint."
            raise ValueError(message("Mixture", "one event shape", f"{sorted(shapes)}", fix))
        n = len(self.components)
        values = jnp.ones(n) if weights is None else as_floats(weights)
        fix = "Leave out a component instead of giving it the weight 0."
        if values.shape != (n,):
            raise ValueError(message("Mixture", f"{n} weights, one per component", f"shape {values.shape}", fix))
        check_values("Mixture", f"{n} finite weights > 0", positive, fix, values)
        self.logits = jnp.log(values / values.sum())
        self.event_shape = shapes.pop()
        self.cond_shape = shared_condition("Mixture", [c.cond_shape for c in self.components])
        self.needs_key = any(c.needs_key for c in self.components)

    def with_members(self, members: tuple[Any, ...]) -> Mixture:
        return replaced(self, components=members, needs_key=any(member.needs_key for member in members))

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        scored = [step(c, x, condition, fold_keys(keys, n), False) for n, c in enumerate(self.components)]
        log_probs = jnp.stack([log_prob for _, log_prob, _ in scored])
        log_prob = jax.nn.logsumexp(jax.nn.log_softmax(self.logits)[:, None] + log_probs, axis=0)
        return log_prob, tuple(extra for _, _, extra in scored)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        choice = jax.vmap(lambda key: jax.random.categorical(key, self.logits))(keys)
        x = jnp.zeros((*self.event_shape, keys.shape[0]))
        for n, c in enumerate(self.components):
            draws = c.sample_rows(jax.vmap(jax.random.fold_in, in_axes=(0, None))(keys, n), own(c, condition))
            x = jnp.where(choice == n, draws, x)
        return x

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        x = self.sample_rows(keys, condition)
        return x, self.log_prob_rows(x, condition, fold_keys(keys, len(self.components)) if self.needs_key else None)

    def _parts(self) -> tuple[list[AbstractClosedForm], Array]:
        """The components, and their weights with an axis for them alone."""
        return closed_forms("Mixture", self.components), jax.nn.softmax(self.logits)

    def mean_rows(self, condition: Array | None) -> Array:
        components, weights = self._parts()
        return _weighted(weights, [c.mean_rows(own(c, condition)) for c in components])

    def variance_rows(self, condition: Array | None) -> Array:
        components, weights = self._parts()
        means = [c.mean_rows(own(c, condition)) for c in components]
        mean = _weighted(weights, means)
        within = [c.variance_rows(own(c, condition)) for c in components]
        return _weighted(weights, [v + (m - mean) ** 2 for v, m in zip(within, means, strict=True)])

    def entropy_rows(self, condition: Array | None) -> Array:
        fix = "Estimate it: -model.sample_and_log_prob(key, 10_000)[1].mean()."
        raise NotImplementedError(message("Mixture.entropy", "a distribution with a closed form", "a mixture", fix))

    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        components, weights = self._parts()
        return _weighted(weights, [c.cdf_rows(x, own(c, condition)) for c in components])

    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        fix = "Solve cdf(x) = p with pushforward.numerics.root.solve_increasing, or take quantiles of samples."
        raise NotImplementedError(message("Mixture.quantile", "a distribution with a closed form", "a mixture", fix))


def _weighted(weights: Array, values: list[Array]) -> Array:
    return functools.reduce(operator.add, [w * value for w, value in zip(weights, values, strict=True)])
