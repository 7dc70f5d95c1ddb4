"""Tables out as a folder of Parquet files, which appears complete or not at all."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from pushforward._files import FOLDER, irregular, share, take_name

SHARD_ROWS = 2**20  # rows of a shard at most
SHARD = re.compile(r"part-\d{5,}\.parquet")


def check_shards_target(folder: Path, force: bool) -> None:
    """Raise an error before the work starts if a folder of shards cannot be written there.

    An existing folder is replaced if it is empty, or by `force` if it holds nothing but such shards.

    Raises:
        FileExistsError: Something is there that is not replaced.
        OSError: The folder that it lies in does not exist or cannot be written to.
    """
    what = irregular(folder) or ("a file" if os.path.lexists(folder) else None)
    if what not in (None, FOLDER):
        raise FileExistsError(f"{folder}: expected a folder of shards or nothing, got {what}, which is not replaced.")
    if not folder.absolute().parent.is_dir():
        raise FileNotFoundError(f"{folder}: there is no folder {folder.parent}. Make it first.")
    if not os.access(folder.absolute().parent, os.W_OK):
        raise PermissionError(f"{folder}: the folder {folder.parent} is not writable.")
    held = sorted(path.name for path in folder.iterdir()) if what == FOLDER else []
    foreign = [name for name in held if not SHARD.fullmatch(name)]
    if foreign:
        raise FileExistsError(f"{folder}: holds files that are no shards ({foreign[0]!r}), so it is not replaced.")
    if held and not force:
        raise FileExistsError(f"{folder}: the folder exists. Pass --force (force=True) to replace it, or name another.")


def write_shards(folder: Path, tables: Iterable[pa.Table], force: bool, shard_rows: int = SHARD_ROWS) -> None:
    """Write a table that comes in pieces as Parquet files `part-00000.parquet` and so on.

    Args:
        folder: Folder to write; it is renamed to its name when all shards are written.
        tables: Pieces with the same columns of the same types, one at least.
        force: Whether a folder of shards is replaced.
        shard_rows: Rows of a shard at most.

    Raises:
        OSError: See `check_shards_target`.
    """
    import pyarrow.parquet as pq

    check_shards_target(folder, force)
    folder = folder.absolute()
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    writer: Any = None
    try:
        held = n_shards = 0
        for table in _cut(tables, shard_rows):
            if writer is not None and held + table.num_rows > shard_rows:
                writer.close()
                writer = None
            if writer is None:
                path = temporary / f"part-{n_shards:05d}.parquet"
                writer, held, n_shards = pq.ParquetWriter(path, table.schema), 0, n_shards + 1
            writer.write_table(table)
            held += table.num_rows
        if writer is not None:
            writer.close()
        for path in temporary.iterdir():
            with path.open("rb") as file:
                os.fsync(file.fileno())
        share(temporary, 0o777)
        check_shards_target(folder, force)  # somebody may have made it meanwhile
        take_name(temporary, folder)
    finally:
        if temporary.exists():
            shutil.rmtree(temporary)


def _cut(tables: Iterable[pa.Table], most: int) -> Iterator[pa.Table]:
    for table in tables:
        for start in range(0, max(table.num_rows, 1), most):
            yield table.slice(start, most)
