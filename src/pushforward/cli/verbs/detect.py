"""`pushforward detect`: the unusual rows of a table or a stream, with p-values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.jobs import AtScale, run_to_folder
from pushforward.cli.reporter import Reporter
from pushforward.cli.verb import DATA, TABLE_OUT, Data, Force, Seed, verb


@dataclass(frozen=True)
class Written:
    """What `detect` writes, and says of the rows."""

    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="PATH", help=TABLE_OUT + " Its columns are row, score, p_value and anomaly."
        ),
    ] = None
    figure: Annotated[
        Path | None,
        typer.Option("--figure", metavar="PATH", help="Figure to write: scores, p-values, the most unusual rows."),
    ] = None
    explain: Annotated[
        bool,
        typer.Option(
            "--explain", help="Say why the most unusual rows are; with --fpr also a column of --out, for rows flagged."
        ),
    ] = False
    labels: Annotated[
        str | None,
        typer.Option(
            "--labels", metavar="COLUMN", help="Column that says which rows are anomalies, 1 or -1: print AUROC."
        ),
    ] = None
    force: Force = False


@verb("pushforward detect model weather.csv --fpr 0.01 --out anomalies.csv")
def detect(
    model: Annotated[
        Path, typer.Argument(help="Folder that `fit` or `fit --detector` wrote.", metavar="MODEL", show_default=False)
    ],
    data: Data,
    fpr: Annotated[
        float | None, typer.Option(metavar="RATE", help="False-positive rate: share of clean rows flagged. 0.01.")
    ] = None,
    fdr: Annotated[
        float | None,
        typer.Option(metavar="RATE", help="False discovery rate instead: share of flagged rows that are clean."),
    ] = None,
    clean: Annotated[
        str | None, typer.Option("--clean", metavar="FILE", help="Clean rows to calibrate by anew. " + DATA)
    ] = None,
    watch: Annotated[
        bool | None,
        typer.Option("--watch/--no-watch", help="Watch the order of rows for drift; by default on standard input."),
    ] = None,
    seed: Seed = 0,
    *,
    written: Written,
    scale: AtScale,
    reporter: Reporter,
) -> int:
    """Find the unusual rows of a table, shards or a stream, with calibrated p-values.

    Rows of the model's own kind are flagged at --fpr, whatever the model is worth. Rows that it cannot score, for
    cells are missing, are counted and never flagged. Standard input is taken line by line, in constant memory.

    Where --out is a folder, a job that was killed goes on when it is called again, and bad rows do not stop it. What
    looks at all rows together (--fdr, --clean, --labels, --watch, --figure, --explain) writes a folder in one go.
    """
    from pushforward.cli.detection import Asked, run_detect

    if fpr is not None and fdr is not None:
        raise typer.BadParameter("--fpr and --fdr are two ways to choose: give one.")
    rate = fpr if fpr is not None else fdr if fdr is not None else 0.01
    if not 0 < rate < 1:
        raise typer.BadParameter(f"expected a rate between 0 and 1, got {rate:g}. 0.01 is 1 %.")
    if scale.is_job(written.out) and written.out is not None:
        together = {"--fdr": fdr, "--clean": clean, "--labels": written.labels, "--watch": watch or None}
        together |= {"--figure": written.figure, "--explain": written.explain or None}
        given = [name for name, value in together.items() if value is not None]
        if data != "-" and not given:
            from pushforward.scale import BatchDetector

            function = BatchDetector(str(model), keep=scale.kept, fpr=rate)
            return run_to_folder(function, data, written.out, scale, written.force, reporter)
        if scale != AtScale():
            what = given[0] if given else "standard input"
            raise typer.BadParameter(f"{what} is for one pass over all rows: leave out --engine, --workers and --keep.")
    watched = data == "-" if watch is None else watch
    asked = Asked(model, data, rate, fdr is not None, clean, written.labels, watched, written.explain, seed)
    return run_detect(asked, written.out, written.figure, written.force, reporter)
