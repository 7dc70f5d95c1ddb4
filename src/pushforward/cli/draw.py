"""`pushforward plot`: the figures of a fitted model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import typer

from pushforward.cli.report import OK, Reporter
from pushforward.cli.use import flow_of
from pushforward.data.tables import Table, read_table
from pushforward.distributions import StandardNormal
from pushforward.estimators import FlowDensity
from pushforward.estimators.rows import widen
from pushforward.io.files import check_file_target, write_file
from pushforward.plotting import plot_curve, plot_overview, plot_pair, plot_qq

FORMATS = (".png", ".pdf", ".svg")
# Rows drawn or encoded at most: more change neither a cloud of points nor a quantile that can be seen.
MOST_ROWS = 20_000
SAMPLES = 5_000
# Width and height in inches of a figure that shares a page.
ON_A_PAGE = (5.8, 3.2)
DPI = 200


def run_plot(model: Path, data: str | None, out: Path, *, kind: str, seed: int, force: bool, reporter: Reporter) -> int:
    """Draw and write a figure; the exit code.

    Raises:
        typer.BadParameter: the format is unknown, or the figure needs DATA.
        DataError: the table lacks a column of the model, or is not numeric and finite.
        FileExistsError: the file exists and `force` is False.
    """
    import matplotlib as mpl

    if out.suffix.lower() not in FORMATS:
        raise typer.BadParameter(f"{out}: figures are written as {', '.join(FORMATS)}; got {out.suffix!r}.")
    check_file_target(out, force)
    density = FlowDensity.load(model)
    if data is None and (kind == "qq" or (density.given_ and kind != "curve")):
        why = "latents are those of data" if kind == "qq" else f"the samples need {', '.join(density.given_)}"
        raise typer.BadParameter(f"--kind {kind} needs DATA: {why}.")
    table = None if data is None or kind == "curve" else _thinned(read_table(data, columns=density.columns_), seed)
    mpl.use("agg")  # a file is written and no window opened, whatever the machine has
    title = f"{density.config_['flow']} fitted to {density._n_rows:,} rows, {len(density.columns_)} columns"
    pages = _pages(density, table, kind, seed)
    figure = pages[0][0](None)[0] if len(pages) == 1 else plot_overview(pages, title)
    write_file(out, lambda file: figure.savefig(file, format=out.suffix[1:].lower(), dpi=DPI), force)
    reporter.say(f"Figure: {out}")
    reporter.result("plot", {"model": model, "out": out, "kind": kind})
    return OK


def _thinned(table: Table, seed: int) -> Table:
    if len(table.values) <= MOST_ROWS:
        return table
    rows = np.random.default_rng(seed).choice(len(table.values), MOST_ROWS, replace=False)
    return dataclasses.replace(table, values=table.values[np.sort(rows)])


def _pages(
    density: FlowDensity, table: Table | None, kind: str, seed: int
) -> list[tuple[Callable[[Any], Any], float, float]]:
    """The drawings asked for, as functions of where to draw, with their sizes."""
    pages: list[tuple[Callable[[Any], Any], float, float]] = []
    if kind in ("pair", "all"):
        data, samples = None if table is None else table.values, draw_samples(density, table, seed)
        side = max(4.6, 1.25 * min(len(density.columns_), 10) + 0.9)
        pages.append((lambda where: plot_pair(data, samples, density.columns_, figure=where, seed=seed), side, side))
    if kind in ("curve", "all"):
        result = density.result_
        verdict = dataclasses.asdict(result.verdict)
        pages.append((lambda where: plot_curve(result.history, verdict, figure=where), *ON_A_PAGE))
    if kind in ("qq", "all") and table is not None:
        latents, base = encode(density, table), flow_of(density).base
        normal = isinstance(base, StandardNormal)
        reference = None if normal else np.asarray(base.sample(jax.random.key(seed), (MOST_ROWS,)))
        pages.append((lambda where: plot_qq(latents, reference, figure=where), *ON_A_PAGE))
    return pages


def draw_samples(density: FlowDensity, table: Table | None, seed: int) -> np.ndarray:
    """Samples to draw beside the data: as many as there are data, within reason; one for each row's condition."""
    if not density.given_:
        n = SAMPLES if table is None else min(SAMPLES, len(table.values))
        return np.asarray(density.sample(n, random_state=seed))
    if table is None:
        raise ValueError("draw_samples: expected a table of conditions, got none.")
    conditions = table.select(density.given_).values[:SAMPLES]
    return np.asarray(density.sample(1, given=conditions, random_state=seed))


def encode(density: FlowDensity, table: Table) -> np.ndarray:
    """The latents of the rows, `(n, d)`, in float64."""
    modelled = [name for name in density.columns_ if name not in density.given_]
    condition = table.select(density.given_).values if density.given_ else None
    with jax.enable_x64(True):
        return np.asarray(widen(flow_of(density)).encode(table.select(modelled).values, condition))
