"""`pushforward calibrate`: a posterior is judged by simulations that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.reporter import CHECK_FAILED, OK, Reporter
from pushforward.cli.verb import DATA, Force, Seed, verb


@verb("pushforward calibrate posterior held_out.csv --out calibration.png")
def calibrate(
    model: Annotated[Path, typer.Argument(help="Folder that `infer` wrote.", metavar="MODEL", show_default=False)],
    held_out: Annotated[
        str, typer.Argument(metavar="HELD_OUT", help="Simulations that the model has not seen. " + DATA)
    ],
    observed: Annotated[
        str | None,
        typer.Option("--given", metavar="FILE", help="Table with one observation, at which it is judged too."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="Figure to write: .png, .pdf or .svg.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Judge a posterior by held-out simulations: ranks, coverage, TARP, and tests at an observation.

    The exit code is 6 if a test fails. Together the tests of held-out pairs fail a right posterior once in a hundred
    times.
    """
    import jax

    from pushforward.inference import NPE
    from pushforward.inference.calibration import calibrate as judge
    from pushforward.io.files import check_file_target, write_file
    from pushforward.tables.errors import DataError
    from pushforward.tables.pairs import observations, pairs

    if out is not None:
        check_file_target(out, force)
        if out.suffix.lower() not in (".png", ".pdf", ".svg"):
            raise typer.BadParameter(f"--out {out}: expected .png, .pdf or .svg.")
    posterior = NPE.load(model)
    theta, x = pairs(posterior, held_out)
    place = None if observed is None else observations(posterior, observed)
    if place is not None and len(place) != 1:
        raise typer.BadParameter(f"--given {observed}: expected one observation, got {len(place)} rows.")
    try:
        found = judge(posterior, theta, x, key=jax.random.key(seed), observed=None if place is None else place[0])
    except ValueError as error:
        raise DataError("one-row", str(error)) from error
    if out is not None:
        from pushforward.plotting import plot_calibration

        figure: Any = plot_calibration(found)[0]
        suffix = out.suffix.lower().removeprefix(".")
        write_file(out, lambda file: figure.savefig(file, format=suffix, bbox_inches="tight"), force)
    for test in found.tests:
        reporter.say(f"{'passed' if test.passed else 'FAILED'}  {test.sentence}")
    for note in found.notes:
        reporter.warn(note)
    reporter.say("No test objects to the posterior." if found.passed else "The posterior is not calibrated.")
    facts = {"model": model, "out": out, "seed": seed, **found.to_json()}
    return reporter.result("calibrate", facts, OK if found.passed else CHECK_FAILED)
