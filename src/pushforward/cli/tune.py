"""`pushforward tune`: a search for the options of a fit, written as a file for `fit --config`."""

from __future__ import annotations

import shlex
from pathlib import Path

import typer

from pushforward.cli.report import INTERRUPT, OK, Reporter
from pushforward.cli.tables import read_weighted
from pushforward.data.errors import DataError
from pushforward.estimators.tune import tune
from pushforward.io.files import check_file_target, write_file
from pushforward.io.options import FitOptions


def run_tune(
    data: str,
    out: Path,
    options: FitOptions,
    *,
    max_minutes: float,
    n_trials: int | None,
    force: bool,
    reporter: Reporter,
) -> int:
    """Search, write the winner's options, say what was gained; the exit code.

    Raises:
        typer.BadParameter: optuna is not installed.
        DataError: the table cannot be fitted.
        FileExistsError: the file exists and `force` is False.
    """
    check_file_target(out, force)
    table, weights = read_weighted(data, options.data.columns, options.data.given, options.data.weights)
    reporter.say(f"{table.source}: {len(table):,} rows, trials for {max_minutes:g} minutes; the first is the defaults")
    try:
        found = tune(
            table,
            options=options,
            weights=weights,
            max_seconds=60 * max_minutes,
            n_trials=n_trials,
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
