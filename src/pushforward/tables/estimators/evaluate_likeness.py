"""Samples of a fitted model beside tables: what `compare` asks of synthetic rows, without a file of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.metrics import Memorisation, Usefulness
from pushforward.tables.encoding import decode
from pushforward.tables.errors import DataError
from pushforward.tables.estimators.density import FlowDensity
from pushforward.tables.estimators.intake import rows_with_states
from pushforward.tables.likeness.columns import Sides, sides
from pushforward.tables.likeness.comparison import Likeness
from pushforward.tables.likeness.figures import copies_of, learned, likeness
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells, read_cells
from pushforward.tables.reading.names import find_columns
from pushforward.tables.schema import TableSchema


def beside(
    model: TableModel,
    cells: Cells | np.ndarray,
    samples: np.ndarray,
    answered: np.ndarray | None,
    seed: int,
) -> Likeness:
    """How alike rows and samples are, as many of each where there are enough.

    Of a model with conditions, data at one half of the conditions are held against samples at the other, for each
    condition would otherwise come twice.

    Args:
        model: fitted.
        cells: rows, as the model takes them.
        samples: encoded, as they were drawn.
        answered: for a model with conditions the row of `cells` that each sample answers.
        seed: of all choices.
    """
    data = _cells(model, cells)
    if answered is None:
        drawn = _drawn(model, samples[: max(len(data), 2)], None, seed)
    else:
        order = np.random.default_rng(seed).permutation(len(answered))
        half = len(order) // 2
        first, second = np.sort(order[:half]), np.sort(order[half:])
        drawn = _drawn(model, samples[second], data.take(answered[second]), seed)
        data = data.take(answered[first])
    found = _sides(model, data, drawn)
    return likeness(found.tables[0], found.tables[1], found, seed, [])


def of_training(
    density: FlowDensity, train: Any, cells: Cells | np.ndarray, samples: np.ndarray, target: str | None, seed: int
) -> tuple[Memorisation | None, Usefulness | None]:
    """What the rows of the fit tell: whether samples copy them, and what each teaches about other rows.

    Args:
        density: fitted.
        train: table that it was fitted to.
        cells: other rows, as the model takes them.
        samples: encoded, as they were drawn; of a model with conditions given those of `cells`, one each.
        target: column to be predicted, or None.
        seed: of all choices.

    Raises:
        DataError: the target is no column of the model, or a circle.
    """
    model = density.model_
    fitted, _ = rows_with_states(density, train, "drop")
    other = _cells(model, cells)
    drawn = _drawn(model, samples, other if model.given else None, seed)
    found = _sides(model, _cells(model, fitted), drawn, other)
    copies: Any = None if model.given else copies_of(found.tables[0], found.tables[2], found.tables[1], found, seed)
    return copies, None if target is None else learned(
        found.tables[0], found.tables[1], found.tables[2], found, target, seed
    )


def check_target(model: TableModel, target: str) -> None:
    """Refuse what is no column of numbers or levels of the model.

    Raises:
        DataError: with the nearest name.
    """
    find_columns(model.needed, [target], "evaluate")
    if model.schema.column(target).kind == "circular":
        raise DataError("columns", f"evaluate: '{target}' is a circle, which is not predicted. Name another target.")


def _cells(model: TableModel, rows: Cells | np.ndarray) -> Cells:
    return read_cells(rows, columns=model.needed) if isinstance(rows, np.ndarray) else rows.select(model.needed)


def _drawn(model: TableModel, samples: np.ndarray, given: Cells | None, seed: int) -> Cells:
    """Samples as cells, with the conditions that they answer."""
    columns: dict[str, Any] = dict(decode(model.layout, samples, seed=seed))
    if given is not None:
        columns |= {name: given.table.column(name) for name in model.given}
    return Cells(pa.table(columns), "the samples")


def _sides(model: TableModel, *tables: Cells) -> Sides:
    columns = tuple(model.schema.column(name) for name in model.needed)
    own = tuple(column for column in columns if column.modelled)
    names = [column.name for column in own]
    return sides(TableSchema(columns=own), [table.select(names) for table in tables])
