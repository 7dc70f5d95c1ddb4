"""Shared aliases, the static facts about a bijection, and the marker for arrays that no optimiser may touch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, PRNGKeyArray, PyTree

__all__ = [
    "Array",
    "Cost",
    "Exactness",
    "Fixed",
    "PRNGKeyArray",
    "PyTree",
    "Shape",
    "Traits",
    "combine",
    "is_array",
    "trainable",
]

Shape = tuple[int, ...]
Cost = Literal["parallel", "sequential", "iterative", "absent"]
Exactness = Literal["exact", "unbiased", "biased"]
Tree = TypeVar("Tree")

# Costs and kinds of exactness from best to worst: a chain is as slow, and as inexact, as its worst member.
COST_ORDER: tuple[Cost, ...] = ("parallel", "sequential", "iterative", "absent")
EXACTNESS_ORDER: tuple[Exactness, ...] = ("exact", "unbiased", "biased")


@dataclass(frozen=True)
class Traits:
    """Static facts about a bijection, which the laws of `pushforward.testing` check.

    Args:
        forward: cost of `forward`: `"parallel"` is one pass, `"sequential"` one step per dimension, `"iterative"` a
            solver that runs to its tolerance, `"absent"` raises `NotImplementedError`.
        inverse: Cost of `inverse`, with the same values.
        log_det: `"exact"`, `"unbiased"` (random, right on average) or `"biased"`.
        needs_key: True iff the log-determinant is random, so that `key` must be given.
    """

    forward: Cost = "parallel"
    inverse: Cost = "parallel"
    log_det: Exactness = "exact"
    needs_key: bool = False

    def swapped(self) -> Traits:
        """The traits of the inverse map."""
        return Traits(self.inverse, self.forward, self.log_det, self.needs_key)

    @staticmethod
    def worst(*traits: Traits) -> Traits:
        """The traits of a composition."""
        return Traits(
            forward=COST_ORDER[max((COST_ORDER.index(t.forward) for t in traits), default=0)],
            inverse=COST_ORDER[max((COST_ORDER.index(t.inverse) for t in traits), default=0)],
            log_det=EXACTNESS_ORDER[max((EXACTNESS_ORDER.index(t.log_det) for t in traits), default=0)],
            needs_key=any(t.needs_key for t in traits),
        )


class Fixed(eqx.Module):
    """An array that belongs to the model but is not trained, such as a standardisation, a buffer or a bound.

    `trainable` leaves it out, so that it has no gradient and no weight decay; it is saved and loaded with the rest.
    """

    value: Array

    def __jax_array__(self) -> Array:
        return self.value


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array of JAX or of NumPy (which keeps float64 where JAX would not)."""
    return isinstance(leaf, jax.Array | np.ndarray)


def _is_fixed(node: Any) -> bool:
    return isinstance(node, Fixed)


def trainable(tree: Tree) -> tuple[Tree, Tree]:
    """Split a model into the trainable part and the rest; `combine` puts the two together again.

    The trainable part has the inexact arrays outside `Fixed`.

    Example:
        >>> import pushforward as pf, jax
        >>> flow = pf.flows.maf(jax.random.key(0), dim=2)
        >>> params, rest = pf.trainable(flow)
    """

    def mask(node: Any) -> Any:
        if _is_fixed(node):
            return jax.tree.map(lambda _: False, node)
        return eqx.is_inexact_array(node)

    return eqx.partition(tree, jax.tree.map(mask, tree, is_leaf=_is_fixed))


combine = eqx.combine
