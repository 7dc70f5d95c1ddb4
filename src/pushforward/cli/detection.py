"""The work of `pushforward detect`: rows are judged batch by batch, and what was found is told."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import typer

from pushforward.anomalies import explain
from pushforward.anomalies.bulk import JudgedBatch, first_density, judge_batches
from pushforward.anomalies.detector import FlowOutlierDetector, worse_than_chance
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.table_output import check_out, counted, write_out
from pushforward.cli.tallies import Tallies, labels_of
from pushforward.cli.verb import leave_stdout_to
from pushforward.io.files import check_file_target, write_file
from pushforward.metrics import detection_quality
from pushforward.metrics.false_discoveries import selected_threshold
from pushforward.tables.errors import DataError, TableWarning
from pushforward.tables.reading.batches import count_rows
from pushforward.tables.reading.cells import read_cells

FORMATS = (".png", ".pdf", ".svg")
# Rows that are read back at once, and the confidence of what is said of false discoveries.
PIECE, CONFIDENCE = 65_536, 0.9
# Capital at which a drift is told: exchangeable rows reach it once in a hundred streams.
CAPITAL = 100.0


class Asked(NamedTuple):
    """What is asked for.

    Attributes:
        model: Folder of the model.
        data: The table, or `-`.
        rate: Rate at which rows are flagged.
        discoveries: Whether it is a false discovery rate; else a false-positive rate.
        clean: Clean rows to calibrate by, or None.
        labels: Column of labels, or None.
        watch: Whether the order of rows is watched for drift.
        explain: Whether it is said why rows are unusual.
        seed: Seed of everything random.
    """

    model: Path
    data: str
    rate: float
    discoveries: bool
    clean: str | None
    labels: str | None
    watch: bool
    explain: bool
    seed: int


def run_detect(asked: Asked, out: Path | None, figure: Path | None, force: bool, reporter: Reporter) -> int:
    """Judge a table; return the exit code.

    Args:
        asked: What is asked for.
        out: Table to write, or None.
        figure: Figure to write, or None.
        force: Whether existing files are replaced.
        reporter: Reporter that tells what was found.

    Raises:
        DataError: The table cannot be read or is not one of the model.
        UntrustedModelError: The folder is damaged.
    """
    leave_stdout_to(out, reporter)
    if out is not None:
        check_out(out, force)
    if figure is not None:
        if figure.suffix.lower() not in FORMATS:
            raise typer.BadParameter(f"--figure {figure}: expected {', '.join(FORMATS)}.")
        check_file_target(figure, force)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TableWarning)  # the floor of p-values is told below, for the rate that is asked
        detector = _detector(asked)
    if asked.labels is not None and asked.labels in (detector.columns_ or ()):
        raise typer.BadParameter(f"--labels {asked.labels} is a column of the model. Name that of the labels.")
    reporter.say(detector.describe())
    n = len(detector.calibration_)
    tallies = Tallies(n, asked.seed)
    martingale = detector.watch(random_state=asked.seed) if asked.watch else None
    leave = () if asked.labels is None else (asked.labels,)
    # A threshold that is known at once: the largest k with k / (n + 1) <= rate.
    known = None if asked.discoveries else int(asked.rate * (n + 1) * (1 + 1e-12))
    if known == 0:
        reporter.warn(
            f"no p-value is below 1/(n + 1) = {1 / (n + 1):.2g} with n = {n} calibration rows, so that --fpr "
            f"{asked.rate:g} flags nothing. Calibrate by {int(np.ceil(1 / asked.rate)) - 1:,} rows or more (--clean)."
        )
    told = False

    def judged() -> Iterator[JudgedBatch]:
        nonlocal told
        total = None if asked.data == "-" else count_rows(asked.data)
        shown = not (reporter.quiet or reporter.as_json)
        with reporter.hears():
            batches = judge_batches(detector, asked.data, leave=leave)
            for batch in counted(batches, lambda b: len(b.kept), total, shown):
                tallies.add(batch, None if asked.labels is None else labels_of(batch.cells, asked.labels))
                if martingale is not None:
                    martingale.update(batch.each)
                    if not told and martingale.most >= np.log(CAPITAL):
                        told = True
                        reporter.warn(f"drift: from row {martingale.most_at:,} on at the latest, rows are others.")
                yield batch

    if out is None:
        for _ in judged():
            pass
    elif known is not None:
        write_out(out, _tables(judged(), known, n, detector if asked.explain else None), force)
    else:
        with tempfile.TemporaryFile() as kept:
            for batch in judged():
                rows = np.full((len(batch.kept), 2), np.nan)
                rows[batch.kept] = np.stack([batch.scores, batch.p_values], axis=1)
                kept.write(rows.tobytes())
            chosen = selected_threshold(tallies.counts, asked.rate)
            kept.seek(0)
            write_out(out, _again(kept, chosen, n), force)
    if not tallies.rows:
        raise DataError("missing", f"{asked.data}: no row is left without missing values.")
    threshold = selected_threshold(tallies.counts, asked.rate) if known is None else known
    facts = _report(asked, detector, tallies, threshold, reporter)
    if martingale is not None:
        capital = f"{np.exp(martingale.most):.3g}" if martingale.most < 500 else f"e^{martingale.most:.0f}"
        reporter.say(
            f"Drift: bets on a change made {capital} of 1 by row {martingale.most_at:,}; rows without drift ever get "
            f"there with probability {martingale.p_value:.2g} at most."
        )
        facts["drift"] = {
            "log_capital": martingale.log_capital,
            "most": martingale.most,
            "row": martingale.most_at,
            "p_value": martingale.p_value,
        }
    if figure is not None:
        _draw(figure, tallies, threshold, n, force)
        reporter.say(f"Figure: {figure}")
    if out is not None:
        reporter.say(f"One p-value per row: {out}")
    reporter.result("detect", {"model": asked.model, "out": out, "figure": figure, **facts})
    return OK


def _detector(asked: Asked) -> FlowOutlierDetector:
    from pushforward.io.files import DETECTOR, says_of_itself
    from pushforward.tables.estimators import FlowDensity

    if says_of_itself(asked.model, DETECTOR):
        detector = FlowOutlierDetector.load(asked.model)
        density = first_density(detector)
    else:
        density = FlowDensity.load(asked.model)
        if asked.clean is None and not len(density.held_out_scores_):
            raise DataError(
                "calibration",
                f"{asked.model}: the fit held out no rows to calibrate by. Name clean rows with --clean FILE, or fit "
                "with --validation-fraction above 0.",
            )
        detector = None if asked.clean is not None else FlowOutlierDetector.of_density(density)
    if asked.clean is None and detector is not None:
        return detector
    rows = read_cells(asked.clean, conventions=None if density is None else density.schema_.reading)
    if asked.labels is not None and asked.labels in rows.names:
        rows = rows.select([name for name in rows.names if name != asked.labels])
    if detector is None and density is not None:
        return FlowOutlierDetector.of_density(density, rows)
    return detector.calibrate(rows)  # pyright: ignore[reportOptionalMemberAccess]


def _tables(
    batches: Iterator[JudgedBatch], threshold: int, n: int, explained: FlowOutlierDetector | None
) -> Iterator[pa.Table]:
    """The tables of rows as they come, with a column that says why rows are unusual if a detector explains them."""
    start = 0
    for batch in batches:
        table = _table(batch.kept, batch.scores, batch.p_values, threshold, n, start)
        if explained is not None:
            flagged = np.flatnonzero(np.asarray(table["anomaly"]))
            words: list[str | None] = [None] * len(table)
            if len(flagged):
                for place, why in zip(flagged, explain(explained, batch.rows.take(flagged)), strict=True):
                    words[place] = why.sentence
            table = table.append_column("explanation", pa.array(words, pa.string()))
        yield table
        start += len(batch.kept)


def _table(kept: np.ndarray, scores: np.ndarray, p: np.ndarray, threshold: int, n: int, start: int) -> pa.Table:
    """The lines of the table of rows; those without a score are empty and no anomalies."""
    spread = np.where(kept, np.cumsum(kept) - 1, 0)

    def column(values: np.ndarray) -> pa.Array:
        own = values if len(values) else np.zeros(1, values.dtype)
        return pa.array(own[spread], mask=~kept)

    flags = np.rint(p * (n + 1)) <= threshold
    anomaly = pa.array(np.where(kept, np.append(flags, False)[spread], False))
    rows = pa.array(np.arange(start + 1, start + len(kept) + 1))
    return pa.table({"row": rows, "score": column(scores), "p_value": column(p), "anomaly": anomaly})


def _again(kept: Any, threshold: int, n: int) -> Iterator[pa.Table]:
    """The tables of rows that were set aside on disk until the threshold was known."""
    start = 0
    while data := kept.read(16 * PIECE):
        rows = np.frombuffer(data).reshape(-1, 2)
        there = ~np.isnan(rows[:, 1])
        yield _table(there, rows[there, 0], rows[there, 1], threshold, n, start)
        start += len(rows)


def _report(
    asked: Asked, detector: FlowOutlierDetector, tallies: Tallies, threshold: int, reporter: Reporter
) -> dict[str, Any]:
    """Tell what was found; the facts for machines."""
    n, m = len(detector.calibration_), tallies.rows
    flagged = int(tallies.counts[:threshold].sum())
    label = "standard input" if asked.data == "-" else asked.data
    what = "false discovery rate" if asked.discoveries else "false-positive rate"
    reporter.say(f"{label}: {flagged:,} of {m:,} rows are anomalies at a {what} of {asked.rate:g}.")
    needed = int(np.ceil(m / (asked.rate * (n + 1))))
    if asked.discoveries and not flagged and needed > 1:
        reporter.warn(
            f"No p-value is below 1/{n + 1:,}, for {n:,} rows calibrate them: among {m:,} rows it takes {needed:,} as "
            "unusual as that for one discovery. Calibrate by more clean rows (--clean FILE)."
        )
    if not asked.discoveries:
        reporter.say(f"If all rows were clean, {threshold / (n + 1) * m:,.1f} would be flagged on average.")
    facts: dict[str, Any] = {
        "rows": m,
        "rows_left_out": tallies.left_out,
        "flagged": flagged,
        "fpr": None if asked.discoveries else asked.rate,
        "fdr": asked.rate if asked.discoveries else None,
        "p_value_at_most": threshold / (n + 1),
        "calibration_rows": n,
        "calibration": detector.calibration_.kind,
        "most_unusual": [row.to_json() for row in tallies.worst],
    }
    if detector.calibration_.n_groups == 1 and flagged:
        most = detector.false_discoveries(m, CONFIDENCE).false_of_counts(tallies.counts[:threshold])
        reporter.say(f"With confidence {CONFIDENCE:g}, at most {most:,} of them are clean, whatever rate is chosen.")
        facts["false_at_most"], facts["confidence"] = most, CONFIDENCE
    if tallies.left_out:
        reporter.warn(f"{tallies.left_out:,} rows have missing cells that the model has no state for: no p-value.")
    reporter.say("Most unusual: " + ", ".join(f"row {row.row:,} (p = {row.p_value:.2g})" for row in tallies.worst[:5]))
    if asked.explain:
        for row, cells in sorted(tallies.held.items()):
            why = explain(detector, cells)[0].sentence
            reporter.say(f"Row {row:,}: {why}")
            next(each for each in facts["most_unusual"] if each["row"] == row)["explanation"] = why
    if asked.labels is not None:
        odd = tallies.labels()
        try:
            found = detection_quality(tallies.scores(), odd, seed=asked.seed)
        except ValueError as error:
            raise DataError("labels", f"{asked.data}: column '{asked.labels}': {error}") from error
        reporter.say(
            f"Labels: AUROC {found.auroc:.4f} +- {found.auroc_error:.4f}, average precision "
            f"{found.average_precision:.4f} +- {found.average_precision_error:.4f} ({found.n_anomalies:,} anomalies)."
        )
        facts["quality"] = found._asdict()
        if found.worse_than_chance:
            reporter.warn(worse_than_chance(found))
    return facts


def _draw(figure: Path, tallies: Tallies, threshold: int, n: int, force: bool) -> None:
    import matplotlib as mpl

    from pushforward.plotting import plot_anomalies

    mpl.use("agg")
    drawn: Any = plot_anomalies(
        tallies.sample.scores,
        tallies.sample.p_values,
        threshold=threshold / (n + 1),
        worst=[(f"row {row.row:,}", row.score, row.p_value) for row in tallies.worst],
    )[0]
    suffix = figure.suffix.lower().removeprefix(".")
    write_file(figure, lambda file: drawn.savefig(file, format=suffix, bbox_inches="tight"), force)
