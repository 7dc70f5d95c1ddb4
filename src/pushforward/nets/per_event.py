"""An adapter that lets a network for one event take rows on the last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, Shape


class PerEvent(eqx.Module):
    """A network of one vector, such as `eqx.nn.MLP`, mapped over rows on the last axis.

    A coupling wraps such a network automatically. The library's own networks see all rows at once, which is faster.

    Args:
        net: Network from one vector to the numbers of `out_shape`, flat or in that shape. In a conditional coupling it
            takes the condition as a second argument, or joined to the vector.
        out_shape: Shape of the output.
        joined: Whether the condition is flattened and joined to the vector.

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


def for_rows(net: Callable[..., Any], in_shape: Shape, out_shape: Shape, cond_shape: Shape | None) -> Any:
    """The network itself if it takes rows on the last axis, a `PerEvent` if it takes one event, or None.

    Only shapes are computed.

    Args:
        net: Any callable.
        in_shape: Shape of its input, such as `(n_passing,)`.
        out_shape: Shape of its output for one event.
        cond_shape: Shape of the condition, None if unconditional.
    """
    n = 1009  # number of rows, which no size of a network is likely to equal

    def shape_of(function: Callable, *batch: int) -> Shape | None:
        arguments = [jax.ShapeDtypeStruct((*in_shape, *batch), jnp.result_type(float))]
        if cond_shape is not None:
            arguments.append(jax.ShapeDtypeStruct((*cond_shape, *batch), jnp.result_type(float)))
        try:
            return jax.eval_shape(function, *arguments).shape
        # A user's network may raise any error for a shape that it does not take.
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
