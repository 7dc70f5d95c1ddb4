"""The work of `pushforward plot`: figures of a fitted model are drawn and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import typer

from pushforward.cli.noise_to_data import NOISE_TO_DATA, condition_of, draw_trajectories
from pushforward.cli.reporter import OK, Reporter
from pushforward.distributions import StandardNormal
from pushforward.io.files import check_file_target, write_file
from pushforward.plotting import plot_curve, plot_overview, plot_pair, plot_qq
from pushforward.tables.encoding import Encoded, turned
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells, read_cells

FORMATS = (".png", ".pdf", ".svg")
# Largest number of rows that are drawn or encoded: more rows change nothing that can be seen in a figure.
MOST_ROWS = 20_000
SAMPLES = 5_000
# Width and height in inches of a figure that shares a page.
ON_A_PAGE = (5.8, 3.2)
DPI = 200


def run_plot(
    model: Path,
    data: str | None,
    out: Path,
    *,
    kind: str,
    columns: list[str] | None,
    row: int | None,
    seed: int,
    force: bool,
    reporter: Reporter,
) -> int:
    """Draw and write a figure; return the exit code.

    Args:
        model: Folder of the model.
        data: Path of the table, or None.
        out: File of the figure.
        kind: Figure to draw: `"pair"`, `"curve"`, `"qq"`, `"all"`, or one of `NOISE_TO_DATA`.
        columns: Names of the columns to draw, for `"trajectories"` and `"layers"`; None draws the first two.
        row: Row of the table, counted from 1, whose condition the kinds `NOISE_TO_DATA` take; None takes the first that
            has one.
        seed: Seed of everything that is drawn at random.
        force: Whether an existing file is replaced.
        reporter: Reporter that prints what was done.

    Raises:
        typer.BadParameter: The format is unknown, the figure needs DATA, or an option does not belong to it.
        DataError: The table lacks a column of the model, or is not numeric and finite.
        FileExistsError: The file exists and `force` is False.
    """
    import matplotlib as mpl

    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{out}: figures are written as {', '.join(FORMATS)}; got {out.suffix!r}.")
    check_file_target(out, force)
    if columns is not None and kind not in ("trajectories", "layers"):
        raise typer.BadParameter(f"--columns belongs to --kind trajectories and layers, not to {kind}.")
    density = FlowDensity.load(model)
    values = density.model_.distribution.values
    one_row = kind in NOISE_TO_DATA and values is not None and values.cond_shape is not None
    if row is not None and not one_row:
        fix = "--row chooses the condition of a model that has one, for --kind " + ", ".join(NOISE_TO_DATA)
        raise typer.BadParameter(f"{fix}. Leave it out.")
    if data is None and (kind == "qq" or one_row or (density.given_ and kind != "curve")):
        why = "latents are those of data" if kind == "qq" else f"the samples need {', '.join(density.given_)}"
        if one_row:
            why = "densities are those at the condition of a row of it, which --row chooses"
        raise typer.BadParameter(f"--kind {kind} needs DATA: {why}.")
    table = condition = None
    if data is not None and kind != "curve":
        whole = read_cells(data).select(density.model_.needed)
        condition = condition_of(density.model_, whole, row) if one_row else None
        table = _thinned(whole, seed)
    mpl.use("agg")  # a file is written and no window opened, whatever the machine has
    if kind in NOISE_TO_DATA:
        figure = draw_trajectories(density.model_, table, condition, kind, columns, seed)(None)[0]
        return _written(figure, out, model, kind, force, reporter)
    title = f"{density.config_['flow']} fitted to {density._n_rows:,} rows, {len(density.columns_)} columns"
    pages = _pages(density, table, kind, seed)
    figure = pages[0][0](None)[0] if len(pages) == 1 else plot_overview(pages, title=title)
    return _written(figure, out, model, kind, force, reporter)


def _written(figure: Any, out: Path, model: Path, kind: str, force: bool, reporter: Reporter) -> int:
    write_file(out, lambda file: figure.savefig(file, format=out.suffix[1:].lower(), dpi=DPI), force)
    reporter.say(f"Figure: {out}")
    reporter.result("plot", {"model": model, "out": out, "kind": kind})
    return OK


def _thinned(table: Cells, seed: int) -> Cells:
    if len(table) <= MOST_ROWS:
        return table
    return table.take(np.sort(np.random.default_rng(seed).choice(len(table), MOST_ROWS, replace=False)))


def _pages(
    density: FlowDensity, table: Cells | None, kind: str, seed: int
) -> list[tuple[Callable[[Any], Any], float, float]]:
    """The drawings of a kind as functions of the figure to draw into, with width and height."""
    model: TableModel = density.model_
    pages: list[tuple[Callable[[Any], Any], float, float]] = []
    encoded, condition = (None, None) if table is None else model.encode(table)
    if kind in ("pair", "all"):
        names, levels = axes_of(model)
        data = None if encoded is None else numbers(model, encoded.rows, condition)
        drawn, own = draw_samples(model, encoded, condition, seed)
        samples = numbers(model, drawn, own)
        side = max(4.6, 1.25 * min(len(names), 10) + 0.9)
        pages.append(
            (
                lambda where: plot_pair(
                    data, samples=samples, names=names, levels=levels, figure=where, random_state=seed
                ),
                side,
                side,
            )
        )
    if kind in ("curve", "all"):
        result = density.result_
        verdict = dataclasses.asdict(result.verdict)
        pages.append((lambda where: plot_curve(result.history, verdict=verdict, figure=where), *ON_A_PAGE))
    if kind in ("qq", "all") and table is not None and model.distribution.values is not None:
        latents, base = model.latents(table), model.distribution.values.base
        normal = isinstance(base, StandardNormal)
        reference = None if normal else np.asarray(base.sample(jax.random.key(seed), (MOST_ROWS,)))
        pages.append((lambda where: plot_qq(latents, reference=reference, figure=where), *ON_A_PAGE))
    return pages


def draw_samples(
    model: TableModel, encoded: Encoded | None, condition: np.ndarray | None, seed: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples to draw beside the data and their conditions: as many as there are data, one for each condition."""
    key = np.random.default_rng(seed).integers(0, 2**32, size=2, dtype=np.uint32)
    if condition is None:
        n = SAMPLES if encoded is None else min(SAMPLES, len(encoded.rows))
        return model.draw(n, key, None), None
    return model.draw(1, key, condition[:SAMPLES]), condition[:SAMPLES]


