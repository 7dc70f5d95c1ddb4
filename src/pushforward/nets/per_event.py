"""A network for one event as one for rows on the last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, Shape


class PerEvent(eqx.Module):
    """A network of one vector, such as `eqx.nn.MLP`, mapped over rows on the last axis.

    A coupling wraps such a network by itself. The library's own networks see all rows at once, which is faster.

    Args:
        net: from one vector to the numbers of `out_shape`, flat or in that shape. Of a conditional coupling it takes
            the condition as a second argument, or joined to the vector.
        out_shape: shape of the output.
        joined: whether the condition is flattened and joined to the vector.

    Shapes:
        `(in_size, n) -> (*out_shape, n)`, the batch on the last axis

    Example:
        >>> import equinox as eqx, jax, pushforward as pf
        >>> net = pf.nets.PerEvent(eqx.nn.MLP(2, 6, 8, 1, key=jax.random.key(0)), (2, 3))
        >>> net(jax.numpy.ones((2, 5))).shape
        (2, 3, 5)
    """

    net: Callable[..., Array]
    out_shape: Shape = eqx.field(static=True)
    joined: bool = eqx.field(static=True, default=True)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        return jax.vmap(self._one, in_axes=(-1, None if condition is None else -1), out_axes=-1)(x, condition)

    def _one(self, x: Array, condition: Array | None) -> Array:
        if condition is None:
            return self.net(x).reshape(self.out_shape)
        out = self.net(jnp.concatenate([x, condition.ravel()])) if self.joined else self.net(x, condition)
        return out.reshape(self.out_shape)


def for_rows(net: Callable[..., Any], in_size: int, out_shape: Shape, cond_shape: Shape | None) -> Any:
    """The network itself if it takes rows on the last axis, a `PerEvent` if it takes one event; None for neither.

    Only shapes are computed.

    Args:
        net: any callable.
        in_size: length of its vector.
        out_shape: of its output for one event.
        cond_shape: of the condition, None without one.
    """
    n = 1009  # rows; no size of a network, so that none is taken for another

    def shape_of(function: Callable, *batch: int) -> Shape | None:
        arguments = [jax.ShapeDtypeStruct((in_size, *batch), jnp.result_type(float))]
        if cond_shape is not None:
            arguments.append(jax.ShapeDtypeStruct((*cond_shape, *batch), jnp.result_type(float)))
        try:
            return jax.eval_shape(function, *arguments).shape
        # What a network of users raises at a shape that it does not take is not known.
        except Exception:
            return None

    of_rows = shape_of(lambda *given: net(*given), n)
    wanted = (*out_shape, n)
    if of_rows is not None and len(of_rows) == len(wanted) and all(map(_broadcasts, of_rows, wanted)):
        return net
    for joined in (True,) if cond_shape is None else (False, True):
        wrapped = PerEvent(net, out_shape, joined)
        if shape_of(lambda x, condition=None, wrapped=wrapped: wrapped._one(x, condition)) == out_shape:
            return wrapped
    return None


def _broadcasts(size: int, wanted: int) -> bool:
    return size in (1, wanted)
