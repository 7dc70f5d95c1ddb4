"""The same scalar map applied several times, each time with its own parameters."""

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._meshes import scan
from pushforward._types import Array, Traits
from pushforward.bijections.scalar_maps.base import AbstractScalarMap


class RepeatedMap(AbstractScalarMap):
    r"""The composition $y = m(\dots m(m(x; \theta_1); \theta_2) \dots; \theta_n)$ of one map with different parameters.

    All parameters are given at once. So a conditional distribution of one variable becomes more flexible without a
    second layer, in which it would also depend on the parents of its parents. Compositions of affine maps are affine.

    Args:
        scalar_map: The map $m$.
        times: Number $n$ of repetitions, which run under `jax.lax.scan`.

    Cost: `times` times the cost of the map.

    Raises:
        ValueError: `times` is not 1 or more.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> twice = pf.bijections.RepeatedMap(pf.AdditiveMap(), 2)
        >>> twice.forward_and_log_det(jnp.array(1.0), jnp.array([0.5, 2.0]))[0].item()
        3.5
    """

    scalar_map: AbstractScalarMap
    times: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, scalar_map: AbstractScalarMap, times: int):
        self.scalar_map, self.times = scalar_map, check_int("RepeatedMap", "times", times, 1)
        self.n_params, self.traits = times * scalar_map.n_params, scalar_map.traits

    def forward_and_log_det(self, x: Array, params: Array) -> tuple[Array, Array]:
        return self._run(x, params, True)

    def inverse_and_log_det(self, y: Array, params: Array) -> tuple[Array, Array]:
        return self._run(y, params, False)

    def _run(self, value: Array, params: Array, forward: bool) -> tuple[Array, Array]:
        run = self.scalar_map.forward_and_log_det if forward else self.scalar_map.inverse_and_log_det
        dtype = jnp.result_type(value, params)

        def step(carry: tuple[Array, Array], own: Array) -> tuple[tuple[Array, Array], None]:
            out, log_slope = run(carry[0], own)
            return (out.astype(dtype), (carry[1] + log_slope).astype(dtype)), None

        start = value.astype(dtype), jnp.zeros(value.shape, dtype)
        each = params.reshape(self.times, self.scalar_map.n_params, *params.shape[1:])
        (out, total), _ = scan(step, start, each, reverse=not forward)
        return out, total
