"""The work on one fragment: a function runs over its batches, and the result appears complete or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from pushforward._compile_cache import use_cache
from pushforward._files import share, sync
from pushforward._vectorize import ahead
from pushforward.scale.batch_function import AbstractBatchFunction, Failure, Place
from pushforward.scale.code_digest import code_digest
from pushforward.scale.fragments import Fragment
from pushforward.scale.moments import Moments
from pushforward.tables.errors import DataError

# The folder of what failed, and what files are called that are not finished.
ASIDE = "_failed"
UNFINISHED = re.compile(r"\.part-\d{5,}\.[a-z0-9_]+\.(parquet|jsonl)")


@dataclass(frozen=True)
class FragmentWork:
    """What is done with each fragment of a job; it pickles, and every process that has it does the same.

    Attributes:
        function: The function.
        out: Folder of the results, which every machine of the job can write to.
        schema: Schema of the results.
    """

    function: AbstractBatchFunction
    out: str
    schema: pa.Schema

    def __call__(self, fragment: Fragment) -> dict[str, Any]:
        """Do the work, and return the line of the log that says so.

        A fragment that cannot be read as a whole gives a line with `error` instead, and no result.

        Args:
            fragment: The fragment.
        """
        try:
            return self._done(fragment)
        except DataError as error:
            fields = {"kind": "failure", "fragment": fragment.number, "source": fragment.source}
            return {**fields, "error": " ".join(str(error).split())}

    def _done(self, fragment: Fragment) -> dict[str, Any]:
        import pyarrow.parquet as pq

        out, function = Path(self.out), self.function
        rows = written = 0
        counts, moments, failed = Counter(), Moments(), []
        handle, temporary = tempfile.mkstemp(prefix=f".{fragment.name}.", suffix=".parquet", dir=out)
        try:
            with os.fdopen(handle, "wb") as file, pq.ParquetWriter(file, self.schema) as writer:
                for batch in ahead(fragment.batches(function.batch_rows, function.columns)):
                    found = function.run(batch, Place(fragment.file, fragment.first + rows))
                    writer.write_batch(self._cast(found.batch))
                    failed += [Failure(rows + each.row, each.reason) for each in found.failures]
                    counts.update(found.counts)
                    moments = moments.joined(Moments.of(found.numbers))
                    rows, written = rows + batch.num_rows, written + found.batch.num_rows
            target = out / f"{fragment.name}.parquet"
            finished = _finish(Path(temporary), target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        aside = self._set_aside(fragment, failed)
        return {
            "kind": "fragment",
            "code": code_digest(),
            "fragment": fragment.number,
            "source": fragment.source,
            "first": fragment.first,
            "rows": rows,
            "written": written,
            "failed": len(failed),
            "counts": dict(sorted(counts.items())),
            "moments": moments.to_json(),
            "out": finished,
            "aside": aside,
        }

    def _cast(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.schema == self.schema:
            return batch
        lacking = sorted(set(self.schema.names) ^ set(batch.schema.names))
        if lacking:
            fix = "All files need the columns of the first."
            raise DataError("columns", f"a result has other columns than those before: {', '.join(lacking)}. {fix}")
        try:
            return batch.select(self.schema.names).cast(self.schema)
        except pa.ArrowException as error:
            raise DataError("columns", f"a column has another type than in the files before: {error}") from error

    def _set_aside(self, fragment: Fragment, failed: list[Failure]) -> dict[str, Any] | None:
        """Write the rows that failed, with their numbers in the file, counted from 1."""
        folder, name = Path(self.out) / ASIDE, f"{fragment.name}.jsonl"
        if not failed:
            (folder / name).unlink(missing_ok=True)
            return None
        folder.mkdir(exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{fragment.name}.", suffix=".jsonl", dir=folder)
        with os.fdopen(handle, "wb") as file:
            for each in failed:
                fields = {"source": fragment.source, "row": fragment.first + each.row + 1, "reason": each.reason}
                file.write(json.dumps(fields).encode() + b"\n")
        return _finish(Path(temporary), folder / name)


def _finish(temporary: Path, target: Path) -> dict[str, Any]:
    """Flush a file to disk and give it its name; what it holds, for the log."""
    with temporary.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = file.tell()
    share(temporary, 0o666)
    os.replace(temporary, target)
    sync(target.parent)
    return {"name": target.name, "bytes": size, "sha256": digest}


def prepare_process() -> None:
    """Let a process find the programs that others compiled; without a place for them it goes on."""
    try:
        use_cache()
    except (OSError, ValueError):
        return
