"""Lifting a bijection to a part of an event, to many rows, or to an embedded condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_condition, check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits, is_array
from pushforward.bijections.base import AbstractBijection, AbstractTwoWayBijection, run_batch
from pushforward.bijections.combinators import Chain, Invert


class Partial(AbstractTwoWayBijection):
    """A bijection on a part of a vector; the other coordinates pass unchanged.

    Args:
        bijection: a map of vectors of as many elements as `indices`.
        indices: which coordinates, without repetition.
        dim: length of the whole vector.

    Raises:
        ValueError: indices repeat or lie outside, or their number does not fit the bijection.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> b = pf.Partial(pf.Affine(loc=1.0, scale=2.0, shape=(1,)), [2], dim=3)
        >>> b.forward(jnp.zeros(3)).tolist()
        [0.0, 0.0, 1.0]
    """

    bijection: AbstractBijection
    indices: tuple[int, ...] = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection, indices: Sequence[int], *, dim: int):
        self.indices = tuple(int(i) for i in indices)
        dim = check_int("Partial", "dim", dim, 1)
        if len(set(self.indices)) != len(self.indices) or not all(0 <= i < dim for i in self.indices):
            fix = "Name each coordinate once."
            raise ValueError(message("Partial", f"different indices from 0 to {dim - 1}", str(self.indices), fix))
        shape = (len(self.indices),)
        if bijection.in_shape != shape or bijection.out_shape != shape:
            fix = "Give as many indices as the bijection has elements."
            got = f"{type(bijection).__name__} of {bijection.in_shape}"
            raise ValueError(message("Partial", f"a bijection of shape {shape}", got, fix))
        self.bijection = bijection
        self.in_shape = self.out_shape = (dim,)
        self.cond_shape, self.traits = bijection.cond_shape, bijection.traits

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        indices = np.array(self.indices)
        part, log_det = run_batch(self.bijection, value[indices], condition, keys, forward)
        dtype = jnp.result_type(value, part)
        return value.astype(dtype).at[indices].set(part.astype(dtype), unique_indices=True), log_det


class Vmap(AbstractTwoWayBijection):
    """The same kind of bijection on each row of an event `(n, *shape)`; log-determinants add up.

    Args:
        bijection: of one row. With `shared=False` each of its arrays has a first axis of `n`, one slice per row, as
            `eqx.filter_vmap` of a constructor makes them.
        n: number of rows.
        shared: True if all rows use the same parameters.

    Raises:
        ValueError: `shared=False` and an array lacks the first axis.
    """

    bijection: AbstractBijection
    n: int = eqx.field(static=True)
    shared: bool = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection, n: int, *, shared: bool = False):
        self.n, self.shared, self.bijection = check_int("Vmap", "n", n, 1), bool(shared), bijection
        if not shared:
            for leaf in jax.tree.leaves(eqx.filter(bijection, is_array)):
                if jnp.shape(leaf)[:1] != (n,):
                    fix = "Build it with eqx.filter_vmap(make)(keys), or pass shared=True."
                    raise ValueError(message("Vmap", f"arrays with a first axis of {n}", f"{jnp.shape(leaf)}", fix))
        self.in_shape, self.out_shape = (n, *bijection.in_shape), (n, *bijection.out_shape)
        self.cond_shape, self.traits = bijection.cond_shape, bijection.traits

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        arrays, static = eqx.partition(self.bijection, is_array)

        def row(own: Any, part: Array, row_keys: PRNGKeyArray | None) -> tuple[Array, Array]:
            return run_batch(eqx.combine(own, static), part, condition, row_keys, forward)

        row_keys = None if keys is None else jax.vmap(lambda key: jax.random.split(key, self.n), out_axes=1)(keys)
        axes = (None if self.shared else 0, 0, None if keys is None else 0)
        out, log_dets = jax.vmap(row, in_axes=axes)(arrays, value, row_keys)
        return out, jnp.sum(log_dets, axis=0)


class EmbedCondition(AbstractTwoWayBijection):
    r"""$f(x; e(c))$: a network $e$ turns the raw condition into the one that the bijection sees.

    Args:
        bijection: a conditional bijection.
        net: a callable (an `eqx.Module` to be trained along) from **one** raw condition to one embedded condition; for
            vectors an `MLP` or `ResidualMLP`.
        cond_shape: shape of the raw condition.

    Raises:
        ValueError: the bijection is unconditional.
    """

    bijection: AbstractBijection
    net: Callable[[Array], Array]
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection, net: Callable[[Array], Array], cond_shape: Shape):
        if bijection.cond_shape is None:
            fix = "Build it with condition_dim=, the length of the embedding."
            got = f"{type(bijection).__name__}, which is unconditional"
            raise ValueError(message("EmbedCondition", "a conditional bijection", got, fix))
        self.bijection, self.net, self.cond_shape = bijection, net, tuple(cond_shape)
        self.in_shape, self.out_shape, self.traits = bijection.in_shape, bijection.out_shape, bijection.traits

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        # check_condition has seen to it that a condition is there.
        embedded = jax.vmap(self.embed, in_axes=-1, out_axes=-1)(condition)
        return run_batch(self.bijection, value, embedded, keys, forward)

    def embed(self, condition: Array | None) -> Array:
        """The embedded condition.

        Raises:
            ValueError: the condition is missing or does not fit, or the network returns another shape than promised.
        """
        check_condition("EmbedCondition", condition, self.cond_shape)
        embedded = self.net(condition)  # pyright: ignore[reportArgumentType] - checked just above
        check_condition("EmbedCondition: the network's output", embedded, self.bijection.cond_shape)
        return embedded


class WithCondition(AbstractTwoWayBijection):
    """A conditional bijection at one fixed condition: unconditional. `Flow.given` makes it.

    Args:
        bijection: a conditional bijection.
        condition: one condition of its `cond_shape`.
    """

    bijection: AbstractBijection
    condition: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection, condition: Array):
        check_condition("WithCondition", condition, bijection.cond_shape)
        self.bijection, self.condition, self.cond_shape = bijection, jnp.asarray(condition), None
        self.in_shape, self.out_shape, self.traits = bijection.in_shape, bijection.out_shape, bijection.traits

    @staticmethod
    def fix(bijection: AbstractBijection, condition: Array) -> AbstractBijection:
        """Fix the condition, embedding it now and once where an `EmbedCondition` stands outermost or in a chain."""
        if bijection.cond_shape is None:
            return bijection
        if isinstance(bijection, EmbedCondition):
            return WithCondition.fix(bijection.bijection, bijection.embed(condition))
        if isinstance(bijection, Invert):
            return Invert(WithCondition.fix(bijection.bijection, condition))
        if isinstance(bijection, Chain):
            return Chain([WithCondition.fix(member, condition) for member in bijection.bijections])
        return WithCondition(bijection, condition)

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        fixed = jnp.broadcast_to(self.condition[..., None], (*self.condition.shape, value.shape[-1]))
        return run_batch(self.bijection, value, fixed, keys, forward)
