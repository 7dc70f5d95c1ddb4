"""What comes into `FlowDensity`: the rows of a fit and of a score, checked as scikit-learn has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from pushforward._checks import message
from pushforward.tables.encoding import Layout, has_blanks
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.frames import frame_kind, is_source
from pushforward.tables.modelling.preparation import conventions_in
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.conventions import Conventions
from pushforward.tables.reading.shards import STREAM_BYTES, Shards, open_shards
from pushforward.tables.schema import Column, TableSchema

if TYPE_CHECKING:
    from pushforward.tables.estimators.density import FlowDensity

# Frames whose columns scikit-learn holds to those of the fit, in their order; of others the needed ones are picked.
STRICT = ("pandas", "polars")


class Taken(NamedTuple):
    """A table as a fit takes it.

    Attributes:
        kind: Kind of table that samples come back as; None for arrays.
        table: Cells, or an array of real numbers without gaps.
        names: Names of the columns of an array.
        weights: Weights of the rows `(n,)`, or None.
        schema: Schema of the table, in any form that `FlowDensity` takes, or None to detect it.
        rows: Number of rows that came.
        notes: Remarks, a sentence each.
    """

    kind: str | None
    table: Cells | np.ndarray
    names: tuple[str, ...] | None
    weights: np.ndarray | None
    schema: Any
    rows: int
    notes: tuple[str, ...]


def rows_to_fit(density: FlowDensity, X: Any, sample_weight: Any) -> Taken:
    """Read the table of a fit, and set the attributes of `density` that scikit-learn wants set.

    An array without a schema holds real numbers. NaN in it is a missing value, as in a data frame.

    Args:
        density: Estimator, not yet fitted.
        X: As for `FlowDensity.fit`.
        sample_weight: Weights `(n,)`, or None.

    Raises:
        ValueError: The array is not numeric or holds infinity, or the weights do not fit.
        DataError: Values are missing, and `missing` is `"error"`; or the table cannot be read.
    """
    kind, how = frame_kind(X), Conventions.of(density.na, density.decimal, density.strip)
    if kind is None and density.schema is None and not is_source(X):
        return _array(density, X, sample_weight, how)
    cells = read_cells(X, conventions=conventions_in(density.schema) if how.usual else how)
    vars(density)["n_features_in_"] = len(cells.names)
    if kind in STRICT:
        validate_data(density, X, reset=True, skip_check_array=True)
    elif kind is not None or is_source(X):
        vars(density)["feature_names_in_"] = np.asarray(cells.names, dtype=object)
    weights = None
    if sample_weight is not None:
        weights = np.asarray(sample_weight, np.float64)
        if weights.shape != (len(cells),) or not np.all(np.isfinite(weights) & (weights >= 0)):
            got = f"shape {weights.shape}"
            raise ValueError(f"FlowDensity.fit: expected sample_weight ({len(cells)},), finite and >= 0, got {got}.")
    array = kind is None and isinstance(X, np.ndarray | list | tuple)
    kind = kind or (None if array else "dict" if isinstance(X, dict) else "pyarrow")
    return Taken(kind, cells, None, weights, density.schema, len(cells), ())


def shards_to_stream(density: FlowDensity, X: Any, sample_weight: Any, stream: bool | None) -> Shards | None:
    """The pieces of a table that a fit reads while it trains, or None for one that it reads into memory.

    Args:
        density: Estimator, not yet fitted.
        X: As for `FlowDensity.fit`.
        sample_weight: As for `FlowDensity.fit`.
        stream: Whether to stream it; None streams a table of `STREAM_BYTES` or more.

    Raises:
        ValueError: The table is to be streamed, and cannot be, or its weights come as an array.
    """
    if stream is False or not (is_source(X) or isinstance(X, Shards)) or isinstance(X, dict | Cells):
        return None
    how = Conventions.of(density.na, density.decimal, density.strip)
    shards = open_shards(X, conventions=conventions_in(density.schema) if how.usual else how)
    named = sample_weight is None or isinstance(sample_weight, str)
    if shards is None or (stream is None and (shards.size < STREAM_BYTES or not named)):
        if stream or isinstance(sample_weight, str):
            what = "files of Parquet, Arrow, NPY, NPZ or CSV"
            fix = "Save the table as Parquet, or leave stream out and give weights as an array."
            raise ValueError(message("FlowDensity.fit, stream", what, f"{X}"[:100], fix))
        return None
    if not named:
        fix = "Name the column that holds them."
        raise ValueError(message("FlowDensity.fit, stream", "sample_weight a column's name", "an array", fix))
    return shards


def _array(density: FlowDensity, X: Any, sample_weight: Any, marks: Conventions) -> Taken:
    how: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
    x = marks.of_array(np.asarray(validate_data(density, X, ensure_min_samples=2, **how)))
    weights, names, n = _weights(sample_weight, x), _columns(density, x), len(x)
    gaps = np.isnan(x)
    if not gaps.any() or density.missing not in ("drop", "model"):
        if gaps.any():
            raise missing_in_array(gaps, names, "Pass missing='drop' to leave these rows out, or missing='model'.")
        return Taken(None, x, names, weights, None, n, ())
    if density.missing == "model":
        columns = tuple(Column(name=name, kind="real", missing=bool(gaps[:, i].any())) for i, name in enumerate(names))
        return Taken(None, read_cells(x, names), None, weights, TableSchema(rows=n, columns=columns), n, ())
    kept = ~gaps.any(axis=1)
    if kept.sum() < 2:
        raise DataError("missing", "FlowDensity.fit: fewer than 2 rows are left without missing values (NaN).")
    note = f"the array: {int((~kept).sum()):,} of {n:,} rows have missing values and are left out."
    return Taken(None, x[kept], names, None if weights is None else weights[kept], None, n, (note,))


def missing_in_array(gaps: np.ndarray, names: tuple[str, ...], fix: str) -> DataError:
    """The error of an array with missing values.

    Args:
        gaps: Flags `(n, d)` of the cells that are NaN.
        names: Names of the columns.
        fix: The usual fix, in words.
    """
    counts = [f"{name} ({int(count):,})" for name, count in zip(names, gaps.sum(axis=0), strict=True) if count]
    shown = ", ".join(counts[:8]) + (f" and {len(counts) - 8} more" if len(counts) > 8 else "")
    rows = f"{int(gaps.any(axis=1).sum()):,} of {len(gaps):,} rows"
    return DataError("missing", f"FlowDensity: expected no missing values, got NaN in {rows}, by column {shown}. {fix}")


def _weights(sample_weight: Any, X: np.ndarray) -> np.ndarray | None:
    if sample_weight is None:
        return None
    weights = check_array(sample_weight, dtype="float64", ensure_2d=False, input_name="sample_weight")
    check_consistent_length(X, weights)
    if weights.ndim != 1 or weights.min() < 0 or weights.max() == 0:
        got = f"shape {weights.shape}, from {weights.min()} to {weights.max()}"
        expected = f"sample_weight ({len(X)},), >= 0 and not all zero"
        raise ValueError(message("FlowDensity.fit", expected, got, "Leave out rows that do not count."))
    return weights


def _columns(density: FlowDensity, X: np.ndarray) -> tuple[str, ...]:
    names = getattr(density, "feature_names_in_", None)
    return tuple(map(str, names)) if names is not None else tuple(f"x{i}" for i in range(X.shape[1]))


def rows_to_score(density: FlowDensity, X: Any) -> Cells | np.ndarray:
    """A table as a fitted model takes it; NaN in an array is a missing value, as in a data frame.

    Args:
        density: Fitted estimator.
        X: An array with the columns of the fit, or a table with at least the modelled ones, in any order.
    """
    model, columns = density.model_, density.columns_
    if frame_kind(X) is None and not is_source(X):
        if not model.plain:
            X = validate_data(density, X, dtype=None, ensure_all_finite=False, reset=False)
            return read_cells(X, columns=columns, conventions=model.schema.reading)
        how: dict[str, Any] = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
        x = model.schema.reading.of_array(np.asarray(validate_data(density, X, reset=False, **how)))
        x = x[:, [columns.index(name) for name in model.needed]]
        gaps = np.isnan(x)
        if gaps.any():
            raise missing_in_array(gaps, model.needed, "Leave these rows out.")
        return x
    cells, needed = read_cells(X, conventions=model.schema.reading), model.needed
    # Columns set aside may be left out, as they are in samples.
    names = tuple(name for name in columns if name in needed or name in cells.names)
    if frame_kind(X) in STRICT and not (hasattr(density, "feature_names_in_") and cells.names == names):
        validate_data(density, X, reset=False, skip_check_array=True)
    return model.pick(cells)


def rows_with_states(density: FlowDensity, X: Any, missing: str) -> tuple[Cells | np.ndarray, np.ndarray]:
    """The rows that a fitted model can score, as `rows_to_score` gives them, and which of the rows they are.

    Args:
        density: Fitted estimator.
        X: As for `rows_to_score`.
        missing: `"error"` or `"drop"`, for rows with missing values that the model has no state for.

    Returns:
        The rows, and flags `(n,)` of those of `X` that are among them.

    Raises:
        DataError: Values are missing, and rows are not to be left out, or none is left.
    """
    if missing not in ("error", "drop"):
        raise ValueError(f"expected missing 'error' or 'drop', got {missing!r}.")
    if density.model_.plain and missing == "drop" and frame_kind(X) is None and not is_source(X):
        X = np.asarray(X, np.float64)
        kept = ~np.isnan(X).any(axis=1) if X.ndim == 2 else np.ones(len(X), bool)
        if not kept.any():
            raise DataError("missing", "the array: no row is left without missing values.")
        return density.table_of(X[kept]), kept
    taken = density.table_of(X)
    if isinstance(taken, np.ndarray):
        return taken, np.ones(len(taken), bool)
    blank = has_blanks(Layout(tuple(column for column in density.schema_.modelled if not column.missing)), taken)
    if missing == "error" and blank.any():
        raise DataError(
            "missing",
            f"{taken.source}: {int(blank.sum())} of {len(taken)} rows have missing values, for which this model has no "
            "state. Leave those rows out with --missing drop (missing='drop'), or fit the model with missing='model' "
            "(`pushforward fit --missing model`).",
        )
    if blank.all():
        raise DataError("missing", f"{taken.source}: no row is left without missing values.")
    return (taken.take(~blank) if blank.any() else taken), ~blank
