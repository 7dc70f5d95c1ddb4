"""Some cells of a table replaced by others, in a copy of the same container; every other cell is left as it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables.estimators.frames import frame_kind
from pushforward.tables.reading.cells import Cells

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute


class Patch(NamedTuple):
    """New cells of one column.

    Attributes:
        places: Positions of the rows `(k,)`, ascending.
        cells: The cells `(k,)`.
    """

    places: np.ndarray
    cells: pa.Array


def patched(source: Any, cells: Cells, patches: Mapping[str, Patch]) -> Any:
    """A copy of a table in which some cells are others.

    Args:
        source: The table as it came: an array, a data frame of pandas, polars or another library, a dict of columns, or
            what `cells` was read from.
        cells: Its cells, whose names are those of the columns.
        patches: By name of the column.

    Returns:
        A table of the same kind; of a path, or of cells, a PyArrow table.
    """
    kind = frame_kind(source)
    if kind == "pandas":
        return _of_pandas(source, cells.names, patches)
    if kind == "polars":
        return _of_polars(source, patches)
    if kind is None and isinstance(source, dict):
        return {name: _of_list(column, patches.get(str(name))) for name, column in source.items()}
    if kind is None and not isinstance(source, Cells) and hasattr(source, "__array__"):
        return _of_array(np.asarray(source), cells.names, patches)
    table = cells.table
    for name, patch in patches.items():
        place = table.column_names.index(name)
        table = table.set_column(place, table.field(place), _of_arrow(table.column(place), patch))
    return table


def _of_array(rows: np.ndarray, names: tuple[str, ...], patches: Mapping[str, Patch]) -> np.ndarray:
    out = rows.copy()
    for name, patch in patches.items():
        out[patch.places, names.index(name)] = patch.cells.to_pylist()
    return out


def _of_list(column: Any, patch: Patch | None) -> Any:
    if patch is None:
        return column
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return _of_arrow(column, patch)
    out = np.array(column) if isinstance(column, np.ndarray) else list(column)
    for place, cell in zip(patch.places.tolist(), _like(out, patch.cells), strict=True):
        out[place] = cell
    return out


def _like(column: Any, cells: pa.Array) -> Any:
    """Cells as a NumPy column takes them: dates in its own unit."""
    if isinstance(column, np.ndarray) and column.dtype.kind in "mM":
        return cells.to_numpy(zero_copy_only=False).astype(column.dtype)
    return cells.to_pylist()


def _of_pandas(frame: Any, names: tuple[str, ...], patches: Mapping[str, Patch]) -> Any:
    import pandas as pd

    out = frame.copy()
    for name, patch in patches.items():
        place = names.index(name)
        column = out.iloc[:, place].copy()
        if column.dtype == object:
            for row, cell in zip(patch.places.tolist(), patch.cells.to_pylist(), strict=True):
                column.iat[row] = cell
        else:
            own = pd.Series(patch.cells.to_pandas())
            column.iloc[patch.places] = own.astype(column.dtype).array
        out.isetitem(place, column)
    return out


def _of_polars(frame: Any, patches: Mapping[str, Patch]) -> Any:
    import polars as pl

    made = []
    for name, patch in patches.items():
        column, own = frame.get_column(name), pl.Series(patch.cells.to_pylist(), strict=False)
        if isinstance(column.dtype, pl.Enum | pl.Categorical):
            own = own.cast(pl.String)
        made.append(column.scatter(patch.places, own.cast(column.dtype)).alias(name))
    return frame.with_columns(made)


def _of_arrow(column: Any, patch: Patch) -> pa.ChunkedArray:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    coded = pa.types.is_dictionary(whole.type)
    plain = whole.cast(whole.type.value_type) if coded else whole
    own = patch.cells
    own = own.cast(own.type.value_type) if pa.types.is_dictionary(own.type) else own
    mask = np.zeros(len(whole), bool)
    mask[patch.places] = True
    kind = plain.type if not pa.types.is_null(plain.type) else own.type
    found = pc.replace_with_mask(plain.cast(kind), pa.array(mask), own.cast(kind, safe=False))
    return pa.chunked_array([found.dictionary_encode().cast(whole.type) if coded else found])
