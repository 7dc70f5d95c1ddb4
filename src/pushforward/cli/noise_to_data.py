"""Figures of how a model carries noise to its data: `pushforward plot --kind trajectories`, `field` or `layers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import typer

from pushforward._precision import widened
from pushforward.bijections import Chain
from pushforward.bijections.base import run_batch
from pushforward.distributions import Evolution, Flow
from pushforward.distributions.table import TableDistribution
from pushforward.plotting import plot_field, plot_layers, plot_trajectories
from pushforward.tables.encoding import decode
from pushforward.tables.modelling.rows import standard_rows
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells
from pushforward.tables.schema import LEVELLED, Column

NOISE_TO_DATA = ("trajectories", "field", "layers")
# Number of samples that stand for data where there are none, or none with the condition.
SAMPLES = 2_000


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


def draw_trajectories(
    model: TableModel, table: Cells | None, condition: Cells | None, kind: str, columns: Sequence[str] | None, seed: int
) -> Callable[[Any], tuple[Any, Any]]:
    """The drawing as a function of the figure to draw into.

    Args:
        model: The fitted model.
        table: The data, or None.
        condition: Table of one row whose condition is taken, None for a model without conditions.
        kind: Figure to draw, one of `NOISE_TO_DATA`.
        columns: Names of the columns to draw; None draws the first two.
        seed: Seed of the draws.

    Raises:
        typer.BadParameter: The kind does not fit the model, or a column is unknown.
    """
    if model.member.values is None:
        what = "the model has levels and numbers with spaces of their own alone"
        raise typer.BadParameter(f"--kind {kind} draws the numbers of a flow, and {what}. Use --kind pair.")
    subject = subject_of(model, table, condition, seed)
    chosen = _chosen(subject, model, columns)
    with jax.enable_x64(True):
        continuous = Evolution(subject.flow).continuous
    dim = len(subject.names)
    if kind == "field" and not continuous:
        fix = "Use --kind layers or --kind trajectories."
        raise typer.BadParameter(f"--kind field: a model of {model.recipe.flow} has layers, and no velocities. {fix}")
    if kind == "layers" and continuous:
        fix = "Use --kind field or --kind trajectories."
        raise typer.BadParameter(f"--kind layers: a model of {model.recipe.flow} has a velocity field. {fix}")
    if kind == "field" and dim != 2:
        fix = "Use --kind trajectories, with --columns A,B, or fit two columns."
        raise typer.BadParameter(f"--kind field draws a plane, and the model has {dim} columns of numbers. {fix}")
    if kind == "layers" and (dim < 2 or (chosen is not None and len(chosen) < 2)):
        raise typer.BadParameter("--kind layers draws two columns. Use --kind trajectories for one.")

    def draw(figure: Any) -> tuple[Any, Any]:
        options: Any = {"names": subject.names, "figure": figure, "random_state": seed}
        with jax.enable_x64(True):
            if kind == "field":
                return plot_field(subject.flow, **options)
            if kind == "trajectories":
                return plot_trajectories(subject.flow, subject.data, columns=chosen, **options)
            rows = subject.data
            if rows is None:
                rows = np.asarray(subject.flow.sample(jax.random.key(seed), SAMPLES))
            return plot_layers(subject.flow, rows, columns=chosen, **options)

    def titled(figure: Any) -> tuple[Any, Any]:
        drawn, axes = draw(figure)
        if subject.title:
            drawn.suptitle(subject.title, x=0.01, ha="left", fontsize=9)
        return drawn, axes

    return titled


def condition_of(model: TableModel, table: Cells, row: int | None) -> Cells:
    """The row whose condition is taken, with the levels of the modelled columns.

    Args:
        model: The fitted model.
        table: The data.
        row: Number of the row, counted from 1; None takes the first one.

    Raises:
        typer.BadParameter: The table lacks such a row.
    """
    if row is not None and row > len(table):
        raise typer.BadParameter(f"--row {row}: DATA has {len(table)} rows.")
    return table.take(np.array([0 if row is None else row - 1]))


def subject_of(model: TableModel, table: Cells | None, condition: Cells | None, seed: int) -> Subject:
    """The flow of the numbers of a row, in the units of the data, or in standard units where a column is an angle."""
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


def _chosen(subject: Subject, model: TableModel, columns: Sequence[str] | None) -> list[int] | None:
    if columns is None:
        return None
    known = [column.name for column in columns_of_flow(model)]
    unknown = [name for name in columns if name not in known]
    if unknown or not 1 <= len(columns) <= 2 or len(set(columns)) < len(columns):
        raise typer.BadParameter(f"--columns takes one or two of {', '.join(known)}; got {', '.join(columns)}.")
    return [known.index(name) for name in columns]
