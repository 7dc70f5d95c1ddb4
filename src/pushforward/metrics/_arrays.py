"""Checks of the arrays and seeds that come in, and one thread for what runs on all cores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

MOSTLY_DISTINCT = 0.9  # of the distinct rows, for a column to count as continuous


def matrix(name: str, values: Any, columns: int | None = None, least: int = 1, finite: bool = True) -> np.ndarray:
    """`values` as float64 rows `(n, d)`; one axis counts as one column.

    Raises:
        ValueError: another shape, too few rows, no columns, or values that are not finite where they must be.
    """
    rows = np.asarray(values, np.float64)
    rows = rows[:, None] if rows.ndim == 1 else rows
    expected = f"rows of shape (n, {'d' if columns is None else columns})"
    if rows.ndim != 2 or rows.shape[1] == 0 or (columns is not None and rows.shape[1] != columns):
        raise ValueError(f"{name}: expected {expected}, got shape {np.shape(values)}. One row per observation.")
    if len(rows) < least:
        raise ValueError(f"{name}: expected at least {least} rows, got {len(rows)}. Pass more rows.")
    if finite and not np.isfinite(rows).all():
        bad = int((~np.isfinite(rows)).any(axis=1).sum())
        raise ValueError(f"{name}: expected finite values, got NaN or infinity in {bad} rows. Leave these rows out.")
    return rows


def vector(name: str, values: Any, length: int | None = None, least: int = 1) -> np.ndarray:
    """`values` as float64 numbers `(n,)`; NaN and infinities pass.

    Raises:
        ValueError: another shape or length.
    """
    column = np.asarray(values, np.float64)
    if column.ndim != 1 or (length is not None and len(column) != length) or len(column) < least:
        shape = f"({length},)" if length is not None else f"(n,), n >= {least}"
        raise ValueError(f"{name}: expected numbers of shape {shape}, got shape {column.shape}. One number per row.")
    return column


def shares(name: str, weights: Any, length: int) -> np.ndarray:
    """Weights `(length,)` that sum to one; None means equal ones.

    Raises:
        ValueError: a weight is negative or not finite, or all are zero.
    """
    if weights is None:
        return np.full(length, 1 / length)
    values = vector(name, weights, length)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() == 0:
        raise ValueError(f"{name}: expected finite weights >= 0, not all zero, got {values}. Drop such rows.")
    values = values / values.max()  # the sum of large weights may overflow
    return values / values.sum()


def generator(name: str, seed: Any) -> np.random.Generator:
    """The random numbers of one call.

    Raises:
        TypeError: `seed` is no integer.
        ValueError: it is negative.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"{name}: expected an integer seed, got {type(seed).__name__} {seed!r}. Pass seed=0.")
    if seed < 0:
        raise ValueError(f"{name}: expected a seed >= 0, got {seed}. Pass seed=0.")
    return np.random.default_rng(int(seed))


def choose(rng: np.random.Generator, n: int, most: int) -> np.ndarray:
    """At most `most` of `n` row numbers, drawn without replacement, in their order; all where they are few."""
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def groups_of_copies(x: np.ndarray) -> np.ndarray | None:
    """A number per row `(n,)`, shared by rows that are copies of one another; None where equal rows are no surprise.

    Where a column takes a new value in almost every distinct row, two independent rows do not agree in all columns:
    equal ones were copied. Among rows of few values they come by chance, and each counts.
    """
    distinct, group = np.unique(x, axis=0, return_inverse=True)
    if len(distinct) == len(x):
        return None
    varied = max(len(np.unique(column)) for column in distinct.T)
    return group.reshape(-1) if varied >= MOSTLY_DISTINCT * len(distinct) else None


@contextmanager
def one_thread() -> Iterator[None]:
    """Run scikit-learn's and BLAS's compiled loops on one thread.

    At these sizes threads gain little, and on a machine whose cores are busy OpenMP's threads wait for one another: a
    fit of 0.2 s then took a minute. Sums also keep their order, so that a result does not depend on the cores.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
