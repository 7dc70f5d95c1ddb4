"""The tables that `pushforward sample` and `pushforward score` write."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import typer

from pushforward.cli.reporter import OK, silence
from pushforward.tables.reading.writing import check_target, write_batches

Piece = TypeVar("Piece")


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


def write_out(out: Path, tables: Iterable[pa.Table], force: bool) -> None:
    """Write a table piece by piece; a reader that stops reading early, such as `head`, is no error."""
    try:
        write_batches(out, tables, force=force)
    except BrokenPipeError as error:  # before typer sees it, which makes it exit code 1
        silence()
        raise typer.Exit(OK) from error


def held(out: Path) -> bool:
    """Whether the format of a table makes its writer hold all rows at once."""
    return out.suffix.lower() in (".npz", ".npy")


def counted(pieces: Iterable[Piece], size: Callable[[Piece], int], total: int | None, shown: bool) -> Iterator[Piece]:
    """The same pieces, with a bar on standard error that says how many rows they were, if that is a terminal.

    Args:
        pieces: Pieces of a table.
        size: The number of rows of a piece.
        total: Number of rows of all pieces, None if it is unknown.
        shown: Whether anything is shown.
    """
    if not (shown and sys.stderr.isatty()):
        yield from pieces
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("rows"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=total)
        for piece in pieces:
            bar.advance(task, size(piece))
            yield piece
