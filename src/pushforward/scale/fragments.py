"""The pieces of a table that a job works on one by one: runs of row groups of Parquet files, and other files whole."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from pushforward.tables.errors import DataError
from pushforward.tables.reading.batches import conformed, of_size
from pushforward.tables.reading.cells import expand, read_cells
from pushforward.tables.reading.columns import listed
from pushforward.tables.reading.datasets import URL, as_dataset, is_dataset
from pushforward.tables.reading.opened import Opened, open_all, open_dataset

# Rows of a fragment at most, unless one row group or one file has more: some seconds to minutes of work.
FRAGMENT_ROWS = 2**20


class FileMark(NamedTuple):
    """A file as a job knows it again.

    Attributes:
        name: Its path or URL.
        size: Its bytes.
        changed: When it was changed, in nanoseconds since 1970; None where the file system does not say.
    """

    name: str
    size: int | None
    changed: int | None


@dataclass(frozen=True)
class Fragment:
    """A piece of a table.

    Attributes:
        number: Its number, from 0.
        source: Path or URL of its file; empty for numbers without a file.
        file: Number of the file.
        first: Number of its first row in the file.
        rows: Number of its rows, where the file says it.
        groups: First and last of its row groups, counted without empty ones, the last exclusive; None takes the file.
        base: Folder or URL whose folders `year=2024` make a column, or None.
        decimal: Mark before the fraction of a number in text files.
    """

    number: int
    source: str
    file: int
    first: int
    rows: int | None
    groups: tuple[int, int] | None = None
    base: str | None = None
    decimal: str = "."

    @property
    def name(self) -> str:
        """The name of what is written of it."""
        return f"part-{self.number:05d}"

    def batches(self, size: int, wanted: Any = None) -> Iterator[pa.RecordBatch]:
        """Its rows in batches of `size`, the last one of what is left.

        Args:
            size: Rows of a batch.
            wanted: Function from the names of the file's columns to those that are read; None reads all.

        Raises:
            DataError: The file cannot be read.
        """
        if not self.source:
            numbers = pa.schema([("number", pa.int64())])
            for start in range(0, self.rows or 0, size):
                part = np.arange(self.first + start, self.first + min(start + size, self.rows or 0))
                yield pa.RecordBatch.from_arrays([pa.array(part)], schema=numbers)
            return
        for table in of_size(self._tables(wanted), size):
            yield table.combine_chunks().to_batches()[0]

    def _opened(self, names: list[str] | None) -> Opened | None:
        if self.base is not None:
            return open_dataset(as_dataset(self.source, self.base), names)[0]
        files = open_all(self.source, names, decimal=self.decimal)
        return None if files is None else files[0]

    def _tables(self, wanted: Any) -> Iterator[pa.Table]:
        file = self._opened(None)
        if file is None:
            table = read_cells(self.source).table
            yield table if wanted is None else table.select(wanted(table.column_names))
            return
        names = file.schema.names if wanted is None else wanted(file.schema.names)
        schema = pa.schema([file.schema.field(name) for name in names])
        if file.parts and len(names) < len(file.schema.names):  # read no other column
            file = self._opened(names) or file
        parts: Sequence[Opened] = (file,) if self.groups is None else file.parts[slice(*self.groups)]
        yield from conformed(parts, names, schema)

    def to_json(self) -> dict[str, Any]:
        """The fields, without those that say nothing."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Plan:
    """The fragments of a table, in its order.

    Attributes:
        source: Name of the table.
        files: Its files.
        fragments: The fragments.
        schema: A schema that holds the columns of every file that could be opened; None for one that none could.
    """

    source: str
    files: tuple[FileMark, ...]
    fragments: tuple[Fragment, ...]
    schema: pa.Schema | None


def plan_numbers(n: int, rows: int = FRAGMENT_ROWS) -> Plan:
    """The fragments of the numbers from 0 to `n - 1`, for draws.

    Args:
        n: How many numbers.
        rows: Numbers of a fragment.
    """
    starts = range(0, n, rows)
    fragments = tuple(Fragment(i, "", 0, start, min(rows, n - start)) for i, start in enumerate(starts))
    return Plan(f"{n:,} draws", (), fragments, pa.schema([("number", pa.int64())]))


