"""The exponential moving average of the weights, which is what validation scores and `fit` returns."""

from __future__ import annotations

import jax.numpy as jnp

from pushforward._types import Array


def ema_update(average: Array, value: Array, n: Array, decay: Array) -> Array:
    r"""$a \leftarrow d\,a + (1 - d)\,v$ with $d = \min(\text{decay}, (1 + n) / (10 + n))$.

    The warm-up lets the average forget the initial weights: after `n` updates it spans about `n / 9` of them.

    Args:
        average: The average so far.
        value: The new value.
        n: Updates so far.
        decay: The largest decay, in [0, 1); 0 follows the value.
    """
    warm = jnp.minimum(decay, (1.0 + n) / (10.0 + n)).astype(average.dtype)
    return average + (1 - warm) * (value - average)
