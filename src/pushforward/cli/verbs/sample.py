"""`pushforward sample`: new rows from a fitted model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pushforward.cli.jobs import AtScale, run_to_folder
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import TABLE_OUT, Force, Seed, leave_stdout_to, verb

if TYPE_CHECKING:
    import pyarrow as pa

    from pushforward.tables.estimators import FlowDensity


@dataclass(frozen=True)
class OfImages:
    """Options for a model of images."""

    label: Annotated[
        str | None, typer.Option(metavar="CLASS", help="Class of all images, for a model of images with classes.")
    ] = None
    temperature: Annotated[
        float, typer.Option(metavar="X", min=0.0, help="Factor of the latents of a model of images.")
    ] = 1.0
    guidance: Annotated[
        float,
        typer.Option(metavar="X", help="Weight that pulls images towards their class, for a model that can be guided."),
    ] = 0.0


@dataclass(frozen=True)
class Known:
    """What is known of the rows."""

    given: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Table of conditions, for a model fitted with --given; of observations, for one of `infer`.",
        ),
    ] = None
    where: Annotated[
        str | None,
        typer.Option(
            metavar="CONDITIONS",
            help="What is known of every row, such as 'weather=rain|snow,temp_max>20,wind=2..5,rain=missing'.",
        ),
    ] = None


class Clip(StrEnum):
    """What samples are held to."""

    observed = "observed"


@verb("pushforward sample model -n 1000 --out samples.csv")
def sample(
    model: Annotated[
        Path, typer.Argument(help="Model folder that `fit` or `infer` wrote.", metavar="MODEL", show_default=False)
    ],
    n: Annotated[
        int,
        typer.Option(
            "-n",
            "--n-samples",
            metavar="N",
            min=1,
            help="Number of rows to draw, for each row of --given if there is one.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="PATH", help=TABLE_OUT, show_default=False)],
    clip: Annotated[
        Clip | None, typer.Option(help="Hold every number to the range of the data; by default samples are as drawn.")
    ] = None,
    seed: Seed = 0,
    force: Force = False,
    *,
    known: Known,
    of_images: OfImages,
    scale: AtScale,
    reporter: Reporter,
) -> int:
    """Draw new rows from a model, or images: a grid as a .png file, an .npz file, or a folder of .png files.

    Where --out is a folder, the draws of a table are a job, which goes on when it is called again after a crash.
    """
    from pushforward.images.folder import is_images_model

    given, where = known.given, known.where
    if is_images_model(model):
        from pushforward.cli.image_use import sample_images

        if given is not None or where is not None or clip is not None:
            raise typer.BadParameter("--given, --where and --clip are for models of tables.")
        return sample_images(model, n, out, of_images, seed, force, reporter)
    if of_images != OfImages():
        raise typer.BadParameter("--label, --temperature and --guidance are for models of images.")
    from pushforward.cli.table_output import check_out, counted, held, write_out
    from pushforward.inference.saved import is_inference
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.estimators.drawing import draw_pieces
    from pushforward.tables.modelling.rows import MOST_DRAWS
    from pushforward.tables.reading.cells import read_cells
    from pushforward.tables.reading.formats import GIB, MAX_BYTES

    leave_stdout_to(out, reporter)
    folder = scale.is_job(out) and not is_inference(model) and where is None
    if scale != AtScale() and not folder:
        raise typer.BadParameter("--engine, --workers and --keep are for draws of a table without --where.")
    if not folder:
        check_out(out, force)
    if is_inference(model):
        from pushforward.cli.simulations import draw_to
        from pushforward.inference import NPE

        if clip is not None:
            raise typer.BadParameter("--clip: the draws of a posterior lie within its prior as they are.")
        draw_to(NPE.load(model), given, n, out, seed, force, reporter)
        return OK
    density = FlowDensity.load(model)
    if where is not None:
        if given is not None:
            raise typer.BadParameter("--given FILE and --where are two ways to say what is known: choose one.")
        return _sample_where(density, n, out, where, seed, clip, force, reporter)
    if (given is None) == bool(density.given_):
        if given is None:
            columns = ", ".join(density.given_)
            raise typer.BadParameter(f"{model} is a density given {columns}: pass a table with these as --given FILE.")
        raise typer.BadParameter(f"{model} has no conditions: leave out --given.")
    if folder:
        from pushforward.scale import BatchSampler, plan_numbers

        held_to = None if clip is None else "observed"
        function = BatchSampler(str(model), keep=scale.kept, n_draws=1 if given is None else n, seed=seed, clip=held_to)
        source = plan_numbers(n) if given is None else given
        return run_to_folder(function, source, out, scale, force, reporter)
    conditions = (
        None if given is None else read_cells(given, conventions=density.schema_.reading).select(density.given_)
    )
    rows = n * (1 if conditions is None else len(conditions))
    size = 8 * rows * len(density.columns_)
    if n > MOST_DRAWS:
        raise typer.BadParameter(f"-n {n:,}: at most {MOST_DRAWS:,} rows can be told apart. Draw fewer.")
    if size > MAX_BYTES and held(out):
        limit = f"more than the {MAX_BYTES / GIB:.0f} GiB that are held at once"
        fix = "Write .parquet, .arrow or .csv, which take them piece by piece."
        raise typer.BadParameter(f"{rows:,} rows take {size / GIB:.0f} GiB, {limit}. {fix}")
    names, wild = [], 0

    def pieces() -> Iterator[pa.Table]:
        nonlocal names, wild
        drawn = draw_pieces(density, n, conditions, seed, None if clip is None else clip.value)
        for table in counted(drawn, len, rows, not (reporter.quiet or reporter.as_json)):
            names, wild = table.column_names, wild + not_finite(table)
            yield table

    with reporter.hears():
        write_out(out, pieces(), force)
    if wild:
        reporter.warn(f"{wild:,} of {rows:,} rows are not finite: the model's tails overflow. Fit it anew.")
    reporter.say(f"{rows:,} rows, columns {', '.join(names)}: {out}")
    facts = {
        "model": model,
        "out": out,
        "rows": rows,
        "columns": names,
        "seed": seed,
        "not_finite": wild,
        "clip": clip,
    }
    reporter.result("sample", facts)
    return OK


def _sample_where(
    density: FlowDensity, n: int, out: Path, where: str, seed: int, clip: Clip | None, force: bool, reporter: Reporter
) -> int:
    """Draw rows in which what is known holds."""
    from pushforward.cli.table_output import write_out
    from pushforward.tables.estimators.conditioned import condition_table
    from pushforward.tables.estimators.where import parse_where

    if clip is not None:
        raise typer.BadParameter("--where says what numbers are held to: leave out --clip.")
    with reporter.hears():
        table, report = condition_table(density, parse_where(where)).table(n, seed)
        write_out(out, iter([table]), force)
    reporter.say(f"{n:,} rows, columns {', '.join(table.column_names)}: {out}")
    reporter.say(report.sentence)
    facts = {
        "out": out,
        "rows": n,
        "columns": table.column_names,
        "seed": seed,
        "not_finite": not_finite(table),
        "where": where,
        "method": report.method,
        "ess": report.ess,
        "pareto_k": report.pareto_k if math.isfinite(report.pareto_k) else None,
        "log_evidence": report.log_evidence,
    }
    reporter.result("sample", facts)
    return OK


def not_finite(table: pa.Table) -> int:
    """Number of rows with a value that is infinite or not a number; a missing value is neither."""
    import numpy as np
    import pyarrow as pa

    bad = np.zeros(table.num_rows, bool)
    for column in table.columns:
        if pa.types.is_floating(column.type):
            values = np.asarray(column.drop_null() if column.null_count == 0 else column.fill_null(0.0))
            bad |= ~np.isfinite(values)
    return int(bad.sum())
