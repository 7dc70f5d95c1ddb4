"""SIGTERM, by which a machine is taken back: it stops a fit as Ctrl-C does, so that a checkpoint can be written."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any


class StopOnTerm:
    """A context in which SIGTERM raises KeyboardInterrupt once, as long as `armed` is set.

    `asked` says that the signal came, even if the exception was lost (in a destructor, say). Outside the main
    thread, and where it is not enabled, signals are left alone. The earlier handler is restored at the end.

    Args:
        enabled: Whether to do anything.
    """

    def __init__(self, enabled: bool):
        self.enabled, self.armed, self.asked = enabled, False, False
        self._previous: Any = None

    def __enter__(self) -> StopOnTerm:
        if self.enabled and threading.current_thread() is threading.main_thread():
            self._previous = signal.getsignal(signal.SIGTERM)
            if self._previous is not None:  # None: set outside of Python, which could not put it back
                signal.signal(signal.SIGTERM, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        self.armed = False
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        self.asked = True
        if self.armed:
            self.armed = False
            raise KeyboardInterrupt
