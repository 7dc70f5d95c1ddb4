"""`pushforward sample` and `pushforward score`: what a fitted model is for."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import typer

from pushforward.cli.report import OK, Reporter, silence
from pushforward.data.cells import read_cells
from pushforward.data.formats import GIB, MAX_BYTES
from pushforward.data.writing import check_target, write_arrow
from pushforward.estimators import FlowDensity
from pushforward.estimators.verify import status_of


def run_sample(model: Path, n: int, out: Path, *, given: str | None, seed: int, force: bool, reporter: Reporter) -> int:
    """Draw rows and write them; the exit code.

    Raises:
        typer.BadParameter: the format is unknown, or conditions are missing or superfluous.
        FileExistsError: the file exists and `force` is False.
    """
    check_out(out, force)
    density = FlowDensity.load(model)
    density.set_output(transform="pyarrow")
    if (given is None) == bool(density.given_):
        if given is None:
            columns = ", ".join(density.given_)
            raise typer.BadParameter(f"{model} is a density given {columns}: pass a table with these as --given FILE.")
        raise typer.BadParameter(f"{model} has no conditions: leave out --given.")
    conditions = None if given is None else read_cells(given).select(density.given_)
    rows = n * (1 if conditions is None else len(conditions))
    size = 8 * rows * len(density.columns_)
    if size > MAX_BYTES:
        limit = f"more than the {MAX_BYTES / GIB:.0f} GiB that are held at once"
        raise typer.BadParameter(f"{rows:,} rows take {size / GIB:.0f} GiB, {limit}. Draw fewer, with several --seed.")
    table: pa.Table = density.sample(n, given=conditions, random_state=seed)
    wild = not_finite(table)
    if wild:
        reporter.warn(f"{wild:,} of {rows:,} rows are not finite: the model's tails overflow. Fit it anew.")
    write_out(out, table, force)
    reporter.say(f"{rows:,} rows, columns {', '.join(table.column_names)}: {out}")
    facts = {"model": model, "out": out, "rows": rows, "columns": table.column_names, "seed": seed, "not_finite": wild}
    reporter.result("sample", facts)
    return OK


def not_finite(table: pa.Table) -> int:
    """Rows with a number that is infinite or not a number; a missing value is neither."""
    bad = np.zeros(table.num_rows, bool)
    for column in table.columns:
        if pa.types.is_floating(column.type):
            values = np.asarray(column.drop_null() if column.null_count == 0 else column.fill_null(0.0))
            bad |= ~np.isfinite(values)
    return int(bad.sum())


def run_score(model: Path, data: str, out: Path | None, *, parts: bool, force: bool, reporter: Reporter) -> int:
    """Score rows, write the scores, print their mean; the exit code.

    Raises:
        typer.BadParameter: the format is unknown.
        DataError: the table lacks a column of the model, or holds something else than in its schema.
        FileExistsError: the file exists and `force` is False.
    """
    if out is not None:
        check_out(out, force)
    density = FlowDensity.load(model)
    fitted = density.model_
    table = read_cells(data).select(fitted.needed)
    encoded, condition = fitted.encode(table)
    for name, words in encoded.unseen.items():
        reporter.warn(f"{table.source}: '{name}' holds levels that the fit never saw, such as {', '.join(words[:3])}.")
    scores = fitted.score_encoded(encoded, condition)
    status = status_of(fitted, encoded, condition, scores.log_prob)
    if out is not None:
        columns = {"log_prob": scores.log_prob}
        if parts:
            columns |= {"log_mass": scores.mass, "log_density": scores.density, "bound_error": scores.error}
        columns["status"] = status
        write_out(out, pa.table(columns), force)
    log_prob = scores.log_prob
    there = np.isfinite(log_prob)
    n, mean = len(log_prob), float(log_prob[there].mean()) if there.any() else math.nan
    error = float(log_prob[there].std(ddof=1) / math.sqrt(there.sum())) if there.sum() > 1 else math.nan
    dim = len(fitted.layout.columns)
    bits = -mean / (dim * math.log(2))
    spread = f" +- {error:.4f}" if math.isfinite(error) else ""
    reporter.say(
        f"{table.source}: {n:,} rows, mean log-density {mean:.4f}{spread} nats, {bits:.4f} bits per dimension."
    )
    for line in density.meaning():
        reporter.say(line)
    if mean > 0:
        reporter.say("It may be positive: it is a density in the data's units, not a probability.")
    counts = {word: int((status == word).sum()) for word in ("ok", "tail", "extrapolated", "unconverged")}
    odd = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count and word != "ok")
    if odd:
        reporter.say(f"Rows out of the ordinary: {odd}.")
    if out is not None:
        reporter.say(f"One log_prob per row: {out}")
    wild = int((~there).sum())
    if wild:
        reporter.warn(
            f"{wild:,} of {n:,} rows have a log-density that is not finite, being outside the bounds of the model; the "
            "mean is over the others."
        )
    facts = {"model": model, "out": out, "rows": n, "mean_nats": mean, "standard_error": error, "bits_per_dim": bits}
    means = {"mean_log_mass": scores.mass[there].mean(), "mean_log_density": scores.density[there].mean()}
    extremes = {"min_nats": log_prob.min(), "max_nats": log_prob.max(), "not_finite": wild}
    reporter.result("score", {**facts, **means, **extremes, "status": counts})
    return OK


def write_out(out: Path, table: pa.Table, force: bool) -> None:
    """Write a table; a reader that has had enough, such as `head`, is no error."""
    try:
        write_arrow(out, table, force=force)
    except BrokenPipeError as error:  # before typer sees it, which makes it exit code 1
        silence()
        raise typer.Exit(OK) from error


def check_out(out: Path, force: bool) -> None:
    """Whether a table can be written there, asked before the work starts."""
    try:
        check_target(out, force)
    except ValueError as error:  # an unknown suffix
        raise typer.BadParameter(str(error)) from error
