"""Lifting a bijection to a part of an event, to many rows, or to an embedded condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_condition, check_int, message
from pushforward._parts import replaced
from pushforward._types import Array, PRNGKeyArray, Shape, Traits, is_array
from pushforward.bijections.base import AbstractBijection, AbstractComposite, Layout, Step
from pushforward.bijections.coupling import join, take


class Partial(AbstractComposite):
    """A bijection on some entries of the first axis of an event; the others pass unchanged.

    Of a vector these are coordinates. Of an image they are channels: layers after a `Partial` of half of the channels
    leave the other half alone, which multi-scale models call factored out.

    Args:
        bijection: A bijection that keeps the shape of its events, whose first axis is as long as `indices`.
        indices: Numbers of the entries to transform, without repetition.
        dim: Length of the first axis of the whole event.

    Raises:
        ValueError: indices repeat or lie out of bounds, or their number does not fit the bijection.

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
        shape = (len(self.indices), *bijection.in_shape[1:])
        if bijection.in_shape != shape or bijection.out_shape != shape:
            fix = "Give as many indices as the bijection has elements."
            got = f"{type(bijection).__name__} of {bijection.in_shape} to {bijection.out_shape}"
            raise ValueError(message("Partial", f"a bijection of shape {shape}", got, fix))
        self.bijection = bijection
        self.in_shape = self.out_shape = (dim, *shape[1:])
        self.cond_shape, self.traits = bijection.cond_shape, bijection.traits

    def with_members(self, members: tuple[AbstractBijection, ...]) -> Partial:
        return Partial(members[0], self.indices, dim=self.in_shape[0])

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        own = np.array(self.indices, int)
        others = np.setdiff1d(np.arange(self.in_shape[0]), own)
        part, log_det, extra = step(self.bijection, take(value, own), condition, keys, forward)
        rest = take(value, others).astype(jnp.result_type(value, part))
        return join([(own, part.astype(rest.dtype)), (others, rest)]), log_det, (extra,)