def plan_table(
    source: str | os.PathLike, rows: int = FRAGMENT_ROWS, *, decimal: str = ".", typed: bool = False
) -> Plan:
    """The fragments of a table in files.

    A fragment is a run of row groups of one Parquet file that has at most `rows` rows, or one row group that has more.
    Files of other formats are a fragment each. A file that cannot be opened is one too, and fails when it is read.

    Args:
        source: Path, glob, folder or URL, as for `read_cells`.
        rows: Rows of a fragment at most.
        decimal: Mark before the fraction of a number in text files.
        typed: Whether the types of text files are looked up, for which they are read through.

    Raises:
        DataError: There is no such file.
        ValueError: The source is no path, but a table in memory or standard input.
    """
    if is_dataset(source) or not isinstance(source, str | os.PathLike) or os.fspath(source) == "-":
        raise ValueError(
            f"a job: expected the path, glob, folder or URL of files, got {str(source)[:60]!r}. A job that is resumed "
            "reads its rows again: save the table first."
        )
    path = str(os.fspath(source))
    names, base = _files_of(path)
    files, fragments, schemas = [], [], []
    for number, name in enumerate(names):
        files.append(_mark(name))
        file = _open(name, base, decimal, not typed)
        if file is not None:
            schemas.append(file.schema)
        for groups, first, count in _runs(file, rows):
            fragments.append(Fragment(len(fragments), name, number, first, count, groups, base, decimal))
    return Plan(path, tuple(files), tuple(fragments), _unified(schemas, path))


def _files_of(path: str) -> tuple[list[str], str | None]:
    """The files of a path, and the folder below which folders make columns, if there is one."""
    if not URL.match(path) and not os.path.isdir(path):
        found = expand(path)
        for name in found:
            if not os.path.exists(name.partition("::")[0]):
                raise DataError("not-found", f"{name}: there is no such file (working folder {os.getcwd()}).")
        return found, None
    places = sorted(as_dataset(path).files)
    if not URL.match(path):
        return places, path
    scheme, query = path.split("://", 1)[0], path.partition("?")[2]
    urls = [place if URL.match(place) else f"{scheme}://{place}{'?' + query if query else ''}" for place in places]
    return urls, path


def _mark(name: str) -> FileMark:
    if not URL.match(name):
        stat = os.stat(name.partition("::")[0])
        return FileMark(name, stat.st_size, stat.st_mtime_ns)
    (system, place) = (as_dataset(name).filesystem, as_dataset(name).files[0])
    info = system.get_file_info(place)
    return FileMark(name, info.size, info.mtime_ns)


def _open(name: str, base: str | None, decimal: str, cheap: bool) -> Opened | None:
    try:
        if base is not None:
            return open_dataset(as_dataset(name, base), None)[0]
        found = open_all(Path(name), None, cheap, decimal)
        return found[0] if found else None
    except DataError:
        return None


def _runs(file: Opened | None, rows: int) -> Iterator[tuple[tuple[int, int] | None, int, int | None]]:
    """The runs of row groups of a file, with the number of rows before each and in it."""
    parts = [] if file is None else [part.rows or 0 for part in file.parts]
    if not parts:
        yield None, 0, None if file is None else file.rows
        return
    start = before = held = 0
    for i, count in enumerate(parts):
        if held and held + count > rows:
            yield (start, i), before, held
            start, before, held = i, before + held, 0
        held += count
    yield (start, len(parts)), before, held


def _unified(schemas: list[pa.Schema], source: str) -> pa.Schema | None:
    """The columns that every file has, with types that hold those of all, or that of the first file."""
    if not schemas:
        return None
    fields = []
    for name in schemas[0].names:
        own = [schema.field(name) for schema in schemas if name in schema.names]
        if len(own) < len(schemas):
            continue
        try:
            fields.append(pa.unify_schemas([pa.schema([each]) for each in own], promote_options="permissive").field(0))
        except pa.ArrowException:
            fields.append(own[0])
    if not fields:
        raise DataError("columns", f"{source}: no column is in every file. The first has {listed(schemas[0].names)}.")
    return pa.schema(fields).remove_metadata()
