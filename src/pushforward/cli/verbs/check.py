"""`pushforward check`: whether the density of a fitted model can be believed."""

from __future__ import annotations

from typing import Annotated

import typer

from pushforward.cli.reporter import CHECK_FAILED, OK, Reporter
from pushforward.cli.verb import DATA, Debug, Json, Model, Quiet, Seed, verb


@verb("pushforward check model weather.csv")
def check(
    model: Model,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help=DATA + " Rows that the fit has not seen serve best.", show_default=False),
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Check that a trained model is exact and normalised.

    The checks ask whether it is invertible, whether its log-determinant is that of its Jacobian, whether its density
    integrates to 1, and whether float32 is enough. The exit code is 6 if a check fails.
    """
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.reading.cells import read_cells

    reporter = Reporter(as_json, quiet)
    density = FlowDensity.load(model)
    if data is None and density.given_:
        raise typer.BadParameter(f"{model} is a density given {', '.join(density.given_)}: pass DATA with these.")
    table = None if data is None else read_cells(data).select(density.model_.needed)
    report = density.check(table, random_state=seed)
    reporter.say(str(report))
    reporter.result("check", {"model": model, "data": data, "passed": report.ok, "checks": report.to_json()})
    return OK if report.ok else CHECK_FAILED