class Vmap(AbstractComposite):
    """The same kind of bijection on each row of an event `(n, *shape)`; log-determinants add up.

    Args:
        bijection: A bijection of one row. Its arrays hold the parameters of all rows along an axis of length `n`, as
            `eqx.filter_vmap` of a constructor makes them, or parameters that all rows share.
        n: Number of rows.
        in_axes: The axis of the rows in each array, None for an array that all rows share: one choice for all arrays,
            a pytree prefix of the bijection, or a function of an array, as for `eqx.filter_vmap`. The arrays are kept
            with that axis first.
        cond_axis: The axis of the condition along which each row has its own condition, so that `cond_shape` is
            `(n, *shape)` for 0; None if all rows see the same condition.

    Raises:
        ValueError: an axis of an array does not have length `n`, or `cond_axis` is given without a condition.

    Example:
        >>> import equinox as eqx, jax, pushforward as pf
        >>> rows = pf.Vmap(eqx.filter_vmap(lambda key: pf.LULinear(key, 2))(jax.random.split(jax.random.key(0), 3)), 3)
        >>> same = pf.Vmap(pf.LULinear(jax.random.key(0), 2), 3, in_axes=None)
        >>> rows.in_shape, same.in_shape
        ((3, 2), (3, 2))
    """

    bijection: AbstractBijection
    n: int = eqx.field(static=True)
    of_rows: tuple[bool, ...] = eqx.field(static=True)
    cond_axis: int | None = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection, n: int, *, in_axes: Any = 0, cond_axis: int | None = None):
        self.n, self.cond_axis = check_int("Vmap", "n", n, 1), cond_axis
        arrays, static = eqx.partition(bijection, is_array)
        leaves, tree = jax.tree.flatten(arrays)
        axes = _axes_of_leaves(in_axes, arrays)
        for leaf, axis in zip(leaves, axes, strict=True):
            if axis is not None and (not -leaf.ndim <= axis < leaf.ndim or leaf.shape[axis] != n):
                fix = "Build it with eqx.filter_vmap(make)(keys), or pass in_axes=None if all rows share its arrays."
                where = "a first axis" if axis == 0 else f"axis {axis}"
                raise ValueError(message("Vmap", f"arrays with {where} of {n}", f"{leaf.shape}", fix))
        kept = [leaf if not axis else _moved(leaf, axis, 0) for leaf, axis in zip(leaves, axes, strict=True)]
        self.of_rows = tuple(axis is not None for axis in axes)
        self.bijection = eqx.combine(jax.tree.unflatten(tree, kept), static)
        self.in_shape, self.out_shape = (n, *bijection.in_shape), (n, *bijection.out_shape)
        self.cond_shape, self.traits = bijection.cond_shape, bijection.traits
        if cond_axis is not None:
            if bijection.cond_shape is None or not 0 <= cond_axis <= len(bijection.cond_shape):
                fix = "Leave cond_axis out, or give the bijection a condition."
                expected = "cond_axis among the axes of a condition"
                raise ValueError(message("Vmap", expected, f"{cond_axis} for {bijection.cond_shape}", fix))
            self.cond_shape = (*bijection.cond_shape[:cond_axis], n, *bijection.cond_shape[cond_axis:])

    @property
    def layout(self) -> Layout:
        return Layout(stacked=self.n if any(self.of_rows) else None)

    def with_members(self, members: tuple[AbstractBijection, ...]) -> Vmap:
        old, new = (jax.tree.leaves(eqx.filter(member, is_array)) for member in (self.bijection, members[0]))
        of_rows = self.of_rows
        if len(new) != len(old):
            # Old arrays are shared as before; new arrays have an axis of rows if any other array has one.
            shared = {id(leaf) for leaf, own in zip(old, self.of_rows, strict=True) if not own}
            of_rows = tuple(any(self.of_rows) and id(leaf) not in shared for leaf in new)
        # The constructor's check would fail here: in a stack of these the first axis is that of the stack.
        return replaced(self, bijection=members[0], of_rows=of_rows, traits=members[0].traits)

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        axis = None if condition is None else self.cond_axis
        if not any(self.of_rows):
            # One bijection serves all rows, which it sees as further events.
            batch = value.shape[-1]
            if axis is None:
                given = repeated(condition, self.n)
            else:
                given = jnp.moveaxis(condition, axis, -2)  # pyright: ignore[reportArgumentType] - there is an axis
                given = given.reshape(*given.shape[:-2], -1)
            flat = jnp.moveaxis(value, 0, -2)
            flat = flat.reshape(*flat.shape[:-2], -1)
            out, log_dets, extra = step(self.bijection, flat, given, split_keys(keys, self.n), forward)
            out = jnp.moveaxis(out.reshape(*out.shape[:-1], self.n, batch), -2, 0)
            return out, jnp.sum(log_dets.reshape(self.n, batch), axis=0), (extra,)
        arrays, static = eqx.partition(self.bijection, is_array)
        leaves, tree = jax.tree.flatten(arrays)

        def row(own: list, part: Array, given: Array | None, row_keys: PRNGKeyArray | None) -> tuple[Array, Array, Any]:
            return step(eqx.combine(jax.tree.unflatten(tree, own), static), part, given, row_keys, forward)

        row_keys: Any = split_keys(keys, self.n)
        row_keys = None if keys is None else row_keys.reshape(self.n, -1)
        axes = ([0 if own else None for own in self.of_rows], 0, axis, None if keys is None else 0)
        out, log_dets, extra = jax.vmap(row, in_axes=axes)(leaves, value, condition, row_keys)
        return out, jnp.sum(log_dets, axis=0), (extra,)


def _moved(array: Any, source: int, target: int) -> Any:
    """The array with an axis moved, by the library that the array comes from."""
    return (np if isinstance(array, np.ndarray) else jnp).moveaxis(array, source, target)


def _axes_of_leaves(in_axes: Any, arrays: Any) -> list[Any]:
    """One axis, or None, for each array of a tree, from a pytree prefix of axes and of functions of an array."""
    axes: list[Any] = []

    def below(axis: Any, tree: Any) -> None:
        for leaf in jax.tree.leaves(tree):
            axes.append(axis(leaf) if callable(axis) else axis)

    jax.tree.map(below, in_axes, arrays, is_leaf=lambda node: node is None or callable(node))
    return axes


