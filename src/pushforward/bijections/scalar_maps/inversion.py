"""The inverse of scalar maps that have no closed one."""

import jax.numpy as jnp

from pushforward._types import Array
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.root import solve_increasing


def inverse_by_search(scalar_map: AbstractScalarMap, y: Array, params: Array, guess: Array) -> tuple[Array, Array]:
    """The inverse and the log of its derivative, from `forward_and_log_det` and the root finder.

    Args:
        scalar_map: increasing, and onto the real line.
        y: of shape `S`.
        params: `(n_params, *S)`.
        guess: where to look first, of shape `S`; the nearer, the fewer steps.

    Returns:
        Both NaN where the search did not converge.
    """
    # Parameters in double precision make the images double too; the search wants one type.
    y = y.astype(jnp.result_type(y, params))
    x = solve_increasing(lambda x: scalar_map.forward_and_log_det(x, params), y, guess).x
    return x, -scalar_map.forward_and_log_det(x, params)[1]
