"""Coupling layers: a part of the event is transformed, with parameters that are a function of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractTwoWayBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_of_rows
from pushforward.nets.per_event import for_rows


def half_split(shape: int | Shape) -> np.ndarray:
    """A split that transforms the second half given the first: the last 3 of 5 coordinates, or the only one.

    Args:
        shape: Length of a vector, or shape of an event whose first axis is halved, such as the channels of an image.
    """
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    sizes = tuple(check_int("half_split", "dim", size, 1) for size in sizes)
    rows = np.arange(sizes[0]) >= sizes[0] // 2
    return np.broadcast_to(rows.reshape(-1, *(1 for _ in sizes[1:])), sizes)


def alternating_split(dim: int) -> np.ndarray:
    """A split that transforms every other coordinate, counted back from the last one."""
    return (np.arange(check_int("alternating_split", "dim", dim, 1)) - dim) % 2 == 1


class Coupling(AbstractTwoWayBijection):
    r"""$y_T = m(x_T; \theta(x_P, c)),\; y_P = x_P$: the coordinates $T$ are mapped, the others pass.

    Events are vectors, or arrays that are split along one axis, such as the channels of images. A checkerboard coupling
    of images is one of the channels that `CheckerboardSqueeze` gives.

    Args:
        split: Booleans of the event's shape that are True where a coordinate is transformed, such as
            `half_split(dim)`, `alternating_split(dim)`, or `half_split((c, h, w))` for half of the channels.
        conditioner: Network from the passing coordinates `(n_passing, n)` (and the condition `(*cond_shape, n)`) to
            parameters `(n_params, n_transformed, n)`, with the batch on the last axis, such as an `MLP`. Both have the
            other axes of the event too, as in a `ConvNet` from `(c_passing, h, w, n)` to
            `(n_params, c_transformed, h, w, n)`. A network for one event, such as
            `eqx.nn.MLP(n_passing, n_params * n_transformed, ...)`, is mapped over the rows.
        scalar_map: The map of each transformed coordinate.
        cond_shape: Shape of the condition that the conditioner takes, None if unconditional.

    Cost: one pass of the conditioner in each direction, and the cost of the map.

    Raises:
        ValueError: no coordinate is transformed, the event is split along several axes, or the conditioner's output
            does not fit.

    Source: Dinh, Krueger, Bengio, 2014, eq. 5-8, arXiv 1410.8516; Dinh et al., 2017, arXiv 1605.08803.
    """

    conditioner: Callable[..., Array]
    scalar_map: AbstractScalarMap
    split: tuple[bool, ...] = eqx.field(static=True)
    axis: int = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        split: Sequence[Any] | np.ndarray,
        conditioner: Callable[..., Array],
        scalar_map: AbstractScalarMap,
        *,
        cond_shape: Shape | None = None,
    ):
        mask = np.asarray(split)
        if mask.dtype != bool or mask.ndim < 1 or not mask.any():
            fix = "Use half_split(dim), or mark each transformed coordinate with True."
            raise ValueError(message("Coupling", "a vector of booleans, one or more True", f"{split!r}", fix))
        self.axis = _axis_of(mask)
        self.split = tuple(bool(b) for b in np.moveaxis(mask, self.axis, 0).reshape(mask.shape[self.axis], -1)[:, 0])
        self.scalar_map = scalar_map
        self.in_shape = self.out_shape = mask.shape
        self.cond_shape, self.traits = cond_shape, scalar_map.traits
        expected = (scalar_map.n_params, *self._part(True))
        out_shape = getattr(conditioner, "out_shape", None)
        if out_shape not in (None, expected):
            fix = f"Build it with out_shape={expected}: parameters by transformed coordinates."
            raise ValueError(message("Coupling", f"a conditioner with output {expected}", f"{out_shape}", fix))
        # The library's networks declare their output; other networks are tried with rows and with one event.
        passing = self._part(False)
        self.conditioner = (
            conditioner if out_shape is not None else for_rows(conditioner, passing, expected, cond_shape)
        )
        if self.conditioner is None:
            given = _with_batch(passing) + ("" if cond_shape is None else f" and conditions {_with_batch(cond_shape)}")
            wanted = f"a conditioner from {given} to {_with_batch(expected)}, the batch on the last axis"
            n_in, n_out = int(np.prod(passing)), int(np.prod(expected))
            fix = f"Use a network for one event from {n_in} numbers to {n_out}, such as eqx.nn.MLP"
            fix += f", or MLP(key, {n_in}, {expected})." if mask.ndim == 1 else ", or a ConvNet."
            raise ValueError(message("Coupling", wanted, f"{type(conditioner).__name__}, which is not one", fix))

    def _part(self, mapped: bool) -> Shape:
        """The shape of the coordinates that are mapped, or of those that pass."""
        return (*self.in_shape[: self.axis], self.split.count(mapped), *self.in_shape[self.axis + 1 :])

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        mask = np.array(self.split)
        passing, mapped = np.flatnonzero(~mask), np.flatnonzero(mask)
        rest = take(value, passing, self.axis)
        params = self.conditioner(rest, condition) if self.cond_shape is not None else self.conditioner(rest)
        own = take(value, mapped, self.axis)
        if forward:
            out, log_det = self.scalar_map.forward_and_log_det(own, params)
        else:
            out, log_det = inverse_of_rows(self.scalar_map, own, params)
        both = [(passing, rest.astype(out.dtype)), (mapped, out)]
        return join(both, self.axis), jnp.sum(log_det, axis=range(log_det.ndim - 1))


def _axis_of(mask: np.ndarray) -> int:
    """The axis along which a mask changes; the first if it changes along none.

    Raises:
        ValueError: It changes along several axes.
    """
    axes = [axis for axis in range(mask.ndim) if not np.all(mask == np.take(mask, [0], axis))]
    if len(axes) > 1:
        fix = "Put CheckerboardSqueeze or Squeeze before the coupling and split the channels, or Reshape to a vector."
        raise ValueError(message("Coupling", "a split along one axis of the event", f"one along axes {axes}", fix))
    return axes[0] if axes else 0


def _with_batch(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))}, n)"


def take(x: Array, indices: np.ndarray, axis: int = 0) -> Array:
    """The entries with these numbers along an axis, as a slice where the numbers are consecutive."""
    if np.array_equal(indices, np.arange(len(indices)) + (indices[0] if len(indices) else 0)):
        start = int(indices[0]) if len(indices) else 0
        return jax.lax.slice_in_dim(x, start, start + len(indices), axis=axis)
    return jnp.take(x, indices, axis=axis)


def join(parts: Sequence[tuple[np.ndarray, Array]], axis: int = 0) -> Array:
    """The array whose entries with the given numbers along an axis are the given parts.

    Where the parts are slices of the whole they are joined in their order, for a permutation of rows takes longer.
    """
    ordered = sorted((part for part in parts if len(part[0])), key=lambda part: part[0][0])
    joined = jnp.concatenate([part for _, part in ordered], axis=axis)
    return take(joined, np.argsort(np.concatenate([indices for indices, _ in ordered])), axis)
