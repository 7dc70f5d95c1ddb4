"""`compare`: a synthetic table beside a real one, without a model."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward.metrics import Memorisation, Nearness, Usefulness
from pushforward.metrics.similarity import MOST_ROWS
from pushforward.tables.detect import detect_schema
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.seeds import seed_number
from pushforward.tables.likeness.columns import Sides, sides
from pushforward.tables.likeness.comparison import Comparison
from pushforward.tables.likeness.figures import copies_of, learned, likeness
from pushforward.tables.modelling.preparation import conventions_in
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.names import find_columns
from pushforward.tables.schema import TableSchema

# Share of the real rows that judge what was learned where no rows are held out.
TEST_SHARE = 0.25
WORDS = ("the real rows", "the synthetic rows", "the held-out rows")


def compare(
    real: Any,
    synthetic: Any,
    held_out: Any = None,
    *,
    target: str | None = None,
    schema: TableSchema | None = None,
    random_state: Any = 0,
) -> Comparison:
    r"""Hold synthetic rows against real ones: are they alike, are they copies, can one learn from them?

    - **Shape and Trend**: columns and pairs of columns by SDMetrics' definitions, beside what chance alone gives; see
      `metrics.similarity`.
    - **Detection**: whether logistic regression and boosted trees can tell one table from the other; see
      `metrics.detection_score`. A score of 1 means that they cannot.
    - **Copies**: whether synthetic rows lie nearer to real rows than to held-out ones from the same source
      (`metrics.memorisation`); without held-out rows, nearer than real rows lie to one another (`metrics.nearness`).
      Distances are in standard deviations of numbers; another level counts one.
    - **Learning**: with a target, boosted trees trained on synthetic rows beside some trained on as many real rows,
      both judged by the held-out rows, or else by a quarter of the real ones; see `metrics.usefulness`.

    Kinds of columns are those of `real`: identifiers and constants are left out; gaps, dates and circles are known.

    Cost: seconds for 50,000 rows of each, which is the largest number that most figures look at; more are sampled. The
    neighbours of 2,000 synthetic rows are looked for among as many real rows as a few seconds allow.

    Args:
        real: table of real rows, best those that the synthetic ones were made from: a data frame, an array, a dict of
            columns, or a path as for `read_cells`.
        synthetic: table with the same columns, and perhaps others, which are left out.
        held_out: table of real rows that the synthetic ones were not made from.
        target: name of a column that is to be predicted from the others.
        schema: of the columns, where what is detected in `real` is not what they are.
        random_state: seed of all choices: an integer, a NumPy `RandomState` or `Generator`, or None.

    Raises:
        DataError: a table cannot be read, lacks a column of `real` (the nearest name is told), or holds something else
            in it; the target is no column, or a circle; too few rows.

    Source: SDMetrics, docs.sdv.dev/sdmetrics; Lopez-Paz and Oquab, 2017, arXiv 1610.06545.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 2))
        >>> pf.compare(x, x + 0.001 * rng.normal(size=(200, 2))).copied
        True
    """
    seed = seed_number(random_state)
    how = None if schema is None else conventions_in(schema)
    cells = read_cells(real, conventions=how)
    if schema is None:
        schema, cells, _ = detect_schema(cells, missing=True)
    tables = [cells, *(_read(source, cells, schema) for source in (synthetic, held_out) if source is not None)]
    tables = [_labelled(table, words) for table, words in zip(tables, WORDS, strict=False)]
    for table in tables:
        if len(table) < 3:
            raise DataError("one-row", f"{table.source}: {len(table)} rows; a comparison needs 3 or more.")
    found = sides(schema, tables)
    if target is not None:
        _check_target(found, target, cells.source)
    notes = list(found.notes)
    if max(map(len, tables)) > MOST_ROWS:
        notes.append(f"Of each table at most {MOST_ROWS:,} rows are looked at, but for copies: these tell enough.")
    alike = likeness(found.tables[0], found.tables[1], found, seed, notes)
    copies = _copies(found, seed, notes)
    served = None if target is None else _learned(found, target, seed, notes)
    rows: dict[str, int] = {}
    for name, table in zip(("real", "synthetic", "held_out"), tables, strict=False):
        rows[name] = len(table)
    names = tuple(column.name for column in found.columns)
    return Comparison(rows, names, alike, copies, served, target, tuple(notes))


def _read(source: Any, real: Cells, schema: TableSchema) -> Cells:
    """Another table; an array has the columns of the first in their order."""
    unnamed = isinstance(source, np.ndarray | list | tuple)
    return read_cells(source, columns=real.names if unnamed else None, conventions=schema.reading)


def _labelled(table: Cells, words: str) -> Cells:
    """A table that its messages can tell from the others."""
    if table.source != Cells.source and table.source not in ("the array", "the table"):
        return table
    return Cells(table.table, words, table.notes, table.conventions)


def _copies(found: Sides, seed: int, notes: list[str]) -> Memorisation | Nearness:
    real, synthetic, *others = found.tables
    if not others:
        notes.append(
            "Without held-out rows a generator that is too sure of itself looks a little like one that copies."
        )
    return copies_of(real, others[0] if others else None, synthetic, found, seed)


def _check_target(found: Sides, target: str, source: str) -> None:
    names = tuple(column.name for column in found.columns)
    find_columns(names, [target], source)
    if found.kinds[target] == "circular":
        raise DataError(
            "columns", f"{source}: '{target}' is a circle, which boosted trees do not predict. Name another."
        )
    if len(names) < 2:
        raise DataError("columns", f"{source}: there is no column to predict '{target}' from. Leave the target out.")


def _learned(found: Sides, target: str, seed: int, notes: list[str]) -> Usefulness:
    real, synthetic, *others = found.tables
    if others:
        return learned(real, synthetic, others[0], found, target, seed)
    notes.append(
        "Without held-out rows a quarter of the real rows is the test; the synthetic rows may have been made from it."
    )
    n = len(real[target])
    order = np.random.default_rng(seed).permutation(n)
    cut = int(TEST_SHARE * n)
    test, train = ({name: column[part] for name, column in real.items()} for part in (order[:cut], order[cut:]))
    return learned(train, synthetic, test, found, target, seed)
