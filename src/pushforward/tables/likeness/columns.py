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
from pushforward.tables.kinds.levels import coded_levels, level_key
from pushforward.tables.kinds.steps import snapped
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import Column, TableSchema

# Numbers this close to a step, as a share of it or of their size, lie on it: what float32 leaves of 0.1.
ON_STEP = 1e-6
# Names that a remark lists, and letters of a level.
NAMED, LONGEST = 6, 80


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
    first table lacks is a level of its own: two samples of one source differ in rare levels.

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
    known: dict[str, dict[Any, int]] = {column.name: {} for column in compared}
    for table in tables:
        own = table.select([column.name for column in compared])
        read.append({column.name: _read(column, own, known[column.name], notes) for column in compared})
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


def _read(column: Column, table: Cells, known: dict[Any, int], notes: list[str]) -> np.ndarray:
    """A column as numbers or codes, NaN where missing; `known` gets the code of each level, in the order of tables."""
    array, kind = table.table.column(column.name), column.family
    if isinstance(kind, AbstractLevels) and not _few_numbers(column):
        return _coded(column, table, known, notes)
    if not isinstance(kind, AbstractValues):
        return read_numbers(array, column, table.source)
    values = kind.read(array, column, table.source)
    step = column.fine or column.step
    if step is not None:
        near = snapped(values + 0.5 * step, step)  # the nearest step
        values = np.where(np.abs(values - near) <= ON_STEP * np.maximum(step, np.abs(values)), near, values)
    return (values - (column.low or 0.0)) % column.period if column.period else values


def _coded(column: Column, table: Cells, known: dict[Any, int], notes: list[str]) -> np.ndarray:
    """The codes of levels; those that the tables before lack are levels too, each of its own."""
    codes, keys, words = coded_levels(table.table.column(column.name), column, table.source)
    first, new = not known, []
    for level in (*column.levels, *column.rare):
        known.setdefault(level_key(level), len(known))
    numbers = np.full(len(keys), np.nan)
    for place, key in enumerate(keys):
        if key is not None:
            if key not in known:
                new.append(str(words[place])[:LONGEST])
            numbers[place] = known.setdefault(key, len(known))
    if new and not first:
        notes.append(f"{table.source}: '{column.name}' has levels that are new, such as {_listed(new)}.")
    return numbers[codes]


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
