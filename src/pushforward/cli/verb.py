"""How a verb of the command line is declared, and the arguments and options that verbs share.

Nothing here needs JAX or NumPy, so that the command line shows its help at once.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from pushforward._compile_cache import VARIABLE, use_cache
from pushforward.cli.flags import Chosen, with_flags
from pushforward.cli.reporter import Interrupted, Reporter


class Missing(StrEnum):
    """What happens to rows with missing values that a model has no state for: they are refused, or left out."""

    error = "error"
    drop = "drop"


DATA = (
    "CSV, TSV, Parquet, Arrow, Feather, NPY or NPZ file; a quoted glob of such files; or - for CSV on standard input."
)
TABLE_OUT = (
    "Table to write: .csv, .tsv, .parquet, .arrow, .feather, .npz; a name without such an end for a folder of Parquet "
    "shards; or - for CSV on standard output."
)

Data = Annotated[str, typer.Argument(metavar="DATA", help=DATA, show_default=False)]
Model = Annotated[Path, typer.Argument(help="Model folder that `fit` wrote.", metavar="MODEL", show_default=False)]
Seed = Annotated[
    int,
    typer.Option(
        metavar="N", min=0, max=2**32 - 1, help="Seed of the random numbers; the same seed gives the same result."
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Replace what exists at --out.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, also for errors.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print warnings and errors only.")]
DropMissing = Annotated[
    Missing,
    typer.Option("--missing", help="What happens to rows with missing values that the model has no state for."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


@dataclass(frozen=True)
class Verb:
    """A verb of the command line.

    Args:
        command: Function that does the work and returns the exit code. Its parameters are the verb's arguments and
            options, and a `reporter` as the options of every verb (`--quiet`, `--json`, `--debug`) have it. Its
            docstring is the verb's help.
        example: Command line that the help shows as an example.
        fit_options: Whether every option of `FitOptions` is a flag of the verb; the command then receives the flags
            that were given as the keyword `flags`.
    """

    command: Callable[..., int]
    example: str
    fit_options: bool = False

    def add_to(self, app: typer.Typer, name: str, arguments: Sequence[str]) -> None:
        """Add the verb to an application.

        Args:
            app: Application that receives the command.
            name: Name of the verb.
            arguments: Words of the command line; they choose the flow whose options the help shows.
        """
        command, epilog = self.command, f"Example: {self.example}"
        from pushforward.cli.image_flags import chosen_model, image_fit, sentence

        images = chosen_model(arguments) if self.fit_options else None
        if images is not None:
            command, epilog = image_fit(images), sentence(images)
        elif self.fit_options:
            chosen = Chosen.of(arguments)
            command, epilog = with_flags(command, chosen), f"{chosen.sentence} {epilog}"
        command = with_output(command)
        app.command(name, epilog=epilog)(interruptible(cached(command)))


def with_output(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options that every verb has; it receives a `reporter` instead of them.

    A parameter whose type is a dataclass stands for options that belong together: those of the dataclass's fields.
    """
    own = inspect.signature(command, eval_str=True)
    shared = {"quiet": Quiet, "as_json": Json, "debug": Debug}
    groups: dict[str, Any] = {
        p.name: p.annotation
        for p in own.parameters.values()
        if p.name != "reporter" and dataclasses.is_dataclass(p.annotation)
    }
    grouped = {name: options_of(kind) for name, kind in groups.items()}

    def wrapped(
        *arguments: Any, quiet: bool = False, as_json: bool = False, debug: bool = False, **options: Any
    ) -> int:
        for name, kind in groups.items():
            options[name] = kind(**{each.name: options.pop(each.name) for each in grouped[name]})
        return command(*arguments, **options, reporter=Reporter(as_json, quiet))

    kept = []
    for p in own.parameters.values():
        if p.name != "reporter":
            kept += grouped.get(p.name, [p.replace(kind=inspect.Parameter.KEYWORD_ONLY)])
    made = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in shared.items()
    ]
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    signature = inspect.Signature(kept + made, return_annotation=int)
    wrapped.__signature__ = signature  # pyright: ignore[reportFunctionMemberAccess]
    wrapped.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return wrapped


def options_of(kind: Any) -> list[inspect.Parameter]:
    """The options that the fields of a dataclass declare.

    Args:
        kind: The dataclass; each field is annotated as a parameter of a command is.
    """
    hints = get_type_hints(kind, include_extras=True)
    only = inspect.Parameter.KEYWORD_ONLY
    return [
        inspect.Parameter(each.name, only, default=each.default, annotation=hints[each.name])
        for each in dataclasses.fields(kind)
    ]


def verb(example: str, *, fit_options: bool = False) -> Callable[[Callable[..., int]], Verb]:
    """Declare a function in `pushforward.cli.verbs` to be the verb of its module's name; see `Verb` for the arguments.

    The function imports what is slow to import in its body.
    """
    return lambda command: Verb(command, example, fit_options)


def interruptible(command: Callable[..., int]) -> Callable[..., int]:
    """Turn Ctrl-C into an error that reaches `main`; typer would end without a word."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> int:
        try:
            return command(*arguments, **options)
        except KeyboardInterrupt as error:
            raise Interrupted from error

    return wrapped


def cached(command: Callable[..., int]) -> Callable[..., int]:
    """Let a command find the programs that earlier ones compiled; a folder that cannot serve is left alone."""

    @functools.wraps(command)
    def wrapped(*arguments: Any, **options: Any) -> int:
        try:
            use_cache()
        except (OSError, ValueError) as error:
            if isinstance(error, ValueError) or os.environ.get(VARIABLE):  # else a home that cannot be written to
                typer.echo(f"warning: compiled programs are not kept: {error}", err=True)
        return command(*arguments, **options)

    return wrapped


def leave_stdout_to(out: Path | None, reporter: Reporter) -> None:
    """Leave standard output to the table where the table goes there."""
    on_stdout = out is not None and str(out) == "-"
    if on_stdout and reporter.as_json:
        raise typer.BadParameter("standard output takes either the table (--out -) or the JSON object (--json).")
    reporter.table_on_stdout = on_stdout
