"""Figures of how a model carries noise to its data: `pushforward plot --kind trajectories`, `field` or `layers`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import typer

from pushforward.distributions import Evolution
from pushforward.plotting import plot_field, plot_layers, plot_trajectories
from pushforward.tables.modelling.numbers_flow import Subject, columns_of_flow, subject_of
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells

NOISE_TO_DATA = ("trajectories", "field", "layers")
# Number of samples that stand for data where there are none, or none with the condition.
SAMPLES = 2_000


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
    subject = subject_of(model, table, condition)
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


def _chosen(subject: Subject, model: TableModel, columns: Sequence[str] | None) -> list[int] | None:
    if columns is None:
        return None
    known = [column.name for column in columns_of_flow(model)]
    unknown = [name for name in columns if name not in known]
    if unknown or not 1 <= len(columns) <= 2 or len(set(columns)) < len(columns):
        raise typer.BadParameter(f"--columns takes one or two of {', '.join(known)}; got {', '.join(columns)}.")
    return [known.index(name) for name in columns]
