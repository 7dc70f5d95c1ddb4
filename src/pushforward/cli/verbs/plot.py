"""`pushforward plot`: figures of a fitted model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.flags import names_in
from pushforward.cli.reporter import Reporter
from pushforward.cli.verb import DATA, Force, Model, Seed, verb


class Kind(StrEnum):
    """Figures that can be drawn."""

    pair = "pair"
    marginal = "marginal"
    conditional = "conditional"
    curve = "curve"
    qq = "qq"
    trajectories = "trajectories"
    field = "field"
    layers = "layers"
    everything = "all"


@verb("pushforward plot model weather.csv --out fit.png")
def plot(
    model: Model,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="PATH", help="Figure to write: .png, .pdf or .svg.", show_default=False),
    ],
    data: Annotated[
        str | None,
        typer.Argument(metavar="DATA", help=DATA + " The quantiles of the latents need it.", show_default=False),
    ] = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="Figure: pairs of columns, learning curve, quantiles of the latents, or all three on one page; the "
            "density of each column; for a model of one column given others, the density along a condition and for "
            "single rows; or how the flow carries noise to data, as trajectories, velocity field or layers."
        ),
    ] = Kind.everything,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...",
            help="Columns to draw. A pair plot takes ten at most, by default those of the strongest dependence; "
            "trajectories and layers take two, by default the first; conditional takes the condition to draw along.",
        ),
    ] = None,
    row: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Row of DATA, counted from 1, whose condition conditional, trajectories, field and layers show; "
            "by default six rows for conditional, and the first for the others.",
        ),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Draw figures of a model and of its data.

    Data are drawn beside samples; other figures show the learning curve, the quantiles of the latents, and how the flow
    carries noise to data.
    """
    from pushforward.cli.figures import run_plot

    return run_plot(
        model,
        data,
        out,
        kind=kind.value,
        columns=names_in(columns),
        row=row,
        seed=seed,
        force=force,
        reporter=reporter,
    )
