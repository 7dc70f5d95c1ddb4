"""The contract of everything that runs at any size: a pure function from a record batch to a record batch."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from pushforward._checks import message
from pushforward.scale.loaded import density_at, model_digest

# The column that says why a row has no result, and the word for such a row where there is a column of words.
REASON, FAILED = "reason", "failed"
# The names that SQL has for types.
SQL = {
    pa.float64(): "double",
    pa.float32(): "float",
    pa.int64(): "bigint",
    pa.int32(): "int",
    pa.bool_(): "boolean",
    pa.string(): "string",
    pa.large_string(): "string",
}
Own = TypeVar("Own", bound="AbstractBatchFunction")


class Place(NamedTuple):
    """Where the rows of a batch stand in a table of many files.

    Attributes:
        file: Number of the file.
        row: Number of the first row in its file.
    """

    file: int
    row: int


class Failure(NamedTuple):
    """A row without a result.

    Attributes:
        row: Its position in the batch.
        reason: Why, in a sentence.
    """

    row: int
    reason: str


@dataclass(frozen=True)
class Outcome:
    """What a function made of a batch.

    Attributes:
        batch: The results, in the schema that `schema_for` gives.
        failures: The rows without one, in order.
        counts: Numbers of rows by a word, such as their status.
        numbers: One number of each row with a result, whose mean is of interest, such as its log-density.
    """

    batch: pa.RecordBatch
    failures: tuple[Failure, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    numbers: np.ndarray = field(default_factory=lambda: np.zeros(0))


@dataclass(frozen=True)
class AbstractBatchFunction(abc.ABC):
    """A pure function from a record batch to a record batch, made of the path of a model folder and options.

    It is small, and pickles by the name of its class: the model is loaded when a process first calls it, once. The same
    batch gives the same bits whatever was called before. Bad rows do not raise: their results are missing, and the last
    column, `reason`, says why.

    - Any Arrow batch: `function(batch)`.
    - Spark: `frame.mapInArrow(function.stream, function.ddl(...))`.
    - Dask: `frame.map_partitions(function.on_frame, meta=function.meta(...))`.
    - Ray Data: `dataset.map_batches(function.on_table, batch_format="pyarrow")`.

    Attributes:
        model: Path of the model folder, which every machine can read.
        digest: What `model_digest` has to give for the folder; None takes the model that is there.
        keep: Names of columns of the batch that come first in the result, such as an identifier.
    """

    model: str
    digest: str | None = None
    keep: tuple[str, ...] = ()

    verb: ClassVar[str]
    # Rows of a batch that a job cuts its fragments into.
    batch_rows: ClassVar[int]
    # Whether a row with a reason stays in the result, so that it has a line for each row of the batch.
    line_for_line: ClassVar[bool] = True

    @property
    def decimal(self) -> str:
        """The mark before the fraction of a number in the text files that the function reads."""
        return density_at(self.model, self.digest).schema_.reading.decimal

    @property
    def typed(self) -> bool:
        """Whether the types of the results depend on those of the table."""
        return bool(self.keep) or not self.line_for_line

    @abc.abstractmethod
    def run(self, batch: pa.RecordBatch, place: Place | None = None) -> Outcome:
        """The results of a batch, with the failures apart.

        Args:
            batch: Rows of any number, zero among them.
            place: Where they stand, on which draws depend; None where that is not known.

        Raises:
            DataError: The batch as a whole is none of the model, such as for a missing column.
            UntrustedModelError: The model folder is damaged, or another model than `digest` says.
        """

    @abc.abstractmethod
    def columns(self, names: Iterable[str]) -> list[str]:
        """The columns that are read of a table that has these.

        Args:
            names: Names of its columns.
        """

    @abc.abstractmethod
    def schema_for(self, schema: pa.Schema) -> pa.Schema:
        """The schema of the results of batches of a schema, without `reason`.

        Args:
            schema: Schema of the batches.
        """

    def pinned(self: Own) -> Own:
        """The same function of the model that is in the folder now; another one there is then an error."""
        return dataclasses.replace(self, digest=model_digest(self.model))

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The results of a batch, with a last column `reason` that is empty for rows that have one.

        Args:
            batch: Rows.
        """
        found = self.run(batch)
        own = found.batch
        words = np.full(own.num_rows, None, object)
        if self.line_for_line:
            for failure in found.failures:
                words[failure.row] = failure.reason
        elif found.failures:
            own, words = _with_empty_lines(own, found.failures)
        schema = own.schema.append(pa.field(REASON, pa.string()))
        return pa.RecordBatch.from_arrays([*own.columns, pa.array(words.tolist(), pa.string())], schema=schema)

    def stream(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The results of batches one after the other, as Spark's `mapInArrow` calls a function.

        Args:
            batches: Batches of one schema.
        """
        return map(self, batches)

    def on_table(self, table: pa.Table) -> pa.Table:
        """The results of a table, taken as one batch.

        Args:
            table: Rows.
        """
        (batch,) = table.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], schema=table.schema)]
        return pa.Table.from_batches([self(batch)])

    def on_frame(self, frame: Any) -> Any:
        """The results of a data frame of pandas, under its index where there is a line for each row.

        Args:
            frame: Rows.
        """
        found = self.on_table(pa.Table.from_pandas(frame, preserve_index=False)).to_pandas()
        return found.set_axis(frame.index) if len(found) == len(frame) else found

    def meta(self, frame: Any) -> Any:
        """A data frame without rows that has the columns of the result, as Dask's `map_partitions(meta=)` takes it.

        Args:
            frame: A data frame with the columns of the table, whose rows do not count.
        """
        own = self.schema_for(pa.Schema.from_pandas(frame.iloc[:0], preserve_index=False).remove_metadata())
        return own.append(pa.field(REASON, pa.string())).empty_table().to_pandas().set_axis(frame.index[:0])

    def ddl(self, schema: pa.Schema) -> str:
        """The schema of the results as Spark writes it, such as `log_prob double, status string, reason string`.

        Args:
            schema: Schema of the batches.

        Raises:
            TypeError: SQL has no usual name for a type; convert the schema by Spark's `from_arrow_schema`.
        """
        own = self.schema_for(schema).append(pa.field(REASON, pa.string()))
        for each in own:
            if each.type not in SQL:
                fix = "Convert the schema by pyspark.sql.pandas.types.from_arrow_schema."
                raise TypeError(
                    message(f"ddl, column {each.name!r}", f"one of {[*map(str, SQL)]}", str(each.type), fix)
                )
        return ", ".join(f"`{each.name}` {SQL[each.type]}" for each in own)

    def options(self) -> dict[str, Any]:
        """All that the results depend on beside the model and the batch, as JSON."""
        own = dataclasses.asdict(self)
        return {"verb": self.verb, **{name: own[name] for name in sorted(own) if name not in ("model", "digest")}}


def _with_empty_lines(batch: pa.RecordBatch, failures: tuple[Failure, ...]) -> tuple[pa.RecordBatch, np.ndarray]:
    """A batch with a line of gaps for each failure after its rows, and the reasons of all lines."""
    gaps = [pa.concat_arrays([own, pa.nulls(len(failures), own.type)]) for own in batch.columns]
    words = np.array([None] * batch.num_rows + [failure.reason for failure in failures], object)
    return pa.RecordBatch.from_arrays(gaps, schema=batch.schema), words


def kept_columns(batch: pa.RecordBatch, keep: tuple[str, ...], taken: Iterable[str]) -> dict[str, pa.Array]:
    """The columns that come first in the result.

    Args:
        batch: The batch.
        keep: Their names.
        taken: Names of the results, which they must not have.

    Raises:
        ValueError: The batch has no such column, or a result has that name.
    """
    return {name: batch.column(i) for name, i in zip(keep, _places(batch.schema, keep, taken), strict=True)}


def kept_fields(schema: pa.Schema, keep: tuple[str, ...], taken: Iterable[str]) -> list[pa.Field]:
    """The fields of the columns that come first in the result; see `kept_columns`."""
    return [schema.field(i) for i in _places(schema, keep, taken)]


def _places(schema: pa.Schema, keep: tuple[str, ...], taken: Iterable[str]) -> list[int]:
    names, results = list(schema.names), list(taken)
    for name in keep:
        if name not in names or name in results:
            what = f"a column of the table that is none of {', '.join(results)}"
            raise ValueError(message("keep", what, repr(name), f"The table has {', '.join(names[:20])}."))
    return [names.index(name) for name in keep]
