"""Log-densities of many rows on several devices."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import as_key, check_int, check_key
from pushforward._types import Array, PRNGKeyArray
from pushforward._vectorize import batch_keys, in_chunks
from pushforward.distributions import AbstractDistribution
from pushforward.training.devices import devices_of
from pushforward.training.rows import conditions, numbers

CHUNK_ROWS = 4096  # rows of each device at once


def log_prob(
    flow: AbstractDistribution,
    x: Any,
    condition: Any = None,
    *,
    key: PRNGKeyArray | None = None,
    devices: Any = "all",
    chunk_rows: int = CHUNK_ROWS,
) -> np.ndarray:
    """The log-densities of many rows in nats, `(n,)`, with the rows dealt to several devices.

    They are those of `flow.log_prob`: the number of rows at once changes the rounding alone, and with it the steps of
    solvers, which fit all rows of a call. Each device scores chunks of its own, so that no number goes from one to
    another; its memory holds the model and `chunk_rows` rows.

    Args:
        flow: The model.
        x: Rows `(n, *event_shape)` on the host, such as a memory-mapped file.
        condition: Conditions `(n, *cond_shape)` for a conditional model.
        key: JAX key for a log-density that is a random estimate; row `i` gets the key that `flow.log_prob` gives it.
        devices: Devices as for `pushforward.fit`; all by default. Those of other hosts are left out: each host scores
            its own rows.
        chunk_rows: Number of rows of each device at once.

    Raises:
        ValueError: A shape does not fit, a number is not finite, or a needed condition or key is missing.
        TypeError: An argument is of the wrong kind.

    Cost:
        One pass over the rows.

    Example:
        >>> import jax, pushforward as pf
        >>> flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=1, width=8)
        >>> x = jax.random.normal(jax.random.key(0), (5, 2))
        >>> pf.training.log_prob(flow, x, devices=1).shape
        (5,)
    """
    rows = numbers("log_prob", "x", x, flow.event_shape)
    given = None if flow.cond_shape is None and condition is None else conditions("log_prob", flow, condition)
    check_key("log_prob", key, flow.needs_key)
    n = len(rows)
    keys = batch_keys(as_key("log_prob", key), n) if flow.needs_key and key is not None else None
    mine = devices_of(devices).local()
    arrays, others = eqx.partition(flow, eqx.is_array)
    copies = {device: eqx.combine(jax.device_put(arrays, device), others) for device in mine}
    size = min(check_int("log_prob", "chunk_rows", chunk_rows, 1), -(-max(n, 1) // len(mine)))

    def score(*part: Any) -> Array:
        config: Any = jax.config
        return _score(copies[config.jax_default_device], *part)

    return in_chunks(score, size, rows, given, keys, devices=mine)


@eqx.filter_jit
def _score(flow: AbstractDistribution, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> Array:
    last = None if condition is None else jnp.moveaxis(jnp.asarray(condition), 0, -1)
    return flow.log_prob_rows(jnp.moveaxis(jnp.asarray(x), 0, -1), last, keys)
