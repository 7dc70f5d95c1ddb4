"""What comes into a detector: the rows of a fit and of a score, checked as scikit-learn has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils.validation import validate_data

from pushforward.tables.estimators.frames import frame_kind, is_source
from pushforward.tables.estimators.intake import STRICT
from pushforward.tables.reading.cells import Cells, read_cells

# A column of so few different values, or so small a share of its rows, is one of levels; and so many of the columns of
# a table make it one of levels.
FEW_VALUES, FEW_SHARE, MOST_OF = 20, 0.02, 0.5
# Rows that the number of different values is counted in.
COUNTED_ROWS = 20_000


def rows_to_fit(detector: Any, X: Any) -> np.ndarray | Cells:
    """The table of a fit, and the attributes of the detector that scikit-learn wants set.

    Args:
        detector: Estimator, not yet fitted.
        X: An array of real numbers `(n, d)`, or a table of any kind that `FlowDensity.fit` takes.

    Raises:
        ValueError: The array is not numeric, holds infinity, or has fewer than two rows; `DataError`, which is one, for
            a table that cannot be read.
    """
    kind = frame_kind(X)
    if kind is None and not is_source(X):
        # NaN is a missing value, about which the density decides.
        how: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan", "ensure_min_samples": 2}
        detector.columns_ = None
        return np.asarray(validate_data(detector, X, **how))
    cells = read_cells(X)
    detector.columns_, detector.n_features_in_ = cells.names, len(cells.names)
    if kind in STRICT:
        validate_data(detector, X, reset=True, skip_check_array=True)
    else:
        detector.feature_names_in_ = np.asarray(cells.names, dtype=object)
    return cells


def rows_to_score(detector: Any, X: Any) -> Any:
    """A table as the fitted scores of a detector take it.

    Args:
        detector: Fitted estimator.
        X: An array with the columns of the fit, or a table with at least the columns that its scores need.
    """
    kind = frame_kind(X)
    if kind is None and not is_source(X):
        if detector.columns_ is not None:  # columns of mixed kinds, by their places
            X = validate_data(detector, X, dtype=None, ensure_all_finite=False, reset=False)
            return read_cells(X, columns=detector.columns_)
        how: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
        return np.asarray(validate_data(detector, X, reset=False, **how))
    if detector.columns_ is None:  # the fit saw an array: its columns are known by their places
        cells = read_cells(X)
        arrays = [np.asarray(column.to_numpy(), np.float64) for column in cells.table.columns]
        table: Any = np.stack(arrays, axis=1)
        return np.asarray(validate_data(detector, table, reset=False, ensure_all_finite="allow-nan"))
    return X


def take(rows: np.ndarray | Cells, places: np.ndarray) -> np.ndarray | Cells:
    """Some rows of a table that `rows_to_fit` gave.

    Args:
        rows: The table.
        places: Positions of the rows.
    """
    return rows.take(places) if isinstance(rows, Cells) else rows[places]


def mostly_levels(rows: np.ndarray | Cells) -> str | None:
    """A sentence where at least half the columns hold levels or few different values, else None.

    Args:
        rows: The table of a fit.
    """
    if isinstance(rows, Cells):
        table = rows.table.slice(0, COUNTED_ROWS)
        few = [name for name in rows.names if _few(table[name])]
        total = len(rows.names)
    else:
        part = rows[:COUNTED_ROWS]
        few = [i for i in range(part.shape[1]) if _is_few(len(np.unique(part[:, i])), len(part))]
        total = part.shape[1]
    if total < 2 or len(few) < MOST_OF * total:
        return None
    return (
        f"{len(few)} of {total} columns hold levels or few different values: the log-density says which combinations "
        "of them are rare, and ordinary rows may be rarer than anomalies. Judge it by labelled rows (`quality`), or "
        "take other scores."
    )


def _few(column: pa.ChunkedArray) -> bool:
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        return not pa.types.is_temporal(column.type)
    return _is_few(len(column.unique()), len(column))


def _is_few(distinct: int, rows: int) -> bool:
    """Whether so many different values are few; a table of few rows cannot have many."""
    return distinct <= min(max(FEW_VALUES, FEW_SHARE * rows), rows / 2)
