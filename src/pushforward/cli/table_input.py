"""Tables that the commands read: columns with their roles, and the lines that describe them."""

from __future__ import annotations

from typing import Any

import numpy as np
import typer

from pushforward.cli.reporter import Reporter
from pushforward.io.fit_options import DataOptions
from pushforward.tables.errors import DataError
from pushforward.tables.modelling.preparation import conventions_in
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.conventions import Conventions
from pushforward.tables.schema import MEANING, Column, TableSchema

# Largest number of columns that are described one by one; the others are counted.
SHOWN = 40


def read_weighted(data: str, options: DataOptions) -> tuple[Cells, np.ndarray | None]:
    """Read the columns to model with their conditions, and the weights of the rows or None.

    Raises:
        typer.BadParameter: A column has two roles.
        DataError: A column is missing, or a weight is negative, or too few are positive.
    """
    columns, given, weights = options.columns, options.given, options.weights
    if weights is not None and weights in (*given, *(columns or ())):
        raise typer.BadParameter(f"--weights {weights} is a column of --columns or --given too.")
    wanted = None if columns is None else [*columns, *(name for name in given if name not in columns)]
    extra = [] if weights is None else [weights]
    how = Conventions.of(options.na, options.decimal, options.strip)
    if how.usual and options.schema_file is not None:
        how = conventions_in(options.schema_file)
    whole = read_cells(data, columns=None if wanted is None else wanted + extra, conventions=how)
    names = [name for name in (wanted or whole.names) if name != weights]
    table = whole.select(names)
    if given:
        whole.select(given)  # names an unknown or repeated one
    if set(given) == set(names):
        raise typer.BadParameter("--given names every column: leave at least one to model.")
    if weights is None:
        return table, None
    from pushforward.tables.reading.tables import read_table

    row_weights = read_table(whole.select([weights]).table).values[:, 0]
    if (row_weights < 0).any() or (row_weights > 0).sum() < 2:
        what = f"{int((row_weights < 0).sum())} negative and {int((row_weights > 0).sum())} positive values"
        fix = "Weights are 0 or more, and at least two rows count."
        raise DataError("weights", f"{table.source}: the weights '{weights}' hold {what}. {fix}")
    return table, row_weights


def show_columns(schema: TableSchema, given: tuple[str, ...], reporter: Reporter) -> None:
    """Print a line per column that says how it was understood."""
    width = min(24, max(len(column.name) for column in schema.columns))
    for column in schema.columns[:SHOWN]:
        role = "  (given)" if column.name in given else ""
        reporter.say(f"  {column.name:<{width}}  {column.kind:<10}  {describe(column)}{role}")
    if len(schema.columns) > SHOWN:
        reporter.say(f"  and {len(schema.columns) - SHOWN} more")


def describe(column: Column) -> str:
    """The schema of a column in a few words."""
    if not column.modelled:
        return MEANING[column.kind]
    words: list[Any] = []
    if column.levels:
        shown = ", ".join(str(level) for level in column.levels[:4])
        words.append(f"{len(column.levels)} levels: {shown}{', ...' if len(column.levels) > 4 else ''}")
        if column.rare:
            words.append(f"{len(column.rare)} rare levels together")
    if column.low is not None and column.high is not None:
        words.append(f"from {column.low:g} to {column.high:g}")
    elif column.high is not None:
        words.append(f"to {column.high:g}")
    elif column.low is not None:
        words.append(f"above {column.low:g}" if column.step is None else f"from {column.low:g}")
    if column.period is not None:
        words.append(f"period {column.period:g}")
    if column.step is not None and column.kind not in ("integer", "count", "datetime"):
        words.append(f"in steps of {column.step:g}")
    if column.format is not None:
        words.append(f"written {column.format}")
    if column.atoms:
        words.append("with a probability at " + ", ".join(f"{atom:g}" for atom in column.atoms))
    if column.scale == "log":
        words.append("on a log scale")
    if column.tail_index is not None:
        words.append(f"heavy tails (index {column.tail_index:.1f})")
    if column.missing:
        words.append("may be missing")
    return "; ".join(words) or MEANING[column.kind]
