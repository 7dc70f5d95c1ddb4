"""The events on which the laws are tried: ordinary draws, tails, zeros, denormals, large values, knots."""

from __future__ import annotations

import math
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
N_FEW = 2  # draws of the core laws, each with its two neighbours

# An open interval of numbers that may enter, None for all of them; an end may be infinite.
Domain = tuple[float, float] | None


def into_domain(values: np.ndarray, domain: Domain) -> np.ndarray:
    """Any numbers, moved into the domain by a map that rises and is smooth."""
    if domain is None:
        return values
    low, high = domain
    if math.isinf(low) and math.isinf(high):
        return values
    if math.isinf(high):
        return low + np.exp(values)
    if math.isinf(low):
        return high - np.exp(-values)
    away = (high - low) * np.exp(-np.logaddexp(0, np.abs(values)))  # from the nearer end, so that it keeps its digits
    return np.where(values < 0, low + away, high - away)


def inside(value: float, domain: Domain, dtype: Any) -> bool:
    """Whether a number of that type lies in the domain."""
    return domain is None or domain[0] < float(np.dtype(dtype).type(value)) < domain[1]


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
    key: PRNGKeyArray, shape: Shape, dtype: Any, special: Sequence[float] = (), domain: Domain = None
) -> tuple[np.ndarray, list[str]]:
    """Inputs for the laws of value, and a label for each.

    Args:
        key: JAX key.
        shape: Shape of one event.
        dtype: Type of the events.
        special: Knots, bounds and the like; the next floats on both sides are added.
        domain: Interval where the numbers may lie: draws are moved there, other values outside it are left out.

    Returns:
        Events `(n, *shape)`, and `n` labels.
    """
    rng = generator(key)
    rows: list[np.ndarray] = [into_domain(rng.standard_normal(shape), domain) for _ in range(N_DRAWS)]
    rows += [into_domain(3 * rng.standard_normal(shape), domain) for _ in range(N_WIDE)]
    labels = [f"normal draw {i}" for i in range(N_DRAWS)] + [f"wide draw {i}" for i in range(N_WIDE)]
    tiny = float(np.finfo(dtype).smallest_subnormal)
    values = [0.0, tiny, -tiny, TAIL, -TAIL, LARGE, -LARGE, *neighbours(special, dtype)]
    _place(rng, shape, [value for value in values if inside(value, domain, dtype)], rows, labels, domain)
    return np.stack(rows).astype(dtype), labels


def extreme_events(
    key: PRNGKeyArray, shape: Shape, dtype: Any, special: Sequence[float] = (), domain: Domain = None
) -> tuple[np.ndarray, list[str]]:
    """Inputs for the law of gradients: a few draws, every special point, and +-1e30."""
    rng = generator(key)
    rows: list[np.ndarray] = [into_domain(rng.standard_normal(shape), domain) for _ in range(3)]
    labels = [f"normal draw {i}" for i in range(3)]
    tiny = float(np.finfo(dtype).smallest_subnormal)
    values = [0.0, tiny, -tiny, LARGE, -LARGE, EXTREME, -EXTREME, *neighbours(special, dtype)]
    _place(rng, shape, [value for value in values if inside(value, domain, dtype)], rows, labels, domain)
    return np.stack(rows).astype(dtype), labels


def few_events(
    key: PRNGKeyArray, shape: Shape, dtype: Any, special: Sequence[float] = (), domain: Domain = None, step: float = 0.0
) -> tuple[np.ndarray, list[str]]:
    """Inputs for the core laws: draws, each followed by two neighbours on opposite sides; zero, a tail, a knot.

    Args:
        key: JAX key.
        shape: Shape of one event.
        dtype: Type of the events.
        special: Knots, bounds and the like; the first is tried, with its neighbouring floats.
        domain: Interval where the numbers may lie.
        step: Distance of a draw to its neighbours, before they are moved into the domain.
    """
    rng = generator(key)
    rows: list[np.ndarray] = []
    labels: list[str] = []
    for i in range(N_FEW):
        draw, towards = rng.standard_normal(shape), rng.standard_normal(shape)
        rows += [into_domain(draw + sign * step * towards, domain) for sign in (0, 1, -1)]
        labels += [f"normal draw {i}", f"a neighbour of draw {i}", f"the opposite neighbour of draw {i}"]
    for value in (0.0, TAIL, *neighbours(special[:1], dtype)):
        if inside(value, domain, dtype):
            rows.append(np.full(shape, value))
            labels.append(f"{value!r} in every coordinate")
    return np.stack(rows).astype(dtype), labels


def generator(key: PRNGKeyArray | np.ndarray) -> np.random.Generator:
    """A NumPy generator that follows from a JAX key, or from its data."""
    data = key if isinstance(key, np.ndarray) else jax.random.key_data(key)
    return np.random.default_rng(np.asarray(data).ravel())


def _place(
    rng: np.random.Generator,
    shape: Shape,
    values: Sequence[float],
    rows: list[np.ndarray],
    labels: list[str],
    domain: Domain,
) -> None:
    """Append, for each value, an event that is that value throughout, and one where a single coordinate is."""
    size = int(np.prod(shape, dtype=int))
    for i, value in enumerate(values):
        rows.append(np.full(shape, value))
        labels.append(f"{value!r} in every coordinate")
        if size > 1:
            event = into_domain(rng.standard_normal(size), domain)
            event[i % size] = value
            rows.append(event.reshape(shape))
            labels.append(f"{value!r} in coordinate {i % size}")
