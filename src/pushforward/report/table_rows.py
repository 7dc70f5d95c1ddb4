"""The sections on rows: the least likely, those where the model extrapolates, and samples."""

from __future__ import annotations

from typing import Any

import numpy as np

from pushforward.anomalies import explain
from pushforward.checking.status import STATUSES
from pushforward.plotting.columns import numbers_in
from pushforward.plotting.fitted import cells_of
from pushforward.report.html import table_of, tag
from pushforward.report.page import Section
from pushforward.report.table_view import View
from pushforward.tables.reading.cells import Cells

# Rows that are listed, and cells of rows that are explained: each takes a thousand densities. Of wider tables so many
# columns of so many rows, by fewer densities.
LISTED, EXPLAINED, ASKED, ASKED_ROWS, ASKED_POINTS = 8, 200, 5, 2, 201
# Columns of rows that are shown.
SHOWN = 12
LETTERS = 40


def least_likely_section(view: View) -> Section | None:
    """The rows of the lowest log-density, and why."""
    if view.table is None:
        return None
    density, table = view.density, view.table
    scores = density.score_samples(table)
    worst = np.argsort(scores, kind="stable")[:LISTED]
    rows = table.take(worst)
    status = density.row_status(rows)
    reasons = [""] * len(worst) if density.given_ else _reasons(view, rows)
    cells = [
        [int(view.numbers[i]), float(scores[i]), word, why] for i, word, why in zip(worst, status, reasons, strict=True)
    ]
    header = ["row", "log-density, nats", "status", "what stands out"]
    if density.given_:
        cells, header = [row[:3] for row in cells], header[:3]
    blocks = (
        "A low density is no fault of a row; a detector (pushforward detect) gives it a p-value. Rows count from 1.",
        table_of(header, cells, caption=f"The {len(worst)} least likely of {len(table):,} rows"),
        tag("details", tag("summary", "Their cells"), rows_table(rows, view.numbers[worst])),
    )
    return Section("least-likely", "The least likely rows", blocks)


def _reasons(view: View, rows: Cells) -> list[str]:
    """Why rows are unlikely; of many columns those are asked whose latents are the largest in these rows."""
    density = view.density
    names = [column.name for column in density.model_.layout.columns]
    if len(names) * len(rows) <= EXPLAINED:
        return [why.sentence for why in explain(density, rows)]
    valued = [names[i] for i in density.model_.layout.valued]
    far = np.nan_to_num(np.abs(np.asarray(density.model_.latents(rows), np.float64)), posinf=np.inf)
    few = rows.take(np.arange(min(ASKED_ROWS, len(rows))))
    wanted = {valued[i] for row in far[:ASKED_ROWS] for i in np.argsort(-row)[:ASKED]}
    asked = [name for name in names if name in wanted]
    found = [why.sentence for why in explain(density, few, columns=asked, points=ASKED_POINTS)]
    return found + [""] * (len(rows) - len(found))


def rows_table(rows: Cells, numbers: np.ndarray | None = None) -> Any:
    """Rows as a table, of many columns the first.

    Args:
        rows: The rows.
        numbers: Numbers of the rows, or None.
    """
    names = list(rows.names)[:SHOWN]
    columns = [[_words(cell) for cell in rows.table.column(name).to_pylist()] for name in names]
    body = [list(row) for row in zip(*columns, strict=True)]
    more = len(rows.names) - len(names)
    caption = f"The first {SHOWN} of {len(rows.names)} columns" if more > 0 else ""
    if numbers is not None:
        names, body = ["row", *names], [[int(n), *row] for n, row in zip(numbers, body, strict=True)]
    return table_of(names, body, caption=caption)


def _words(cell: Any) -> Any:
    if cell is None:
        return "missing"
    if isinstance(cell, bool) or not isinstance(cell, int | float):
        text = str(cell).removesuffix(" 00:00:00")
        return text if len(text) <= LETTERS else text[: LETTERS - 1] + "…"
    return (f"{cell:.6g}".replace("-", "−"), float(cell)) if cell == cell else "missing"


def extrapolation_section(view: View) -> Section | None:
    """Where rows lie beyond what the fit has seen."""
    if view.table is None or view.evaluation is None:
        return None
    counts = view.evaluation.status
    n = view.evaluation.rows
    rows = [[word, counts.get(word, 0), (f"{counts.get(word, 0) / n:.2%}", counts.get(word, 0) / n), MEANS[word]]
            for word in STATUSES]  # fmt: skip
    blocks: list[Any] = [
        table_of(["status", "rows", "share", "meaning"], rows, caption="How far scores can be trusted")
    ]
    beyond = []
    for column in view.density.model_.layout.columns:
        if column.seen is None or column.period is not None or not column.valued:
            continue
        values = numbers_in([column], view.table)[:, 0]
        values = values[np.isfinite(values) & ~np.isin(values, column.atoms)]
        low, high = column.seen
        below, above = int((values < low).sum()), int((values > high).sum())
        if below or above:
            ends = [_cell(column, end) for end in (low, high, float(values.min()), float(values.max()))]
            beyond.append([column.name, f"{ends[0]} to {ends[1]}", below, above, f"{ends[2]} to {ends[3]}"])
    if beyond:
        header = ["column", "seen in the fit", "rows below", "rows above", "these rows"]
        blocks.append(table_of(header, beyond, caption="Columns in which rows lie beyond the range of the fit"))
    else:
        blocks.append("No number of these rows lies beyond the range that the fit has seen.")
    return Section("extrapolation", "Where the model extrapolates", tuple(blocks))


MEANS = {
    "ok": "The row lies where the model has seen data.",
    "tail": "The row lies in the outermost 0.1 % of the model, or in the tail of a spline.",
    "extrapolated": "The row lies a tenth of a range beyond the data of the fit, or has density zero.",
    "unconverged": "The score is not to be used.",
}


def _cell(column: Any, value: float) -> str:
    found = cells_of(column, np.array([value]))[0].as_py()
    return f"{found:.6g}" if isinstance(found, float) else str(found).removesuffix(" 00:00:00")


def samples_section(view: View) -> Section | None:
    """A few samples as rows."""
    if view.drawn is None:
        return None
    rows = Cells(view.drawn.slice(0, LISTED))
    words = "Rows that the model drew, with the types, bounds and formats of the table."
    return Section("samples", "Samples", (words, rows_table(rows)))
