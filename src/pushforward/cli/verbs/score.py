"""`pushforward score`: the exact log-density of each row of a table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from pushforward.cli.reporter import OK
from pushforward.cli.verb import (
    TABLE_OUT,
    Data,
    Debug,
    DropMissing,
    Force,
    Json,
    Missing,
    Model,
    Quiet,
    reporter_for,
    verb,
)


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
    force: Force = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> int:
    """Score each row with its exact log-density; print their mean.

    Scores are in nats and refer to the units of the data. A row that --missing drop leaves out keeps its line, without
    a log_prob and with the status missing.
    """
    import numpy as np
    import pyarrow as pa

    from pushforward.cli.table_output import check_out, write_out
    from pushforward.numerics.mean_error import mean_and_error
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.estimators.intake import rows_with_states
    from pushforward.tables.estimators.verify import status_of
    from pushforward.tables.reading.cells import read_cells

    reporter = reporter_for(out, as_json, quiet)
    if out is not None:
        check_out(out, force)
    density = FlowDensity.load(model)
    fitted = density.model_
    cells = fitted.pick(read_cells(data, conventions=fitted.schema.reading))
    table, kept = rows_with_states(density, cells, missing.value)
    encoded, condition = fitted.encode(table)
    for name, words in encoded.unseen.items():
        reporter.warn(f"{data}: '{name}' holds levels that the fit never saw, such as {', '.join(words[:3])}.")
    scores = fitted.score_encoded(encoded, condition)
    status = status_of(fitted, encoded, condition, scores.log_prob)
    if out is not None:
        columns = {"log_prob": scores.log_prob}
        if parts:
            columns |= {"log_mass": scores.mass, "log_density": scores.density, "bound_error": scores.error}
        places = np.where(kept, np.cumsum(kept) - 1, len(status))
        spread = {name: pa.array(np.append(own, np.nan)[places], mask=~kept) for name, own in columns.items()}
        write_out(out, pa.table({**spread, "status": np.append(status, "missing")[places]}), force)
    n, log_prob = len(scores.log_prob), scores.log_prob
    there = np.isfinite(log_prob)
    mean, error = map(float, mean_and_error(log_prob[there])) if there.any() else (math.nan, math.nan)
    dim = len(fitted.layout.columns)
    bits = -mean / (dim * math.log(2))
    spread = f" +- {error:.4f}" if math.isfinite(error) else ""
    reporter.say(f"{data}: {n:,} rows, mean log-density {mean:.4f}{spread} nats, {bits:.4f} bits per dimension.")
    for line in density.meaning():
        reporter.say(line)
    if mean > 0:
        reporter.say("It may be positive: it is a density in the data's units, not a probability.")
    counts = {word: int((status == word).sum()) for word in ("ok", "tail", "extrapolated", "unconverged")}
    odd = ", ".join(f"{count:,} {word}" for word, count in counts.items() if count and word != "ok")
    if odd:
        reporter.say(f"Rows out of the ordinary: {odd}.")
    dropped = int((~kept).sum())
    if dropped:
        reporter.say(f"{dropped:,} rows with missing values are left out.")
    if out is not None:
        reporter.say(f"One log_prob per row: {out}")
    wild = int((~there).sum())
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
    means = {"mean_log_mass": scores.mass[there].mean(), "mean_log_density": scores.density[there].mean()}
    extremes = {"min_nats": log_prob.min(), "max_nats": log_prob.max(), "not_finite": wild}
    reporter.result("score", {**facts, **means, **extremes, "status": counts})
    return OK
