"""The work of `pushforward plot`: figures of a fitted model are drawn and written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import typer

from pushforward._words import nearest
from pushforward.cli.noise_to_data import NOISE_TO_DATA, condition_of, draw_trajectories
from pushforward.cli.reporter import OK, Reporter
from pushforward.distributions import StandardNormal
from pushforward.io.files import check_file_target, write_file
from pushforward.plotting import plot_curve, plot_overview, plot_qq
from pushforward.plotting.columns import numbers_in, pictured
from pushforward.plotting.pair import MOST_COLUMNS, draw_pairs
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells, read_cells

FORMATS = (".png", ".pdf", ".svg")
# Figures that take --columns.
OF_COLUMNS = ("pair", "all", "trajectories", "layers")
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
        columns: Names of the columns to draw, for the kinds `OF_COLUMNS`; None draws all, or of many those that tell
            most, and the first two for `NOISE_TO_DATA`.
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
    if columns is not None and kind not in OF_COLUMNS:
        raise typer.BadParameter(f"--columns belongs to --kind {', '.join(OF_COLUMNS)}, not to {kind}.")
    density = FlowDensity.load(model)
    if columns is not None and kind not in NOISE_TO_DATA:
        _check_columns(density, columns)
    values = density.model_.member.values
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
        if kind in NOISE_TO_DATA and row is None:
            whole = complete(density.model_, whole)
        condition = condition_of(density.model_, whole, row) if one_row else None
        table = _thinned(whole, seed)
    mpl.use("agg")  # a file is written and no window opened, whatever the machine has
    if kind in NOISE_TO_DATA:
        figure = draw_trajectories(density.model_, table, condition, kind, columns, seed)(None)[0]
        return _written(figure, out, model, kind, force, reporter)
    title = f"{density.config_['flow']} fitted to {density._n_rows:,} rows, {len(density.columns_)} columns"
    pages = _pages(density, table, kind, columns, seed, reporter)
    figure = pages[0][0](None)[0] if len(pages) == 1 else plot_overview(pages, title=title)
    return _written(figure, out, model, kind, force, reporter)


def _check_columns(density: FlowDensity, columns: list[str]) -> None:
    known = density.model_.needed
    unknown = [name for name in columns if name not in known]
    if unknown:
        fix = nearest(unknown[0], known)
        raise typer.BadParameter(f"--columns: expected columns of the model, got {', '.join(unknown)}.{fix}")
    if len(columns) > MOST_COLUMNS or len(set(columns)) < len(columns):
        expected = f"at most {MOST_COLUMNS} different columns"
        raise typer.BadParameter(f"--columns: expected {expected}, got {', '.join(columns)}.")


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
    density: FlowDensity, table: Cells | None, kind: str, columns: list[str] | None, seed: int, reporter: Reporter
) -> list[tuple[Callable[[Any], Any], float, float]]:
    """The drawings of a kind as functions of the figure to draw into, with width and height."""
    model: TableModel = density.model_
    pages: list[tuple[Callable[[Any], Any], float, float]] = []
    if kind in ("pair", "all"):
        samples = draw_samples(density, table, SAMPLES if table is None else min(SAMPLES, len(table)), seed)
        shown = pictured("plot", table, samples, names=None, schema=density.schema_, columns=columns, most=MOST_COLUMNS)
        if shown.chosen:
            reporter.say(f"{shown.chosen}: {', '.join(shown.names)}. --columns chooses others.")
        side = max(4.6, 1.25 * len(shown.names) + 0.9)
        pages.append((lambda where: draw_pairs(shown, figure=where, random_state=seed), side, side))
    if kind in ("curve", "all"):
        result = density.result_
        verdict = dataclasses.asdict(result.verdict)
        pages.append((lambda where: plot_curve(result.history, verdict=verdict, figure=where), *ON_A_PAGE))
    if kind in ("qq", "all") and table is not None and model.member.values is not None:
        latents, base = model.latents(complete(model, table)), model.member.values.base
        normal = isinstance(base, StandardNormal)
        reference = None if normal else np.asarray(base.sample(jax.random.key(seed), (MOST_ROWS,)))
        pages.append((lambda where: plot_qq(latents, reference=reference, figure=where), *ON_A_PAGE))
    return pages


def complete(model: TableModel, table: Cells) -> Cells:
    """The rows without a gap in a column whose gaps are not modelled: the others have no density."""
    columns = [column for column in model.schema.modelled if not column.missing]
    return table.take(np.flatnonzero(np.isfinite(numbers_in(columns, table)).all(axis=1))) if columns else table


def draw_samples(density: FlowDensity, table: Cells | None, n: int, seed: int) -> Any:
    """Samples to draw beside the data: of a model with conditions one for each of the first rows that have them."""
    density.set_output(transform="pyarrow")
    if not density.given_ or table is None:
        return density.sample(n, random_state=seed)
    columns = [density.schema_.column(name) for name in density.given_]
    there = np.isfinite(numbers_in(columns, table)).all(axis=1)
    return density.sample(1, given=table.take(np.flatnonzero(there)[:n]), random_state=seed)
