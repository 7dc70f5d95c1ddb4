"""`pushforward score`: the exact log-density of each row of a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pushforward.cli.jobs import AtScale, run_to_folder
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.verb import (
    TABLE_OUT,
    Data,
    DropMissing,
    Force,
    Missing,
    Model,
    leave_stdout_to,
    verb,
)

if TYPE_CHECKING:
    from pushforward.tables.estimators.bulk import ScoredBatch


@verb("pushforward score model weather.csv --out scores.csv")
def score(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help=TABLE_OUT + " Its columns are log_prob and status.",
        ),
    ] = None,
    parts: Annotated[
        bool,
        typer.Option("--parts", help="Write also the columns log_mass, log_density and bound_error."),
    ] = False,
    missing: DropMissing = Missing.error,
    draws: Annotated[
        int, typer.Option("--draws", metavar="N", min=1, help="Draws of the noise, for a model of images.")
    ] = 1,
    force: Force = False,
    *,
    scale: AtScale,
    reporter: Reporter,
) -> int:
    """Score each row with its exact log-density; print their mean.

    Where --out is a folder, a job that was killed goes on when it is called again, and bad rows do not stop it.

    Scores are in nats and refer to the units of the data. A row that --missing drop leaves out keeps its line, without
    a log_prob and with the status missing.
    """
    import numpy as np
    import pyarrow as pa

    from pushforward.checking.status import STATUSES
    from pushforward.cli.table_output import check_out, counted, write_out
    from pushforward.cli.totals import Totals
    from pushforward.images.folder import is_images_model
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.estimators.bulk import score_batches
    from pushforward.tables.reading.batches import count_rows

    leave_stdout_to(out, reporter)
    if is_images_model(model):
        from pushforward.cli.image_use import score_images

        return score_images(model, data, out, draws, force, reporter)
    if draws != 1:
        raise typer.BadParameter("--draws is for models of images.")
    if out is not None and scale.is_job(out):
        from pushforward.scale import BatchScorer

        function = BatchScorer(str(model), keep=scale.kept, missing=missing.value, parts=parts)
        return run_to_folder(function, data, out, scale, force, reporter)
    if out is not None:
        check_out(out, force)
    density = FlowDensity.load(model)
    fitted = density.model_
    total, warned = Totals(), set()

    def scored() -> Iterator[ScoredBatch]:
        batches = score_batches(density, data, missing=missing.value)
        for batch in counted(
            batches, lambda b: len(b.kept), count_rows(data), not (reporter.quiet or reporter.as_json)
        ):
            for name, words in batch.unseen.items():
                if name not in warned:
                    known = f"such as {', '.join(words[:3])}"
                    reporter.warn(f"{data}: '{name}' holds levels that the fit never saw, {known}.")
                warned.add(name)
            total.add(batch)
            yield batch

    def written(batch: ScoredBatch) -> pa.Table:
        scores, kept = batch.scores, batch.kept
        columns = {"log_prob": scores.log_prob}
        if parts:
            columns |= {"log_mass": scores.mass, "log_density": scores.density, "bound_error": scores.error}
        places = np.where(kept, np.cumsum(kept) - 1, len(batch.status))
        spread = {name: pa.array(np.append(own, np.nan)[places], mask=~kept) for name, own in columns.items()}
        return pa.table({**spread, "status": np.append(batch.status, "missing")[places]})

    if out is None:
        for _ in scored():
            pass
    else:
        write_out(out, map(written, scored()), force)
    n, mean, error = total.rows, total.log_prob.mean, total.log_prob.error
    dim = len(fitted.layout.columns)
    bits = -mean / (dim * math.log(2))
    spread = f" +- {error:.4f}" if math.isfinite(error) else ""
    reporter.say(f"{data}: {n:,} rows, mean log-density {mean:.4f}{spread} nats, {bits:.4f} bits per dimension.")
    for line in density.meaning():
        reporter.say(line)
    if mean > 0:
        reporter.say("It may be positive: it is a density in the data's units, not a probability.")
    counts = {word: total.status.get(word, 0) for word in STATUSES}
    odd = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count and word != "ok")
    if odd:
        reporter.say(f"Rows out of the ordinary: {odd}.")
    dropped = total.left_out
    if dropped:
        reporter.say(f"{dropped:,} rows with missing values are left out.")
    if out is not None:
        reporter.say(f"One log_prob per row: {out}")
    wild = total.rows - total.log_prob.finite
    if wild:
        reporter.warn(
            f"{wild:,} of {n:,} rows have a log-density that is not finite, being outside the bounds of the model; the "
            "mean is over the others."
        )
    facts = {
        "model": model,
        "out": out,
        "rows": n,
        "rows_left_out": dropped,
        "mean_nats": mean,
        "standard_error": error,
        "bits_per_dim": bits,
    }
    means = {"mean_log_mass": total.mass.mean, "mean_log_density": total.density.mean}
    extremes = {"min_nats": total.log_prob.least, "max_nats": total.log_prob.most, "not_finite": wild}
    reporter.result("score", {**facts, **means, **extremes, "status": counts})
    return OK
