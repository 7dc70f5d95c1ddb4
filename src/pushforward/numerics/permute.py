"""A permutation whose gradient is a permutation too."""

from __future__ import annotations

import jax

from pushforward._types import Array


@jax.custom_vjp
def permute(x: Array, indices: Array, inverse_indices: Array) -> Array:
    """`x[indices]` along the first axis; its pull-back gathers by the inverse, where autodiff would scatter-add."""
    return x[indices]


def _fwd(x: Array, indices: Array, inverse_indices: Array) -> tuple[Array, tuple[Array, Array]]:
    return permute(x, indices, inverse_indices), (indices, inverse_indices)


def _bwd(residuals: tuple[Array, Array], bar: Array) -> tuple[Array, None, None]:
    indices, inverse_indices = residuals
    return permute(bar, inverse_indices, indices), None, None


permute.defvjp(_fwd, _bwd)
