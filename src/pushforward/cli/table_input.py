"""Tables that the commands read: columns with their roles, and the lines that describe them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import typer

from pushforward.cli.reporter import Reporter
from pushforward.io.fit_options import DataOptions
from pushforward.tables.errors import DataError
from pushforward.tables.modelling.preparation import conventions_in
from pushforward.tables.modelling.survey import survey
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.columns import listed
from pushforward.tables.reading.conventions import Conventions
from pushforward.tables.reading.shards import STREAM_BYTES, Shards, open_shards
from pushforward.tables.schema import TableSchema, described

# Bytes of a table, 8 for each cell, from which on a random sample of its rows is judged, which holds them eight times.
JUDGED_BYTES = 2**26
# Largest number of columns that are described one by one; the others are counted.
SHOWN = 40


def streamed_or_read(data: str, options: DataOptions) -> tuple[Cells | Shards, np.ndarray | str | None]:
    """The columns to model with their conditions, and the weights: in pieces with their name, or read into memory.

    Raises:
        typer.BadParameter: A column has two roles, or the table is to be streamed and cannot be.
        DataError: A column is missing, or weights are wrong.
    """
    if options.stream is not False and data != "-":
        wanted, how = _wanted(options)
        shards = open_shards(data, wanted, conventions=how)
        if shards is None and options.stream:
            fix = "Save it as Parquet, Arrow, NPY or plain CSV."
            raise typer.BadParameter(f"--stream: {data} can only be read as a whole. {fix}")
        if shards is not None and (options.stream or shards.size >= STREAM_BYTES):
            lacking = [name for name in (*options.given, options.weights) if name and name not in shards.names]
            if lacking:
                raise DataError("columns", f"{shards.label}: no column {lacking[0]!r}. It has {listed(shards.names)}.")
            return shards, options.weights
    elif options.stream:
        raise typer.BadParameter("--stream: standard input can be read only once. Save the table first.")
    return read_weighted(data, options)


def sampled_or_read(data: str, columns: Sequence[str], conventions: Conventions, seed: int) -> tuple[Cells, int | None]:
    """The columns of a table; of one of `JUDGED_BYTES` or more a random sample of its rows, and how many there are.

    Raises:
        DataError: The table cannot be read.
    """
    shards = None if data == "-" else open_shards(data, columns, conventions=conventions)
    if shards is None or shards.size < JUDGED_BYTES:
        return read_cells(data, conventions=conventions).select(columns), None
    found = survey(shards, [seed])
    n = int(found.rows.sum())
    return found.sample, n if n > len(found.sample) else None


def _wanted(options: DataOptions) -> tuple[list[str] | None, Conventions]:
    """The columns to read, None for all, and by which conventions.

    Raises:
        typer.BadParameter: The column of weights has another role.
    """
    columns, given, weights = options.columns, options.given, options.weights
    if weights is not None and weights in (*given, *(columns or ())):
        raise typer.BadParameter(f"--weights {weights} is a column of --columns or --given too.")
    wanted = None if columns is None else [*columns, *(name for name in given if name not in columns)]
    how = Conventions.of(options.na, options.decimal, options.strip)
    if how.usual and options.schema_file is not None:
        how = conventions_in(options.schema_file)
    return None if wanted is None else wanted + ([] if weights is None else [weights]), how


def read_weighted(data: str, options: DataOptions) -> tuple[Cells, np.ndarray | None]:
    """Read the columns to model with their conditions, and the weights of the rows or None.

    Raises:
        typer.BadParameter: A column has two roles.
        DataError: A column is missing, or a weight is negative, or too few are positive.
    """
    given, weights = options.given, options.weights
    wanted, how = _wanted(options)
    whole = read_cells(data, columns=wanted, conventions=how)
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
        reporter.say(f"  {column.name:<{width}}  {column.kind:<10}  {described(column)}{role}")
    if len(schema.columns) > SHOWN:
        reporter.say(f"  and {len(schema.columns) - SHOWN} more")
