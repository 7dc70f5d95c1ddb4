"""The output of commands: lines for people or one JSON object for machines, and errors as exit codes."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer

from pushforward._json import to_json

OK, FAULT, USAGE, DATA, NUMERICAL, UNTRUSTED, CHECK_FAILED, HOST_LOST, INTERRUPT = 0, 1, 2, 3, 4, 5, 6, 7, 130
KINDS = {
    USAGE: "usage",
    DATA: "data",
    NUMERICAL: "numerical",
    UNTRUSTED: "untrusted model",
    CHECK_FAILED: "check failed",
    HOST_LOST: "host lost",
    INTERRUPT: "interrupted",
}


class Interrupted(Exception):
    """The user pressed Ctrl-C before there was anything to keep."""


@dataclass
class Reporter:
    """Prints what a command has to say.

    Args:
        as_json: Whether one JSON object is printed at the end, and no lines.
        quiet: Whether only warnings and errors are printed.
        table_on_stdout: Whether standard output carries a table, so that lines go to standard error.
    """

    as_json: bool = False
    quiet: bool = False
    table_on_stdout: bool = False
    warned: list[str] = field(default_factory=list)

    def say(self, line: str = "") -> None:
        """Print a line for people."""
        if not (self.as_json or self.quiet):
            typer.echo(line, err=self.table_on_stdout)

    def warn(self, line: str) -> None:
        """Print a warning, and keep it for the JSON object."""
        self.warned.append(line)
        if not self.as_json:
            typer.echo(f"warning: {line}", err=True)

    @contextmanager
    def hears(self) -> Iterator[None]:
        """Make remarks on tables and models, which are warnings of Python, warnings of the command."""
        from pushforward.tables.errors import TableWarning

        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", TableWarning)
            try:
                yield
            finally:
                heard = list(caught)
        for each in heard:
            if issubclass(each.category, TableWarning):
                self.warn(str(each.message))
            else:
                warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)

    def result(self, command: str, facts: Mapping[str, Any], code: int = OK) -> int:
        """Print the outcome for machines, in which `ok` is true if and only if the exit code is 0; give the code back.

        Args:
            command: Name of the verb.
            facts: What came out.
            code: Exit code of the verb.
        """
        if self.as_json:
            facts = {"ok": code == OK, "command": command, **facts, "exit_code": code, "warnings": self.warned}
            typer.echo(to_json(facts))
        return code


def silence() -> None:
    """Stop writing to standard output, whose reader, such as `head`, has closed it; that is no error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(error: BaseException, *, as_json: bool, debug: bool, advise: Callable[[str], str] = str) -> int:
    """Print an error in a line or two (or as JSON), and give its exit code. A fault of ours keeps its traceback.

    Args:
        error: The error.
        as_json: Whether it is printed as one JSON object.
        debug: Whether the traceback is shown in any case.
        advise: Function that makes the advice in a message that of the verb.
    """
    code, words, extra = classify(error)
    words = advise(words)
    if debug or code == FAULT:
        traceback.print_exception(error)
    if as_json:
        details = {"kind": KINDS.get(code, "internal"), "message": words, **extra}
        typer.echo(to_json({"ok": False, "error": details, "exit_code": code}))
    elif code == FAULT:
        typer.echo("error: this is a fault of pushforward, not of yours. Please report the lines above.", err=True)
    else:
        typer.echo(f"error: {words}", err=True)
    return code


def classify(error: Any) -> tuple[int, str, dict[str, Any]]:
    """The exit code of an error, its message, and further facts for machines."""
    words = " ".join(str(error).split())
    if isinstance(error, Interrupted | KeyboardInterrupt | typer.Abort):
        return INTERRUPT, "interrupted: nothing was written.", {}
    if isinstance(error, typer.TyperException):
        words = " ".join(error.format_message().split()).replace("Value error, ", "")
        context = getattr(error, "ctx", None)
        where = f" Try '{context.command_path} --help'." if context is not None else ""
        return USAGE, words + where, {}
    from pushforward.io.errors import UntrustedModelError
    from pushforward.tables.errors import DataError

    if isinstance(error, DataError):
        return DATA, words, {"code": error.code}
    if isinstance(error, UntrustedModelError):
        return UNTRUSTED, words, {}
    if isinstance(error, OSError):
        if error.strerror and error.filename:
            words = f"{error.filename}: {error.strerror}."
        return USAGE, words, {}
    if isinstance(error, MemoryError):
        return DATA, "not enough memory for this table. Use fewer rows or columns.", {"code": "too-large"}
    # The classes below live beside JAX; if that was never imported, they cannot have been raised.
    checks = sys.modules.get("pushforward._checks")
    if checks is not None and isinstance(error, checks.OptionError | checks.MissingPackageError):
        return USAGE, words, {}
    if checks is not None and isinstance(error, checks.ConvergenceError):
        return NUMERICAL, words, {}
    hosts = sys.modules.get("pushforward.training.hosts")
    if hosts is not None and isinstance(error, hosts.HostLostError):
        return HOST_LOST, words, {}
    known = sys.modules.get("pushforward.inference.known")
    if known is not None and isinstance(error, known.ConditioningError):
        numerical = error.code in ("impossible", "unreliable", "not-exact")
        return NUMERICAL if numerical else USAGE, words, {"code": error.code}
    return FAULT, f"{type(error).__name__}: {words}", {}
