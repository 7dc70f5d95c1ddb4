"""Coupling layers: a part of the vector is transformed, with parameters that are a function of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractTwoWayBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_of_rows
from pushforward.nets.per_event import for_rows


def half_split(dim: int) -> np.ndarray:
    """A split that transforms the second half given the first: the last 3 of 5 coordinates, or the only one."""
    return np.arange(check_int("half_split", "dim", dim, 1)) >= dim // 2


def alternating_split(dim: int) -> np.ndarray:
    """A split that transforms every other coordinate, counted back from the last one."""
    return (np.arange(check_int("alternating_split", "dim", dim, 1)) - dim) % 2 == 1


class Coupling(AbstractTwoWayBijection):
    r"""$y_T = m(x_T; \theta(x_P, c)),\; y_P = x_P$: the coordinates $T$ are mapped, the others pass.

    Args:
        split: Booleans that are True where a coordinate is transformed, such as `half_split(dim)` or
            `alternating_split(dim)`.
        conditioner: Network from the passing coordinates `(n_passing, n)` (and the condition `(*cond_shape, n)`) to
            parameters `(n_params, n_transformed, n)`, with the batch on the last axis, such as an `MLP`. A network for
            one event, such as `eqx.nn.MLP(n_passing, n_params * n_transformed, ...)`, is mapped over the rows.
        scalar_map: The map of each transformed coordinate.
        cond_shape: Shape of the condition that the conditioner takes, None if unconditional.

    Cost: one pass of the conditioner in each direction, and the cost of the map.

    Raises:
        ValueError: no coordinate is transformed, or the conditioner's output does not fit.

    Source: Dinh, Krueger, Bengio, 2014, eq. 5-8, arXiv 1410.8516; Dinh et al., 2017, arXiv 1605.08803.
    """

    conditioner: Callable[..., Array]
    scalar_map: AbstractScalarMap
    split: tuple[bool, ...] = eqx.field(static=True)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        split: Sequence[bool] | np.ndarray,
        conditioner: Callable[..., Array],
        scalar_map: AbstractScalarMap,
        *,
        cond_shape: Shape | None = None,
    ):
        mask = np.asarray(split)
        if mask.dtype != bool or mask.ndim != 1 or not mask.any():
            fix = "Use half_split(dim), or mark each transformed coordinate with True."
            raise ValueError(message("Coupling", "a vector of booleans, one or more True", f"{split!r}", fix))
        self.split = tuple(bool(b) for b in mask)
        self.scalar_map = scalar_map
        self.in_shape = self.out_shape = (len(self.split),)
        self.cond_shape, self.traits = cond_shape, scalar_map.traits
        expected = (scalar_map.n_params, int(mask.sum()))
        out_shape = getattr(conditioner, "out_shape", None)
        if out_shape not in (None, expected):
            fix = f"Build it with out_shape={expected}: parameters by transformed coordinates."
            raise ValueError(message("Coupling", f"a conditioner with output {expected}", f"{out_shape}", fix))
        # The library's networks declare their output; other networks are tried with rows and with one event.
        n_passing = len(self.split) - expected[1]
        self.conditioner = (
            conditioner if out_shape is not None else for_rows(conditioner, n_passing, expected, cond_shape)
        )
        if self.conditioner is None:
            given = f"({n_passing}, n)" + ("" if cond_shape is None else f" and conditions {(*cond_shape, 'n')}")
            wanted = f"a conditioner from {given} to ({expected[0]}, {expected[1]}, n), the batch on the last axis"
            fix = (
                f"Use MLP(key, {n_passing}, {expected}), or a network for one event from {n_passing} numbers to "
                f"{expected[0] * expected[1]}, such as eqx.nn.MLP."
            )
            raise ValueError(message("Coupling", wanted, f"{type(conditioner).__name__}, which is not one", fix))

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        mask = np.array(self.split)
        passing, mapped = np.flatnonzero(~mask), np.flatnonzero(mask)
        rest = _take(value, passing)
        params = self.conditioner(rest, condition) if self.cond_shape is not None else self.conditioner(rest)
        own = _take(value, mapped)
        if forward:
            out, log_det = self.scalar_map.forward_and_log_det(own, params)
        else:
            out, log_det = inverse_of_rows(self.scalar_map, own, params)
        joined = jnp.concatenate([rest.astype(out.dtype), out])
        return _take(joined, np.argsort(np.concatenate([passing, mapped]))), jnp.sum(log_det, axis=0)


def _take(x: Array, indices: np.ndarray) -> Array:
    """`x[indices]`, as a slice where the indices are consecutive."""
    if len(indices) == 0:
        return x[:0]
    if np.array_equal(indices, np.arange(indices[0], indices[0] + len(indices))):
        return x[indices[0] : indices[0] + len(indices)]
    return x[indices]
