"""Bijections side by side: each maps its own columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBijection, AbstractComposite, Step, fold_keys
from pushforward.bijections.combinators import shared_condition


class Concatenate(AbstractComposite):
    r"""$y = (f_1(x_1), \dots, f_m(x_m))$: each bijection maps its own slice of a vector; log-determinants add up.

    The slices follow each other in the order of the list. `Partial` maps any one group of columns and lets the others
    pass; `Vmap` runs the same kind of bijection on rows of the same length.

    Args:
        bijections: One or more bijections of vectors of any lengths, or of numbers, which take one column each. All
            see the same condition.

    Shapes:
        `(n,) -> (n,)` with `n` the sum of the lengths

    Cost: the sum of the members' costs; the log-det is as exact as that of the least exact member.

    Raises:
        ValueError: the list is empty, a member maps arrays, or the conditions differ.
        TypeError: a member is not a bijection.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> b = pf.bijections.Concatenate([pf.Affine(scale=2.0), pf.Reverse(2)])
        >>> b.forward(jnp.array([1.0, 2.0, 3.0])).tolist()
        [2.0, 3.0, 2.0]
    """

    bijections: tuple[AbstractBijection, ...]
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijections: Sequence[AbstractBijection]):
        members = tuple(bijections)
        if not members:
            raise ValueError(message("Concatenate", "one bijection or more", "none", "Pass one for each group."))
        for n, member in enumerate(members):
            if not isinstance(member, AbstractBijection):
                fix = "Concatenate([first, second]) takes bijections, in the order of their columns."
                raise TypeError(message(f"Concatenate: member {n}", "a bijection", type(member).__name__, fix))
            shapes = (member.in_shape, member.out_shape)
            if max(map(len, shapes)) > 1 or math.prod(member.in_shape) != math.prod(member.out_shape):
                fix = "For rows of the same kind use Vmap."
                got = f"{type(member).__name__} from {shapes[0]} to {shapes[1]}"
                raise ValueError(message(f"Concatenate: member {n}", "a map of vectors of one length", got, fix))
        self.bijections = members
        self.in_shape = self.out_shape = (sum(math.prod(member.in_shape) for member in members),)
        self.cond_shape = shared_condition("Concatenate", [member.cond_shape for member in members])
        self.traits = Traits.worst(*(member.traits for member in members))

    def with_members(self, members: tuple[AbstractBijection, ...]) -> Concatenate:
        return Concatenate(members)

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        parts, extras, start, rows = [], [], 0, value.shape[-1]
        total = jnp.zeros((rows,), value.dtype)
        for n, member in enumerate(self.bijections):
            end = start + math.prod(member.in_shape)
            part = value[start:end].reshape(*(member.in_shape if forward else member.out_shape), rows)
            out, log_det, extra = step(member, part, condition, fold_keys(keys, n), forward)
            parts.append(out.reshape(end - start, rows))
            extras.append(extra)
            total, start = total + log_det, end
        return jnp.concatenate(parts), total, tuple(extras)
