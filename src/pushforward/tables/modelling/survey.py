"""One pass over a table larger than memory: a random sample of its rows, and exact counts of what each column holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Layout, has_blanks
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.base import MAX_LEVELS, MAX_RARE, Bounds
from pushforward.tables.kinds.levels import levels_counted
from pushforward.tables.kinds.text import is_text, plain_text
from pushforward.tables.modelling.derived import rules_of
from pushforward.tables.reading.cells import Cells
from pushforward.tables.reading.containers import containers_of
from pushforward.tables.reading.shards import Shards
from pushforward.tables.schema import Column, TableSchema

# Its functions are made at import, so type checkers do not see them.
pc: Any = pyarrow.compute
# Rows of the sample. The share of the rows below a number is then off by at most 0.32 % with a probability of 99 %, at
# all numbers at once.
SAMPLE_ROWS = 2**18
# Different cells of a column that are counted; a column of more has no levels.
MOST_COUNTED = MAX_LEVELS + MAX_RARE
# Kinds whose levels are counted.
COUNTED = ("category", "ordinal")


def quantile_error(n: int, probability: float = 0.99) -> float:
    r"""By how much the quantiles of a sample are off at most, as a share of the rows: $\sqrt{\ln(2/\delta) / 2n}$.

    Args:
        n: Number of rows of the sample.
        probability: Probability $1 - \delta$ with which that holds for all quantiles at once.

    Source:
        Massart, 1990, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", doi 10.1214/aop/1176990746.
    """
    return float(np.sqrt(np.log(2 / (1 - probability)) / (2 * n)))


@dataclass
class Tally:
    """What is counted of a column, batch by batch.

    Attributes:
        kind: Arrow type of its cells.
        n_missing: Number of missing cells.
        low: Its smallest cell, or None.
        high: Its largest cell, or None.
        counts: How often each cell comes; None for a column of too many different ones.
        fraction: A cell that is no whole number, if there is any.
    """

    kind: pa.DataType
    n_missing: int = 0
    low: Any = None
    high: Any = None
    counts: dict[Any, int] | None = field(default_factory=dict)
    fraction: float | None = None

    def add(self, array: pa.ChunkedArray, source: str, name: str) -> None:
        """Count a batch.

        Raises:
            DataError: A number is infinite.
        """
        if is_text(array.type):
            array = plain_text(array)
        elif pa.types.is_dictionary(array.type):
            array = array.cast(array.type.value_type)
        floating = pa.types.is_floating(array.type)
        self.n_missing += pc.sum(pc.is_null(array, nan_is_null=floating)).as_py() or 0
        if pa.types.is_nested(array.type):  # which the detection refuses by name
            self.counts = None
            return
        if not is_text(array.type) and not pa.types.is_binary(array.type):
            ends = pc.min_max(array)
            if floating and any(end.as_py() is not None and np.isinf(end.as_py()) for end in ends.values()):
                fix = "Drop those rows, or leave the column out with --columns (columns= in Python)."
                raise DataError("infinite", f"{source}: infinite values in '{name}'. {fix}")
            self._widen(ends["min"], ends["max"])
        if floating and self.fraction is None:
            numbers = array.to_numpy()
            with np.errstate(invalid="ignore"):
                odd = np.flatnonzero(np.rint(numbers) != numbers)
                odd = odd[~np.isnan(numbers[odd])]
            self.fraction = float(numbers[odd[0]]) if len(odd) else None
        if self.counts is not None:
            counted = pc.value_counts(array.drop_null())
            if len(counted) + len(self.counts) > 2 * MOST_COUNTED:
                self.counts = None
                return
            for word, number in zip(counted.field("values").to_pylist(), counted.field("counts"), strict=True):
                self.counts[word] = self.counts.get(word, 0) + number.as_py()
            if len(self.counts) > MOST_COUNTED:
                self.counts = None

    def _widen(self, low: Any, high: Any) -> None:
        if low.is_valid:
            self.low = low if self.low is None or low.as_py() < self.low.as_py() else self.low
            self.high = high if self.high is None or high.as_py() > self.high.as_py() else self.high

    def extended(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """A sample of the column with what it lacks: the ends, a gap, a fraction, levels.

        A text column keeps its own type.
        """
        plain = column
        if is_text(column.type):
            plain = plain_text(column)
        elif pa.types.is_dictionary(column.type):
            plain = column.cast(column.type.value_type)
        there = {*pc.unique(plain).to_pylist()}
        more = [end.as_py() for end in (self.low, self.high) if end is not None]
        more += [] if self.fraction is None else [self.fraction]
        more += list(self.counts or ())
        if self.n_missing and not plain.null_count:
            more.append(None)
        extra = [cell for cell in dict.fromkeys(more) if cell not in there or cell is None]
        if not extra:
            return column
        arrays = pa.chunked_array([*column.chunks, pa.array(extra, plain.type).cast(column.type)], column.type)
        return arrays.unify_dictionaries() if pa.types.is_dictionary(column.type) else arrays


@dataclass(frozen=True)
class Survey:
    """A table after one pass.

    Attributes:
        shards: The table, with the conventions that the first batch decided.
        rows: Number of rows of each piece.
        sample: Rows of the sample, in the order of the table.
        pieces: Number of the piece of each of them.
        places: Place of each of them in its piece.
        ranks: Rank of each of them in a random order.
        tallies: What was counted of each column.
        weight: Sum of the weights of all rows.
    """

    shards: Shards
    rows: np.ndarray
    sample: Cells
    pieces: np.ndarray
    places: np.ndarray
    ranks: np.ndarray
    tallies: Mapping[str, Tally]
    weight: float


def survey(shards: Shards, seed: Sequence[int], weights: str | None = None, n_sample: int = SAMPLE_ROWS) -> Survey:
    """Read a table once.

    Each row gets a random number, which the seed, its piece and its place there decide; the rows with the smallest ones
    are the sample.

    Args:
        shards: The table.
        seed: Words of the seed.
        weights: Column of the weights of the rows, or None.
        n_sample: Number of rows of the sample.

    Raises:
        DataError: A file is damaged, a number is infinite, a weight is negative, or there are too few rows.
    """
    tallies: dict[str, Tally] = {}
    kept: list[pa.Table] = []
    keys: list[np.ndarray] = []
    sizes, n_kept, most, weight = [], 0, np.inf, 0.0
    for number in range(len(shards.pieces)):
        rng, place = np.random.default_rng([*seed, number]), 0
        for cells in shards.read(number):
            if not tallies:
                shards = Shards(shards.label, shards.names, shards.files, shards.notes, cells.conventions)
                tallies = {name: Tally(cells.table.column(name).type) for name in cells.names}
            for name, tally in tallies.items():
                tally.add(cells.table.column(name), shards.label, name)
            if weights is not None:
                weight += _weight_of(cells, weights)
            drawn = rng.random(len(cells))
            taken = np.flatnonzero(drawn < most)
            if len(taken):
                kept.append(cells.table.take(pa.array(taken)))
                own = np.empty(len(taken), [("key", float), ("piece", np.int64), ("place", np.int64)])
                own["key"], own["piece"], own["place"] = drawn[taken], number, place + taken
                keys.append(own)
                n_kept += len(taken)
            place += len(cells)
            if n_kept > 2 * n_sample:
                kept, keys, most = _smallest(kept, keys, n_sample)
                n_kept = n_sample
        sizes.append(place)
    if sum(sizes) < 2:
        what = "there are no rows" if not sum(sizes) else "a density needs rows to learn from; there is only 1"
        raise DataError("one-row" if sum(sizes) else "empty", f"{shards.label}: {what}.")
    if n_kept > n_sample:
        kept, keys, _ = _smallest(kept, keys, n_sample)
    own = np.concatenate(keys)
    ranks = np.empty(len(own), np.int64)
    ranks[np.argsort(own["key"], kind="stable")] = np.arange(len(own))
    table = pa.concat_tables(kept).unify_dictionaries().combine_chunks()
    sample = Cells(table, shards.label, shards.notes, shards.conventions)
    total = float(sum(sizes)) if weights is None else weight
    return Survey(shards, np.array(sizes), sample, own["piece"], own["place"], ranks, tallies, total)


def _smallest(tables: list[pa.Table], keys: list[np.ndarray], n: int) -> tuple[list[pa.Table], list[np.ndarray], float]:
    """The rows with the `n` smallest keys, in their order, and the largest of these keys."""
    own = np.concatenate(keys)
    places = np.sort(np.argpartition(own["key"], n - 1)[:n])
    return [pa.concat_tables(tables).take(pa.array(places))], [own[places]], float(own["key"][places].max())


def _weight_of(cells: Cells, name: str) -> float:
    values = weights_of(cells, name)
    return float(values.sum())


def weights_of(cells: Cells, name: str) -> np.ndarray:
    """The weights of rows `(n,)`.

    Raises:
        DataError: They are no numbers, or one is negative or missing.
    """
    try:
        values = np.asarray(cells.table.column(name).cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowException as error:
        raise DataError("weights", f"{cells.source}: the weights '{name}' are no numbers.") from error
    if not np.all(np.isfinite(values) & (values >= 0)):
        fix = "Weights are finite and 0 or more."
        raise DataError("weights", f"{cells.source}: the weights '{name}' hold negative or missing values. {fix}")
    return values


def schema_of_survey(
    found: Survey, names: Sequence[str], missing: bool, bounds: Bounds
) -> tuple[TableSchema, list[str]]:
    """The schema of a table after one pass, and remarks.

    Levels, how often each comes, whether cells are missing, ends, and whether all numbers are whole are those of all
    rows; steps, atoms, tails, and columns that follow from others are those of the sample.

    Args:
        found: The table.
        names: Columns that are looked at.
        missing: As for `detect_schema`.
        bounds: As for `detect_schema`.

    Raises:
        DataError: As for `detect_schema`.
    """
    columns, notes, held = [], [], containers_of(found.sample.table)
    for name in names:
        tally = found.tallies[name]
        cells = Cells(pa.table({name: tally.extended(found.sample.table.column(name))}), found.shards.label)
        schema, _, own = detect_schema(cells, missing=missing, bounds=bounds)
        column = schema.columns[0].model_copy(update={"container": held.get(name)})
        columns.append(_counted(column, tally))
        notes += own
    schema = TableSchema(rows=int(found.rows.sum()), reading=found.shards.conventions, columns=tuple(columns))
    return schema, notes


def with_rules(schema: TableSchema, sample: Cells, given: Sequence[str]) -> TableSchema:
    """The schema with the columns that follow from others in the sample."""
    return schema.model_copy(update={"follows": rules_of(schema, sample, given)})


def _counted(column: Column, tally: Tally) -> Column:
    """The column with its levels in the order of their counts, where these are known."""
    if column.kind != "category" or column.ordered or not tally.counts:
        return column
    counts = {str(word): count for word, count in tally.counts.items()}
    own = [level for level in (*column.levels, *column.rare) if str(level) in counts]
    if not own:
        return column
    numbers = np.array([counts[str(level)] for level in own])
    levels, rare, rare_counts = levels_counted(pa.array(own), numbers)
    return column.model_copy(update={"levels": levels, "rare": rare, "rare_counts": rare_counts})


def blanks_in(found: Survey, layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """The rows of each piece that have no blank cell in some columns, and which rows of the sample have one.

    It takes another pass, unless no column has gaps and none is text, whose blanks may be words.

    Args:
        found: The table.
        layout: Layout of the columns.
    """
    names = [column.name for column in layout.columns]
    if not any(found.tallies[name].n_missing or is_text(found.tallies[name].kind) for name in names):
        return found.rows, np.zeros(len(found.sample), bool)
    kept = [
        sum(len(cells) - int(has_blanks(layout, cells).sum()) for cells in found.shards.read(number, names))
        for number in range(len(found.rows))
    ]
    return np.array(kept), has_blanks(layout, found.sample)
