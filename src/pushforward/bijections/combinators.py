"""Composition: Chain, Invert, and Scan for identical layers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, TypeVar, get_args, overload

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._meshes import scan
from pushforward._parts import replaced, rewritten, unstacked
from pushforward._types import Array, PRNGKeyArray, Shape, Traits, is_array
from pushforward.bijections.base import AbstractBijection, AbstractComposite, Layout, Step, fold_keys, run_member
from pushforward.bijections.reversible import run_reversibly

Memory = Literal["stored", "reversible"]
Tree = TypeVar("Tree")


def shared_condition(name: str, shapes: Sequence[Shape | None]) -> Shape | None:
    """The shape of the condition that several bijections share; None if all are unconditional.

    Raises:
        ValueError: the bijections expect conditions of different shapes.
    """
    distinct = {shape for shape in shapes if shape is not None}
    if len(distinct) > 1:
        fix = "All bijections see the same condition; wrap those that differ in EmbedCondition."
        raise ValueError(message(name, "one shape of condition", " and ".join(map(str, sorted(distinct))), fix))
    return distinct.pop() if distinct else None


class Chain(AbstractComposite):
    r"""The composition $f = f_n \circ \dots \circ f_1$ of bijections, listed in the order in which they run forward.

    Log-determinants add up. A chain has a length, can be iterated, and takes an index or a slice; a slice is a `Chain`.

    Args:
        bijections: One or more bijections, each of which takes events of the shape that the one before gives.

    Raises:
        ValueError: the list is empty, or shapes or conditions do not fit.
        TypeError: a member is not a bijection.

    Example:
        >>> import pushforward as pf
        >>> chain = pf.Chain([pf.Affine(loc=0.0, scale=2.0, shape=(3,)), pf.Reverse(3)])
        >>> chain.out_shape, len(chain), type(chain[1]).__name__, len(chain[:1])
        ((3,), 2, 'Reverse', 1)
    """

    bijections: tuple[AbstractBijection, ...]
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijections: Sequence[AbstractBijection]):
        members = tuple(bijections)
        if not members:
            raise ValueError(message("Chain", "one bijection or more", "none", "Leave the Chain out instead."))
        for n, member in enumerate(members):
            if not isinstance(member, AbstractBijection):
                fix = "Chain([first, second]) takes bijections, in the order in which they run."
                raise TypeError(message(f"Chain: layer {n}", "a bijection", type(member).__name__, fix))
        for n, (one, two) in enumerate(itertools.pairwise(members)):
            if one.out_shape != two.in_shape:
                raise ValueError(
                    f"Chain: layer {n} ({type(one).__name__}) gives events of shape {one.out_shape} but layer {n + 1} "
                    f"({type(two).__name__}) expects {two.in_shape}. Build layer {n + 1} for {one.out_shape}."
                )
        self.bijections = members
        self.in_shape, self.out_shape = members[0].in_shape, members[-1].out_shape
        self.cond_shape = shared_condition("Chain", [member.cond_shape for member in members])
        self.traits = Traits.worst(*(member.traits for member in members))

    def __len__(self) -> int:
        return len(self.bijections)

    def __iter__(self) -> Iterator[AbstractBijection]:
        return iter(self.bijections)

    @overload
    def __getitem__(self, place: int) -> AbstractBijection: ...

    @overload
    def __getitem__(self, place: slice) -> Chain: ...

    def __getitem__(self, place: int | slice) -> AbstractBijection:
        return Chain(self.bijections[place]) if isinstance(place, slice) else self.bijections[place]

    @property
    def layout(self) -> Layout:
        return Layout(in_turn=True)

    def with_members(self, members: tuple[AbstractBijection, ...]) -> Chain:
        return Chain(members)

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        total, extras = jnp.zeros(value.shape[-1:], value.dtype), {}
        order = range(len(self.bijections))
        for n in order if forward else reversed(order):
            value, log_det, extras[n] = step(self.bijections[n], value, condition, fold_keys(keys, n), forward)
            total = total + log_det
        return value, total, tuple(extras[n] for n in order)


class Invert(AbstractComposite):
    """The inverse map: forward and inverse change places.

    Args:
        bijection: The bijection to invert.
    """

    bijection: AbstractBijection
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection):
        self.bijection = bijection
        self.in_shape, self.out_shape = bijection.out_shape, bijection.in_shape
        self.cond_shape, self.traits = bijection.cond_shape, bijection.traits.swapped()

    @property
    def layout(self) -> Layout:
        return Layout(in_turn=True, inverted=True)

    def with_members(self, members: tuple[AbstractBijection, ...]) -> Invert:
        return Invert(*members)

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        value, log_det, extra = step(self.bijection, value, condition, keys, not forward)
        return value, log_det, (extra,)


class Scan(AbstractComposite):
    """Layers of the same kind, one after the other, with their parameters stacked along a new first axis.

    The layers run under `jax.lax.scan`, so that the time to compile does not grow with their number.

    With `memory="reversible"` the gradient recomputes the input of each layer from its output, by the layer's other
    direction. The memory of a training step then does not grow with the number of layers. Its time grows by the time of
    the other direction, which should be parallel too (as in couplings), and the gradient has the rounding error of the
    round trips.

    Args:
        layer: A bijection whose every array has a first axis of `n_layers`; `Scan.of` builds it.
        n_layers: Number of layers.
        memory: Whether the activations of every layer are kept for the gradient (`"stored"`) or recomputed
            (`"reversible"`).

    Raises:
        ValueError: an array lacks the axis, the layer changes the shape of the event, `memory` is another word, or
            `"reversible"` and one direction is absent.

    Example:
        >>> import jax, pushforward as pf
        >>> scan = pf.Scan.of(lambda key: pf.LULinear(key, 3), jax.random.key(0), n_layers=4)
        >>> scan.forward(jax.numpy.ones(3)).shape
        (3,)
    """

    layer: AbstractBijection
    n_layers: int = eqx.field(static=True)
    memory: Memory = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, layer: AbstractBijection, n_layers: int, *, memory: Memory = "stored"):
        _check_memory(memory, layer)
        if layer.in_shape != layer.out_shape:
            fix = "Put layers that change the shape into a Chain."
            raise ValueError(message("Scan", f"a layer that keeps {layer.in_shape}", f"{layer.out_shape}", fix))
        for leaf in jax.tree.leaves(eqx.filter(layer, is_array)):
            if jnp.shape(leaf)[:1] != (n_layers,):
                fix = "Build the layers with Scan.of(make, key, n_layers=...)."
                got = f"an array of shape {jnp.shape(leaf)}"
                raise ValueError(message("Scan", f"arrays with a first axis of {n_layers}", got, fix))
        self.layer, self.n_layers, self.memory = layer, n_layers, memory
        self.in_shape, self.out_shape = layer.in_shape, layer.out_shape
        self.cond_shape, self.traits = layer.cond_shape, layer.traits

    @staticmethod
    def of(
        make: Callable[[PRNGKeyArray], AbstractBijection],
        key: PRNGKeyArray,
        *,
        n_layers: int,
        memory: Memory = "stored",
    ) -> Scan:
        """Build `n_layers` layers with `make`, each from its own key."""
        return Scan(eqx.filter_vmap(make)(jax.random.split(key, n_layers)), n_layers, memory=memory)

    @property
    def layout(self) -> Layout:
        return Layout(in_turn=True, stacked=self.n_layers)

    def with_members(self, members: tuple[AbstractBijection, ...]) -> Scan:
        # The constructor's check would fail here: in a stack of scans the first axis is that of the stack.
        layer = members[0]
        return replaced(self, layer=layer, cond_shape=layer.cond_shape, traits=layer.traits)

    def layers(self) -> list[AbstractBijection]:
        """The layers one by one, in the order in which they run forward."""
        return unstacked(self.layer, self.n_layers)

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        arrays, static = eqx.partition(self.layer, is_array)
        inexact = [leaf.dtype for leaf in jax.tree.leaves(arrays) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        dtype = jnp.result_type(value, *inexact)
        # The step of a visitor is not made reversible: it may return more than values, and is not trained through.
        if self.memory == "reversible" and step is run_member:
            own, rest = eqx.partition(self.layer, eqx.is_inexact_array)
            differentiable = (own, value.astype(dtype), condition)
            return *run_reversibly(differentiable, rest, keys, self.n_layers, forward), (None,)

        def layer(carry: tuple[Array, Array], inputs: tuple) -> tuple[tuple[Array, Array], Any]:
            own, n = inputs
            out, log_det, extra = step(eqx.combine(own, static), carry[0], condition, fold_keys(keys, n), forward)
            return (out.astype(dtype), (carry[1] + log_det).astype(dtype)), extra

        start = (value.astype(dtype), jnp.zeros(value.shape[-1:], dtype))
        (out, total), extra = scan(layer, start, (arrays, jnp.arange(self.n_layers)), reverse=not forward)
        return out, total, (extra,)


def with_memory(model: Tree, memory: Memory) -> Tree:
    """The same model with every `Scan` in it set to keep its activations, or to recompute them.

    Args:
        model: A flow, a bijection, or any tree of them.
        memory: `"stored"` or `"reversible"`, as in `Scan`.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=4)
        >>> pf.bijections.with_memory(flow, "reversible").bijection.memory
        'reversible'
    """

    def change(part: Any) -> Any:
        if type(part) is not Scan or part.memory == memory:
            return part
        _check_memory(memory, part.layer)
        return replaced(part, memory=memory)

    return rewritten(model, change)


def _check_memory(memory: Any, layer: AbstractBijection) -> None:
    if memory not in get_args(Memory):
        raise ValueError(message("Scan", "memory 'stored' or 'reversible'", repr(memory), "The usual is 'stored'."))
    if memory == "reversible" and "absent" in (layer.traits.forward, layer.traits.inverse):
        raise ValueError(message("Scan", "a layer with both directions", "one that lacks one", "Use memory='stored'."))
