"""The rows of each batch: a function of the key and of the step's number alone, so nothing is stored."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

from pushforward._types import Array, PRNGKeyArray


def n_batches(n: int, batch_size: int) -> int:
    """The number of balanced batches of at most `batch_size` rows."""
    return -(-n // batch_size)


def bucket(n: int, smallest: int = 32) -> int:
    """`n` rounded up: to a power of two until 128, then so that at most an eighth is filling.

    Tables of similar length then have arrays of one shape, and share one compiled program.
    """
    if n <= smallest:
        return smallest
    bits = (n - 1).bit_length()
    step = 1 << (bits if n <= 128 else max(bits - 4, 5))
    return -(-n // step) * step


def streams(key: PRNGKeyArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three independent seeds of two words from one key: for the order of the rows, the steps, the validations."""
    words = np.asarray(jax.random.key_data(key)).ravel().tolist()
    order, steps, validations = (np.random.SeedSequence([*words, n]).generate_state(2, np.uint32) for n in range(3))
    return order, steps, validations


def epoch_order(seed: Any, epoch: Any, n: Any, n_padded: int) -> Array:
    """A random order of the first `n` of `n_padded` rows, the filling last: a function of seed and epoch alone.

    Rows are sorted by the Threefry hash of the counter (epoch, row).

    Source:
        Salmon, Moraes, Dror, Shaw, 2011, "Parallel random numbers: as easy as 1, 2, 3", doi 10.1145/2063384.2063405.
    """
    rows = jnp.arange(n_padded, dtype=jnp.int32)
    counters = jnp.concatenate([jnp.broadcast_to(epoch, rows.shape).astype(jnp.uint32), rows.astype(jnp.uint32)])
    bits = threefry_2x32(seed, counters)[:n_padded]
    bits = jnp.where(rows < n, bits, jnp.uint32(0xFFFFFFFF))
    # Stable, so that a row which drew the largest number still stands before the filling.
    return jax.lax.sort((bits, rows), num_keys=1, is_stable=True)[1]


def first_place(position: Any, n: Any, n_steps: Any, least: Any = min) -> Any:
    """The place in an epoch's order of the first row of batch `position`.

    The `n` rows are dealt to `n_steps` batches whose sizes differ by one at most.

    Args:
        position: Number of the batch; `n_steps` gives the end of the epoch, `n`.
        n: Number of rows in the epoch.
        n_steps: Number of batches in the epoch.
        least: Function of the smaller of two numbers; `jnp.minimum` on the device.
    """
    return position * (n // n_steps) + least(position, n % n_steps)


def batch_places(position: Any, n: Any, n_steps: Any, size: int) -> tuple[Array, Array]:
    """The places in an epoch's order of the rows of batch `position`, and which of them count.

    Args:
        position: 0 to `n_steps - 1`.
        n: Rows in the epoch.
        n_steps: Batches in the epoch.
        size: The static number of rows, at least `ceil(n / n_steps)`.

    Shapes:
        `(size,), (size,)`
    """
    start = first_place(position, n, n_steps, jnp.minimum)
    count = n // n_steps + (position < n % n_steps)
    offsets = jnp.arange(size, dtype=jnp.int32)
    return jnp.minimum(start + offsets, n - 1), offsets < count
