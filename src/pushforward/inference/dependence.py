"""Which numbers of an event each latent of a flow depends on, by the structure of its layers alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections import (
    AbstractBijection,
    AbstractComposite,
    AbstractFixedMap,
    ActNorm,
    Affine,
    Autoregressive,
    BlockAutoregressive,
    Coupling,
    Elementwise,
    GraphAutoregressive,
    Permutation,
    Reverse,
    Standardize,
    TriangularLinear,
)
from pushforward.bijections.base import AbstractBatchedBijection, along, run_batch
from pushforward.distributions import MultivariateNormal
from pushforward.numerics.triangular import solve_triangular

ELEMENTWISE = (AbstractFixedMap, ActNorm, Affine, Elementwise, Standardize)


class NormalFactor(AbstractBatchedBijection):
    """The map of a standard normal to the normal of full covariance."""

    normal: MultivariateNormal
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, normal: MultivariateNormal):
        self.normal, self.in_shape, self.out_shape = normal, normal.event_shape, normal.event_shape

    def _log_det(self, rows: Array, factor: Array) -> Array:
        return jnp.broadcast_to(jnp.sum(jnp.log(jnp.diagonal(factor))), rows.shape[-1:])

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        factor = self.normal.scale_tril()
        return along(self.normal.loc) + factor @ x, self._log_det(x, factor)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        factor = self.normal.scale_tril()
        return solve_triangular(factor, y - along(self.normal.loc), lower=True), -self._log_det(y, factor)


def dependence(bijection: AbstractBijection, forward: bool) -> np.ndarray:
    """Which inputs each output of a direction may depend on, booleans `(n_out, n_in)`.

    What is False is so whatever the weights are; what is True may be so. A layer whose structure is not known here
    counts as one in which every output depends on every input. Marks run through the model in place of numbers: row
    `j` of a batch carries a 1 where an event depends on its number `j`.

    Args:
        bijection: Any bijection; an event of other than one axis counts as the vector of its numbers.
        forward: The direction.
    """
    shape = bijection.in_shape if forward else bijection.out_shape
    dim = math.prod(shape)
    condition = None if bijection.cond_shape is None else jnp.zeros((*bijection.cond_shape, dim))
    marks = jnp.eye(dim).reshape(*shape, dim)
    return np.asarray(_marked(bijection, marks, condition, None, forward)[0]).reshape(dim, dim) > 0.5


def _marked(
    member: AbstractBijection, marks: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
) -> tuple[Array, Array, None]:
    """The step that carries marks through a member."""
    none = jnp.zeros(marks.shape[-1:], marks.dtype)
    if isinstance(member, AbstractComposite):
        return member.run_with(_marked, marks, condition, keys, forward)[0], none, None
    if isinstance(member, Permutation | Reverse):
        return run_batch(member, marks, None, None, forward)[0], none, None
    pattern = _pattern(member)
    own = pattern if forward else inverted(pattern)
    shape = member.out_shape if forward else member.in_shape
    seen = jnp.asarray(own, marks.dtype) @ marks.reshape(len(own), -1) > 0.5
    return seen.astype(marks.dtype).reshape(*shape, -1), none, None


def _pattern(bijection: AbstractBijection) -> np.ndarray:
    """The pattern of the forward direction of a layer that is not made of others."""
    dim = math.prod(bijection.in_shape)
    one, triangle = np.eye(dim, dtype=bool), np.tri(dim, dtype=bool)
    if isinstance(bijection, ELEMENTWISE):
        return one
    if isinstance(bijection, Autoregressive | BlockAutoregressive | NormalFactor):
        return triangle
    if isinstance(bijection, TriangularLinear):
        return triangle if bijection.lower else triangle.T
    if isinstance(bijection, GraphAutoregressive):
        return bijection.conditioner.graph.parents()[:, :dim] | one
    if isinstance(bijection, Coupling):
        split = np.array(bijection.split)
        return one | (split[:, None] & ~split[None, :])
    return np.ones((dim, dim), bool)


class Pairs(NamedTuple):
    """An order in which a map is triangular: output `outputs[k]` depends on `inputs[k]` and on those before it alone.

    Attributes:
        outputs: Places of the outputs, in the order.
        inputs: Places of the inputs, in the order.
    """

    outputs: tuple[int, ...]
    inputs: tuple[int, ...]


def pairs_of(pattern: np.ndarray) -> Pairs | None:
    """An order in which a pattern of dependence is triangular, or None if there is none."""
    left, outputs, inputs = pattern.copy(), [], []
    waiting = np.ones(len(pattern), bool)
    for _ in range(len(pattern)):
        ready = np.flatnonzero(waiting & (left.sum(axis=1) == 1))
        if not len(ready):
            return None
        output = int(ready[0])
        place = int(np.flatnonzero(left[output])[0])
        outputs.append(output)
        inputs.append(place)
        waiting[output] = False
        left[:, place] = False
    return Pairs(tuple(outputs), tuple(inputs))


def inverted(pattern: np.ndarray) -> np.ndarray:
    """The pattern of the inverse map: that of a triangular map follows from its order, else all depends on all."""
    pairs = pairs_of(pattern)
    if pairs is None:
        return np.ones_like(pattern)
    triangle = closure(pattern[np.ix_(pairs.outputs, pairs.inputs)])
    found = np.zeros_like(pattern)
    found[np.ix_(pairs.inputs, pairs.outputs)] = triangle
    return found


def closure(triangle: np.ndarray) -> np.ndarray:
    """The transitive closure of a lower triangular pattern with a full diagonal."""
    found = triangle | np.eye(len(triangle), dtype=bool)
    for _ in range(max(len(found) - 1, 1).bit_length()):
        found = found @ found
    return found
