"""Telling people how an inference goes: temperature, effective particles, log Z, on a bar or in lines."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from pushforward._checks import message
from pushforward.training.progress import LINE_SECONDS


class AbstractReporter(Protocol):
    """What `infer` calls after each stage, and once at the end."""

    def update(self, record: Mapping[str, Any]) -> None:
        """Show a stage."""

    def close(self, text: str) -> None:
        """Show how it ended."""


class SilentReporter:
    """Shows nothing."""

    def update(self, record: Mapping[str, Any]) -> None:
        """Nothing."""

    def close(self, text: str) -> None:
        """Nothing."""


class LineReporter:
    """One plain line on stderr every `LINE_SECONDS`."""

    def __init__(self, verbose: bool):
        self.shown_at, self.verbose = time.perf_counter(), verbose

    def update(self, record: Mapping[str, Any]) -> None:
        """Write a line, if the last one is old enough."""
        if time.perf_counter() - self.shown_at >= LINE_SECONDS:
            self.shown_at, self.verbose = time.perf_counter(), True
            sys.stderr.write(f"infer: {in_words(record)}\n")

    def close(self, text: str) -> None:
        """Write the verdict, if anything was shown before."""
        if self.verbose:
            sys.stderr.write(f"infer: {text}\n")


class BarReporter:
    """A bar of the temperature on the terminal, drawn by rich on stderr."""

    def __init__(self):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("infer"), BarColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task: Any = None

    def update(self, record: Mapping[str, Any]) -> None:
        """Move the bar."""
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=1.0)
        self.bar.update(self.task, completed=record["temperature"], description=in_words(record))

    def close(self, text: str) -> None:
        """Take the bar away and leave the verdict."""
        self.bar.stop()
        self.bar.console.print(f"infer: {text}", highlight=False, markup=False)


def in_words(record: Mapping[str, Any]) -> str:
    """One stage on one line."""
    return (
        f"stage {record['stage']}, temperature {record['temperature']:.3g}, ESS {record['ess_fraction']:.0%}, "
        f"log Z {record['log_z']:.3f}, {record['evaluations']:,} evaluations"
    )


def make_reporter(progress: bool | Literal["auto"]) -> AbstractReporter:
    """The display for the user's choice: `"auto"`, True (the verdict in any case) or False.

    Raises:
        ValueError: The choice is none of these.
    """
    if progress is False:
        return SilentReporter()
    if progress is not True and progress != "auto":
        raise ValueError(message("infer", "progress 'auto', True or False", repr(progress), "Choose one of them."))
    return BarReporter() if sys.stderr.isatty() else LineReporter(progress is True)
