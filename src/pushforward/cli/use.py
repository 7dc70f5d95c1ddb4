"""`pushforward sample` and `pushforward score`: what a fitted model is for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import typer

from pushforward.cli.report import OK, Reporter, silence
from pushforward.data.formats import GIB, MAX_BYTES
from pushforward.data.tables import read_table
from pushforward.data.writing import check_target, write_table
from pushforward.distributions import Flow
from pushforward.estimators import FlowDensity
from pushforward.estimators.rows import score_rows


def run_sample(model: Path, n: int, out: Path, *, given: str | None, seed: int, force: bool, reporter: Reporter) -> int:
    """Draw rows and write them; the exit code.

    Raises:
        typer.BadParameter: the format is unknown, or conditions are missing or superfluous.
        FileExistsError: the file exists and `force` is False.
    """
    _check_out(out, force)
    density = FlowDensity.load(model)
    if (given is None) == bool(density.given_):
        if given is None:
            columns = ", ".join(density.given_)
            raise typer.BadParameter(f"{model} is a density given {columns}: pass a table with these as --given FILE.")
        raise typer.BadParameter(f"{model} has no conditions: leave out --given.")
    conditions = None if given is None else read_table(given, columns=density.given_).values
    rows = n * (1 if conditions is None else len(conditions))
    size = 8 * rows * len(density.columns_)
    if size > MAX_BYTES:
        limit = f"more than the {MAX_BYTES / GIB:.0f} GiB that are held at once"
        raise typer.BadParameter(f"{rows:,} rows take {size / GIB:.0f} GiB, {limit}. Draw fewer, with several --seed.")
    values = np.asarray(density.sample(n, given=conditions, random_state=seed))
    wild = int((~np.isfinite(values)).any(axis=1).sum())
    if wild:
        reporter.warn(f"{wild:,} of {rows:,} rows are not finite: the model's tails overflow. Fit it anew.")
    _write(out, density.columns_, values, force)
    reporter.say(f"{rows:,} rows, columns {', '.join(density.columns_)}: {out}")
    facts = {"model": model, "out": out, "rows": rows, "columns": density.columns_, "seed": seed, "not_finite": wild}
    reporter.result("sample", facts)
    return OK


def run_score(model: Path, data: str, out: Path | None, *, force: bool, reporter: Reporter) -> int:
    """Score rows, write one column, print the mean; the exit code.

    Raises:
        typer.BadParameter: the format is unknown.
        DataError: the table lacks a column of the model, or is not numeric and finite.
        FileExistsError: the file exists and `force` is False.
    """
    if out is not None:
        _check_out(out, force)
    density = FlowDensity.load(model)
    table = read_table(data, columns=density.columns_)
    modelled = [name for name in density.columns_ if name not in density.given_]
    conditions = table.select(density.given_).values if density.given_ else None
    scores = score_rows(flow_of(density), table.select(modelled).values, conditions)
    if out is not None:
        _write(out, ["log_prob"], scores[:, None], force)
    n, mean = len(scores), float(scores.mean())
    error = float(scores.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    bits = -mean / (len(modelled) * math.log(2))
    spread = f" +- {error:.4f}" if math.isfinite(error) else ""
    reporter.say(
        f"{table.source}: {n:,} rows, mean log-density {mean:.4f}{spread} nats, {bits:.4f} bits per dimension."
    )
    if mean > 0:
        reporter.say("It may be positive: it is a density in the data's units, not a probability.")
    if out is not None:
        reporter.say(f"One log_prob per row: {out}")
    wild = int((~np.isfinite(scores)).sum())
    if wild:
        reporter.warn(f"{wild:,} of {n:,} rows have a log-density that is not finite.")
    facts = {"model": model, "out": out, "rows": n, "mean_nats": mean, "standard_error": error, "bits_per_dim": bits}
    reporter.result("score", {**facts, "min_nats": scores.min(), "max_nats": scores.max(), "not_finite": wild})
    return OK


def flow_of(density: FlowDensity) -> Flow:
    """Its flow, which a loaded model always has."""
    if not isinstance(density.flow_, Flow):
        raise TypeError(f"expected a Flow, got {type(density.flow_).__name__}.")
    return density.flow_


def _write(out: Path, names: Sequence[str], values: np.ndarray, force: bool) -> None:
    try:
        write_table(out, names, values, force=force)
    except BrokenPipeError as error:  # before typer sees it, which makes it exit code 1
        silence()
        raise typer.Exit(OK) from error


def _check_out(out: Path, force: bool) -> None:
    try:
        check_target(out, force)
    except ValueError as error:  # an unknown suffix
        raise typer.BadParameter(str(error)) from error
