"""The report on a density of the rows of a table."""

from __future__ import annotations

import time
from typing import Any, Literal

import numpy as np

from pushforward.checking import CheckReport
from pushforward.plotting.fitted import table_for
from pushforward.report.evolution_section import evolution_section
from pushforward.report.html import number
from pushforward.report.page import Report, Section, Standing, sentences
from pushforward.report.run_section import file_of, quoted, run_section
from pushforward.report.table_columns import columns_section, correlations_section, pairs_section
from pushforward.report.table_quality import (
    checks_section,
    curve_section,
    evaluation_section,
    latents_section,
    simple_section,
)
from pushforward.report.table_rows import extrapolation_section, least_likely_section, samples_section
from pushforward.report.table_view import View
from pushforward.tables.estimators import FlowDensity, evaluate
from pushforward.tables.estimators.intake import rows_with_states
from pushforward.tables.reading.cells import Cells

# Judgements of a fit that are worth a remark.
ODD = ("overfit", "diverged and recovered", "interrupted", "stopped by budget")


def density_report(
    density: FlowDensity,
    data: Any,
    *,
    seed: int,
    missing: Literal["error", "drop"],
    name: str | None,
    own: bool = False,
) -> Report:
    """Report on a density.

    Args:
        density: Fitted density.
        data: Rows to hold it against, of any kind that it takes; None reports on the fit alone.
        seed: Seed of all draws.
        missing: `"drop"` leaves out rows with missing values that the model has no state for.
        name: Name of the model, such as its folder; None names it by its flow.
        own: Whether the rows are those of the fit, which is then said.
    """
    start = time.monotonic()
    view = view_of(density, data, seed, missing)
    exact = [] if view.checks is None else [line.name for line in view.checks.failed if not _of_fit(line.name)]
    standing, verdict = _verdict(view, exact)
    flow = density.config_["flow"]
    rows = density._n_rows
    note = "These are the rows of the fit, so that all that is said of them flatters the model." if own else None
    sections: list[Section | None] = [
        Section("meaning", "What the model is", (note, sentences(density.meaning()), _given(density))),
        columns_section(view),
        pairs_section(view),
        correlations_section(view),
        simple_section(view),
        evaluation_section(view),
        checks_section(view.checks),
        curve_section(density.result_),
        latents_section(view),
        evolution_section(view),
        least_likely_section(view),
        extrapolation_section(view),
        samples_section(view),
    ]
    source = None if view.table is None else view.table.source
    facts = {
        "model": name,
        "flow": flow,
        "options of the flow": density.config_["arguments"],
        "base": density.config_["base"],
        "rows of the fit": f"{rows:,}",
        "rows left out of the fit": density.n_rows_left_out_ or None,
        "conditions": ", ".join(density.given_),
        "seed of the fit": density.random_state if isinstance(density.random_state, int) else None,
        "steps of the fit": f"{density.result_.verdict.steps:,} in {density.result_.verdict.seconds:.1f} s",
        "data": source,
    }
    folder, table = name or "MODEL", None if view.table is None else file_of(source)
    commands = [quoted("pushforward", "report", folder, table, "--seed", seed, "--out", "report.html")]
    commands += [] if table is None else [quoted("pushforward", "evaluate", folder, table, "--seed", seed)]
    commands.append(quoted("pushforward", "check", folder, table, "--seed", seed))
    sections.append(run_section(facts, commands, time.monotonic() - start, seed))
    given = f" given {', '.join(density.given_[:4])}" if density.given_ else ""
    return Report(
        title=f"{name or flow}: a density of {len(density.model_.layout.columns)} columns{given}",
        standing=standing,
        verdict=verdict,
        key_figures=_key_figures(view, rows),
        sections=tuple(each for each in sections if each is not None),
        facts=_facts(view, name, verdict),
    )


def view_of(density: FlowDensity, data: Any, seed: int, missing: Literal["error", "drop"]) -> View:
    """Evaluate and check a density, as the verbs of the command line do with the same seed.

    Args:
        density: Fitted density.
        data: Rows, or None.
        seed: Seed of all draws.
        missing: What happens to rows that the model has no state for.
    """
    if data is None:
        checks = density.checks_
        if checks is None and not density.given_:
            checks = density.check(random_state=seed)
        return View(density, None, np.zeros(0, np.int64), None, checks, seed)
    found: Any = rows_with_states(density, table_for(density, data), missing)
    table, kept = found
    table = table if isinstance(table, Cells) else table_for(density, table)
    evaluation = evaluate(density, table, seed=seed)
    return View(density, table, np.flatnonzero(kept) + 1, evaluation, density.check(table, random_state=seed), seed)


def _of_fit(check: str) -> bool:
    """Whether a check says how good the fit is, not whether the density is exact."""
    return check.startswith("latents")


def _given(density: FlowDensity) -> str | None:
    if not density.given_:
        return None
    return f"It is the density given {', '.join(density.given_)}: samples are drawn for the conditions of the rows."


