"""`pushforward score`: the exact log-density of each row of a table."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

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
    force: Force = False,
    *,
    reporter: Reporter,
) -> int:
    """Score each row with its exact log-density; print their mean.

    Scores are in nats and refer to the units of the data. A row that --missing drop leaves out keeps its line, without
    a log_prob and with the status missing.
    """
    import numpy as np
    import pyarrow as pa

    from pushforward.checking.status import STATUSES
    from pushforward.cli.table_output import check_out, counted, write_out
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.estimators.bulk import score_batches
    from pushforward.tables.reading.batches import count_rows

    leave_stdout_to(out, reporter)
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
    n, mean, error = total.rows, total.mean, total.error
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
    wild = total.rows - total.finite
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
    means = {"mean_log_mass": total.mean_mass, "mean_log_density": total.mean_density}
    extremes = {"min_nats": total.least, "max_nats": total.most, "not_finite": wild}
    reporter.result("score", {**facts, **means, **extremes, "status": counts})
    return OK


@dataclass
class Totals:
    """What is said of all rows, gathered batch by batch; means are over the rows with a finite log-density."""

    rows: int = 0
    left_out: int = 0
    finite: int = 0
    mean: float = math.nan
    squares: float = 0.0
    mean_mass: float = math.nan
    mean_density: float = math.nan
    least: float = math.inf
    most: float = -math.inf
    status: Counter[str] = field(default_factory=Counter)

    @property
    def error(self) -> float:
        """The standard error of `mean`, as `mean_and_error` gives it."""
        return math.sqrt(self.squares / (self.finite - 1) / self.finite) if self.finite > 1 else math.nan

    def add(self, batch: ScoredBatch) -> None:
        """Take the rows of a batch in: the sums of squares about two means are joined about the common one.

        Source: Chan, Golub, LeVeque, 1983, "Algorithms for computing the sample variance", eq. 1.5.
        """
        import numpy as np

        log_prob, left = batch.scores.log_prob, int((~batch.kept).sum())
        self.rows, self.left_out = self.rows + len(log_prob), self.left_out + left
        self.status.update(batch.status.tolist())
        if not len(log_prob):
            return
        self.least = float(np.fmin(self.least, log_prob.min()))
        self.most = float(np.fmax(self.most, log_prob.max()))
        there = np.isfinite(log_prob)
        own, before = int(there.sum()), self.finite
        if not own:
            return
        self.finite, share = before + own, own / (before + own)
        mean = float(log_prob[there].mean())
        apart = mean - self.mean if before else 0.0
        self.squares += float(((log_prob[there] - mean) ** 2).sum()) + apart**2 * before * share
        self.mean = _joined(self.mean, mean, share)
        self.mean_mass = _joined(self.mean_mass, float(batch.scores.mass[there].mean()), share)
        self.mean_density = _joined(self.mean_density, float(batch.scores.density[there].mean()), share)


def _joined(before: float, own: float, share: float) -> float:
    """The mean of two groups, of which the second has this share of the rows."""
    return own if share == 1 else before + share * (own - before)
