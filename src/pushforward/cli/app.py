"""The program `pushforward`: it finds the verbs, runs one of them, and turns errors into exit codes."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from pushforward.cli import verbs
from pushforward.cli.advice import flags_of, qualified, verb_in
from pushforward.cli.reporter import INTERRUPT, OK, fail, silence
from pushforward.cli.verb import Verb

SETTINGS: dict[str, Any] = {
    "name": "pushforward",
    "help": "Fit a normalizing flow to a table of numbers; then sample it, score rows with their exact log-density, "
    "plot.",
    "epilog": "Exit codes: 0 done, 2 usage, 3 data, 4 numerical, 5 untrusted model, 6 a check failed, 130 interrupted.",
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 110},
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words of the command line without the program's name; None takes those of the process.

    Returns:
        The exit code.
    """
    code = _run((sys.argv[1:] if arguments is None else arguments) or ["--help"])
    if code == INTERRUPT and arguments is None:
        # XLA may still be computing in a thread of its own, and the interpreter's orderly end under it is a crash
        # (seen: SIGSEGV, exit code 139). Everything is written by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPT)
    return code


def _run(arguments: list[str]) -> int:
    app = app_for(arguments)
    try:
        code = app(args=arguments, prog_name="pushforward", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else OK
    except BrokenPipeError:
        silence()
        return OK
    except (Exception, KeyboardInterrupt) as error:
        flags = flags_of(app)

        def advise(words: str) -> str:
            return qualified(words, verb_in(arguments, flags), flags)

        return fail(error, as_json="--json" in arguments, debug="--debug" in arguments, advise=advise)


def _version(wanted: bool) -> None:
    if wanted:
        from pushforward import __version__

        typer.echo(f"pushforward {__version__}")
        raise typer.Exit


def _pushforward(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def app_for(arguments: Sequence[str]) -> typer.Typer:
    """The application with every verb; `fit` has the flags of the flow that the arguments choose."""
    app = typer.Typer(**SETTINGS)
    app.callback()(_pushforward)
    for name, verb in find_verbs().items():
        verb.add_to(app, name, arguments)
    return app


def find_verbs() -> dict[str, Verb]:
    """Every verb by its name: the modules of `pushforward.cli.verbs`, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(verbs.__path__))
    return {name: getattr(importlib.import_module(f"{verbs.__name__}.{name}"), name) for name in names}