def axes_of(model: TableModel) -> tuple[list[str], dict[int, list[str]]]:
    """The columns in the order of `numbers`, and the names of the levels of those that have levels."""
    columns = [*model.layout.columns, *(() if model.given_layout is None else model.given_layout.columns)]
    levels = {
        i: [*map(str, column.levels), *(["other"] if column.rare else []), *(["missing"] if column.missing else [])]
        for i, column in enumerate(columns)
        if column.levels and isinstance(column.levels[0], str | bool)
    }
    return [column.name for column in columns], levels


def numbers(model: TableModel, rows: np.ndarray, condition: np.ndarray | None) -> np.ndarray:
    """Encoded rows as one number per column: values, atoms, numbers of levels; rows with missing values drop out."""
    parts = [(model.layout, rows)]
    if model.given_layout is not None and condition is not None:
        parts.append((model.given_layout, condition))
    made = []
    for layout, own in parts:
        for i, column in enumerate(layout.columns):
            states = own[:, layout.stated.index(i)] if i in layout.stated else None
            if column.valued:
                values = own[:, len(layout.stated) + layout.valued.index(i)].astype(float)
                if column.kind == "circular":
                    values = (values + turned(column) - (column.low or 0.0)) % (column.period or 1.0) + (
                        column.low or 0.0
                    )
                for number, atom in enumerate(column.atoms):
                    values = np.where(states == 1 + number, atom, values)
                if column.missing:
                    values = np.where(states == column.missing_state, np.nan, values)
            else:
                values = np.asarray(states, float)
                if isinstance(column.levels[0], int | float) and not isinstance(column.levels[0], bool):
                    known = np.array([*map(float, column.levels), np.nan, np.nan])
                    values = known[np.minimum(values.astype(int), len(column.levels))]
                elif column.missing and not column.rare:
                    values = np.where(states == column.missing_state, len(column.levels), values)
            made.append(values)
    whole = np.stack(made, axis=1)
    return whole[np.isfinite(whole).all(axis=1)]
