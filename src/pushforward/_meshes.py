"""JAX's meshes: functions of rows under a mesh with explicit axes, and loops and primitives within `jax.shard_map`.

Under a mesh with explicit axes JAX wants to know of every operation where its result lives. The library's functions of
rows need no such word: what is true of their first axes is true of their results. So the doors through which a user's
arrays come in hand the axes to the compiler (`automatic`), and say where the results live.

Within `jax.shard_map` JAX tells numbers that differ between the devices from others, and a loop may not make one into
the other. A loop that begins with zeros and adds rows does. So loops here begin with what they will become (`scan` and
the others), and primitives say that their results differ wherever one of their arguments does (`aligned`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Spec = tuple[Any, ...]


def explicit_axes() -> tuple[str, ...]:
    """The explicit axes of the mesh that is set."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return ()
    return tuple(name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit)


def spec_of(array: Any, n_axes: int) -> Spec:
    """The mesh axes that each of the first axes of an array is dealt to, under a mesh with explicit axes."""
    if array is None or not hasattr(array, "ndim"):
        return (None,) * n_axes
    spec = tuple(jax.typeof(array).sharding.spec)
    return (spec + (None,) * n_axes)[:n_axes]


def common_spec(*specs: Spec) -> PartitionSpec:
    """The axes of batch dimensions that broadcast together: those of the first that has any, aligned at the end."""
    size = max((len(spec) for spec in specs), default=0)
    filled = [(None,) * (size - len(spec)) + tuple(spec) for spec in specs]
    chosen: list[Any] = []
    for each in zip(*filled, strict=True):
        found = next((own for own in each if own is not None), None)
        chosen.append(None if found in chosen else found)  # an axis of a mesh can be dealt once
    return PartitionSpec(*chosen)


def in_rows(function: Callable[..., Any], batches: tuple, *arguments: Any) -> Any:
    """`function(*arguments)`, whose results have first axes that are the batch dimensions of the arguments.

    Args:
        function: Function of trees, which must not close over arrays.
        batches: Batch dimensions that broadcast together; those of the arrays after the first argument, if they are
            events or conditions.
        arguments: A model, and arrays with any batch dimensions or None.
    """
    specs = [spec_of(array, len(batch)) for array, batch in zip(arguments[1:], batches, strict=False)]
    return automatic(function, common_spec(*specs), *arguments)


def automatic(function: Callable[..., Any], spec: PartitionSpec, *arguments: Any) -> Any:
    """`function(*arguments)` with the explicit axes of the mesh, of which there are some, left to the compiler.

    Args:
        function: Function of trees, which must not close over arrays.
        spec: Axes that the first axes of every result are dealt to.
        arguments: Trees of arrays and anything else.
    """
    arrays, others = eqx.partition(arguments, eqx.is_array)

    def run(arrays: Any) -> Any:
        return function(*eqx.combine(arrays, others))

    return jax.sharding.auto_axes(run, axes=explicit_axes(), out_sharding=spec)(arrays)


def _manual() -> bool:
    mesh = jax.sharding.get_abstract_mesh()
    return not mesh.empty and bool(mesh.manual_axes)


def _varying(leaf: Any) -> frozenset:
    """The mesh axes along which a number differs between devices."""
    kind = getattr(jax.typeof(leaf), "manual_axis_type", None)
    return frozenset() if kind is None else kind.varying


def _cast(leaf: Any, axes: frozenset) -> Any:
    more = axes - _varying(leaf)
    return jax.lax.pcast(leaf, tuple(sorted(more)), to="varying") if more else leaf


def aligned(*arrays: Any) -> list[Any]:
    """These arrays, each differing between devices along the axes along which any does, as a primitive needs them."""
    if not _manual():
        return list(arrays)
    axes = frozenset().union(*(_varying(array) for array in arrays))
    return [_cast(array, axes) for array in arrays]


def result_type(aval: Any, *arguments: Any) -> Any:
    """The abstract value of a primitive's result, which differs between devices where its arguments do.

    Args:
        aval: Its shape and type.
        arguments: Abstract values of the arguments, which `aligned` gave.
    """
    kinds = [getattr(argument, "manual_axis_type", None) for argument in arguments]
    found = next((kind for kind in kinds if kind is not None and kind.varying), None)
    if found is None:
        return aval
    here = NamedSharding(jax.sharding.get_abstract_mesh(), PartitionSpec(*[None] * len(aval.shape)))
    return aval.update(sharding=here, manual_axis_type=found)


def _settled(body: Callable[[Any], Any], start: Any) -> Any:
    """The start of a loop, differing between devices where what comes back does; `body` gives that of a carry."""
    while True:
        after = jax.eval_shape(body, start)
        grown = [
            (leaf, _varying(leaf) | getattr(to, "manual_axis_type", _varying_none).varying)
            for leaf, to in zip(jax.tree.leaves(start), jax.tree.leaves(after), strict=True)
        ]
        if all(_varying(leaf) == axes for leaf, axes in grown):
            return start
        start = jax.tree.unflatten(jax.tree.structure(start), [_cast(leaf, axes) for leaf, axes in grown])


class _varying_none:
    varying: frozenset = frozenset()


def scan(f: Callable[[Any, Any], tuple[Any, Any]], init: Any, xs: Any, length: int | None = None, **how: Any) -> Any:
    """`jax.lax.scan`, also where the carry comes to differ between the devices of a `jax.shard_map`."""
    if _manual():
        first = jax.tree.map(lambda leaf: leaf[0], xs)
        init = _settled(lambda carry: f(carry, first)[0], jax.tree.map(jax.numpy.asarray, init))
    return jax.lax.scan(f, init, xs, length, **how)


def while_loop(cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], init_val: Any) -> Any:
    """`jax.lax.while_loop`, in the same way."""
    if _manual():
        init_val = _settled(body_fun, jax.tree.map(jax.numpy.asarray, init_val))
    return jax.lax.while_loop(cond_fun, body_fun, init_val)


def fori_loop(lower: Any, upper: Any, body_fun: Callable[[Any, Any], Any], init_val: Any) -> Any:
    """`jax.lax.fori_loop`, in the same way."""
    if _manual():
        init_val = _settled(functools.partial(body_fun, lower), jax.tree.map(jax.numpy.asarray, init_val))
    return jax.lax.fori_loop(lower, upper, body_fun, init_val)
