"""Tables of simulations: the parameters of each row, what the simulator made of them, and observations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward._checks import message
from pushforward.inference.joint import JointPosterior
from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells, read_cells


def numbers_of(cells: Cells, columns: Sequence[str]) -> np.ndarray:
    """The numbers `(n, d)` of columns; missing cells are NaN.

    Raises:
        DataError: A column is missing or holds other things than numbers.
    """
    table = cells.select(list(columns)).table
    out = []
    for name in columns:
        column = table.column(name)
        kind = column.type
        if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
            fix = "Parameters and simulations are numbers."
            raise DataError("non-numeric", message(cells.source, f"numbers in column {name!r}", f"{kind}", fix))
        out.append(column.cast(pa.float64()).to_numpy(zero_copy_only=False))
    return np.stack([np.asarray(values, np.float64) for values in out], axis=1)


def names_of_x(posterior: Any) -> tuple[str, ...]:
    """The names of the numbers of an observation, as far as the fit knew any.

    Args:
        posterior: A fitted model of simulations.
    """
    if isinstance(posterior, JointPosterior):
        return posterior.names_[posterior.prior_.dim :]
    return getattr(posterior, "x_names_", None) or ()


def observations(posterior: Any, source: Any) -> np.ndarray:
    """The observations `(n_obs, m)` of a table.

    Raises:
        DataError: The table lacks a column, or has missing numbers.
    """
    names = names_of_x(posterior) or None
    cells = read_cells(source, None if names is None else list(names))
    seen = numbers_of(cells, cells.names if names is None else names)
    if not np.isfinite(seen).all():
        fix = "An observation is complete."
        raise DataError("missing", message(cells.source, "numbers in every cell", "missing or infinite ones", fix))
    return seen


def pairs(posterior: Any, source: Any) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and simulations of a table of held-out pairs."""
    names = names_of_x(posterior)
    cells = read_cells(source, [*posterior.prior_.names, *names] if names else None)
    chosen = names or [name for name in cells.names if name not in posterior.prior_.names]
    return numbers_of(cells, posterior.prior_.names), numbers_of(cells, chosen)
