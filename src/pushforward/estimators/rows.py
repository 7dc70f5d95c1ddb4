"""Scoring and drawing rows in float64, in chunks of one size, so that nothing recompiles and no row sees another."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._vectorize import rows_last
from pushforward.distributions import Flow
from pushforward.training.batches import pad_rows

# Rows per call. One size for all, since another shape may round differently; small, since a single row costs as much.
CHUNK = 512


def score_rows(flow: Flow, x: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    """The log-densities `(n,)` of rows, computed in float64 whatever the flow was trained in.

    Args:
        flow: in the data's units.
        x: `(n, d)`.
        condition: `(n, k)` or None.
    """
    wide, parts = widen(flow), []
    with jax.enable_x64(True):
        for start in range(0, len(x), CHUNK):
            rows = x[start : start + CHUNK]
            own = None if condition is None else pad_rows(condition[start : start + CHUNK], CHUNK)
            parts.append(wide.log_prob(pad_rows(rows, CHUNK), own)[: len(rows)])
        return np.concatenate([np.asarray(part) for part in parts])


def sample_rows(flow: Flow, seed: np.ndarray, n: int, condition: np.ndarray | None) -> np.ndarray:
    """Draw rows in float64: `n` `(n, d)`, or `n` for each condition `(m * n, d)`, those of the first condition first.

    Draw `j` for condition `i` depends on the seed, `i` and `j` alone.

    Args:
        flow: in the data's units.
        seed: two words.
        n: draws, for each condition if there are any.
        condition: `(m, k)` or None.
    """
    wide, parts = widen(flow), []
    m = 1 if condition is None else len(condition)
    with jax.enable_x64(True):
        for start in range(0, m * n, CHUNK):
            index = np.minimum(np.arange(start, start + CHUNK), m * n - 1)
            which, draw = (index // n).astype(np.uint32), (index % n).astype(np.uint32)
            own = None if condition is None else condition[which]
            parts.append(_draw(wide, seed, which, draw, own)[: m * n - start])
        return np.concatenate([np.asarray(part) for part in parts])


@eqx.filter_jit
def _draw(flow: Flow, seed: Any, which: Any, draw: Any, condition: Any) -> Any:
    key = jax.random.wrap_key_data(seed, impl="threefry2x32")
    keys = jax.vmap(lambda i, j: jax.random.fold_in(jax.random.fold_in(key, i), j))(which, draw)
    batch = (CHUNK,)
    return rows_last(flow._sample, (batch, () if condition is None else batch), keys, condition)


def widen(flow: Flow) -> Flow:
    """The flow with its numbers as float64 host arrays."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64) if eqx.is_inexact_array(leaf) else leaf, flow)
