"""A permutation whose gradient is a permutation too."""

from __future__ import annotations

from pushforward._types import Array
from pushforward.numerics.derivatives import own_derivatives


def permute(x: Array, indices: Array, inverse_indices: Array) -> Array:
    """Permute the first axis, `x[indices]`; the pull-back gathers by the inverse, where autodiff would scatter."""
    return _permute(x, indices, inverse_indices)


def _keep(x: Array, indices: Array, inverse_indices: Array) -> tuple[Array, tuple[Array, Array]]:
    return permute(x, indices, inverse_indices), (indices, inverse_indices)


def _pull(kept: tuple[Array, Array], bar: Array) -> tuple[Array, None, None]:
    indices, inverse_indices = kept
    return permute(bar, inverse_indices, indices), None, None


def _push(kept: tuple[Array, Array], tangents: tuple) -> Array:
    return permute(tangents[0], *kept)


_permute = own_derivatives(lambda x, indices, inverse_indices: x[indices], _keep, _pull, _push)
