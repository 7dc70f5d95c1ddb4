"""Tables of numbers alone: names and a float64 matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.tables.errors import DataCode, DataError
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.columns import arrow_column
from pushforward.tables.reading.csv_reader import long_integers
from pushforward.tables.reading.formats import MAX_BYTES
from pushforward.tables.reading.names import find_columns


@dataclass(frozen=True)
class Table:
    """A numeric table.

    Attributes:
        names: the columns, in order, all different.
        values: `(n, d)` float64, finite.
        source: where it came from, for messages.
        notes: remarks for the user, such as a missing header line.
    """

    names: tuple[str, ...]
    values: np.ndarray
    source: str = "the table"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.values)

    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any:
        """The columns for libraries that read Arrow, such as `pyarrow.table(table)`, and for every reader of tables."""
        table = pa.Table.from_arrays([pa.array(column) for column in self.values.T.copy()], names=list(self.names))
        return table.__arrow_c_stream__(requested_schema)

    def select(self, columns: Sequence[str]) -> Table:
        """The columns of these names, in this order.

        Raises:
            DataError: a name is unknown, or given twice.
        """
        positions = find_columns(self.names, columns, self.source)
        values = np.ascontiguousarray(self.values[:, positions])
        return Table(tuple(columns), values, self.source, self.notes)


def read_table(source: Any, columns: Sequence[str] | None = None, *, max_bytes: int = MAX_BYTES) -> Table:
    """Read a table of numbers.

    Args:
        source: as for `read_cells`.
        columns: the names to keep, in this order; None keeps all.
        max_bytes: limit for the table in memory.

    Returns:
        The table. Columns of booleans become 0 and 1. Arrays without names get `x0`, `x1`, ...

    Raises:
        DataError: with a stable `code`, and the column or line at fault; a column that is not numeric and finite.

    Example:
        >>> import numpy as np
        >>> from pushforward.tables import read_table
        >>> read_table({"a": [1, 2], "b": [0.5, 0.25]}, columns=["b"]).values.tolist()
        [[0.5], [0.25]]
    """
    cells = read_cells(source, columns, max_bytes=max_bytes)
    values = _numbers(cells, chosen=columns is not None)
    _check_finite(values, cells.names, cells.source)
    return Table(cells.names, values, cells.source, cells.notes)


def _numbers(cells: Cells, chosen: bool) -> np.ndarray:
    values = np.empty((len(cells), len(cells.names)))
    refused: dict[str, str] = {}
    too_long = []
    for i, name in enumerate(cells.names):
        column = arrow_column(cells.table.column(i))
        if isinstance(column, str):
            refused[name] = column
        elif column is None:
            too_long.append(name)
        else:
            values[:, i] = column
    if refused:
        raise _non_numeric(cells.source, cells.names, refused, chosen)
    if too_long:
        raise long_integers(cells.source, too_long)
    return values


def _non_numeric(label: str, names: Sequence[str], refused: dict[str, str], chosen: bool) -> DataError:
    what = "; ".join(f"'{name}' holds {kind}" for name, kind in list(refused.items())[:5])
    more = f"; and {len(refused) - 5} more" if len(refused) > 5 else ""
    numeric = [name for name in names if name not in refused]
    if chosen:
        fix = "Leave them out of the columns chosen, or mend the values."
    elif 0 < len(numeric) <= 30:
        fix = f"Choose the numeric ones: --columns {','.join(numeric)} (columns= in Python), or mend the values."
    elif numeric:
        fix = "Choose numeric columns with --columns (columns= in Python), or mend the values."
    else:
        fix = "No column is numeric: encode some as numbers first."
    return DataError("non-numeric", f"{label}: only numbers are modelled, but {what}{more}. {fix}")


def _check_finite(values: np.ndarray, names: Sequence[str], label: str) -> None:
    kinds: tuple[tuple[DataCode, np.ndarray, str], ...] = (
        ("missing", np.isnan(values), "Drop those rows, fill them in,"),
        ("infinite", np.isinf(values), "Drop those rows,"),
    )
    for code, bad, fix in kinds:
        counts = bad.sum(axis=0)
        if counts.any():
            rows = int(bad.any(axis=1).sum())
            each = [f"'{name}' ({count})" for name, count in zip(names, counts, strict=True) if count]
            shown = ", ".join(each[:8]) + (f" and {len(each) - 8} more columns" if len(each) > 8 else "")
            first = int(bad.any(axis=1).argmax()) + 1
            raise DataError(
                code,
                f"{label}: {code} values in {shown}: {rows} of {len(values)} rows, the first is row {first}. "
                f"{fix} or leave the column out with --columns (columns= in Python).",
            )
