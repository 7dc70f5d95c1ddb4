"""The flow over the numbers of a table's rows, in the data's units, whose way from noise to data pictures show."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pushforward._precision import widened
from pushforward.bijections import Chain
from pushforward.bijections.base import run_batch
from pushforward.distributions import Flow
from pushforward.distributions.table import TableDistribution
from pushforward.tables.encoding import decode
from pushforward.tables.modelling.rows import standard_rows
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import LEVELLED, Column


class Subject(NamedTuple):
    """The flow and the data of a figure.

    Attributes:
        flow: Flow over the numbers of a row, without a condition.
        names: Names of its columns, as the axes show them.
        data: Rows `(n, d)` of these numbers, or None.
        title: The condition in words; empty without one.
    """

    flow: Flow
    names: list[str]
    data: np.ndarray | None
    title: str


def subject_of(model: TableModel, table: Cells | None, condition: Cells | None) -> Subject:
    """The flow of the numbers of a row, in the units of the data, or in standard units where a column is an angle.

    Args:
        model: A fitted model with numbers of a flow.
        table: Rows whose numbers are wanted, or None.
        condition: Table of one row whose condition, and whose states, are taken; None for a model without any.
    """
    distribution: TableDistribution = widened(model.member)
    values: Any = distribution.values
    units: Any = distribution.units
    columns = columns_of_flow(model)
    # The flow cuts a circle at another place than its column does.
    standard = any(column.kind == "circular" for column in columns)
    flow = values if standard else Flow(values.base, Chain([values.bijection, units]))
    names = [column.name + (" (standardised)" if standard else "") for column in columns]
    if condition is None:
        return Subject(flow, names, None if table is None else _numbers(model, table, standard), "")
    encoded, given = model.encode(condition)
    seen = standard_rows(distribution, encoded.rows, given)
    words = [] if model.given_layout is None or given is None else _words(decode(model.given_layout, given))
    levels = [column.name for column in model.layout.columns if column.kind in LEVELLED]
    if levels:
        words += _words({name: of for name, of in decode(model.layout, encoded.rows).items() if name in levels})
    words += _states_of_numbers(model, encoded.rows[0])
    with jax.enable_x64(True):
        fixed = flow.given(seen.condition[0])  # pyright: ignore[reportOptionalSubscript]
    return Subject(fixed, names, None, "given " + ", ".join(words))


def columns_of_flow(model: TableModel) -> list[Column]:
    """The columns of the numbers that the flow models; the others have spaces of their own."""
    return [model.layout.columns[model.layout.valued[j]] for j in model.member.flow_places]


def _states_of_numbers(model: TableModel, row: np.ndarray) -> list[str]:
    """The states of the numbers of a row that have any: a frequent number, missing, or none of these."""
    words = []
    for place, i in enumerate(model.layout.stated):
        column, state = model.layout.columns[i], int(row[place])
        if not column.valued:
            continue
        if column.missing and state == column.missing_state:
            words.append(f"{column.name} is missing")
        elif state > 0:
            words.append(f"{column.name} = {column.atoms[state - 1]:g}")
        else:
            words += [f"{column.name} ≠ {atom:g}" for atom in column.atoms]
            words += [f"{column.name} is there"] * column.missing
    return words


def _words(cells: dict[str, Any]) -> list[str]:
    values = {name: array[0].as_py() for name, array in cells.items()}
    return [
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}" for name, value in values.items()
    ]


def _numbers(model: TableModel, table: Cells, standard: bool) -> np.ndarray:
    """The numbers of a table as the flow sees them, rounded ones at the middles of their steps."""
    encoded, given = model.encode(table)
    rows = standard_rows(model.member, encoded.rows, given).values
    if standard or model.member.units is None:
        return rows
    with jax.enable_x64(True):
        return np.asarray(run_batch(widened(model.member.units), jnp.asarray(rows.T), None, None, True)[0]).T
