r"""Products with a matrix that has a few entries right below its diagonal, as a few small dense products."""

from __future__ import annotations

import jax.numpy as jnp

from pushforward._types import Array

# Outputs of one dense block at least: fewer make many small products, more make most of their arithmetic zeros.
BLOCK = 32


def banded_product(weight: Array, x: Array) -> Array:
    r"""The products $y_{pi} = \sum_b W_{pib}\, x_{i-1-b}$ of the inputs before each place, 0 before the first.

    The rows are cut into blocks of neighbours, whose windows overlap. Each block is one dense product, so that XLA
    calls its fast kernel some `d / 32` times; a product for each row runs several times as long, and its pull-back
    most of all.

    Args:
        weight: Weights `(p, d, w)`; entry `b` of a row belongs to the input `b + 1` places before it.
        x: Inputs `(d, n)`.

    Returns:
        The array `(p, d, n)`.

    Cost: at most `2 p d n w` multiplications for `w` of 32 and more, and `63 p d n` for fewer.
    """
    n_params, dim, window = weight.shape
    size = max(BLOCK, window)
    span, n_blocks = size + window - 1, -(-dim // size)
    missing = n_blocks * size - dim
    # Block g holds the inputs that its outputs see: those of its own places, counted from `window` places before.
    inputs = jnp.pad(x, ((window, size - window + missing), (0, 0))).reshape(n_blocks + 1, size, -1)
    inputs = jnp.concatenate([inputs[:-1], inputs[1:, : window - 1]], axis=1)
    # Each row of a block begins one place later than the one above: rows of one entry more, read in rows of `span`.
    rows = jnp.pad(weight[:, :, ::-1], ((0, 0), (0, missing), (0, 0)))
    rows = rows.reshape(n_params, n_blocks, size, window).swapaxes(0, 1)
    rows = jnp.pad(rows, ((0, 0), (0, 0), (0, 0), (0, size)))
    rows = rows.reshape(n_blocks, n_params, size * (span + 1))[..., : size * span]
    found = rows.reshape(n_blocks, n_params * size, span) @ inputs
    found = found.reshape(n_blocks, n_params, size, -1).swapaxes(0, 1)
    return found.reshape(n_params, n_blocks * size, -1)[:, :dim]
