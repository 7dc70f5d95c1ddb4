"""Tables of many files as `pyarrow.dataset` sees them: folders, folders named after values, places on the network."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import Any, NamedTuple

import pyarrow as pa

from pushforward.tables.errors import DataError
from pushforward.tables.reading.formats import DAMAGE, damaged

URL = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
FORMATS = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".arrow": "ipc",
    ".feather": "ipc",
    ".ipc": "ipc",
}


class Fragment(NamedTuple):
    """A file of a dataset.

    Attributes:
        label: Its name for messages.
        fragment: Arrow's own object.
        groups: Its row groups as fragments of their own, with their numbers of rows; none where it has none.
    """

    label: str
    fragment: Any
    groups: tuple[tuple[Any, int], ...]


def is_dataset(source: Any) -> bool:
    """Whether it is a `pyarrow.dataset.Dataset`."""
    import pyarrow.dataset as arrow_dataset

    return isinstance(source, arrow_dataset.Dataset)


def as_dataset(source: Any, base: str | None = None) -> Any:
    """The `pyarrow.dataset.Dataset` that a source is, or that its folder or URL stands for; None for other sources.

    Folders called `year=2024` make a column `year`. Hidden files, and those that begin with `_`, are left out.

    Args:
        source: A dataset, a path, or anything else.
        base: Folder or URL below which the folders of a single file make columns; None takes its own folder, so that
            there are none.

    Raises:
        DataError: The folder is empty or holds files of several formats, or the URL cannot be opened.
    """
    import pyarrow.dataset as arrow_dataset

    if is_dataset(source):
        return source
    if not isinstance(source, str | os.PathLike) or isinstance(os.fspath(source), bytes):
        return None
    path = str(os.fspath(source))
    if not URL.match(path) and not os.path.isdir(path) and base is None:
        return None
    from pyarrow import fs

    system, place = _system(path) if URL.match(path) else (fs.LocalFileSystem(), path)
    try:
        info = system.get_file_info(place)
        names = [place]
        if info.type == fs.FileType.NotFound:
            raise DataError("not-found", f"{path}: there is nothing there.")
        if info.type == fs.FileType.Directory:
            names = _files(system, place)
        found = Counter(FORMATS.get(os.path.splitext(name)[1].lower()) for name in names)
        if set(found) - {None} == set() or len(found) > 1:
            kinds = sorted({os.path.splitext(name)[1].lower() or "no suffix" for name in names})[:5]
            got = f"files of {', '.join(kinds)}" if names else "no file"
            what = "a folder of files" if info.type == fs.FileType.Directory else "files"
            raise DataError("format", f"{path}: expected {what} of one of {', '.join(FORMATS)}, got {got}.")
        if base is None:
            base = place if info.type == fs.FileType.Directory else os.path.dirname(place)
        elif URL.match(base):
            base = _system(base)[1]
        hive = arrow_dataset.partitioning(flavor="hive")
        return arrow_dataset.dataset(
            names, format=next(iter(found)), filesystem=system, partitioning=hive, partition_base_dir=base
        )
    except DataError:
        raise
    except DAMAGE as error:
        raise damaged(path, error) from error


def label_of_dataset(source: Any) -> str:
    """The name of a dataset for messages."""
    return str(os.fspath(source)) if isinstance(source, str | os.PathLike) else "the dataset"


def _files(system: Any, folder: str) -> list[str]:
    """The data files below a folder, in order."""
    from pyarrow import fs

    found = system.get_file_info(fs.FileSelector(folder, recursive=True))
    below = len(folder.rstrip("/")) + 1
    return sorted(
        info.path
        for info in found
        if info.type == fs.FileType.File and info.size
        if not any(part.startswith((".", "_")) for part in info.path[below:].split("/"))
    )


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, Arrow's own or one of fsspec, and the place in it.

    Raises:
        DataError: Neither knows its scheme, or its package is missing.
    """
    from pyarrow import fs

    try:
        return fs.FileSystem.from_uri(url)
    except (pa.ArrowException, OSError, ValueError) as error:
        first = " ".join(str(error).split())[:200]
    try:
        import fsspec  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        fix = "Install fsspec (pip install 'pushforward[remote]') and the package of that scheme, or copy the files."
        raise DataError("not-found", f"{url}: Arrow cannot open it ({first}). {fix}") from error
    try:
        system, place = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise DataError("not-found", f"{url}: it cannot be opened: {reason}.") from error
    return fs.PyFileSystem(fs.FSSpecHandler(system)), place


def fragments_of(dataset: Any) -> list[Fragment]:
    """The files of a dataset, in order.

    Raises:
        DataError: A file is damaged.
    """
    found = []
    for fragment in dataset.get_fragments():
        path = getattr(fragment, "path", "") or "the dataset"
        label = os.path.basename(path)
        try:
            groups = [
                (group, sum(part.num_rows for part in group.row_groups))
                for group in (fragment.split_by_row_group() if hasattr(fragment, "split_by_row_group") else ())
            ]
        except DAMAGE as error:
            raise damaged(label, error) from error
        found.append((path, Fragment(label, fragment, tuple(groups))))
    return [fragment for _, fragment in sorted(found, key=lambda pair: pair[0])]


def dataset_table(dataset: Any, wanted: list[str] | None, cap: int) -> tuple[pa.Table, int]:
    """All rows of a dataset, and the bytes that they take; no table where these are too many.

    Args:
        dataset: The dataset.
        wanted: Names of the columns that are to be read; None reads all.
        cap: Bytes that the table may take.
    """
    names = dataset.schema.names
    columns = names if wanted is None or not set(wanted) <= set(names) else wanted
    size, batches = 0, []
    schema = pa.schema([dataset.schema.field(name) for name in columns])
    for batch in dataset.to_batches(columns=columns, batch_readahead=1, fragment_readahead=1):
        size += max(batch.nbytes, 8 * batch.num_rows * batch.num_columns)
        if size > cap:
            return schema.empty_table(), size
        batches.append(batch)
    return pa.Table.from_batches(batches, schema), size
