"""Columns that follow from others in a model: found before a fit, recomputed in samples, checked in scoring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pushforward.tables.dependent import Follows, copies, sums
from pushforward.tables.encoding import Layout, decode, encode, has_blanks
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import Column, TableSchema

# Kinds of columns that can be sums of others: numbers on a line.
SUMMED = ("real", "positive", "bounded", "integer", "count")


def rules_of(schema: TableSchema, table: Cells, given: Sequence[str]) -> tuple[Follows, ...]:
    """The modelled columns of a table that follow from other modelled ones in every row.

    Args:
        schema: of the table.
        table: cells in the words of the schema.
        given: columns that are conditions: none of them is set aside.
    """
    columns = [column for column in schema.modelled if column.name not in given]
    same = copies({column.name: table.table.column(column.name) for column in columns})
    copied = {rule.name for rule in same}
    numbers = {
        column.name: _numbers(column, table)
        for column in columns
        if column.name not in copied and column.kind in SUMMED and not column.n_states
        if not has_blanks(Layout((column,)), table).any()
    }
    return (*same, *sums(numbers))


def sentences(source: str, rules: Sequence[Follows]) -> list[str]:
    """What is said of each column that follows from others."""
    fix = "It is set aside, recomputed in samples, and a row that breaks this has density 0."
    return [f"{source}: {rule.sentence} in every row. {fix}" for rule in rules]


def recomputed(schema: TableSchema, drawn: Mapping[str, pa.Array]) -> dict[str, pa.Array]:
    """The columns that follow from others, for cells of samples that have the others.

    Args:
        schema: of the table.
        drawn: cells by name.
    """
    made: dict[str, pa.Array] = {}
    for rule in schema.follows:
        if not rule.factors:
            made[rule.name] = drawn[rule.of[0]]
            continue
        cells = Cells(pa.table({name: drawn[name] for name in rule.of}))
        values = rule.value({name: _numbers(schema.column(name), cells) for name in rule.of})
        # Without its own bounds, which what it follows from may pass.
        column = schema.column(rule.name).model_copy(update={"kind": "real", "low": None, "high": None, "step": None})
        made |= decode(Layout((column,)), values[:, None])
    return made


def broken(schema: TableSchema, table: Cells) -> np.ndarray:
    """In which rows a column that is there is not what it follows to be, `(n,)`.

    Args:
        schema: of the table.
        table: cells with the modelled columns; those that follow may lack.
    """
    wrong = np.zeros(len(table), bool)
    for rule in schema.follows:
        if rule.name not in table.names:
            continue
        if not rule.factors:
            own, other = (table.table.column(name).to_pylist() for name in (rule.name, rule.of[0]))
            wrong |= np.array([a != b and not (a != a and b != b) for a, b in zip(own, other, strict=True)], bool)
            continue
        column = schema.column(rule.name)
        there = ~has_blanks(Layout((column,)), table)
        holds = rule.holds(
            np.where(there, _numbers(column, table), 0.0),
            {name: _numbers(schema.column(name), table) for name in rule.of},
        )
        wrong |= ~holds | ~there
    return wrong


def _numbers(column: Column, table: Cells) -> np.ndarray:
    """The numbers of a column without states."""
    plain = column.model_copy(update={"kind": "real", "low": None, "high": None, "step": None})
    return encode(Layout((plain,)), table).rows[:, 0]
