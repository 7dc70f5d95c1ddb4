"""Products of distributions over parts of an event."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import fold_keys
from pushforward.bijections.combinators import shared_condition
from pushforward.distributions.base import AbstractDistribution
from pushforward.distributions.closed_form import AbstractClosedForm, closed_forms
from pushforward.distributions.compound import AbstractCompound, Step, own


class Joint(AbstractCompound, AbstractClosedForm):
    r"""The product $p(x) = \prod_k p_k(x_{I_k})$ of distributions over independent parts of a vector.

    Args:
        parts: One distribution or more: normals, flows, mixtures, discrete ones. An event that is no vector is
            flattened; all conditional parts see the same condition.
        indices: Places of the vector that belong to each part, in the order of the part's own event; each place occurs
            once. None puts the parts one after the other.

    Cost: the sum over the parts, for each method. Moments and distribution functions exist where all parts have them.

    Raises:
        ValueError: There is no part, the conditions differ, or the indices are not each place once.

    Example:
        >>> import jax, pushforward as pf
        >>> joint = pf.Joint([pf.StandardNormal((2,)), pf.UniformBox([0.0], [1.0])], indices=[[0, 2], [1]])
        >>> joint.sample(jax.random.key(0), 5).shape, joint.mean().tolist()
        ((5, 3), [0.0, 0.5, 0.0])
    """

    parts: tuple[AbstractDistribution, ...]
    indices: tuple[tuple[int, ...], ...] = eqx.field(static=True)
    event_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    needs_key: bool = eqx.field(static=True)

    def __init__(self, parts: Sequence[AbstractDistribution], indices: Sequence[Sequence[int]] | None = None):
        self.parts = tuple(parts)
        if not self.parts:
            raise ValueError(message("Joint", "one part or more", "none", "Give a list of distributions."))
        sizes = [math.prod(part.event_shape) for part in self.parts]
        dim = sum(sizes)
        taken = np.split(np.arange(dim), np.cumsum(sizes)[:-1]) if indices is None else indices
        self.indices = tuple(tuple(int(place) for place in places) for places in taken)
        if [len(places) for places in self.indices] != sizes:
            got = f"{[len(places) for places in self.indices]}"
            raise ValueError(message("Joint", f"{sizes} indices for the parts", got, "Give each number its place."))
        if sorted(place for places in self.indices for place in places) != list(range(dim)):
            fix = "The parts share no place and leave none out."
            raise ValueError(message("Joint", f"each place from 0 to {dim - 1} once", f"{self.indices}", fix))
        self.event_shape, self.cond_shape = (dim,), shared_condition("Joint", [part.cond_shape for part in self.parts])
        self.needs_key = any(part.needs_key for part in self.parts)

    def _take(self, x: Array, n: int) -> Array:
        """The event of part `n`, out of rows `(dim, n_rows)`."""
        return x[np.array(self.indices[n], int)].reshape(*self.parts[n].event_shape, x.shape[-1])

    def _put(self, values: Sequence[Array]) -> Array:
        """The events of the parts, each in its places."""
        n_rows = max(value.shape[-1] for value in values)
        flat = [jnp.broadcast_to(v.reshape(-1, v.shape[-1]), (math.prod(v.shape[:-1]), n_rows)) for v in values]
        return jnp.concatenate(flat)[np.argsort([place for places in self.indices for place in places])]

    def with_members(self, members: tuple[Any, ...]) -> Joint:
        return Joint(members, self.indices)

    def score_with(
        self, step: Step, x: Array, condition: Array | None, keys: PRNGKeyArray | None
    ) -> tuple[Array, tuple[Any, ...]]:
        scored = [
            step(part, self._take(x, n), condition, fold_keys(keys, n), False) for n, part in enumerate(self.parts)
        ]
        return _total(log_prob for _, log_prob, _ in scored), tuple(extra for _, _, extra in scored)

    def sample_rows(self, keys: PRNGKeyArray, condition: Array | None) -> Array:
        fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
        return self._put([part.sample_rows(fold(keys, n), own(part, condition)) for n, part in enumerate(self.parts)])

    def sample_and_log_prob_rows(self, keys: PRNGKeyArray, condition: Array | None) -> tuple[Array, Array]:
        fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
        drawn = [
            part.sample_and_log_prob_rows(fold(keys, n), own(part, condition)) for n, part in enumerate(self.parts)
        ]
        return self._put([x for x, _ in drawn]), _total(log_prob for _, log_prob in drawn)

    def mean_rows(self, condition: Array | None) -> Array:
        return self._put([part.mean_rows(own(part, condition)) for part in closed_forms("Joint", self.parts)])

    def variance_rows(self, condition: Array | None) -> Array:
        return self._put([part.variance_rows(own(part, condition)) for part in closed_forms("Joint", self.parts)])

    def entropy_rows(self, condition: Array | None) -> Array:
        return _total(part.entropy_rows(own(part, condition)) for part in closed_forms("Joint", self.parts))

    def cdf_rows(self, x: Array, condition: Array | None) -> Array:
        parts = enumerate(closed_forms("Joint", self.parts))
        return self._put([part.cdf_rows(self._take(x, n), own(part, condition)) for n, part in parts])

    def quantile_rows(self, p: Array, condition: Array | None) -> Array:
        parts = enumerate(closed_forms("Joint", self.parts))
        return self._put([part.quantile_rows(self._take(p, n), own(part, condition)) for n, part in parts])


def _total(terms: Iterable[Array]) -> Array:
    return functools.reduce(operator.add, terms)
