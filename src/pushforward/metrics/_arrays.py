"""Checks of arrays and seeds that users pass, and a context in which compiled loops run on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

# Equal rows count as copies only above these bounds: the share of rows that are distinct, the share of distinct rows
# that occur more than once, and the share of a column's entries that are new in distinct rows.
LEAST_DISTINCT = 0.1
LEAST_REPEATED = 0.02
MOSTLY_DISTINCT = 0.9


def matrix(name: str, values: Any, columns: int | None = None, least: int = 1, finite: bool = True) -> np.ndarray:
    """Convert `values` to float64 rows `(n, d)`; an array of one axis is one column.

    Raises:
        ValueError: The shape is another, rows are too few, columns are missing, or values are not finite.
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
    """Convert `values` to float64 numbers `(n,)`; NaN and infinities are allowed.

    Raises:
        ValueError: The shape or the length is another.
    """
    column = np.asarray(values, np.float64)
    if column.ndim != 1 or (length is not None and len(column) != length) or len(column) < least:
        shape = f"({length},)" if length is not None else f"(n,), n >= {least}"
        raise ValueError(f"{name}: expected numbers of shape {shape}, got shape {column.shape}. One number per row.")
    return column


def shares(name: str, weights: Any, length: int) -> np.ndarray:
    """Weights `(length,)` that sum to one; None means equal ones.

    Raises:
        ValueError: A weight is negative or not finite, or all are zero.
    """
    if weights is None:
        return np.full(length, 1 / length)
    values = vector(name, weights, length)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() == 0:
        raise ValueError(f"{name}: expected finite weights >= 0, not all zero, got {values}. Drop such rows.")
    values = values / values.max()  # the sum of large weights may overflow
    return values / values.sum()


def generator(name: str, seed: Any) -> np.random.Generator:
    """The generator of the random numbers of one call.

    Raises:
        TypeError: The seed is no integer.
        ValueError: The seed is negative.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
        raise TypeError(f"{name}: expected an integer seed, got {type(seed).__name__} {seed!r}. Pass seed=0.")
    if seed < 0:
        raise ValueError(f"{name}: expected a seed >= 0, got {seed}. Pass seed=0.")
    return np.random.default_rng(int(seed))


def choose(rng: np.random.Generator, n: int, most: int) -> np.ndarray:
    """Choose `most` of the row numbers below `n` without replacement, in ascending order; all if there are no more."""
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def groups_of_copies(x: np.ndarray) -> np.ndarray | None:
    """A number per row `(n,)` that copies of a row share; None if equal rows are no sign of copies.

    Two independent rows of continuous numbers do not agree in all columns, so that equal ones were copied. Equal rows
    arise by chance, and each counts, if every column has few values or evenly spaced ones, such as counts and rounded
    figures, or if only a few rows repeat, such as empty ones.
    """
    distinct, group, counts = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    repeated = int((counts > 1).sum())
    if len(distinct) < LEAST_DISTINCT * len(x) or repeated < max(1, LEAST_REPEATED * len(distinct)):
        return None
    return group.reshape(-1) if any(_continuous(column) for column in distinct.T) else None


def _continuous(column: np.ndarray) -> bool:
    """Whether almost all entries of a column differ, and most steps between neighbouring values as well."""
    values = np.unique(column[np.isfinite(column)])
    if len(values) < max(3, MOSTLY_DISTINCT * len(column)):
        return False
    steps = np.diff(values / max(np.abs(values).max(), np.finfo(float).tiny))
    return len(np.unique(np.round(steps / np.median(steps), 5))) > len(steps) / 2


@contextmanager
def one_thread() -> Iterator[None]:
    """Run scikit-learn's and BLAS's compiled loops on one thread.

    Threads gain little at these sizes, and on a busy machine the threads of OpenMP wait for one another: a fit of 0.2 s
    took a minute. Sums also keep their order, so that a result does not depend on the number of cores.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
