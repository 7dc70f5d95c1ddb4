"""The columns of several tables as numbers and codes, by the kinds that the first of them has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward.metrics.marginal import Kind
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.base import AbstractAside, AbstractLevels, AbstractValues
from pushforward.tables.kinds.cells import read_numbers
from pushforward.tables.kinds.levels import read_levels
from pushforward.tables.kinds.steps import snapped
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import Column, TableSchema

# Numbers this close to a step, as a share of it or of their size, lie on it: what float32 leaves of 0.1.
ON_STEP = 1e-6
# Names that a remark lists.
NAMED = 6


@dataclass(frozen=True)
class Sides:
    """The compared columns of several tables.

    Attributes:
        columns: of the schema, in its order.
        kinds: of each column: numbers, levels, or a circle.
        tables: columns by name, for each table: numbers, positions on a circle from its low end, or codes of levels;
            NaN is a gap.
        notes: remarks, a sentence each.
    """

    columns: tuple[Column, ...]
    kinds: dict[str, Kind]
    tables: tuple[dict[str, np.ndarray], ...]
    notes: tuple[str, ...]

    @property
    def codes(self) -> list[int]:
        """Positions of the columns of levels."""
        return [i for i, column in enumerate(self.columns) if self.kinds[column.name] == "category"]

    def matrix(self, number: int) -> np.ndarray:
        """A table as rows `(n, d)`."""
        return np.stack(list(self.tables[number].values()), axis=1)


def sides(schema: TableSchema, tables: Sequence[Cells]) -> Sides:
    """Read the columns of tables by the schema of the first.

    Columns that name rows and constant ones are left out. Few distinct numbers are numbers here. A level that the
    schema lacks is a level of its own, shared with others that it lacks.

    Args:
        schema: of the first table.
        tables: the first one with the columns of the schema, others with these and perhaps more.

    Raises:
        DataError: a table lacks a column (with the nearest name), or holds something else in it; no column is left.
    """
    compared = tuple(column for column in schema.columns if column.modelled)
    notes = _aside(schema, tables)
    if not compared:
        raise DataError("nothing", f"{tables[0].source}: no column is left to compare. {' '.join(notes)}")
    read: list[dict[str, np.ndarray]] = []
    for table in tables:
        own = table.select([column.name for column in compared])
        read.append({column.name: _read(column, own, notes if table is not tables[0] else []) for column in compared})
        extra = [name for name in table.names if name not in schema.names]
        if extra:
            notes.append(f"{table.source}: {_listed(extra)} is not in {tables[0].source} and is left out.")
    return Sides(compared, {column.name: kind_of(column) for column in compared}, tuple(read), tuple(notes))


def kind_of(column: Column) -> Kind:
    """How a column is compared."""
    if column.kind == "circular":
        return "circular"
    return "category" if isinstance(column.family, AbstractLevels) and not _few_numbers(column) else "numeric"


def _few_numbers(column: Column) -> bool:
    return column.kind == "ordinal"


def _read(column: Column, table: Cells, notes: list[str]) -> np.ndarray:
    """A column as numbers or codes, NaN where missing."""
    array, kind = table.table.column(column.name), column.family
    if isinstance(kind, AbstractLevels) and not _few_numbers(column):
        every = column.model_copy(update={"levels": (*column.levels, *column.rare), "rare": (), "rare_counts": ()})
        found = read_levels(array, every, table.source)
        if found.unseen:
            notes.append(f"{table.source}: '{column.name}' has levels that are new, such as {_listed(found.unseen)}.")
        return np.where(found.blank, np.nan, found.states)
    if not isinstance(kind, AbstractValues):
        return read_numbers(array, column, table.source)
    values = kind.read(array, column, table.source)
    step = column.fine or column.step
    if step is not None:
        near = snapped(values + 0.5 * step, step)  # the nearest step
        values = np.where(np.abs(values - near) <= ON_STEP * np.maximum(step, np.abs(values)), near, values)
    return (values - (column.low or 0.0)) % column.period if column.period else values


def _aside(schema: TableSchema, tables: Sequence[Cells]) -> list[str]:
    """Remarks on the columns that are not compared; a constant must be the same everywhere."""
    notes = []
    left = [column.name for column in schema.columns if column.kind == "identifier"]
    if left:
        notes.append(f"{_listed(left)}: names rows, as identifiers do, and is not compared.")
    for column in schema.columns:
        kind: Any = column.family
        if column.kind != "constant" or not isinstance(kind, AbstractAside):
            continue
        for table in tables[1:]:
            strange = kind.strange(table.table.column(column.name), column) if column.name in table.names else None
            if strange is not None and strange.any():
                notes.append(
                    f"{table.source}: '{column.name}' is constant in {tables[0].source}, and differs in "
                    f"{int(strange.sum()):,} of {len(table):,} rows."
                )
    return notes


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:NAMED])
    return shown + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
