"""`pushforward report`: a report on a fitted model in one file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.reporter import CHECK_FAILED, OK, Reporter
from pushforward.cli.verb import DATA, DropMissing, Force, Missing, Model, Seed, verb


@verb("pushforward report model weather.csv --out report.html")
def report(
    model: Model,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="HTML file to write.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help=DATA + " Rows that the fit has not seen serve best.", show_default=False),
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Table with one observation, at which a posterior is shown and judged."),
    ] = None,
    missing: DropMissing = Missing.error,
    seed: Seed = 0,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Write a report on a model: one page of HTML that needs no network.

    It says whether to believe the model and shows why: columns, pairs, correlations, simple densities, checks, learning
    curve, latents, the least likely rows, samples; of a detector p-values and cuts for the rows of DATA; of a posterior
    its draws and its calibration by the simulations in DATA. The exit code is 6 if the model should not be trusted.
    """
    from pushforward.io.files import check_file_target
    from pushforward.report.folder import report_of_folder

    check_file_target(out, force)
    start = time.monotonic()
    with reporter.hears():
        made = report_of_folder(model, data, given=given, seed=seed, missing=missing.value)
    size = made.save(out, force=force)
    for line in made.verdict:
        reporter.say(line)
    reporter.say(f"Report: {out} ({size / 1e6:.1f} MB)")
    facts = {"model": model, "data": data, "out": out, "bytes": size, "seconds": time.monotonic() - start}
    facts |= {"standing": made.standing, "verdict": list(made.verdict)}
    return reporter.result("report", facts, CHECK_FAILED if made.standing == "bad" else OK)
