"""`pushforward schema`: what each column of a table is, as JSON to edit."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.flags import names_in
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import Data, Force, verb


class Bounds(StrEnum):
    """Which bounds numbers have."""

    observed = "observed"
    natural = "natural"
    none = "none"


@verb("pushforward schema weather.csv > schema.json")
def schema(
    data: Data,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Columns to describe; all columns by default.")
    ] = None,
    missing: Annotated[bool, typer.Option("--missing", help="Model missing values as a state of their own.")] = False,
    bounds: Annotated[
        Bounds,
        typer.Option(help="Bounds of numbers: the smallest and largest seen, those that are plausible, or none."),
    ] = Bounds.natural,
    na: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Values that mean that a cell is missing, such as 99,-999.")
    ] = None,
    decimal: Annotated[str, typer.Option(metavar="MARK", help="Mark before the fraction of a number.")] = ".",
    strip: Annotated[
        str | None, typer.Option(metavar="SIGNS", help="Characters that are left out of numbers, such as '$%'.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write; standard output by default.")
    ] = None,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Print what each column is, as JSON for `fit --schema`.

    The JSON can be edited before it is passed to `fit`. With --json it is the entry `schema` of the object printed.
    """
    from pushforward.io.files import check_file_target, write_file
    from pushforward.tables.detect_file import detect_file
    from pushforward.tables.reading.conventions import Conventions

    reporter.table_on_stdout = True
    if out is not None:
        check_file_target(out, force)
    try:
        how = Conventions.of(names_in(na), decimal, strip)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    found, notes = detect_file(data, names_in(columns), conventions=how, missing=missing, bounds=bounds.value)
    for note in notes:
        reporter.warn(note)
    text = found.to_json()
    if out is not None:
        write_file(out, lambda file: file.write(text.encode("utf-8")), force)
        reporter.say(f"{len(found.columns)} columns: {out}")
    elif not reporter.as_json:
        typer.echo(text, nl=False)
    reporter.result("schema", {"data": data, "out": out, "schema": json.loads(text)})
    return OK
