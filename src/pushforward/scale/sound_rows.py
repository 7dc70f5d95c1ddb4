"""The rows of a batch that a model can take, and why it cannot take the others."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from pushforward._checks import ConvergenceError
from pushforward.tables.encoding import Layout, encode, gaps_of
from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.conventions import Conventions
from pushforward.tables.schema import Column

T = TypeVar("T")
# What a row can be at fault with; anything else is a fault of the program, or of the machine.
FAULTS = (DataError, ConvergenceError)
# Words of a message about one cell that say nothing: which of one row it is.
ROW_ONE = re.compile(r"(, the first is row 1| in row 1)\b")


class Sound(NamedTuple):
    """What of a batch can be taken.

    Attributes:
        cells: The rows that can, with the columns of the model.
        kept: Flags `(n,)`: which of the batch they are.
        missing: Flags `(n,)` of the rows with a missing cell that the model has no state for.
        reasons: Why others cannot be taken, by their position.
    """

    cells: Cells
    kept: np.ndarray
    missing: np.ndarray
    reasons: dict[int, str]


def sound_rows(
    picked: Cells,
    how: Conventions,
    columns: tuple[Column, ...],
    known: frozenset[str] = frozenset(),
    gaps: bool = False,
) -> Sound:
    """Take the rows whose cells are what the columns of a model hold.

    Args:
        picked: Rows with these columns, and perhaps others, as they were read.
        how: The conventions of the model.
        columns: The columns.
        known: Names of those among them in which a level that the fit never saw is a fault.
        gaps: Whether cells may be missing.
    """
    reasons: dict[int, str] = {}
    made = _readable(picked, how, columns, known)
    if made is None:
        parts = []
        for name in picked.names:
            column = next((own for own in columns if own.name == name), None)
            found, bad = _column(picked.select([name]), how, column, _unseen(name, known))
            parts.append(found)
            for row, reason in bad.items():
                reasons.setdefault(row, reason)
        made = Cells(pa.table(dict(zip(picked.names, parts, strict=True))), picked.source, (), how)
    kept, missing = np.ones(len(picked), bool), np.zeros(len(picked), bool)
    kept[list(reasons)] = False
    fixed = Layout(tuple(own for own in columns if not own.missing))
    if not gaps and fixed.columns:
        missing = gaps_of(fixed, made).any(axis=1) & kept
        kept &= ~missing
    return Sound(made if kept.all() else made.take(kept), kept, missing, reasons)


def _unseen(name: str, known: frozenset[str]) -> str:
    return "error" if name in known else "other"


def _readable(picked: Cells, how: Conventions, columns: tuple[Column, ...], known: frozenset[str]) -> Cells | None:
    """The cells as the model reads them if all can be read, else None."""
    try:
        table, own = how.applied(picked.table, picked.source)
        made = Cells(table, picked.source, (), own)
        for column in columns:
            encode(Layout((column,)), made, unseen=_unseen(column.name, known), gaps=True)
    except DataError:
        return None
    return made


def _column(
    cells: Cells, how: Conventions, column: Column | None, unseen: str
) -> tuple[pa.ChunkedArray, dict[int, str]]:
    """A column in which the cells that cannot be read are gaps, and why they cannot be."""
    (name,) = cells.names
    whole: Any = cells.table.column(0).combine_chunks()

    def fault(part: pa.Array) -> Exception | None:
        try:
            table = how.applied(pa.table({name: part}), "")[0]
            if column is not None:
                encode(Layout((column,)), Cells(table), unseen=unseen, gaps=True)
        except DataError as error:
            return error
        return None

    try:
        coded = whole.dictionary_encode() if not pa.types.is_dictionary(whole.type) else whole
        words, codes = coded.dictionary, np.asarray(coded.indices.fill_null(-1))
    except pa.ArrowException:  # a type without equality, such as lists
        words, codes = whole, np.arange(len(whole))
    bad = failing(lambda places: fault(words.take(pa.array(places))), len(words))
    wrong = np.isin(codes, list(bad))
    reasons = {int(row): _sentence(bad[int(codes[row])]) for row in np.flatnonzero(wrong)}
    if wrong.all():
        return pa.chunked_array([pa.nulls(len(whole), pa.float64() if column is None else _gap_type(column))]), reasons
    rest = whole.take(pa.array(np.arange(len(whole)), mask=wrong)) if wrong.any() else whole
    return how.applied(pa.table({name: rest}), "")[0].column(0), reasons


def _gap_type(column: Column) -> pa.DataType:
    """A type that gaps of a column can have."""
    return pa.string() if column.levels and isinstance(column.levels[0], str) else pa.float64()


def _sentence(error: Exception) -> str:
    """The message of an error about one cell, without the name of its table and the number of its row."""
    return ROW_ONE.sub("", str(error)).removeprefix("the table: ").removeprefix(": ")


def failing(fault: Callable[[np.ndarray], Exception | None], n: int) -> dict[int, Exception]:
    r"""Which of `n` things are at fault, and with what: parts of them are tried, and halved where one fails.

    Args:
        fault: Function of positions `(k,)` that gives the error which they raise together, or None. A part fails if one
            thing in it does.
        n: Number of the things.

    Cost: about $2 b \log_2(n / b)$ calls for $b$ that fail.
    """
    found: dict[int, Exception] = {}
    parts = [np.arange(n)] if n else []
    while parts:
        part = parts.pop()
        error = fault(part)
        if error is None:
            continue
        if len(part) == 1:
            found[int(part[0])] = error
        else:
            parts += [part[: len(part) // 2], part[len(part) // 2 :]]
    return dict(sorted(found.items()))


def where_sound(run: Callable[[np.ndarray], T], n: int) -> tuple[T, dict[int, Exception]]:
    """What a function gives of `n` rows, without those at which it fails; and with what it fails at these.

    Args:
        run: Function of positions `(k,)`.
        n: Number of the rows.

    Cost: one call if it fails at none; see `failing`.
    """

    def fault(places: np.ndarray) -> Exception | None:
        try:
            run(places)
        except FAULTS as error:
            return error
        return None

    every = np.arange(n)
    try:
        return run(every), {}
    except FAULTS:
        bad = failing(fault, n)
        return run(np.delete(every, list(bad))), bad


def sound_cells(run: Callable[[Cells], T], cells: Cells) -> tuple[T, dict[int, Exception]]:
    """`where_sound` for a function of the cells of some rows.

    Args:
        run: The function.
        cells: All rows.
    """
    return where_sound(lambda places: run(cells if len(places) == len(cells) else cells.take(places)), len(cells))
