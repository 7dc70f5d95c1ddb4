"""`pushforward inspect`: what a model folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import Model, verb

if TYPE_CHECKING:
    from pushforward.tables.modelling.folder import ModelFacts


@verb("pushforward inspect model")
def inspect(model: Model, *, reporter: Reporter) -> int:
    """Show what a model consists of and how its fit went.

    Columns, layers, costs and checks are shown; the weights are not loaded.
    """
    from pushforward.images.folder import is_images_model

    if is_images_model(model):
        from pushforward.cli.image_use import inspect_images

        return inspect_images(model, reporter)
    from pushforward.checking import CheckReport, summary
    from pushforward.cli.table_input import show_columns
    from pushforward.tables.modelling.folder import inspect_model

    facts = inspect_model(model)
    distribution = facts.member
    flow = distribution.as_flow()
    inner = flow if flow is not None else distribution.values
    whole, described = summary(facts.distribution), None if inner is None else summary(inner)
    config, verdict = facts.config, facts.metrics.verdict
    made = f"format {config.format_version}, by pushforward {config.pushforward_version}"
    reporter.say(f"{model}: {config.flow.name}, {made}, fitted to {facts.metrics.rows:,} rows")
    show_columns(facts.schema, tuple(config.given), reporter)
    if distribution.masses is not None:
        sizes = ", ".join(map(str, distribution.masses.sizes))
        cost = f"1 pass per log_prob, {len(distribution.masses.sizes)} passes per sample; exact"
        reporter.say(f"States: masses by an autoregressive network over columns of {sizes} states; {cost}")
    if config.members > 1:
        reporter.say(f"Ensemble of {config.members} members of one architecture, the last a wide one; the first is:")
    if described is not None:
        reporter.say(str(described))
    if distribution.margins is not None:
        names = ", ".join(margin.name for margin in config.margins.columns)
        cost = f"1 pass per log_prob, {len(config.margins.columns)} steps per sample; exact"
        reporter.say(f"Margins: distribution functions on the spaces of {names}, each given those before it; {cost}")
    reporter.say(f"Parameters in all: {whole.trained:,} trained, {whole.fixed:,} fixed")
    reporter.say(f"Fit: {verdict.text}")
    for baseline in facts.metrics.baselines:
        if baseline.comparison is not None:
            reporter.say(f"  {baseline.comparison}")
        elif baseline.nats is not None:
            reporter.say(f"  {baseline.name}: {baseline.nats:.4f} +- {baseline.standard_error or 0:.4f} nats")
    for note in facts.metrics.notes:
        reporter.say(f"Remark: {note}")
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
        "members": config.members,
        "rows": facts.metrics.rows,
        "rows_left_out": facts.metrics.rows_left_out,
        "settings": None if config.settings is None else config.settings.plain(),
        "given": config.given,
        "columns": [column.model_dump(mode="json", exclude_defaults=True) for column in facts.schema.columns],
        "parameters": {"trained": whole.trained, "fixed": whole.fixed},
        "summary": None if described is None else described.to_dict(),
        "verdict": facts.metrics.verdict.model_dump(),
        "baselines": [baseline.model_dump() for baseline in facts.metrics.baselines],
        "notes": facts.metrics.notes,
        "checks": facts.checks,
    }
