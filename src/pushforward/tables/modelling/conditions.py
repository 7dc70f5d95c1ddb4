"""Which columns are conditions, and whether those of an array vary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def conditions_of(given: Sequence[str | int] | None, columns: Sequence[str]) -> list[int]:
    """The positions of the given columns, in their order.

    Raises:
        ValueError: a column is unknown or named twice, or none is left to be modelled.
        TypeError: `given` is not a list.
    """
    if given is None:
        return []
    if isinstance(given, str) or not isinstance(given, (Sequence, np.ndarray)):
        raise TypeError(f"FlowDensity: expected given as a list of columns, got {given!r}. Write given=[{given!r}].")
    positions: list[int] = []
    for column in given:
        if isinstance(column, str):
            if column not in columns:
                raise ValueError(f"FlowDensity: expected given among the columns {list(columns)}, got {column!r}.")
            positions.append(list(columns).index(column))
        else:
            position = int(column)
            if not 0 <= position < len(columns):
                raise ValueError(f"FlowDensity: expected given between 0 and {len(columns) - 1}, got {column!r}.")
            positions.append(position)
    if len(set(positions)) < len(positions):
        raise ValueError(f"FlowDensity: expected each given column once, got {list(given)}.")
    if len(positions) == len(columns):
        raise ValueError(f"FlowDensity: expected a column that is not given, got all {len(columns)} of them as given.")
    return positions


def check_varies(x: np.ndarray, weights: Any, names: Sequence[str], constant: bool = False) -> None:
    """Whether the columns of an array have a mean and a variance.

    Args:
        x: `(n, d)`.
        weights: `(n,)` or None.
        names: of the columns, for the message.
        constant: whether a column may be constant.

    Raises:
        ValueError: a column never varies, or its variance overflows.
    """
    still = np.ptp(x, axis=0) == 0
    if still.any() and not constant:
        bad = [name for name, flag in zip(names, still, strict=True) if flag]
        raise ValueError(
            f"FlowDensity: expected columns that vary, got a single value in {bad}. There is no density over a "
            "constant: leave these columns out, or name them in given."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        loc = np.average(x, axis=0, weights=weights)
        variance = np.average((x - loc) ** 2, axis=0, weights=weights)
    wrong = ~(np.isfinite(loc) & np.isfinite(variance) & ((variance > 0) | still))
    if wrong.any():
        bad = [name for name, flag in zip(names, wrong, strict=True) if flag]
        raise ValueError(
            f"FlowDensity: expected columns whose variance float64 can hold, got {bad}. Change their units."
        )
