r"""Probabilities as whole numbers that encoder and decoder are sure to share.

The encoder computes all conditionals in one parallel pass, the decoder one step after the other, perhaps on another
machine, with another number of images at once. The two agree to about 1e-13 in float64, but a coder needs them equal to
the last bit. So log-masses are rounded to a grid of 1/128 bit, and the encoder sees to it that none lies near the edge
of a cell: if one is within `GUARD` of an edge, it shifts the grid for that step, and writes the shift into the file. A
decoder whose numbers differ by less than the guard then rounds every one to the same whole number. The guard is
about 1e-10 nats, 1,000 times the differences that were seen, and a step of 64 images with 256 levels needs a shift once
in 2,000 times.

From there on all arithmetic is in whole numbers: powers of two come from a table of integer roots, and the frequencies
of a symbol's levels add up to a power of two. The rounding costs about 1e-6 bits per number.
"""

from __future__ import annotations

import functools
import math

import numpy as np

# Steps of the grid per bit, and the number of bits below a certain level's at which masses end.
STEPS_PER_BIT = 128
FLOOR_BITS = 30
# Precision of constriction's coders: the frequencies of the levels add up to 2**24.
PRECISION = 24
# Shifts of the grid, in steps. None of them puts the floor, which lies on the grid, on the edge of a cell.
SHIFTS = (0.0, 0.2, 0.4, 0.6, 0.8)
# Distance in steps that every number keeps from the edges of its cell.
GUARD = 2.0**-26
ROOT_BITS = 32


@functools.lru_cache(maxsize=1)
def powers() -> np.ndarray:
    """`2**(k / STEPS_PER_BIT)` in fixed point, by integer square roots alone, so that all machines have the same."""
    extra = 64  # bits beyond those that are kept
    one = 1 << (ROOT_BITS + extra)
    roots = [one << 1]  # 2, then its square root, ...
    while len(roots) <= math.log2(STEPS_PER_BIT):
        roots.append(math.isqrt(roots[-1] << (ROOT_BITS + extra)))
    table = []
    for k in range(STEPS_PER_BIT):
        value = one
        for bit in range(1, len(roots)):
            if (k >> (len(roots) - 1 - bit)) & 1:
                value = (value * roots[bit]) >> (ROOT_BITS + extra)
        table.append(value >> extra)
    return np.array(table, np.int64)


def on_grid(log_masses: np.ndarray) -> np.ndarray:
    """Log-masses in nats in steps of the grid, not below the floor and not rounded.

    Raises:
        ValueError: A log-mass is NaN.
    """
    if np.isnan(log_masses).any():
        raise ValueError("compress: the model gives masses that are not numbers. Check it with `pf.check`.")
    return np.maximum(np.asarray(log_masses, np.float64) * (STEPS_PER_BIT / math.log(2)), -FLOOR_BITS * STEPS_PER_BIT)


def safe_shift(grid: np.ndarray) -> int:
    """The number of the first shift with which no number is near the edge of a cell.

    Raises:
        ValueError: There is none, which a model of numbers spread at random has once in 1e16 times.
    """
    for k, shift in enumerate(SHIFTS):
        inside = np.abs(grid + shift - np.rint(grid + shift))
        if inside.max(initial=0.0) < 0.5 - GUARD:
            return k
    raise ValueError("compress: no shift of the grid is safe for this model. Compress fewer images at once.")


def frequencies(grid: np.ndarray, shift: int) -> np.ndarray:
    """Whole numbers `(n, n_levels)` that add up to `2**PRECISION - n_levels`, from numbers `(n_levels, n)`.

    The coder adds 1 to each, so that no level is impossible.
    """
    cell = np.ascontiguousarray(np.rint(grid + SHIFTS[shift]).astype(np.int64).T)  # constriction reads rows
    whole, part = np.divmod(cell, STEPS_PER_BIT)
    weights = powers()[part] >> np.minimum(-whole + 1, ROOT_BITS)
    total = 2**PRECISION - weights.shape[1]
    counts = weights * total // weights.sum(axis=1, keepdims=True)
    rest = total - counts.sum(axis=1)
    counts[np.arange(len(counts)), counts.argmax(axis=1)] += rest
    return counts
