"""A table of many files in pieces that can be read in any order: what training from more rows than memory takes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pushforward.tables.reading.batches import common_schema, conformed, label_of
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.conventions import USUAL, Conventions
from pushforward.tables.reading.opened import Opened, open_all

# Bytes of a table in memory, 8 for each cell, from which on a fit streams it unless it is told not to: 11 million rows
# of 12 columns. A fit from memory holds its rows several times.
STREAM_BYTES = 2**30


@dataclass(frozen=True)
class Shards:
    """The pieces of a table: row groups of Parquet files, and other files as a whole.

    Args:
        label: Name of the table for messages.
        names: Columns that are read, in this order.
        files: Its files, each with its parts.
        notes: Remarks for the user.
        conventions: By which cells are read; those of a first reading say which columns of text are numbers.
    """

    label: str
    names: tuple[str, ...]
    files: tuple[Opened, ...]
    notes: tuple[str, ...] = ()
    conventions: Conventions = USUAL

    @property
    def size(self) -> int:
        """Bytes of its cells in memory, 8 each; of files that do not say their rows, those on the disk."""
        return sum(8 * file.rows * len(self.names) if file.rows is not None else file.bytes for file in self.files)

    @cached_property
    def pieces(self) -> tuple[Opened, ...]:
        """The pieces in the order of the table."""
        return tuple(piece for file in self.files for piece in (file.parts or (file,)))

    def read(self, piece: int, names: Sequence[str] | None = None) -> Iterator[Cells]:
        """The rows of a piece, batch by batch.

        Args:
            piece: Number of the piece.
            names: Columns to give, in this order; None gives all.

        Raises:
            DataError: The file is damaged.
        """
        own = list(names or self.names)
        schema = common_schema(list(self.files), own, self.label)[1]
        for table in conformed([self.pieces[piece]], own, schema):
            if table.num_rows:
                yield read_cells(Cells(table, self.label, self.notes), conventions=self.conventions)


def open_shards(
    source: Any, columns: Sequence[str] | None = None, *, conventions: Conventions | None = None
) -> Shards | None:
    """The pieces of a table in files, or None for a source that has to be read as a whole.

    Parquet, Arrow, NPY, NPZ and CSV files, also packed by gzip, can be read in pieces, by path, glob, folder or URL.
    So can a `pyarrow.dataset`.

    Args:
        source: As for `read_cells`.
        columns: Names to keep, in this order; None keeps all.
        conventions: As for `read_cells`.

    Raises:
        DataError: As for `read_cells`, as far as no row has to be read for it.
    """
    if isinstance(source, Shards):
        return source
    wanted, how = None if columns is None else [str(name) for name in columns], conventions or USUAL
    files = open_all(source, wanted, decimal=how.decimal)
    if not files:
        return None
    names, _ = common_schema(files, wanted, f"{source}")
    notes = tuple(note for file in files for note in file.notes)
    return Shards(label_of(files, source), tuple(names), tuple(files), notes, how)
