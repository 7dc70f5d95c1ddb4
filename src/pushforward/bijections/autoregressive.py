"""Autoregressive layers: each coordinate is mapped with parameters that depend on those before it."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBatchedBijection
from pushforward.bijections.jacobi import GaussSeidelJacobi, in_dtype
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

    Here $x_i$ is a number, or with a conditioner of tokens a token of $d$ numbers, all of which are mapped at once; the
    event is then `(n_tokens, d)`.

    The forward direction knows all of `x` and takes one pass. The inverse is sequential: it is one `lax.scan` over
    `conditioner.step`, in which each hidden unit is computed once, only the numbers of the step are inverted, and the
    log-determinant is accumulated. It costs about the arithmetic of one pass, where other implementations of masked
    networks take `dim` passes. `with_inversion` makes it a parallel iteration. By itself this is an inverse
    autoregressive layer (fast to sample); `Invert` makes it a masked autoregressive one (fast to score).

    Args:
        conditioner: A strictly autoregressive network, such as `MADE` or `CausalTransformer`.
        scalar_map: The map of each coordinate.
        inversion: How the inverse is computed: None for one step after the other, or `GaussSeidelJacobi(...)`.

    Raises:
        ValueError: the conditioner gives another number of parameters than the map takes.

    Source: Kingma et al., 2016, eq. 9-10, arXiv 1606.04934; Papamakarios, Pavlakou, Murray, 2017, arXiv 1705.07057; of
        tokens Zhai et al., 2024, arXiv 2412.06329.
    """

    conditioner: AbstractConditioner
    scalar_map: AbstractScalarMap
    inversion: GaussSeidelJacobi | None
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(
        self,
        conditioner: AbstractConditioner,
        scalar_map: AbstractScalarMap,
        inversion: GaussSeidelJacobi | None = None,
    ):
        check_n_params("Autoregressive", conditioner, scalar_map)
        self.conditioner, self.scalar_map, self.inversion = conditioner, scalar_map, inversion
        self.in_shape = self.out_shape = (conditioner.n_steps, *conditioner.token_shape)
        self.cond_shape = conditioner.cond_shape
        inverse = Traits(inverse="sequential" if inversion is None else "iterative")
        self.traits = Traits.worst(scalar_map.traits, inverse)

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        y, log_det = self.scalar_map.forward_and_log_det(x, self.conditioner(x, condition))
        return y, _total(log_det)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        if self.inversion is not None:
            solved = self.inversion.solve(self.conditioner, self.scalar_map, y, condition)
            return solved.x, solved.log_det
        state = self.conditioner.init(y.shape[-1:], condition)
        inexact = [leaf.dtype for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
        dtype = jnp.result_type(y, *inexact)
        state = in_dtype(state, dtype)

        def step(carry: tuple, inputs: tuple[Array, Array]) -> tuple[tuple, Array]:
            state, previous, total = carry
            i, y_i = inputs
            params, state = self.conditioner.step(state, i, previous)
            x_i, log_det = inverse_of_rows(self.scalar_map, y_i, params)
            return (state, x_i, total + _total(log_det)), x_i

        start = (state, jnp.zeros(y.shape[1:], dtype), jnp.zeros(y.shape[-1:], dtype))
        (_, _, log_det), x = scan(step, start, (jnp.arange(self.in_shape[0]), y.astype(dtype)))
        return x, log_det


def _total(log_slopes: Array) -> Array:
    """The sum over all axes but that of rows."""
    return jnp.sum(log_slopes, axis=tuple(range(log_slopes.ndim - 1)))
