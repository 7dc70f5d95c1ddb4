"""Functions with a pull-back of their own that keep every mode of differentiation.

`jax.custom_vjp` gives a function a faster pull-back, but takes forward mode away from it. Here the tangents go through
a primitive that is linear in them: evaluated it pushes tangents forward, transposed it is the given pull-back. So
`jvp`, `jacfwd`, `jacrev`, `hessian` and `linearize` of any order work, under `jit`, `vmap` and `scan`.
`jax.custom_derivatives.linear_call` has no rule for batches, and `jax.custom_transpose` none for derivatives.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import ShapedArray
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from pushforward._meshes import aligned, result_type

Leaves = Sequence[Any]


def own_derivatives(
    value: Callable[..., Any],
    keep: Callable[..., tuple[Any, Any]],
    pull: Callable[[Any, Any], tuple],
    push: Callable[[Any, tuple], Any] | None = None,
) -> Callable[..., Any]:
    """The function `value` with a given pull-back, differentiable in every mode and to every order.

    Derivatives of higher order differentiate all three functions, which must then be differentiable themselves, by
    another `own_derivatives` where JAX has no rule.

    Args:
        value: Function of arrays or pytrees of arrays that returns a pytree of arrays.
        keep: Function of the same arguments that returns the value and the residuals that the other two need.
        pull: Function of the residuals and of the cotangents of the value that returns a tuple of cotangents, one for
            each argument. None stands for the cotangent of an integer, in both, and in the tuple for 0.
        push: Function of the residuals and of a tuple of tangents that returns the tangents of the value. None takes
            JAX's own derivative of `value`; then the residuals must be a tuple of the arguments, and the rest.

    Returns:
        A function with the values of `value`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from pushforward.numerics.derivatives import own_derivatives
        >>> cube = own_derivatives(
        ...     lambda x: x**3, lambda x: (x**3, ((x,), None)), lambda kept, bar: (3 * kept[0][0] ** 2 * bar,)
        ... )
        >>> jax.jvp(cube, (2.0,), (1.0,))[1].item(), jax.hessian(cube)(2.0).item()
        (12.0, 12.0)
    """

    @jax.custom_jvp
    def function(*arguments: Any) -> Any:
        return value(*arguments)

    def plain(kept: Any, tangents: tuple) -> Any:
        return jax.jvp(value, kept[0], tangents)[1]

    @function.defjvp
    def rule(arguments: tuple, tangents: tuple) -> tuple[Any, Any]:
        out, kept = keep(*arguments)
        kept_leaves, kept_tree = jax.tree.flatten(kept)
        leaves, tree = jax.tree.flatten(arguments)
        out_leaves, out_tree = jax.tree.flatten(out)
        linear = _Tangents(
            push or plain,
            pull,
            kept_tree,
            tree,
            tuple(None if _moves(leaf) else np.shape(leaf) for leaf in leaves),
            out_tree,
            tuple(ShapedArray(np.shape(leaf), jnp.result_type(leaf)) if _moves(leaf) else None for leaf in out_leaves),
        )
        dots = [dot for leaf, dot in zip(leaves, tree.flatten_up_to(tangents), strict=True) if _moves(leaf)]
        pushed = iter(_linear.bind(*aligned(*kept_leaves, *dots), linear=linear, n_kept=len(kept_leaves)))
        out_dots = [
            next(pushed) if _moves(leaf) else np.zeros(np.shape(leaf), jax.dtypes.float0) for leaf in out_leaves
        ]
        return out, out_tree.unflatten(out_dots)

    return functools.update_wrapper(function, value)


def _moves(leaf: Any) -> bool:
    """Whether an array has a derivative."""
    return jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)


@dataclass(frozen=True)
class _Tangents:
    """The map of tangents, and its transpose, between lists of arrays.

    Args:
        push_tree: The given function of trees.
        pull_tree: The given transpose of trees.
        kept: Structure of the residuals.
        arguments: Structure of the arguments.
        still: For each leaf of the arguments None, or the shape of a leaf without a tangent.
        out: Structure of the value.
        avals: For each leaf of the value its shape and type, or None for a leaf without a tangent.
    """

    push_tree: Callable[[Any, tuple], Any]
    pull_tree: Callable[[Any, Any], tuple]
    kept: Any
    arguments: Any
    still: tuple[tuple[int, ...] | None, ...]
    out: Any
    avals: tuple[ShapedArray | None, ...]

    def push(self, kept: Leaves, dots: Leaves) -> list:
        some = iter(dots)
        tangents = [next(some) if shape is None else np.zeros(shape, jax.dtypes.float0) for shape in self.still]
        out = self.push_tree(self.kept.unflatten(kept), self.arguments.unflatten(tangents))
        return [dot for dot, aval in zip(self.out.flatten_up_to(out), self.avals, strict=True) if aval is not None]

    def shapes(self) -> list[ShapedArray]:
        return [aval for aval in self.avals if aval is not None]

    def pull(self, kept: Leaves, bars: Leaves, like: Leaves) -> list:
        some = iter(bars)
        out = self.out.unflatten([None if aval is None else next(some) for aval in self.avals])
        found = self.arguments.flatten_up_to(tuple(self.pull_tree(self.kept.unflatten(kept), out)))
        own = [bar for bar, shape in zip(found, self.still, strict=True) if shape is None]
        return [
            jnp.zeros(aval.shape, aval.dtype) if bar is None else bar.astype(aval.dtype)
            for bar, aval in zip(own, like, strict=True)
        ]


@dataclass(frozen=True)
class _Rows:
    """The map of tangents of rows, which have a first axis of rows; residuals may have such an axis anywhere."""

    inner: Any
    axes: tuple[int | None, ...]
    size: int

    def push(self, kept: Leaves, dots: Leaves) -> list:
        return jax.vmap(self.inner.push, (self.axes, 0))(tuple(kept), list(dots))

    def shapes(self) -> list[ShapedArray]:
        return [ShapedArray((self.size, *aval.shape), aval.dtype) for aval in self.inner.shapes()]

    def pull(self, kept: Leaves, bars: Leaves, like: Leaves) -> list:
        own = [ShapedArray(aval.shape[1:], aval.dtype) for aval in like]
        return jax.vmap(lambda kept, bars: self.inner.pull(kept, bars, own), (self.axes, 0))(tuple(kept), list(bars))


def _push(*arguments: Any, linear: Any, n_kept: int) -> list:
    return linear.push(arguments[:n_kept], arguments[n_kept:])


def _shapes(*arguments: Any, linear: Any, n_kept: int) -> list[ShapedArray]:
    return [result_type(aval, *arguments) for aval in linear.shapes()]


def _derivative(primals: Leaves, tangents: Leaves, *, linear: Any, n_kept: int) -> tuple[list, list]:
    """The derivative of the primitive, which is linear in the tangents and any function of the residuals."""
    bind = functools.partial(_linear.bind, linear=linear, n_kept=n_kept)
    kept, dots = primals[:n_kept], primals[n_kept:]
    out, parts = bind(*primals), []
    if not all(isinstance(dot, ad.Zero) for dot in tangents[n_kept:]):
        parts.append(bind(*kept, *[ad.instantiate_zeros(dot) for dot in tangents[n_kept:]]))
    moving = [n for n in range(n_kept) if not isinstance(tangents[n], ad.Zero) and _moves(kept[n])]
    if moving:

        def of_kept(*some: Any) -> list:
            merged = list(kept)
            for n, leaf in zip(moving, some, strict=True):
                merged[n] = leaf
            return linear.push(merged, dots)

        parts.append(jax.jvp(of_kept, [kept[n] for n in moving], [tangents[n] for n in moving])[1])
    return out, [sum(part[1:], part[0]) for part in zip(*parts, strict=True)] if parts else [
        jnp.zeros_like(o) for o in out
    ]


def _transpose(bars: Leaves, *arguments: Any, linear: Any, n_kept: int) -> list:
    dots = [dot.aval if ad.is_undefined_primal(dot) else dot for dot in arguments[n_kept:]]
    found = linear.pull(arguments[:n_kept], [ad.instantiate_zeros(bar) for bar in bars], dots)
    wanted = [ad.is_undefined_primal(dot) for dot in arguments[n_kept:]]
    return [None] * n_kept + [bar if own else None for bar, own in zip(found, wanted, strict=True)]


def _batch(arguments: Leaves, axes: Leaves, *, linear: Any, n_kept: int) -> tuple[list, list]:
    size = next(a.shape[axis] for a, axis in zip(arguments, axes, strict=True) if axis is not None)
    rows = [
        jnp.broadcast_to(dot, (size, *dot.shape)) if axis is None else jnp.moveaxis(dot, axis, 0)
        for dot, axis in zip(arguments[n_kept:], axes[n_kept:], strict=True)
    ]
    batched = _Rows(linear, tuple(axes[:n_kept]), size)
    out = _linear.bind(*arguments[:n_kept], *rows, linear=batched, n_kept=n_kept)
    return out, [0] * len(out)


_linear = Primitive("linear")
_linear.multiple_results = True
_linear.def_impl(jax.jit(_push, static_argnames=("linear", "n_kept")))
_linear.def_abstract_eval(_shapes)
ad.primitive_jvps[_linear] = _derivative
ad.primitive_transposes[_linear] = _transpose
batching.primitive_batchers[_linear] = _batch
mlir.register_lowering(_linear, mlir.lower_fun(_push, multiple_results=True))
