"""`pushforward evaluate`: a fitted model held against a table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pushforward.cli.report import OK, Reporter, to_json
from pushforward.data.cells import read_cells
from pushforward.estimators import FlowDensity, evaluate
from pushforward.io.files import check_file_target, write_file


def run_evaluate(
    model: Path,
    data: str,
    out: Path | None,
    *,
    n_samples: int | None,
    missing: Literal["error", "drop"],
    seed: int,
    force: bool,
    reporter: Reporter,
) -> int:
    """Evaluate, print the sentences, write the report; the exit code.

    Raises:
        DataError: the table is not one of the model, or has missing values that the model has no state for.
        FileExistsError: the report exists and `force` is False.
    """
    if out is not None:
        check_file_target(out, force)
    density = FlowDensity.load(model)
    table = read_cells(data).select(density.model_.needed)
    found = evaluate(density, table, n_samples=n_samples, seed=seed, missing=missing)
    facts = {"model": model, "data": table.source, "seed": seed, **found.to_json()}
    if out is not None:
        text = to_json(facts) + "\n"
        write_file(out, lambda file: file.write(text.encode("utf-8")), force)
    for note in found.notes:
        reporter.warn(note)
    for line in found.sentences:
        reporter.say(line)
    if out is not None:
        reporter.say(f"Report: {out}")
    reporter.result("evaluate", {**facts, "out": out})
    return OK
