"""The inverse of scalar maps that have no closed one."""

import jax
import jax.numpy as jnp

from pushforward._types import Array
from pushforward.bijections.scalar_maps.base import AbstractScalarMap
from pushforward.numerics.root import solve_increasing

# Rows of one search: what a step reads then stays in a processor's cache, and few rows wait for the slowest. With 2,048
# instead of 100,000 `naf` draws a row in 3 us instead of 12, `sos` in 7 instead of 40. Other devices want all they get.
ROWS = {"cpu": 2048}
ROWS_ELSEWHERE = 1 << 17


def inverse_of_rows(scalar_map: AbstractScalarMap, y: Array, params: Array) -> tuple[Array, Array]:
    """`scalar_map.inverse_and_log_det`, of some rows after the other if it searches; rows do not depend on blocks.

    Args:
        scalar_map: any.
        y: rows on the last axis, of shape `S`.
        params: `(n_params, *S)`.
    """
    n, size = y.shape[-1], ROWS.get(jax.default_backend(), ROWS_ELSEWHERE)
    # The number of rows of an exported program may be a symbol.
    if scalar_map.traits.inverse != "iterative" or not isinstance(n, int) or n <= size:
        return scalar_map.inverse_and_log_det(y, params)
    n_blocks = -(-n // size)

    def blocks(rows: Array) -> Array:
        filled = jnp.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, n_blocks * size - n)], mode="edge")
        return jnp.moveaxis(filled.reshape(*rows.shape[:-1], n_blocks, size), -2, 0)

    def joined(rows: Array) -> Array:
        rows = jnp.moveaxis(rows, 0, -2)
        return rows.reshape(*rows.shape[:-2], n_blocks * size)[..., :n]

    x, log_det = jax.lax.map(lambda rows: scalar_map.inverse_and_log_det(*rows), (blocks(y), blocks(params)))
    return joined(x), joined(log_det)


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
