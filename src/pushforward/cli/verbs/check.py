"""`pushforward check`: whether the density of a fitted model can be believed."""

from __future__ import annotations

from typing import Annotated

import typer

from pushforward.cli.reporter import CHECK_FAILED, OK, Reporter
from pushforward.cli.verb import DATA, DropMissing, Missing, Model, Seed, verb


@verb("pushforward check model weather.csv")
def check(
    model: Model,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help=DATA + " Rows that the fit has not seen serve best.", show_default=False),
    ] = None,
    missing: DropMissing = Missing.error,
    seed: Seed = 0,
    *,
    reporter: Reporter,
) -> int:
    """Check that a trained model is exact and normalised.

    The checks ask whether it is invertible, whether its log-determinant is that of its Jacobian, whether its density
    integrates to 1, and whether float32 is enough. The exit code is 6 if a check fails.
    """
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.estimators.intake import rows_with_states
    from pushforward.tables.reading.cells import read_cells

    density = FlowDensity.load(model)
    if data is None and density.given_:
        raise typer.BadParameter(f"{model} is a density given {', '.join(density.given_)}: pass DATA with these.")
    table, dropped = None, 0
    if data is not None:
        cells = read_cells(data, conventions=density.schema_.reading).select(density.model_.needed)
        table, kept = rows_with_states(density, cells, missing.value)
        dropped = int((~kept).sum())
    if dropped:
        reporter.say(f"{dropped:,} rows with missing values are left out.")
    with reporter.hears():
        report = density.check(table, random_state=seed)
    reporter.say(str(report))
    facts = {"model": model, "data": data, "rows_left_out": dropped, "passed": report.ok, "checks": report.to_json()}
    return reporter.result("check", facts, OK if report.ok else CHECK_FAILED)
