"""The convolution of images with the batch on the last axis, by the way that is fastest where it runs.

XLA's CPU backend has a fast convolution, but not within a loop. In the body of a `scan`, where the layers of a flow
and the steps of a fit stand, it computes number by number: two convolutions from 128 to 24 channels of 16 images of
8 x 8 took 78 ms of CPU time instead of 1, and their gradient 151 ms instead of 2. So on a CPU the taps of a kernel are
shifts of the image, gathered before one matrix product or added up after it; shifts cost little with the batch on the
last axis. Outside of a loop they are also faster at both ends of a coupling's network. Value and gradient of three
layers (3 x 3, 1 x 1, 3 x 3) on 2 x 14 x 14 images took 4.3 instead of 9.3 ms at width 64 and batch 64, and 15.9 instead
of 44.2 ms at width 256 and batch 32. A layer from 64 to 64 channels, 14 x 14 and batch 64, took 44 instead of 18 ms.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp

from pushforward._types import Array
from pushforward.numerics.product import matrix_product

# On other devices than a CPU, up to so many channels at one end of a convolution its taps are shifts. Not measured.
NARROW = 12


def convolve(kernel: Array, x: Array) -> Array:
    """Cross-correlation with zero padding, `(c_in, h, w, n) -> (c_out, h, w, n)`; kernels of odd size keep the size.

    Args:
        kernel: Array of shape `(c_out, c_in, k_h, k_w)`.
        x: Images `(c_in, h, w, n)`, with the batch on the last axis.

    Cost: one matrix product of `c_out * c_in * k_h * k_w * h * w * n` multiplications.
    """
    c_out, c_in, *sides = kernel.shape
    taps = sides[0] * sides[1]
    if taps == 1:
        return _product(kernel[:, :, 0, 0], x)
    by_shifts = jax.default_backend() == "cpu" or min(c_in, c_out) <= NARROW
    if not by_shifts or not all(side % 2 for side in sides):
        return jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("CHWN", "OIHW", "CHWN"))
    offsets = list(itertools.product(*(range(-(side // 2), side // 2 + 1) for side in sides)))
    if c_in < c_out:
        gathered = jnp.concatenate([_shifted(x, *offset) for offset in offsets])
        return _product(kernel.transpose(0, 2, 3, 1).reshape(c_out, -1), gathered)
    products = _product(kernel.transpose(2, 3, 0, 1).reshape(-1, c_in), x)
    parts = jax.lax.split(products, [c_out] * taps)
    first, *others = (_shifted(part, *offset) for part, offset in zip(parts, offsets, strict=True))
    return sum(others, first)


def _product(matrix: Array, x: Array) -> Array:
    """The matrix applied to the channels of every pixel of every image."""
    dtype = jnp.result_type(matrix, x)
    flat = matrix_product(matrix.astype(dtype), x.reshape(x.shape[0], -1).astype(dtype))
    return flat.reshape(-1, *x.shape[1:])


def _shifted(x: Array, down: int, right: int) -> Array:
    """The images whose pixel `(i, j)` is `(i + down, j + right)` of the given ones, and 0 beyond their edges."""
    zero = jnp.zeros((), x.dtype)
    return jax.lax.pad(x, zero, ((0, 0, 0), (-down, down, 0), (-right, right, 0), (0, 0, 0)))
