"""The tables that `pushforward sample` and `pushforward score` write."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import typer

from pushforward.cli.reporter import OK, silence
from pushforward.tables.reading.writing import check_target, write_arrow


def check_out(out: Path, force: bool) -> None:
    """Raise an error before the work starts if a table cannot be written there.

    Raises:
        typer.BadParameter: The format is unknown.
        FileExistsError: The file exists and `force` is False.
    """
    try:
        check_target(out, force)
    except ValueError as error:  # an unknown suffix
        raise typer.BadParameter(str(error)) from error


def write_out(out: Path, table: pa.Table, force: bool) -> None:
    """Write a table; a reader that stops reading early, such as `head`, is no error."""
    try:
        write_arrow(out, table, force=force)
    except BrokenPipeError as error:  # before typer sees it, which makes it exit code 1
        silence()
        raise typer.Exit(OK) from error
