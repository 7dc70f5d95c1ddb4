"""The events on which the laws are tried: ordinary draws, tails, zeros, denormals, large values, knots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from pushforward._types import PRNGKeyArray, Shape

TAIL = 8.0  # standard deviations: far beyond what a base draws, well within what a data set holds
LARGE = 1e3  # raw columns that nobody standardised
EXTREME = 1e30  # near the end of float32, where a masked branch overflows and 0 * inf becomes NaN (flowjax#239)
N_DRAWS = 8
N_WIDE = 2  # draws three times as wide


def neighbours(values: Sequence[float], dtype: Any) -> list[float]:
    """Each value in `dtype`, with the next float below and above it.

    Random inputs never find an error that lives one float from a knot (nflows#87); these do.
    """
    kind = np.dtype(dtype).type
    out: list[float] = []
    for value in values:
        at = kind(value)
        out += [float(np.nextafter(at, kind(-np.inf))), float(at), float(np.nextafter(at, kind(np.inf)))]
    return out


def ordinary_events(
    key: PRNGKeyArray, shape: Shape, dtype: Any, special: Sequence[float] = ()
) -> tuple[np.ndarray, list[str]]:
    """Inputs for the laws of value, and a label for each.

    Args:
        key: a JAX key.
        shape: of one event.
        dtype: of the events.
        special: knots, bounds and the like; their neighbours are added.

    Returns:
        Events `(n, *shape)`, and `n` labels.
    """
    rng = generator(key)
    rows: list[np.ndarray] = [rng.standard_normal(shape) for _ in range(N_DRAWS)]
    rows += [3 * rng.standard_normal(shape) for _ in range(N_WIDE)]
    labels = [f"normal draw {i}" for i in range(N_DRAWS)] + [f"wide draw {i}" for i in range(N_WIDE)]
    tiny = float(np.finfo(dtype).smallest_subnormal)
    values = [0.0, tiny, -tiny, TAIL, -TAIL, LARGE, -LARGE, *neighbours(special, dtype)]
    _place(rng, shape, values, rows, labels)
    return np.stack(rows).astype(dtype), labels


def extreme_events(
    key: PRNGKeyArray, shape: Shape, dtype: Any, special: Sequence[float] = ()
) -> tuple[np.ndarray, list[str]]:
    """Inputs for the law of gradients: a few draws, every special point, and +-1e30."""
    rng = generator(key)
    rows: list[np.ndarray] = [rng.standard_normal(shape) for _ in range(3)]
    labels = [f"normal draw {i}" for i in range(3)]
    tiny = float(np.finfo(dtype).smallest_subnormal)
    values = [0.0, tiny, -tiny, LARGE, -LARGE, EXTREME, -EXTREME, *neighbours(special, dtype)]
    _place(rng, shape, values, rows, labels)
    return np.stack(rows).astype(dtype), labels


def generator(key: PRNGKeyArray) -> np.random.Generator:
    """A NumPy generator that follows from a JAX key."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())


def _place(
    rng: np.random.Generator, shape: Shape, values: Sequence[float], rows: list[np.ndarray], labels: list[str]
) -> None:
    """Append, for each value, an event that is that value throughout, and one where a single coordinate is."""
    size = int(np.prod(shape, dtype=int))
    for i, value in enumerate(values):
        rows.append(np.full(shape, value))
        labels.append(f"{value!r} in every coordinate")
        if size > 1:
            event = rng.standard_normal(size)
            event[i % size] = value
            rows.append(event.reshape(shape))
            labels.append(f"{value!r} in coordinate {i % size}")
