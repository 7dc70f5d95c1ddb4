"""Data frames in and out: which kind came, and a table of the same kind back."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw
import numpy as np
import pyarrow as pa
import sklearn
from scipy.sparse import issparse

from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.containers import Container, restored
from pushforward.tables.reading.conventions import Conventions
from pushforward.tables.reading.datasets import is_dataset

KINDS = ("pandas", "polars", "pyarrow")


def frame_kind(table: Any) -> str | None:
    """`"pandas"`, `"polars"` or `"pyarrow"` for such a data frame (`"pyarrow"` for any other kind), else None."""
    frame = nw.from_native(table, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return None
    kind = frame.implementation.value
    return kind if kind in KINDS else "pyarrow"


def is_source(table: Any) -> bool:
    """Whether it is a dict of columns, a path, cells, or a `pyarrow.dataset`; a sparse matrix may be a dict too."""
    return is_dataset(table) or (isinstance(table, dict | str | os.PathLike | Cells) and not issparse(table))


def wanted_kind(configured: str | None, fitted: str | None) -> str | None:
    """The kind of table to return, None for an array.

    Args:
        configured: what `set_output` said; None if it was not called, `"default"` for the kind of the fit.
        fitted: the kind of the table of the fit.
    """
    kind = configured or sklearn.get_config()["transform_output"]
    return fitted if kind == "default" else kind


def to_frame(table: pa.Table, kind: Any, held: Mapping[str, Container] | None = None) -> Any:
    """The table as a data frame of this kind; for None as an array `(n, d)`, for `"dict"` as a dict of arrays.

    Args:
        table: the columns.
        kind: the kind of frame.
        held: how the frame of the fit, if it is of this kind, held its columns.
    """
    if kind is None:
        return np.stack([np.asarray(column) for column in table.columns], axis=1)
    own = held or {}
    columns = {name: restored(table[name], own[name]) if name in own else table[name] for name in table.column_names}
    if kind == "dict":
        labels = _labels(table.column_names, own)
        return {label: column.to_numpy() for label, column in zip(labels, columns.values(), strict=True)}
    if kind == "pyarrow" or importlib.util.find_spec(kind) is None:  # a model may have been fitted elsewhere
        return pa.table(columns)
    library = importlib.import_module(kind)
    if kind == "pandas":
        made = {name: _series(library, column, own.get(name)) for name, column in columns.items()}
        frame, labels = library.DataFrame(made), _labels(table.column_names, own)
        if labels != table.column_names:
            frame.columns = library.Index(labels)  # of tuples it makes several levels
        return frame
    return library.DataFrame([_polars(library, name, column, own.get(name)) for name, column in columns.items()])


def _labels(names: list[str], held: Mapping[str, Container]) -> list[Any]:
    """The names as the frame of the fit had them."""
    found = [held[name].label if name in held else None for name in names]
    return [name if label is None else label for name, label in zip(names, found, strict=True)]


def _series(pandas: Any, column: pa.ChunkedArray, held: Container | None) -> Any:
    dtype = None if held is None else held.dtype
    if dtype is None or dtype == "category":
        return column.to_pandas()
    if dtype == "pyarrow":
        return column.to_pandas(types_mapper=pandas.ArrowDtype)
    if dtype == "object":
        return pandas.Series(column.to_pylist(), dtype=object)
    own = pandas.api.types.pandas_dtype(dtype)
    return column.to_pandas(types_mapper=lambda _: own)


def _polars(polars: Any, name: str, column: pa.ChunkedArray, held: Container | None) -> Any:
    series = polars.from_arrow(column).alias(name)
    if held is not None and held.dtype == "Enum":
        return series.cast(polars.String).cast(polars.Enum(list(held.categories)))
    return series


def given_cells(given: Any, names: Sequence[str], conventions: Conventions | None = None) -> Cells:
    """The conditions as cells with these columns; columns are found by name, a single row is one row.

    Raises:
        ValueError: a column is missing, the number of columns does not fit, or a number is not finite.
    """
    if frame_kind(given) is not None or isinstance(given, dict | Cells):
        cells = read_cells(given, conventions=conventions)
        missing = [name for name in names if name not in cells.names]
        if missing:
            raise ValueError(
                f"FlowDensity.sample: expected given with the columns {list(names)}, got {list(cells.names)}. "
                f"Add {missing}."
            )
        return cells.select(names)
    rows = np.atleast_2d(np.asarray(given))
    if rows.ndim != 2 or rows.shape[1] != len(names):
        raise ValueError(
            f"FlowDensity.sample: expected given of shape (m, {len(names)}), got {np.shape(given)}. "
            f"Its columns are {list(names)}."
        )
    if rows.dtype.kind in "iufb" and not np.isfinite(rows).all():
        raise ValueError("FlowDensity.sample: expected finite numbers in given, got NaN or infinity. Drop those rows.")
    return read_cells(rows, columns=names)
