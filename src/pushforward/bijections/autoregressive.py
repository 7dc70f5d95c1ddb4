"""Autoregressive layers: each coordinate is mapped with parameters that depend on those before it."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.bijections.scalar_maps.inversion import inverse_of_rows
from pushforward.nets.base import AbstractConditioner
from pushforward.nets.graph_made import GraphMADE


def check_n_params(name: str, conditioner: AbstractConditioner | GraphMADE, scalar_map: AbstractScalarMap) -> None:
    """Raise if a conditioner gives another number of parameters than the map takes.

    Raises:
        ValueError: It does.
    """
    if conditioner.n_params != scalar_map.n_params:
        fix = f"Build the conditioner with n_params={scalar_map.n_params}."
        expected = f"{scalar_map.n_params} parameters for each coordinate ({type(scalar_map).__name__})"
        raise ValueError(message(name, expected, f"{conditioner.n_params}", fix))


class Autoregressive(AbstractBatchedBijection):
    r"""$y_i = m(x_i; \theta_i(x_{<i}, c))$, with a triangular Jacobian.

    The forward direction knows all of `x` and takes one pass. The inverse is sequential: it is one `lax.scan` over
    `conditioner.step`, in which each hidden unit is computed once, only the column of the step is inverted, and the
    log-determinant is accumulated. It costs about the arithmetic of one pass, where other implementations of masked
    networks take `dim` passes. By itself this is an inverse autoregressive layer (fast to sample); `Invert` makes it a
    masked autoregressive one (fast to score).

    Args:
        conditioner: A strictly autoregressive network, such as `MADE`.
        scalar_map: The map of each coordinate.

    Raises:
        ValueError: the conditioner gives another number of parameters than the map takes.

    Source: Kingma et al., 2016, eq. 9-10, arXiv 1606.04934; Papamakarios, Pavlakou, Murray, 2017, arXiv 1705.07057.
    """

    conditioner: AbstractConditioner
    scalar_map: AbstractScalarMap
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, conditioner: AbstractConditioner, scalar_map: AbstractScalarMap):
        check_n_params("Autoregressive", conditioner, scalar_map)
        self.conditioner, self.scalar_map = conditioner, scalar_map
        self.in_shape = self.out_shape = (conditioner.n_steps,)
        self.cond_shape = conditioner.cond_shape
        self.traits = Traits.worst(scalar_map.traits, Traits(inverse="sequential"))

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        y, log_det = self.scalar_map.forward_and_log_det(x, self.conditioner(x, condition))
        return y, jnp.sum(log_det, axis=0)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        state = self.conditioner.init(y.shape[-1:], condition)
        inexact = [leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        dtype = jnp.result_type(y, *inexact)
        state = jax.tree.map(lambda a: a.astype(dtype) if jnp.issubdtype(a.dtype, jnp.inexact) else a, state)

        def step(carry: tuple, inputs: tuple[Array, Array]) -> tuple[tuple, Array]:
            state, previous, total = carry
            i, y_i = inputs
            params, state = self.conditioner.step(state, i, previous)
            x_i, log_det = inverse_of_rows(self.scalar_map, y_i, params)
            return (state, x_i, total + log_det), x_i

        zero = jnp.zeros(y.shape[-1:], dtype)
        inputs = (jnp.arange(self.in_shape[0]), y.astype(dtype))
        (_, _, log_det), x = jax.lax.scan(step, (state, zero, zero), inputs)
        return x, log_det
