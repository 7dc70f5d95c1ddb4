"""The cells of a row that are held fixed, as the model sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward._words import nearest
from pushforward.tables.encoding import Layout, encode, places_of, remainders_of
from pushforward.tables.reading.cells import Cells, read_cells

if TYPE_CHECKING:
    from pushforward.tables.estimators import FlowDensity


@dataclass(frozen=True)
class Known:
    """A row of which some cells are known.

    Attributes:
        row: Encoded row `(dim,)`; the places of columns that are not known hold 0.
        condition: Encoded condition `(1, k)`; None for a model without conditions.
        free: Positions in the layout of the columns that are not known.
    """

    row: np.ndarray
    condition: np.ndarray | None
    free: tuple[int, ...]


def known_cells(density: FlowDensity, held: Mapping[str, Any], what: str) -> Known:
    """What is known of a row.

    Args:
        density: Fitted density.
        held: Cells by name of the column; None is a missing cell.
        what: Name of the caller, for messages.

    Raises:
        ValueError: A column is not in the model, or one that the model is given is not held.
        DataError: A cell is none of its column.
    """
    model = density.model_
    unknown = [name for name in held if name not in model.needed]
    if unknown:
        expected = f"columns of {', '.join(model.needed[:12])}"
        raise ValueError(message(what, expected, repr(unknown[0]), nearest(unknown[0], list(model.needed)).strip()))
    lacking = [name for name in model.given if name not in held]
    if lacking:
        fix = f"Hold each of {', '.join(model.given)} at a cell."
        raise ValueError(message(what, "a cell of each column that the model is given", f"none of {lacking[0]!r}", fix))
    row = np.zeros(model.layout.dim)
    own = [i for i, column in enumerate(model.layout.columns) if column.name in held]
    if own:
        layout = Layout(tuple(model.layout.columns[i] for i in own))
        found = encode(layout, cells_of_row(density, {c.name: held[c.name] for c in layout.columns})).rows[0]
        both = zip((*places_of(layout), remainders_of(layout)), (*places_of(model.layout), remainders_of(model.layout)),
                   strict=True)  # fmt: skip
        for there, here in both:
            for place, i in enumerate(own):
                if place in there:
                    row[here[i]] = found[there[place]]
    condition = None
    if model.given_layout is not None:
        cells = cells_of_row(density, {name: held[name] for name in model.given})
        condition = encode(model.given_layout, cells, unseen=density.unseen).rows
    free = tuple(i for i, column in enumerate(model.layout.columns) if column.name not in held)
    return Known(row, condition, free)


def cells_of_row(density: FlowDensity, row: Mapping[str, Any]) -> Cells:
    """One row of cells, read by the conventions of the model's table.

    Args:
        density: Fitted density.
        row: Cells by name of the column; None is a missing cell.
    """
    return read_cells({name: [cell] for name, cell in row.items()}, conventions=density.schema_.reading)
