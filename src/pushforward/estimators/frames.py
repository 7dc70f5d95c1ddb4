"""Data frames in and out: which kind came, and a table of the same kind back."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import narwhals as nw
import numpy as np
import sklearn

KINDS = ("pandas", "polars")


def frame_kind(table: Any) -> str | None:
    """`"pandas"` or `"polars"` for such a data frame, else None."""
    frame = nw.from_native(table, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return None
    kind = frame.implementation.value
    return kind if kind in KINDS else None


def wanted_kind(configured: str | None, fitted: str | None) -> str | None:
    """The kind of table to return, None for an array.

    Args:
        configured: what `set_output` said; None if it was not called, `"default"` for the kind of the fit.
        fitted: the kind of the table of the fit.
    """
    kind = configured or sklearn.get_config()["transform_output"]
    return fitted if kind == "default" else kind


def to_frame(values: np.ndarray, names: Sequence[str], kind: Any) -> Any:
    """`values` `(n, d)` as a data frame of this kind with these columns; the array itself for None."""
    if kind is None:
        return values
    columns = {name: np.ascontiguousarray(values[:, i]) for i, name in enumerate(names)}
    importlib.import_module(kind)  # a clear ImportError where it is not installed
    return nw.from_dict(columns, backend=kind).to_native()


def given_rows(given: Any, names: Sequence[str]) -> np.ndarray:
    """The rows of conditions as `(m, k)` float64; a data frame's columns are found by name, a single row is one row.

    Raises:
        ValueError: a column is missing, or the number of columns does not fit.
    """
    frame = nw.from_native(given, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        missing = [name for name in names if name not in frame.columns]
        if missing:
            raise ValueError(
                f"FlowDensity.sample: expected given with the columns {list(names)}, got {frame.columns}. "
                f"Add {missing}."
            )
        rows = frame.select(list(names)).to_numpy()
    else:
        rows = np.asarray(given)
    rows = np.atleast_2d(np.asarray(rows, np.float64))
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise ValueError(
            f"FlowDensity.sample: expected given of shape (m, {len(names)}), got {np.shape(given)}. "
            f"Its columns are {list(names)}."
        )
    if not np.isfinite(rows).all():
        raise ValueError("FlowDensity.sample: expected finite numbers in given, got NaN or infinity. Drop those rows.")
    return rows
