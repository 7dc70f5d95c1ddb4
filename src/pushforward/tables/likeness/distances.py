"""Rows as points between which distances mean something, whatever their columns are."""

from __future__ import annotations

import math

import numpy as np

from pushforward.metrics.marginal import Kind

# Levels of a column with a direction of their own; the others share one.
MOST_LEVELS = 50
# What tells rows apart that differ in such a level only, too little to count as distance.
SLIGHT = 1e-6


def points(
    tables: tuple[dict[str, np.ndarray], ...], kinds: dict[str, Kind], periods: dict[str, float]
) -> list[np.ndarray]:
    """The rows of tables as points: one unit is a standard deviation of a number, another level, or a gap.

    A circle is one with radius one. Rows that differ anywhere differ as points.

    Args:
        tables: columns by name; NaN is a gap.
        kinds: of each column.
        periods: of each circle.

    Returns:
        `(n, k)` for each table.
    """
    parts: list[np.ndarray] = []
    sizes = [len(next(iter(table.values()))) for table in tables]
    for name, kind in kinds.items():
        column = np.concatenate([table[name] for table in tables])
        there = ~np.isnan(column)
        if kind == "category":
            parts += _levels(column, sizes[0])
            continue
        if not there.all():
            parts.append(1.0 - there)
        if kind == "circular":
            angle = np.where(there, column, 0.0) * (2 * math.pi / periods[name])
            parts += [np.where(there, np.cos(angle), 0.0), np.where(there, np.sin(angle), 0.0)]
            continue
        own = column[: sizes[0]][there[: sizes[0]]]
        peak = np.abs(column[there]).max(initial=0.0) or 1.0  # squares of large numbers would overflow
        centre, spread = (own.mean(), (own / peak).std() * peak) if len(own) else (0.0, 1.0)
        parts.append(np.where(there, (column - centre) / (spread or 1.0), 0.0))
    rows = np.stack(parts, axis=1)
    return np.split(rows, np.cumsum(sizes)[:-1])


def _levels(column: np.ndarray, n: int) -> list[np.ndarray]:
    """An indicator for each of the commonest levels of the first `n` rows, at distance one from one another."""
    codes = np.unique(column, return_inverse=True)[1]
    counts = np.bincount(codes[:n], minlength=int(codes.max()) + 1)
    common = np.argsort(-counts, kind="stable")[:MOST_LEVELS]
    parts = [np.where(codes == level, math.sqrt(0.5), 0.0) for level in common]
    if len(counts) > MOST_LEVELS:
        parts.append(np.where(np.isin(codes, common), 0.0, math.sqrt(0.5)))
        parts.append(SLIGHT * codes / len(counts))
    return parts
