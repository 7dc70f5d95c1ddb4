"""The work of `pushforward fit --detector`: a detector of unusual rows is fitted and written."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from pushforward.anomalies import FlowOutlierDetector
from pushforward.anomalies.folder import KNOWN
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.table_input import read_weighted
from pushforward.io.files import check_folder_target
from pushforward.io.fit_options import FitOptions
from pushforward.tables.errors import DataError

# Options of the table that a detector takes: what is read, and how.
READING = ("columns", "na", "decimal", "strip")


def run_fit_detector(
    data: str, out: Path, options: FitOptions, given: Mapping[str, Any], *, force: bool, reporter: Reporter
) -> int:
    """Fit the default detector, save it and report; return the exit code.

    Args:
        data: The table of clean rows.
        out: Folder to write.
        options: Options of the fit, of which the columns, how they are read and the seed count.
        given: The options that the user gave, by their keys.
        force: Whether an existing folder is replaced.
        reporter: Reporter that tells how the fit went.

    Raises:
        typer.BadParameter: Options of a single flow were given.
        DataError: The table cannot be fitted.
    """
    reading = FitOptions().data.model_copy(update={name: getattr(options.data, name) for name in READING})
    seeded = FitOptions().training.model_copy(update={"seed": options.training.seed})
    if options != FitOptions().model_copy(update={"data": reading, "training": seeded}):
        names = [str(name).rpartition(".")[2] for name in given]
        others = [f"--{name.replace('_', '-')}" for name in names if name not in (*READING, "seed")]
        raise typer.BadParameter(
            "--detector chooses its flows and their training itself: it goes with "
            f"{', '.join(f'--{name}' for name in READING)} and --seed alone, not with "
            f"{', '.join(others) or 'the options of the file'}."
        )
    check_folder_target(out, force, known=KNOWN)
    table, _ = read_weighted(data, options.data)
    reporter.say(f"{table.source}: {len(table):,} rows, taken to be clean")
    detector = FlowOutlierDetector(random_state=options.training.seed)
    with reporter.hears():
        try:
            detector.fit(table)
        except DataError:
            raise
        except ValueError as error:
            raise DataError("unreadable", f"{table.source}: {error}") from error
    detector.save(out, force=force)
    reporter.say(detector.describe())
    reporter.say(f"Detector: {out}")
    reporter.say(f"Next:\n  pushforward detect {shlex.quote(str(out))} NEW_ROWS --out anomalies.csv")
    calibration = detector.calibration_
    facts = {"calibration": calibration.kind, "calibration_rows": len(calibration), "models": len(detector.models_)}
    reporter.result("fit", {"model": out, "rows": len(table), "columns": list(table.names), "detector": True, **facts})
    return OK
