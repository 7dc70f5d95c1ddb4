"""`pushforward fill`: the gaps of a table, filled by draws of the missing cells given the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.jobs import AtScale, run_to_folder
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import TABLE_OUT, Data, Force, Model, Seed, leave_stdout_to, verb

# Draws of completed tables, and of medians and intervals, unless the user says how many.
TABLES, MEDIANS = 5, 100


@dataclass(frozen=True)
class OneTable:
    """What one table says of all draws."""

    median: Annotated[
        bool,
        typer.Option("--median", help="Write one table, with the median of the draws in each gap."),
    ] = False
    interval: Annotated[
        float | None,
        typer.Option(
            metavar="LEVEL",
            min=0.0,
            max=1.0,
            help="Write the median, and beside each column the ends of the central interval of this probability.",
            show_default=False,
        ),
    ] = None


@verb("pushforward fill model gappy.csv --out filled.csv --median")
def fill(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help=TABLE_OUT, show_default=False)],
    draws: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of draws: of completed tables (5), which a column draw tells apart, or behind medians (100).",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Table that says of each row whether and how it was filled."),
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    *,
    one_table: OneTable,
    scale: AtScale,
    reporter: Reporter,
) -> int:
    """Fill the gaps of a table with draws of the missing cells of each row given its observed ones.

    Observed cells stay as they are. A row whose draws would not be worth trusting keeps its gaps; --report says why.

    Where --out is a folder, a job that was killed goes on when it is called again, and bad rows are set aside.
    """
    import tempfile

    import pyarrow as pa

    from pushforward.cli.table_output import check_out, counted, write_out
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.estimators.filled import Filled, check_level, in_one, sentence_of, stacked
    from pushforward.tables.estimators.filling import fill_batches
    from pushforward.tables.reading.batches import count_rows

    median, interval = one_table.median, one_table.interval
    leave_stdout_to(out, reporter)
    folder = scale.is_job(out) and data != "-" and report is None
    if not folder:
        check_out(out, force)
    if report is not None:
        if str(report) in ("-", str(out)):
            raise typer.BadParameter("--report: expected a file of its own, and not the one of --out.")
        check_out(report, force)
    one = median or interval is not None
    n = draws or (MEDIANS if one else TABLES)
    if interval is not None:
        try:
            check_level("--interval", interval, n)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
    if folder:
        from pushforward.scale import BatchFiller

        function = BatchFiller(str(model), keep=scale.kept, n_draws=n, median=median, interval=interval, seed=seed)
        return run_to_folder(function, data, out, scale, force, reporter)
    if scale != AtScale():
        raise typer.BadParameter("--report and standard input are for one pass: leave out --engine and --workers.")
    density = FlowDensity.load(model)
    counts: Counter[str] = Counter()
    cells, rows, n_exact = 0, 0, 0
    with tempfile.TemporaryFile() as spool:
        reports: list[pa.RecordBatchStreamWriter] = []

        def made() -> Iterator[pa.Table]:
            nonlocal cells, rows, n_exact
            batches = fill_batches(density, data, n, seed)
            shown = not (reporter.quiet or reporter.as_json)
            for batch in counted(batches, lambda b: len(b.cells), count_rows(data), shown):
                found: Filled = batch
                counts.update(found.report.counts)
                n_exact += int((found.report.method == "exact").sum())
                cells += sum(len(missing.places) for missing in found.missing.values())
                if report is not None:
                    said = found.report.to_arrow(rows)
                    if not reports:
                        reports.append(pa.ipc.new_stream(spool, said.schema))
                    reports[0].write_table(said)
                rows += len(found.cells)
                yield in_one(found, interval) if one else stacked(found)

        with reporter.hears():
            write_out(out, made(), force)
        if report is not None:
            reports[0].close()
            spool.seek(0)
            stream = pa.ipc.open_stream(spool)
            write_out(report, (pa.Table.from_batches([batch]) for batch in stream), force)
    reporter.say(f"{data}: {rows:,} rows. {sentence_of(counts, n_exact)}")
    what = "the median" if one else f"{n} draws each" if n > 1 else "one draw each"
    reporter.say(f"{cells:,} cells are filled with {what}: {out}")
    if report is not None:
        reporter.say(f"Each row's status and effective sample: {report}")
    facts = {"model": model, "out": out, "report": report, "rows": rows, "cells_filled": cells, "draws": n}
    more = {"median": one, "interval": interval, "seed": seed, "exact_rows": n_exact, "status": dict(counts)}
    reporter.result("fill", {**facts, **more})
    return OK
