"""`pushforward compare`: a synthetic table beside a real one, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from pushforward.cli.reporter import CHECK_FAILED, OK, Reporter
from pushforward.cli.verb import DATA, Force, Seed, verb


@verb("pushforward compare train.csv samples.csv --held-out test.csv --target income")
def compare(
    real: Annotated[str, typer.Argument(metavar="REAL", help="Real rows. " + DATA, show_default=False)],
    synthetic: Annotated[str, typer.Argument(metavar="SYNTHETIC", help="Synthetic rows.", show_default=False)],
    held_out: Annotated[
        str | None,
        typer.Option("--held-out", metavar="FILE", help="Real rows that the synthetic ones were not made from."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column to predict by what is learned from synthetic and from real rows."),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What the columns are, as `schema` writes it; detected in REAL by default."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="PATH", help="Figure to write: .png, .pdf or .svg.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Hold synthetic rows against real ones: are they alike, are they copies, can one learn from them?

    Shape and Trend as SDMetrics has them, detection by logistic regression and boosted trees, nearest neighbours, and
    training on synthetic rows, with a sentence for each. The exit code is 6 if the tables differ, if rows are copied,
    or if the synthetic rows teach less.
    """
    from pushforward.io.files import check_file_target, write_file
    from pushforward.tables.likeness.two_tables import compare as compare_tables
    from pushforward.tables.modelling.preparation import read_schema
    from pushforward.tables.schema import TableSchema

    if out is not None:
        check_file_target(out, force)
        if out.suffix.lower() not in (".png", ".pdf", ".svg"):
            raise typer.BadParameter(f"--out {out}: expected .png, .pdf or .svg.")
    if [real, synthetic, held_out].count("-") > 1:
        raise typer.BadParameter("standard input (-) is one table only.")
    own = None if schema is None else TableSchema.from_value(read_schema(schema), str(schema))
    found = compare_tables(real, synthetic, held_out, target=target, schema=own, random_state=seed)
    if out is not None:
        from pushforward.plotting import plot_likeness

        figure: Any = plot_likeness(found)[0]
        suffix = out.suffix.lower().removeprefix(".")
        write_file(out, lambda file: figure.savefig(file, format=suffix, bbox_inches="tight"), force)
    for note in found.notes:
        reporter.warn(note)
    for line in found.sentences:
        reporter.say(line)
    if out is not None:
        reporter.say(f"Figure: {out}")
    tables = {"real": real, "synthetic": synthetic, "held_out": held_out}
    facts = {"tables": tables, "out": out, "seed": seed, **found.to_json()}
    return reporter.result("compare", facts, OK if found.passed else CHECK_FAILED)
