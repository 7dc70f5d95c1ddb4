"""Telling people how a fit goes: a bar on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from typing import Any, Literal, Protocol

from pushforward._checks import message

LINE_SECONDS = 10.0  # seconds between two lines where there is no terminal


class AbstractProgress(Protocol):
    """The methods that `fit` calls after each device call, and once at the end."""

    def update(self, step: int, total: int, nats: float, rows_per_second: float, seconds_left: float) -> None:
        """Show where the fit is."""

    def close(self, text: str) -> None:
        """Show how it ended."""


class Silent:
    """Shows nothing."""

    def update(self, step: int, total: int, nats: float, rows_per_second: float, seconds_left: float) -> None:
        """Nothing."""

    def close(self, text: str) -> None:
        """Nothing."""


class Lines:
    """One plain line on stderr every `LINE_SECONDS`; `verbose` writes the verdict of a short fit too."""

    def __init__(self, verbose: bool):
        self.verbose = verbose
        self.shown_at = time.perf_counter()
        self.shown = False

    def update(self, step: int, total: int, nats: float, rows_per_second: float, seconds_left: float) -> None:
        """Write a line, if the last one is old enough."""
        now = time.perf_counter()
        if now - self.shown_at < LINE_SECONDS:
            return
        self.shown_at, self.shown = now, True
        left = f"{seconds_left:.0f} s left at most"
        sys.stderr.write(f"fit: step {step:,} of {total:,}, {_nats(nats)}, {rows_per_second:,.0f} rows/s, {left}\n")

    def close(self, text: str) -> None:
        """Write the verdict, if anything was shown before."""
        if self.verbose or self.shown:
            sys.stderr.write(f"fit: {text}\n")


class Bar:
    """A bar on the terminal, drawn by rich on stderr."""

    def __init__(self):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("fit"), BarColumn(), TextColumn("{task.description}"))
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.task: Any = None

    def update(self, step: int, total: int, nats: float, rows_per_second: float, seconds_left: float) -> None:
        """Move the bar."""
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("", total=total)
        left = f"{int(seconds_left) // 60}:{int(seconds_left) % 60:02d} left at most"
        text = f"{_nats(nats)}  {rows_per_second:,.0f} rows/s  {left}"
        self.bar.update(self.task, completed=step, description=text)

    def close(self, text: str) -> None:
        """Take the bar away and leave the verdict."""
        self.bar.stop()
        self.bar.console.print(f"fit: {text}", highlight=False, markup=False)


def _nats(nats: float) -> str:
    return "no held-out score yet" if nats != nats else f"held-out {nats:.4f} nats"


def make_progress(progress: bool | Literal["auto"]) -> AbstractProgress:
    """The progress display for the user's choice.

    Args:
        progress: The choice: `"auto"` is a bar if stderr is a terminal, else a line every `LINE_SECONDS`; True is the
            same and writes the verdict in any case; False is silent.

    Raises:
        ValueError: The choice is none of these.
    """
    if progress is False:
        return Silent()
    if progress is not True and progress != "auto":
        raise ValueError(message("fit", "progress 'auto', True or False", repr(progress), "Choose one of them."))
    if sys.stderr.isatty():
        return Bar()
    return Lines(verbose=progress is True)