def _verdict(view: View, exact: list[str]) -> tuple[Standing, tuple[str, ...]]:
    """Whether the model can be believed, and why, in three sentences."""
    found, result = view.evaluation, view.density.result_.verdict
    good, remarks = _goodness(view)
    if view.checks is None:
        checked = "The model was not checked."
    elif exact:
        checked = f"The density is not what it should be: {', '.join(exact)} failed."
    else:
        n = sum(line.verdict in ("pass", "note") and not _of_fit(line.name) for line in view.checks.lines)
        poor = [line.name for line in view.checks.failed]
        fits = f", but the fit is poor: {', '.join(poor)} failed" if poor else ""
        checked = f"No check of exactness failed, of {n} made{fits}."
        remarks = remarks or bool(poor)
    if result.judgement in ODD:
        last = f"Mind how the fit ended: {result.judgement}."
        remarks = True
    elif found is None:
        last = "Hold it against rows that the fit has not seen to judge its samples."
    else:
        faults = found.likeness.faults
        last = (
            f"Samples and rows differ in {', '.join(faults)}, beyond chance and the best generators published."
            if faults
            else "No difference of samples and rows is beyond both chance and the best generators published."
        )
        remarks = remarks or bool(faults)
        far = sum(count for word, count in found.status.items() if word in ("extrapolated", "unconverged"))
        if far:
            last = last[:-1] + f"; {far:,} of {found.rows:,} rows lie beyond what the fit has seen."
    return "bad" if exact else "mind" if remarks or view.checks is None else "good", (good, checked, last)


def _goodness(view: View) -> tuple[str, bool]:
    """The likelihood beside the best simple density, and whether there is something to remark."""
    found, density = view.evaluation, view.density
    gains = density.gains_ if found is None else found.gains
    result = density.result_.verdict
    nats, error = (result.held_out_nats, result.standard_error) if found is None else (found.nats, found.standard_error)
    where = "rows held out from the fit" if found is None else f"{found.rows:,} rows"
    start = f"On {where} the model has {number(nats)} ± {number(error, 2)} nats per row"
    if nats is None:
        start = "No rows were held out from the fit to judge it by"
    finite = [gain for gain in gains if np.isfinite(gain.gain)]
    if not finite:
        return f"{start}.", found is not None and found.zero > 0
    least = min(finite, key=lambda gain: gain.gain)
    spread = f"{number(abs(least.gain), 3)} ± {number(least.standard_error, 2)}"
    if least.gain > 2 * least.standard_error:
        zero = found is not None and found.zero > 0
        return f"{start}, {spread} more than the best of the simple densities, {least.name}.", zero
    if least.gain < -2 * least.standard_error:
        return f"{start}, {spread} less than a simple density, {least.name}: use that one.", True
    return f"{start}, no more than a simple density, {least.name} (the gain is {number(least.gain, 2)}).", True


def _key_figures(view: View, rows: int) -> list[tuple[str, str, str]]:
    found, density = view.evaluation, view.density
    result = density.result_.verdict
    figures = [("Rows of the fit", f"{rows:,}", f"{len(density.schema_.columns)} columns")]
    if found is None:
        figures.append(
            ("Held-out log-density", number(result.held_out_nats), f"± {number(result.standard_error, 2)} nats per row")
        )
    else:
        figures += [
            ("Log-density", number(found.nats), f"± {number(found.standard_error, 2)} nats, {found.rows:,} rows"),
            ("Bits per dimension", number(found.bits_per_dim), "lower is better"),
            ("Shape and Trend", f"{1 - found.likeness.shape.error:.1%}",
             f"columns; pairs {1 - found.likeness.trend.error:.1%}" if found.likeness.trend.errors else "columns"),
        ]  # fmt: skip
        if found.c2st is not None:
            figures.append(("Classifier", number(found.c2st.auc, 3), "AUC of data against samples; 0.5 is chance"))
    gains = [g for g in (density.gains_ if found is None else found.gains) if np.isfinite(g.gain)]
    if gains:
        least = min(gains, key=lambda gain: gain.gain)
        figures.append(
            ("Gain", f"{number(least.gain, 3)}", f"± {number(least.standard_error, 2)} nats over {least.name}")
        )
    if view.checks is not None:
        figures.append(("Checks", *_counts(view.checks)))
    return figures


def _counts(report: CheckReport) -> tuple[str, str]:
    made = [line for line in report.lines if line.verdict != "skipped"]
    notes = sum(line.verdict == "note" for line in made)
    failed = len(report.failed)
    words = ", ".join([f"{failed} failed" if failed else "none failed", *([f"{notes} notes"] if notes else [])])
    return f"{sum(line.verdict == 'pass' for line in made)} of {len(made)}", words


def _facts(view: View, name: str | None, verdict: tuple[str, ...]) -> dict[str, Any]:
    return {
        "model": name,
        "kind": "density",
        "verdict": list(verdict),
        "evaluate": None if view.evaluation is None else view.evaluation.to_json(),
        "check": None if view.checks is None else view.checks.to_json(),
        "seed": view.seed,
    }
