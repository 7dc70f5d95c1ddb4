"""The report on a detector of unusual rows: p-values, cuts, false discoveries, and why rows are unusual."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from pushforward.anomalies import FlowOutlierDetector, explain
from pushforward.anomalies.bulk import first_density, judge_batches
from pushforward.metrics.false_discoveries import selected_threshold
from pushforward.report.canvas import figure, legend
from pushforward.report.charts import histogram
from pushforward.report.html import csv_of, download, number, table_of, tag
from pushforward.report.page import Report, Section, Standing
from pushforward.report.run_section import file_of, quoted, run_section
from pushforward.report.table_rows import rows_table
from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import Cells, read_cells

# Rates at which rows are counted, and the false discovery rate that is chosen.
FALSE_POSITIVES, DISCOVERIES, CHOSEN = (0.001, 0.01, 0.05), (0.05, 0.1, 0.2), 0.1
CONFIDENCE = 0.9
# Rows that are listed, and bins of both histograms.
LISTED, BINS, P_BINS = 10, 40, 20
# Standard errors by which p-values above one half may be too few or too many before they are pointed at.
ERRORS = 3.0


def detector_report(detector: FlowOutlierDetector, data: Any, *, seed: int, name: str | None) -> Report:
    """Report on a detector and the rows that it judges.

    Args:
        detector: Fitted detector.
        data: Rows to judge, of any kind that it takes.
        seed: Seed that the report names; nothing in it is random.
        name: Name of the detector, such as its folder.

    Raises:
        DataError: There are no rows, or none has a p-value.
    """
    start = time.monotonic()
    if data is None:
        raise DataError("missing", "The report on a detector needs rows to judge. Pass DATA.")
    density = first_density(detector)
    cells = read_cells(data, conventions=None if density is None else density.schema_.reading)
    batches = list(judge_batches(detector, cells))
    kept = np.concatenate([batch.kept for batch in batches])
    scores, p = (np.concatenate([getattr(batch, of) for batch in batches]) for of in ("scores", "p_values"))
    if not len(p):
        raise DataError("missing", f"{cells.source}: no row is left without missing values.")
    places, n = np.flatnonzero(kept), len(detector.calibration_)
    # Ranks of p-values among those possible, as whole numbers, which do not suffer from rounding.
    ranks = np.rint(p * (n + 1)).astype(np.int64)
    counts = np.bincount(ranks - 1, minlength=n + 1)
    rates = [("false-positive rate", rate, int(rate * (n + 1) * (1 + 1e-12))) for rate in FALSE_POSITIVES]
    rates += [("false discovery rate", rate, selected_threshold(counts, rate)) for rate in DISCOVERIES]
    rows, facts = [], []
    for kind, rate, threshold in rates:
        flagged, expected = int(counts[:threshold].sum()), threshold / (n + 1) * len(p)
        most = None
        if detector.calibration_.n_groups == 1 and flagged:
            most = detector.false_discoveries(len(p), CONFIDENCE).false_of_counts(counts[:threshold])
        rows.append([kind, rate, threshold / (n + 1), flagged, expected, most])
        facts.append({"kind": kind, "rate": rate, "p_value_at_most": threshold / (n + 1), "flagged": flagged,
                      "false_at_most": most})  # fmt: skip
    cut = next(row for row in rows if row[:2] == ["false discovery rate", CHOSEN])
    standing, verdict = _verdict(detector, p, rows, cut)
    worst = np.argsort(-scores, kind="stable")[:LISTED]
    source = cells.source
    about = {"model": name, "detector": detector.describe(), "data": source, "rows": f"{len(p):,}",
             "rows without a p-value": int((~kept).sum()) or None}  # fmt: skip
    command = quoted("pushforward", "report", name or "MODEL", file_of(source), "--out", "report.html")
    judged = quoted("pushforward", "detect", name or "MODEL", file_of(source), "--fdr", CHOSEN)
    header = [
        "rate",
        "value",
        "p-value at most",
        "rows flagged",
        "flagged if all were clean",
        f"clean at most, confidence {CONFIDENCE:g}",
    ]
    return Report(
        title=f"{name or 'A detector'}: unusual rows",
        standing=standing,
        verdict=verdict,
        key_figures=[
            ("Rows", f"{len(p):,}", f"{int((~kept).sum()):,} without a p-value"),
            ("Discoveries", f"{cut[3]:,}", f"at a false discovery rate of {CHOSEN:g}"),
            ("Cut", number(cut[2], 3), "largest p-value among them"),
            ("Smallest p-value", number(float(p.min()), 2), f"of {1 / (n + 1):.2g} possible"),
            ("Calibration", f"{n:,}", "rows that the models have not seen"),
        ],
        sections=(
            Section("detector", "What the detector does", (detector.describe(),)),
            _histograms(scores, p, cut[2]),
            Section("cuts", "Where to cut", (
                "A false-positive rate flags that share of clean rows; a false discovery rate lets that share of the "
                "flagged rows be clean, on average. No p-value is below one over the calibration rows and one.",
                table_of(header, rows, caption="Rows flagged at several rates"),
            )),
            _worst(detector, cells, scores, p, places, worst),
            run_section(about, [command, judged], time.monotonic() - start, seed),
        ),
        facts={
            "model": name, "kind": "detector", "verdict": list(verdict), "rows": len(p), "calibration_rows": n,
            "rates": facts, "rows_left_out": int((~kept).sum()), "seed": seed,
            "most_unusual": [{"row": int(places[i]) + 1, "score": scores[i], "p_value": p[i]} for i in worst],
        },
    )  # fmt: skip


def _verdict(
    detector: FlowOutlierDetector, p: np.ndarray, rows: list[list[Any]], cut: list[Any]
) -> tuple[Standing, tuple[str, ...]]:
    one = next(row for row in rows if row[:2] == ["false-positive rate", 0.01])
    first = (
        f"{cut[3]:,} of {len(p):,} rows are discoveries at a false discovery rate of {CHOSEN:g}; a p-value of 0.01 or "
        f"less have {one[3]:,}, where {number(one[4], 3)} were to be expected if all were clean."
    )
    n = len(detector.calibration_)
    needed = int(np.ceil(len(p) / (CHOSEN * (n + 1))))
    if not cut[3] and needed > 1:
        first += f" With {n:,} calibration rows it takes {needed:,} rows as unusual as can be for one discovery."
    bound = (
        "" if cut[5] is None else f" With confidence {CONFIDENCE:g}, at most {cut[5]:,} of the discoveries are clean."
    )
    above, error = float(np.mean(p > 0.5)), 0.5 / np.sqrt(len(p)) + 0.5 / np.sqrt(n)
    flat = abs(above - 0.5) <= ERRORS * error
    shape = (
        "The p-values of the other rows are about as flat as those of clean rows."
        if flat
        else f"{above:.0%} of the p-values are above 0.5, where half were to be expected: the rows are of another kind "
        "than those of the calibration, so that p-values do not hold what they say."
    )
    return "good" if flat else "mind", (first + bound, shape)


def _histograms(scores: np.ndarray, p: np.ndarray, cut: float) -> Section:
    finite = scores[np.isfinite(scores)]
    low, high = np.quantile(finite, [0.001, 1.0]) if len(finite) else (0.0, 1.0)
    edges = np.linspace(float(low), float(high) or 1.0, BINS + 1)
    shown, flagged = np.clip(scores, edges[0], edges[-1]), p <= cut * (1 + 1e-12)
    heights = {kind: np.histogram(own, bins=edges)[0] for kind, own in
               (("data-fill", shown), ("model-fill", shown[flagged]))}  # fmt: skip
    # Few rows stand out of many: the root shows both.
    rooted = {kind: np.sqrt(own) for kind, own in heights.items()}
    words = f"Histogram of the scores of {len(scores):,} rows, of which {int(flagged.sum()):,} are flagged."
    first = histogram(edges, rooted, "score, higher is more unusual", words)
    p_edges = np.linspace(0, 1, P_BINS + 1)
    density = np.histogram(p, bins=p_edges)[0] * P_BINS / len(p)
    told = f"Histogram of p-values, with the flat line of clean rows and the cut at {number(cut, 2)}."
    second = histogram(p_edges, {"data-fill": density}, "p-value", told, line=1.0, mark=cut)
    numbers = {"score from": edges[:-1], "score to": edges[1:], "rows": heights["data-fill"]}
    numbers |= {"flagged": heights["model-fill"], "p-value from": p_edges[:-1], "density of p-values": density}
    link = download("scores.csv", csv_of(numbers), "Numbers of these figures as CSV")
    drawings = [
        figure(first, "Scores", "heights are roots of counts"),
        figure(second, "P-values", "density; 1 is flat"),
    ]
    blocks = (
        "P-values of clean rows are flat: what stands above the dashed line at small ones is unusual, and a slope over "
        "all of them says that the rows are others than those of the calibration.",
        legend(("of-data", f"{len(p):,} rows"), ("of-model", f"{int(flagged.sum()):,} discoveries")),
        tag("div", drawings, class_="grid"),
        tag("p", link, class_="numbers"),
    )
    return Section("p-values", "Scores and p-values", blocks)


def _worst(
    detector: FlowOutlierDetector,
    cells: Cells,
    scores: np.ndarray,
    p: np.ndarray,
    places: np.ndarray,
    worst: np.ndarray,
) -> Section:
    rows = cells.take(places[worst])
    numbers = places[worst] + 1
    reasons = [""] * len(worst)
    if first_density(detector) is not None:
        own = rows if detector.columns_ is None else rows.select([c for c in detector.columns_ if c in rows.names])
        reasons = [why.sentence for why in explain(detector, own)]
    body = [[int(k), float(scores[i]), float(p[i]), why] for k, i, why in zip(numbers, worst, reasons, strict=True)]
    table = table_of(["row", "score", "p-value", "what stands out"], body, caption="Rows are counted from 1")
    cells_of = tag("details", tag("summary", "Their cells"), rows_table(rows, numbers))
    return Section("most-unusual", "The most unusual rows", (table, cells_of))
