"""`pushforward check`, `inspect` and `export`: what a model is, whether to believe it, and how to take it elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import typer

from pushforward.checking import CheckReport, summary
from pushforward.cli.report import CHECK_FAILED, OK, Reporter
from pushforward.cli.tables import show_columns
from pushforward.data.cells import read_cells
from pushforward.estimators import FlowDensity
from pushforward.estimators.model import TableModel
from pushforward.io.model_folder import ModelFacts, inspect_model

# Rows that an export is verified on.
VERIFIED_ROWS = 1000


def run_check(model: Path, data: str | None, *, seed: int, reporter: Reporter) -> int:
    """Check a model and print the report; the exit code, 6 if a check failed.

    Raises:
        typer.BadParameter: a model with conditions is checked without rows.
        DataError: the table does not fit the model.
    """
    density = FlowDensity.load(model)
    if data is None and density.given_:
        raise typer.BadParameter(f"{model} is a density given {', '.join(density.given_)}: pass DATA with these.")
    table = None if data is None else read_cells(data).select(density.model_.needed)
    report = density.check(table, random_state=seed)
    reporter.say(str(report))
    reporter.result("check", {"model": model, "data": data, "passed": report.ok, "checks": report.to_json()})
    return OK if report.ok else CHECK_FAILED


def run_inspect(model: Path, *, reporter: Reporter) -> int:
    """Say what a model is, without its weights; the exit code."""
    facts = inspect_model(model)
    distribution = facts.distribution
    flow = distribution.as_flow()
    inner = flow if flow is not None else distribution.values
    whole, described = summary(distribution), None if inner is None else summary(inner)
    config, verdict = facts.config, facts.metrics.verdict
    made = f"format {config.format_version}, by pushforward {config.pushforward_version}"
    reporter.say(f"{model}: {config.flow.name}, {made}, fitted to {facts.metrics.rows:,} rows")
    show_columns(facts.schema, tuple(config.given), reporter)
    if distribution.masses is not None:
        sizes = ", ".join(map(str, distribution.masses.sizes))
        cost = f"1 pass per log_prob, {len(distribution.masses.sizes)} passes per sample; exact"
        reporter.say(f"States: masses by an autoregressive network over columns of {sizes} states; {cost}")
    if described is not None:
        reporter.say(str(described))
    if flow is None and distribution.needs_key:
        reporter.say("  log_prob is a lower bound, averaged over draws, for values that are rounded or may be absent")
    reporter.say(f"Parameters in all: {whole.trained:,} trained, {whole.fixed:,} fixed")
    reporter.say(f"Fit: {verdict.text}")
    for baseline in facts.metrics.baselines:
        if baseline.nats is not None:
            reporter.say(f"  {baseline.name}: {baseline.nats:.4f} +- {baseline.standard_error or 0:.4f} nats")
    reporter.say("Checks: none were made." if facts.checks is None else str(CheckReport.from_json(dict(facts.checks))))
    reporter.result("inspect", _facts(model, facts, whole, described))
    return OK


def _facts(model: Path, facts: ModelFacts, whole: Any, described: Any) -> dict[str, Any]:
    config = facts.config
    return {
        "model": model,
        "format_version": config.format_version,
        "pushforward_version": config.pushforward_version,
        "flow": config.flow.name,
        "arguments": config.flow.arguments.given(),
        "base": config.flow.base,
        "rows": facts.metrics.rows,
        "given": config.given,
        "columns": [column.model_dump(mode="json", exclude_defaults=True) for column in facts.schema.columns],
        "parameters": {"trained": whole.trained, "fixed": whole.fixed},
        "summary": None if described is None else described.to_dict(),
        "verdict": facts.metrics.verdict.model_dump(),
        "baselines": [baseline.model_dump() for baseline in facts.metrics.baselines],
        "notes": facts.metrics.notes,
        "checks": facts.checks,
    }


def run_export(
    model: Path, data: str | None, to: str, out: Path, *, precision: Any, force: bool, reporter: Reporter
) -> int:
    """Export a model and verify the export; the exit code, 6 if its numbers differ.

    Raises:
        typer.BadParameter: a package is missing, or the format cannot hold this model.
        FileExistsError: something is there and `force` is False.
    """
    from pushforward.export import export_onnx, export_stablehlo

    density = FlowDensity.load(model)
    fitted: TableModel = density.model_
    rows, condition = _rows(density, data)
    with jax.enable_x64(True):
        distribution = fitted.distribution.as_flow() or fitted.distribution
    names = _names(fitted.layout)
    given = () if fitted.given_layout is None else _names(fitted.given_layout)
    write = export_stablehlo if to == "stablehlo" else export_onnx
    try:
        report = write(
            distribution,
            out,
            names=names,
            condition_names=given,
            precision=precision,
            rows=rows,
            conditions=condition,
            force=force,
        )
    except (ImportError, ValueError) as error:
        raise typer.BadParameter(str(error)) from error
    reporter.say(report.sentence)
    for name, reason in report.custom_calls.items():
        reporter.warn(f"the programs call {name}: {reason}")
    if not fitted.plain:
        reporter.say(f"Rows are numbers: {', '.join(names)}. States are numbered as in {model / 'schema.json'}.")
    facts = {
        "model": model,
        "out": out,
        "to": to,
        "precision": precision,
        "names": names,
        "files": dict(report.files),
        "rows": report.rows,
        "max_abs_error_log_prob": report.max_abs_error_log_prob,
        "max_abs_error_sample": report.max_abs_error_sample,
        "passed": report.ok,
    }
    reporter.result("export", facts)
    return OK if report.ok else CHECK_FAILED


def _rows(density: FlowDensity, data: str | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Up to `VERIFIED_ROWS` encoded rows of the table and their conditions."""
    if data is None:
        return None, None
    fitted: TableModel = density.model_
    table = read_cells(data).select(fitted.needed)
    encoded, condition = fitted.encode(table.take(np.arange(min(len(table), VERIFIED_ROWS))))
    return encoded.rows, condition


def _names(layout: Any) -> list[str]:
    """A name for each number of an event: the states first, then the values."""
    states = [f"{layout.columns[i].name} (state)" for i in layout.stated]
    return [*states, *(layout.columns[i].name for i in layout.valued)]
