"""The error of every table that cannot be used, with a stable code beside the sentence."""

from __future__ import annotations

from typing import Literal

DataCode = Literal[
    "not-found",
    "unreadable",
    "format",
    "encoding",
    "empty",
    "ragged",
    "names",
    "columns",
    "non-numeric",
    "missing",
    "infinite",
    "precision",
    "one-row",
    "constant",
    "too-large",
    "weights",
    "schema",
    "dates",
    "nothing",
    "unseen",
    "where",
    "labels",
    "calibration",
]


class TableWarning(UserWarning):
    """A remark on a table or on a model of one, such as rows that repeat or samples far beyond the data.

    Every remark that the command line prints is one of these in Python; `FlowDensity.notes_` keeps those of the fit.
    `warnings.simplefilter("ignore", pushforward.TableWarning)` silences them.
    """


class DataError(ValueError):
    """A table cannot be read or used; the message says what, where, why, and what to do.

    Args:
        code: a stable word for the kind of failure, for programs.
        message: sentences for people.

    Attributes:
        code: as given.
    """

    def __init__(self, code: DataCode, message: str):
        super().__init__(message)
        self.code: DataCode = code

    def __reduce__(self) -> tuple:
        return type(self), (self.code, str(self))
