"""`pushforward explore`: a page on this machine that shows a model while sliders move."""

from __future__ import annotations

import contextlib
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import DATA, Model, Seed, verb


@verb("pushforward explore model weather.csv")
def explore(
    model: Model,
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help=DATA + " Rows to look at; else samples.", show_default=False),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="MODEL", help="Another model of the same columns, to compare.", show_default=False),
    ] = None,
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port to listen at; 0 takes a free one.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser of this machine.")] = True,
    seed: Seed = 0,
    *,
    reporter: Reporter,
) -> int:
    """Explore a model in the browser: hold columns by sliders and menus, and see densities, samples and scores follow.

    The page is served to this machine alone, at an address with a token; Ctrl-C stops it. It shows conditional
    densities of a column or a pair, samples given the held cells, the score of the row with each column's surprise,
    rows in a scatter plot to brush, latent axes to move along, and the way from noise to data, each with the Python
    that gives the same numbers.
    """
    from pushforward.explore import serve, subject_of
    from pushforward.report.folder import model_in

    with reporter.hears():
        other = None if against is None else model_in(against)
        subject = subject_of(
            model_in(model), data, name=str(model), against=other, against_name=str(against), seed=seed
        )

    def announce(address: str) -> None:
        reporter.say(f"Exploring at {address}")
        reporter.say("Ctrl-C stops it.")
        reporter.result("explore", {"model": model, "data": data, "address": address})
        if browser and not reporter.as_json:
            webbrowser.open(address)

    with contextlib.suppress(KeyboardInterrupt):
        serve(subject, port=port, announce=announce)
    reporter.say("Stopped.")
    return OK
