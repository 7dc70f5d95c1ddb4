"""`pushforward evaluate`: a fitted model is judged by rows that it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pushforward._json import to_json
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import Data, DropMissing, Force, Missing, Model, Seed, verb


@verb("pushforward evaluate model new_rows.csv --out report.json")
def evaluate(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="JSON file to write.", show_default=False)
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples",
            metavar="N",
            min=1,
            help="Number of rows to draw for the tests of columns; as many as DATA has by default.",
        ),
    ] = None,
    train: Annotated[
        str | None,
        typer.Option("--train", metavar="FILE", help="Rows of the fit, to see whether samples copy them."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column to predict by what samples and the rows of --train teach."),
    ] = None,
    missing: DropMissing = Missing.error,
    seed: Seed = 0,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Judge a model by rows that it has not seen.

    The report holds their likelihood beside that of simple densities, a test of each column, a classifier that tries to
    tell samples from data, how often the tails are exceeded, and how alike samples and rows are by SDMetrics' figures,
    with a sentence for each.
    """
    from pushforward.cli.table_input import sampled_or_read
    from pushforward.images.folder import is_images_model
    from pushforward.io.files import check_file_target, write_file
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.estimators import evaluate as evaluate_density
    from pushforward.tables.reading.cells import read_cells

    if is_images_model(model):
        from pushforward.cli.image_use import evaluate_images

        if samples is not None or train is not None or target is not None:
            raise typer.BadParameter("--samples, --train and --target are for models of tables.")
        return evaluate_images(model, data, out, force, reporter)
    if out is not None:
        check_file_target(out, force)
    if target is not None and train is None:
        raise typer.BadParameter("--target needs --train: the rows of the fit, which samples are held against.")
    density = FlowDensity.load(model)
    table, whole = sampled_or_read(data, density.model_.needed, density.schema_.reading, seed)
    if whole is not None:
        reporter.warn(f"{table.source}: {whole:,} rows; a random sample of {len(table):,} of them is judged.")
    own = None if train is None else read_cells(train, conventions=density.schema_.reading)
    found = evaluate_density(
        density, table, n_samples=samples, seed=seed, missing=missing.value, train=own, target=target
    )
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
