"""The work of `pushforward plot`: figures of a fitted model are drawn and written."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import typer

from pushforward._words import nearest
from pushforward.cli.noise_to_data import NOISE_TO_DATA, condition_of, draw_trajectories
from pushforward.cli.reporter import OK, Reporter
from pushforward.io.files import check_file_target, write_file
from pushforward.plotting import plot_curve, plot_overview, plot_qq
from pushforward.plotting.columns import Pictured, numbers_in, pictured
from pushforward.plotting.conditional import MOST_ROWS as MOST_ROWS_DRAWN
from pushforward.plotting.conditional import plot_conditional, plot_predictive
from pushforward.plotting.fitted import complete, conditions_of, reference_latents, sampled
from pushforward.plotting.marginal import MOST_COLUMNS as MOST_MARGINALS
from pushforward.plotting.marginal import draw_marginals, marginals
from pushforward.plotting.pair import MOST_COLUMNS, draw_pairs
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.reading.cells import Cells, read_cells

FORMATS = (".png", ".pdf", ".svg")
# Figures that take --columns.
OF_COLUMNS = ("pair", "all", "marginal", "conditional", "trajectories", "layers")
# What --columns names for a kind.
WORDS = {"marginal": "modelled columns", "conditional": "one of the conditions"}
# Largest number of rows that are drawn or encoded: more rows change nothing that can be seen in a figure.
MOST_ROWS = 20_000
SAMPLES = 5_000
# Width and height in inches of a figure that shares a page.
ON_A_PAGE = (5.8, 3.2)
DPI = 200


class Wanted(NamedTuple):
    """The figure that is asked for; see `run_plot`."""

    kind: str
    columns: list[str] | None
    row: int | None
    seed: int


class Page(NamedTuple):
    """A drawing as a function of the figure to draw into, with its width and height in inches."""

    draw: Callable[[Any], Any]
    width: float
    height: float


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
        kind: Figure to draw: `"pair"`, `"marginal"`, `"conditional"`, `"curve"`, `"qq"`, `"all"`, or one of
            `NOISE_TO_DATA`.
        columns: Names of the columns to draw, for the kinds `OF_COLUMNS`; None draws all, or of many those that tell
            most, and the first two for `NOISE_TO_DATA`. For `"conditional"` it is the condition to draw along.
        row: Row of the table, counted from 1, whose condition the kinds `"conditional"` and `NOISE_TO_DATA` take; None
            takes a few rows, or the first that has one.
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
    density = FlowDensity.load(model)
    wanted = Wanted(kind, columns, row, seed)
    _check(density, wanted, data)
    values = density.model_.member.values
    one_row = kind in NOISE_TO_DATA and values is not None and values.cond_shape is not None
    table = condition = None
    if data is not None and kind != "curve":
        whole = read_cells(data, conventions=density.schema_.reading).select(density.model_.needed)
        if kind in NOISE_TO_DATA and row is None:
            whole = complete(density, whole)
        if row is not None and row > len(whole):
            raise typer.BadParameter(f"--row {row}: DATA has {len(whole)} rows.")
        condition = condition_of(density.model_, whole, row) if one_row else None
        table = whole if kind == "conditional" else _thinned(whole, seed)
    mpl.use("agg")  # a file is written and no window opened, whatever the machine has
    if kind in NOISE_TO_DATA:
        figure = draw_trajectories(density.model_, table, condition, kind, columns, seed)(None)[0]
        return _written(figure, out, model, kind, force, reporter)
    title = f"{density.config_['flow']} fitted to {density._n_rows:,} rows, {len(density.columns_)} columns"
    pages = _pages(density, table, wanted, reporter)
    figure = pages[0].draw(None)[0] if len(pages) == 1 else plot_overview(pages, title=title)
    return _written(figure, out, model, kind, force, reporter)


def _check(density: FlowDensity, wanted: Wanted, data: str | None) -> None:
    """Refuse options that do not belong to the figure or to the model, and a figure without the data it needs."""
    kind, given = wanted.kind, ", ".join(density.given_)
    values = density.model_.member.values
    one_row = kind in NOISE_TO_DATA and values is not None and values.cond_shape is not None
    if wanted.columns is not None:
        if kind not in OF_COLUMNS:
            raise typer.BadParameter(f"--columns belongs to --kind {', '.join(OF_COLUMNS)}, not to {kind}.")
        if kind not in NOISE_TO_DATA:
            _check_columns(density, kind, wanted.columns)
    if kind == "conditional" and (not density.given_ or len(density.model_.layout.columns) != 1):
        fix = "Fit one with `pushforward fit --given` and all columns but one."
        raise typer.BadParameter(f"--kind conditional draws a model of one column given others. {fix}")
    if wanted.row is not None and not (one_row or kind == "conditional"):
        kinds = ", ".join(("conditional", *NOISE_TO_DATA))
        fix = f"--row chooses the condition of a model that has one, for --kind {kinds}"
        raise typer.BadParameter(f"{fix}. Leave it out.")
    if kind == "qq" and not density.model_.layout.valued:
        raise typer.BadParameter("--kind qq draws latents of numbers, and the model has levels alone. Use --kind pair.")
    if data is None and (kind == "qq" or one_row or (density.given_ and kind != "curve")):
        why = "latents are those of data" if kind == "qq" else f"the figure needs {given}"
        if one_row:
            why = "densities are those at the condition of a row of it, which --row chooses"
        raise typer.BadParameter(f"--kind {kind} needs DATA: {why}.")


def _check_columns(density: FlowDensity, kind: str, columns: list[str]) -> None:
    own = tuple(column.name for column in density.model_.layout.columns)
    known = {"marginal": own, "conditional": density.given_}.get(kind, density.model_.needed)
    most = {"marginal": MOST_MARGINALS, "conditional": 1}.get(kind, MOST_COLUMNS)
    unknown = [name for name in columns if name not in known]
    if unknown:
        fix = nearest(unknown[0], known)
        raise typer.BadParameter(
            f"--columns: expected {WORDS.get(kind, 'columns of the model')}, got {', '.join(unknown)}.{fix}"
        )
    if len(columns) > most or len(set(columns)) < len(columns):
        expected = f"at most {most} different columns" if most > 1 else "one condition"
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


def _pages(density: FlowDensity, table: Cells | None, wanted: Wanted, reporter: Reporter) -> list[Page]:
    """The drawings of a kind, one or more on a page."""
    model: TableModel = density.model_
    kind, seed, pages = wanted.kind, wanted.seed, []
    if kind in ("pair", "all"):
        samples = sampled(density, table, SAMPLES if table is None else min(SAMPLES, len(table)), seed)
        options: Any = {"names": None, "schema": density.schema_, "columns": wanted.columns, "most": MOST_COLUMNS}
        shown = pictured("plot", table, samples, **options)
        _tell_choice(shown, reporter)
        side = max(4.6, 1.25 * len(shown.names) + 0.9)
        pages.append(Page(lambda where: draw_pairs(shown, figure=where, random_state=seed), side, side))
    if kind == "marginal":
        alone = marginals("plot", density, table, wanted.columns, seed)
        _tell_choice(alone, reporter)
        draw = functools.partial(draw_marginals, density, table, alone, random_state=seed)
        pages.append(Page(lambda where: draw(figure=where), *ON_A_PAGE))
    if kind == "conditional" and table is not None:
        pages += _conditional(density, table, wanted)
    if kind in ("curve", "all"):
        result = density.result_
        verdict = dataclasses.asdict(result.verdict)
        pages.append(Page(lambda where: plot_curve(result.history, verdict=verdict, figure=where), *ON_A_PAGE))
    if kind in ("qq", "all") and table is not None and model.layout.valued:
        latents, reference = model.latents(complete(density, table)), reference_latents(model, MOST_ROWS, seed)
        pages.append(Page(lambda where: plot_qq(latents, reference=reference, figure=where), *ON_A_PAGE))
    return pages


def _conditional(density: FlowDensity, table: Cells, wanted: Wanted) -> list[Page]:
    """The fan along a condition beside the densities of a few rows; with `row` the density of that row alone."""
    if wanted.row is not None:
        some = np.array([wanted.row - 1])
    else:
        target = [density.model_.layout.columns[0]]
        numbers = numbers_in([*target, *conditions_of(density)], table)
        there = np.flatnonzero(np.isfinite(numbers).all(axis=1))
        some = np.random.default_rng(wanted.seed).permutation(there)[:MOST_ROWS_DRAWN]
        some = some[np.argsort(numbers[some, 0], kind="stable")]
    rows, titles = table.take(some), [f"row {i + 1}" for i in some]
    single = Page(lambda where: plot_predictive(density, rows, titles=titles, figure=where), 6.8, 3.6)
    if wanted.row is not None:
        return [single]
    fan = functools.partial(plot_conditional, density, table, random_state=wanted.seed)
    along = None if wanted.columns is None else wanted.columns[0]
    return [Page(lambda where: fan(along=along, figure=where), 5.2, 3.6), single]


def _tell_choice(shown: Pictured, reporter: Reporter) -> None:
    if shown.chosen:
        reporter.say(f"{shown.chosen}: {', '.join(shown.names)}. --columns chooses others.")
