"""`pushforward tune`: a search for the options of a fit, written as a file for `fit --config`."""

from __future__ import annotations

import shlex
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.flags import gather, names_in
from pushforward.cli.reporter import INTERRUPT, OK, Reporter
from pushforward.cli.verb import Data, Force, Seed, verb


class Missing(StrEnum):
    """What happens to rows with missing values."""

    error = "error"
    drop = "drop"
    model = "model"


@verb("pushforward tune weather.csv --out best.toml --max-minutes 10")
def tune(
    data: Data,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="FILE", help="TOML file to write, for fit --config.", show_default=False),
    ],
    max_minutes: Annotated[
        float, typer.Option(metavar="X", min=0.01, help="Time in minutes for all trials together.")
    ] = 10.0,
    trials: Annotated[
        int | None,
        typer.Option(
            "--trials", metavar="N", min=1, help="Largest number of trials; as many as there is time for by default."
        ),
    ] = None,
    max_epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Largest number of passes over the rows per trial.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="A,B,...", help="Columns to model; all columns by default.")
    ] = None,
    given: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="Columns that are conditions; the others are fitted given these."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column that holds the weights of the rows; it is not modelled."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(
            "--schema",
            metavar="FILE",
            help="JSON file that says what the columns are, as `pushforward schema` writes it.",
        ),
    ] = None,
    missing: Annotated[
        Missing, typer.Option(help="What happens to rows with missing values: they are refused, dropped, or modelled.")
    ] = Missing.error,
    seed: Seed = 0,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Search for better options of a fit within a time budget.

    Flow, sizes, learning rate and batch size are varied; the best options are written as a TOML file.
    """
    from pushforward.cli.table_input import read_weighted
    from pushforward.io.files import check_file_target, write_file
    from pushforward.tables.errors import DataError
    from pushforward.tables.estimators.tune import tune as search

    chosen = {
        "data.columns": names_in(columns),
        "data.given": names_in(given),
        "data.weights": weights,
        "data.schema_file": None if schema is None else str(schema),
        "data.missing": missing.value,
        "training.seed": seed,
        "training.max_epochs": max_epochs,
    }
    options = gather(None, None, {key: value for key, value in chosen.items() if value is not None})
    check_file_target(out, force)
    if options.data.stream:
        raise typer.BadParameter("tune does not stream: its trials share rows in memory. Tune on a part of them.")
    table, row_weights = read_weighted(data, options.data)
    reporter.say(f"{table.source}: {len(table):,} rows, trials for {max_minutes:g} minutes; the first is the defaults")
    try:
        found = search(
            table,
            options=options,
            weights=row_weights,
            max_seconds=60 * max_minutes,
            n_trials=trials,
            seed=options.training.seed,
            on_trial=lambda attempt: reporter.say(attempt.sentence),
        )
    except ImportError as error:
        raise typer.BadParameter(str(error)) from error
    except DataError:
        raise
    except ValueError as error:
        raise DataError("unreadable", f"{table.source}: {error}") from error
    head = f"# Found by `pushforward tune`, trial {found.best} of {len(found.attempts)}.\n"
    text = head + "".join(f"# {line}\n" for line in found.sentences[1:]) + found.options.to_toml()
    write_file(out, lambda file: file.write(text.encode("utf-8")), force)
    for note in found.notes:
        reporter.warn(note)
    for line in found.sentences:
        reporter.say(line)
    reporter.say(f"Options: {out}")
    reporter.say(f"Next:\n  pushforward fit {shlex.quote(data)} --config {shlex.quote(str(out))} --out model")
    reporter.result("tune", {"data": table.source, "out": out, **found.to_json()})
    return INTERRUPT if found.interrupted else OK