def split_keys(keys: PRNGKeyArray | None, n: int) -> PRNGKeyArray | None:
    """Split each of `rows` keys into `n`, as keys `(n * rows,)` with those of the first draw first."""
    return None if keys is None else jax.vmap(lambda key: jax.random.split(key, n), out_axes=1)(keys).reshape(-1)


def repeated(condition: Array | None, n: int) -> Array | None:
    """Conditions `(*cond, rows)` repeated `n` times, as `(*cond, n * rows)`."""
    if condition is None:
        return None
    shape = condition.shape
    return jnp.broadcast_to(condition[..., None, :], (*shape[:-1], n, shape[-1])).reshape(*shape[:-1], -1)


class EmbedCondition(AbstractComposite):
    r"""$f(x; e(c))$: a network $e$ turns the raw condition into the one that the bijection sees.

    Args:
        bijection: A conditional bijection.
        net: A callable from **one** raw condition to one embedded condition, such as an `MLP` for vectors. If it is
            an `eqx.Module`, it is trained with the bijection.
        cond_shape: Shape of the raw condition.

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

    def with_members(self, members: tuple[AbstractBijection, ...]) -> AbstractBijection:
        # A bijection without a condition needs no embedding.
        inner = members[0]
        return inner if inner.cond_shape is None else EmbedCondition(inner, self.net, self.cond_shape or ())

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        # check_condition has made sure that there is a condition.
        embedded = jax.vmap(self.embed, in_axes=-1, out_axes=-1)(condition)
        value, log_det, extra = step(self.bijection, value, embedded, keys, forward)
        return value, log_det, (extra,)

    def embed(self, condition: Array | None) -> Array:
        """The embedded condition.

        Raises:
            ValueError: the condition is missing or does not fit, or the network returns another shape than promised.
        """
        raw: Any = check_condition("EmbedCondition", condition, self.cond_shape)
        embedded: Any = check_condition(
            "EmbedCondition: the network's output", self.net(raw), self.bijection.cond_shape
        )
        return embedded


class WithCondition(AbstractComposite):
    """A conditional bijection at one fixed condition, which makes it unconditional; `Flow.given` builds it.

    Args:
        bijection: A conditional bijection.
        condition: One condition of its `cond_shape`.
    """

    bijection: AbstractBijection
    condition: Array
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection, condition: Array):
        given: Any = check_condition("WithCondition", condition, bijection.cond_shape)
        self.bijection, self.condition, self.cond_shape = bijection, given, None
        self.in_shape, self.out_shape, self.traits = bijection.in_shape, bijection.out_shape, bijection.traits

    @staticmethod
    def fix(bijection: AbstractBijection, condition: Array) -> AbstractBijection:
        """Fix the condition; an `EmbedCondition` that is outermost or in a composite embeds it once, now."""
        if bijection.cond_shape is None:
            return bijection
        if not isinstance(bijection, AbstractComposite) or bijection.layout.stacked is not None:
            return WithCondition(bijection, condition)

        def see(
            member: AbstractBijection, value: Array, given: Array | None, keys: PRNGKeyArray | None, forward: bool
        ) -> tuple[Array, Array, Array | None]:
            shape = member.out_shape if forward else member.in_shape
            return jnp.zeros((*shape, value.shape[-1])), jnp.zeros(value.shape[-1:]), given

        # The composite itself decides which condition each of its members sees.
        condition = jnp.asarray(condition)
        _, _, seen = bijection.run_with(see, jnp.zeros((*bijection.in_shape, 1)), condition[..., None], None, True)
        if any(given is None or given.shape[-1] > 1 for given in seen):
            return WithCondition(bijection, condition)
        fixed = [
            WithCondition.fix(member, given[..., 0]) for member, given in zip(bijection.members, seen, strict=True)
        ]
        return bijection.with_members(tuple(fixed))

    def with_members(self, members: tuple[AbstractBijection, ...]) -> AbstractBijection:
        return members[0] if members[0].cond_shape is None else WithCondition(members[0], self.condition)

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        fixed = jnp.broadcast_to(self.condition[..., None], (*self.condition.shape, value.shape[-1]))
        value, log_det, extra = step(self.bijection, value, fixed, keys, forward)
        return value, log_det, (extra,)
