"""`pushforward fit`: a table in, a model folder and its figures out."""

from __future__ import annotations

import inspect
import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import typer

from pushforward.cli.report import INTERRUPT, OK, Reporter
from pushforward.data.checks import DEPENDENT_BELOW, check_table
from pushforward.data.errors import DataError
from pushforward.data.tables import Table, read_table
from pushforward.estimators import FlowDensity
from pushforward.flows import ZOO
from pushforward.io.files import check_folder_target


def run(
    data: str,
    out: Path,
    *,
    columns: list[str] | None,
    given: list[str],
    weights: str | None,
    flow: str | None,
    flow_arguments: Mapping[str, Any],
    max_epochs: int | None,
    max_seconds: float | None,
    seed: int,
    force: bool,
    reporter: Reporter,
) -> int:
    """Fit, save, and say how it went; the exit code.

    Raises:
        typer.BadParameter: options contradict each other.
        DataError: the table cannot be fitted.
        FitError: training diverged beyond repair; nothing is written.
        FileExistsError: the model folder exists and `force` is False.
    """
    name = flow or inspect.signature(FlowDensity).parameters["flow"].default
    foreign = [option for option in flow_arguments if option not in inspect.signature(ZOO[name]).parameters]
    if foreign:
        raise typer.BadParameter(f"--{foreign[0].replace('_', '-')} is no option of the flow {name}.")
    check_folder_target(out, force)
    table, row_weights = read(data, columns, given, weights)
    for note in (*table.notes, *check_table(table)):
        reporter.warn(note)
    reporter.say(f"{table.source}: {len(table.values):,} rows, columns {', '.join(table.names)}")
    density = FlowDensity(
        name,
        given=given or None,
        **flow_arguments,
        max_epochs=max_epochs,
        max_seconds=max_seconds,
        progress=False if reporter.as_json or reporter.quiet else "auto",
        random_state=seed,
    )
    named = pa.Table.from_arrays([pa.array(column) for column in table.values.T], names=list(table.names))
    try:
        density.fit(named, sample_weight=row_weights)
    except ValueError as error:  # its own checks of the rows, beyond those of check_table
        raise DataError("unreadable", f"{table.source}: {error}") from error
    verdict = density.result_.verdict
    if verdict.steps == 0:
        if verdict.status == "interrupted":  # during compilation: there is nothing to keep
            raise KeyboardInterrupt
        reporter.warn("the time was over before the first step: the model is untrained. Allow more --max-minutes.")
    density.save(out, force=force)
    _report(density, table, row_weights, data, out, name, reporter)
    return INTERRUPT if verdict.status == "interrupted" else OK


def read(data: str, columns: list[str] | None, given: list[str], weights: str | None) -> tuple[Table, Any]:
    """The columns to model with their conditions, and the weights of the rows or None.

    Raises:
        typer.BadParameter: a column has two roles.
        DataError: a column is missing, or the weights are not weights.
    """
    if weights is not None and weights in (*given, *(columns or ())):
        raise typer.BadParameter(f"--weights {weights} is a column of --columns or --given too.")
    wanted = None if columns is None else [*columns, *(name for name in given if name not in columns)]
    extra = [] if weights is None else [weights]
    whole = read_table(data, columns=None if wanted is None else wanted + extra)
    names = [name for name in (wanted or whole.names) if name != weights]
    table = whole.select(names)
    if given:
        whole.select(given)  # names an unknown or repeated one
    if set(given) == set(names):
        raise typer.BadParameter("--given names every column: leave at least one to model.")
    if weights is None:
        return table, None
    row_weights = whole.select([weights]).values[:, 0]
    if (row_weights < 0).any() or (row_weights > 0).sum() < 2:
        what = f"{int((row_weights < 0).sum())} negative and {int((row_weights > 0).sum())} positive values"
        fix = "Weights are 0 or more, and at least two rows count."
        raise DataError("weights", f"{table.source}: the weights '{weights}' hold {what}. {fix}")
    return table, row_weights


def gaussian_nats(values: np.ndarray, weights: Any, n_given: int) -> float | None:
    """Mean log-density of the rows under the Gaussian of their mean and covariance, given the last `n_given` columns.

    None where the covariance is singular.
    """

    def entropy(columns: np.ndarray) -> float:
        if columns.shape[1] == 0:
            return 0.0
        covariance = np.atleast_2d(np.cov(columns, rowvar=False, aweights=weights, ddof=0))
        scale = np.sqrt(np.diag(covariance))
        if not np.all(scale > 0):
            return np.nan
        values = np.linalg.eigvalsh(covariance / scale[:, None] / scale)
        if values[0] < DEPENDENT_BELOW:
            return np.nan
        return float(np.sum(np.log(scale)) + 0.5 * np.sum(np.log(2 * np.pi * np.e * values)))

    split = values.shape[1] - n_given
    nats = entropy(values[:, split:]) - entropy(values)
    return float(nats) if np.isfinite(nats) else None


def _report(
    density: FlowDensity, table: Table, weights: Any, data: str, out: Path, name: str, reporter: Reporter
) -> None:
    verdict = density.result_.verdict
    ordered = [*(n for n in table.names if n not in density.given_), *density.given_]
    baseline = gaussian_nats(table.select(ordered).values, weights, len(density.given_))
    if not (sys.stderr.isatty() and sys.stdout.isatty()):  # there the progress bar has left it
        reporter.say(f"{name}: {verdict.text}")
    if baseline is not None and verdict.held_out_nats is not None and math.isfinite(verdict.held_out_nats):
        gain = verdict.held_out_nats - baseline
        better = f"{gain:.3f} nats more than" if gain > 0 else f"{-gain:.3f} nats less than"
        reporter.say(f"That is {better} a Gaussian of the same means and covariances ({baseline:.4f}).")
    folder = shlex.quote(str(out))
    reporter.say(f"Model: {out}")
    reporter.say("Next:")
    for line in _next(folder, data, density.given_):
        reporter.say(f"  pushforward {line}")
    reporter.result(
        "fit",
        {
            "model": out,
            "flow": density.config_["flow"],
            "arguments": density.config_["arguments"],
            "rows": len(table.values),
            "columns": list(table.names),
            "given": list(density.given_),
            "held_out_nats": verdict.held_out_nats,
            "standard_error": verdict.standard_error,
            "gaussian_nats": baseline,
            "verdict": verdict.status,
            "text": verdict.text,
            "epochs": verdict.epochs,
            "steps": verdict.steps,
            "seconds": verdict.seconds,
            "n_skipped": verdict.n_skipped,
            "n_rewinds": verdict.n_rewinds,
        },
    )


def _next(folder: str, data: str, given: Sequence[str]) -> list[str]:
    rows = "DATA" if data == "-" else shlex.quote(data)
    conditions = f" --given {rows}" if given else ""
    return [
        f"sample {folder} -n {1 if given else 1000}{conditions} --out samples.csv",
        f"score {folder} {rows} --out scores.csv",
        f"plot {folder} {rows} --out fit.png",
    ]
