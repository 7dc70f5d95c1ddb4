"""The sections on columns: one by one, in pairs, and their correlations."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.stats import rankdata

from pushforward.plotting.axes import Axis
from pushforward.plotting.columns import strongest
from pushforward.report.canvas import figure, legend
from pushforward.report.charts import column_chart, matrix_chart
from pushforward.report.html import Html, csv_of, download, number, table_of, tag
from pushforward.report.page import Section
from pushforward.report.pair_chart import pair_chart
from pushforward.report.table_view import View
from pushforward.tables.schema import described

# Columns of the pair plot and of the matrices of correlations; pairs that are listed; rows of the table of columns.
PAIRED, CORRELATED, LISTED, MOST_LISTED = 6, 40, 12, 400
# Size of a difference of correlations at full shade.
DIFFERENCE = 0.25
# Standard deviations beyond chance from which an error is pointed at, and the error from which it counts.
BEYOND, TREND_MARK = 3.0, 0.02


def colours(view: View) -> Html:
    """The legend of data and samples."""
    entries = []
    if view.shown is not None and view.shown.data is not None:
        entries.append(("of-data", f"data ({len(view.shown.data):,} rows)"))
    if view.shown is not None and view.shown.samples is not None:
        entries.append(("of-model", f"model ({len(view.shown.samples):,} samples)"))
    return legend(*entries)


def columns_section(view: View) -> Section:
    """What each column was taken for, and data and model over each other."""
    density, tested = view.density, view.evaluation
    shape = {} if tested is None else tested.likeness.shape.errors
    tests = {} if tested is None else tested.marginals.tests
    own = density.schema_.columns
    rows = []
    for column in own[:MOST_LISTED]:
        name = column.name
        role = " (given)" if name in density.given_ else "" if column.modelled else " (set aside)"
        cells = [name, column.kind + role, described(column)]
        if tested is not None:
            test = tests.get(name)
            cells += [shape.get(name), None if test is None else test.p_value]
        rows.append(cells)
    header = ["column", "kind", "taken for", *(["error of shape", "p-value"] if tested is not None else [])]
    blocks: list[Any] = [table_of(header, rows, caption="What each column was taken for")]
    if len(own) > MOST_LISTED:
        blocks.append(f"{len(own) - MOST_LISTED} more columns are not listed.")
    if tested is not None:
        words = (
            "The error of shape is the largest difference of distribution functions of numbers, and half the sum of "
            "the differences of shares of levels: 0 is perfect."
        )
        blocks.append(f"{tested.marginals.sentence} {words}")
    if density.notes_:
        remarks = [tag("li", note) for note in density.notes_]
        blocks += [tag("h3", "Remarks on the columns"), tag("ul", remarks)]
    if view.shown is not None:
        blocks += [tag("h3", "Data and model over each other"), *_charts(view, tests)]
    return Section("columns", "Columns", tuple(blocks))


def _charts(view: View, tests: Any) -> list[Any]:
    shown: Any = view.shown
    made, columns = [], {"column": [], "from": [], "to": [], "data": [], "model": []}
    for i, (name, axis, scale) in enumerate(zip(shown.names, shown.axes, view.scales, strict=True)):
        if name in view.density.given_:  # samples have the conditions of the data
            continue
        data, model = (None if of is None else axis.heights(of[:, i]) for of in (shown.data, shown.samples))
        test = tests.get(name)
        told = "" if test is None else test.sentence
        words = (
            f"{name}: {axis.measure} of data and model. {told}"
            if told
            else f"{name}: {axis.measure} of data and model."
        )
        drawing = column_chart(axis, scale, data, model, words)
        unit = scale.label.removeprefix(name).strip()
        odd = test is not None and name in view.evaluation.marginals.rejected_holm  # pyright: ignore[reportOptionalMemberAccess]
        made.append(figure(drawing, name, unit, [told] if odd else []))
        for k in range(len(axis.edges) - 1):
            words_of = (axis.words[k], "") if axis.words else _ends(axis, k)
            columns["column"].append(name)
            columns["from"].append(words_of[0])
            columns["to"].append(words_of[1])
            columns["data"].append("" if data is None else float(data[k]))
            columns["model"].append("" if model is None else float(model[k]))
    chosen = [f"{shown.chosen}."] if shown.chosen else []
    measure = "Bars are shares of rows; histograms are densities, per decade on an axis of powers of ten."
    return [*chosen, measure, colours(view), tag("div", made, class_="grid"), _numbers("columns.csv", columns)]


def _ends(axis: Any, k: int) -> tuple[float, float]:
    low, high = axis.values(axis.edges[k : k + 2])
    return float(low), float(high)


def _numbers(name: str, columns: dict[str, Any]) -> Html:
    return tag("p", download(name, csv_of(columns), "Numbers of these figures as CSV"), class_="numbers")


def pairs_section(view: View) -> Section | None:
    """Pairs of columns, and how well their dependence is met."""
    shown = view.shown
    if shown is None or len(shown.axes) < 2:
        return None
    first = shown.data if shown.data is not None else shown.samples
    places = list(range(len(shown.axes)))
    chosen = ""
    if len(places) > PAIRED:
        places = strongest(np.asarray(first), [bool(axis.words) for axis in shown.axes], PAIRED)
        chosen = f"These are {PAIRED} of {len(shown.axes)} columns: those in the pairs of strongest dependence."
    part, scales = view.only(places)
    names = ", ".join(part.names)
    drawing = pair_chart(part, scales, f"Every two of the columns {names}: data beside samples.", view.seed)
    how = (
        "Where the model is right, colours mix. A level has the data on its left or upper side and the model on the "
        "other; a cell of two levels has a half for each."
    )
    rng, numbers = np.random.default_rng(view.seed), {}
    for kind, values in (("data", part.data), ("model", part.samples)):
        if values is not None:
            some = np.sort(rng.permutation(len(values))[:500])
            for k, axis in enumerate(part.axes):
                own = values[some, k]
                numbers[f"{kind}: {part.names[k]}"] = _cells(axis, own)
    blocks: list[Any] = [chosen, how, colours(view), figure(drawing, wide=True), _numbers("pairs.csv", numbers)]
    if view.evaluation is not None and view.evaluation.likeness.trend.worst:
        trend = view.evaluation.likeness.trend
        rows, marks = [], []
        for pair in trend.worst[:LISTED]:
            odd = trend.beyond[pair] > BEYOND and trend.errors[pair] > TREND_MARK
            rows.append([pair[0], pair[1], trend.errors[pair], trend.beyond[pair], "beyond chance" if odd else ""])
            marks.append("bad" if odd else "")
        header = ["column", "and", "error of the pair", "standard deviations beyond chance", ""]
        blocks += [
            trend.sentence,
            table_of(header, rows, caption="The pairs that the model meets worst", classes=marks),
        ]
    return Section("pairs", "Pairs", tuple(blocks))


def _cells(axis: Axis, positions: np.ndarray) -> Any:
    """Positions as values, or of levels as their words; a gap is empty."""
    if not axis.words:
        return axis.values(positions)
    places = np.nan_to_num(positions, nan=-1).astype(int)
    return [axis.words[place] if 0 <= place < len(axis.words) else "" for place in places]


def correlations_section(view: View) -> Section | None:
    """Rank correlations of data and samples, and their difference."""
    shown = view.shown
    if shown is None:
        return None
    circles = {column.name for column in view.density.schema_.columns if column.period is not None}
    places = [i for i, axis in enumerate(shown.axes) if not axis.words and shown.names[i] not in circles]
    if len(places) < 2:
        return None
    chosen = ""
    if len(places) > CORRELATED:
        first: Any = shown.data if shown.data is not None else shown.samples
        found = strongest(first[:, places], [False] * len(places), CORRELATED)
        chosen = (
            f"These are {CORRELATED} of {len(places)} columns of numbers: those in the pairs of strongest dependence."
        )
        places = [places[i] for i in found]
    part, _ = view.only(places)
    made, numbers = [], {}
    upper = np.triu_indices(len(places), 1)
    numbers["column"] = [part.names[i] for i in upper[0]]
    numbers["and"] = [part.names[i] for i in upper[1]]
    found = {}
    for kind, values in (("data", part.data), ("model", part.samples)):
        if values is not None:
            found[kind] = rank_correlations(values)
            numbers[kind] = found[kind][upper]
            drawing = matrix_chart(found[kind], part.names, f"Rank correlations of the {kind}.")
            made.append(figure(drawing, kind.capitalize(), "from −1 (orange) to 1 (blue)"))
    words = (
        "Spearman's rank correlation of every two columns of numbers, of the rows that have both; circles are left out."
    )
    if len(found) == 2:
        difference = found["model"] - found["data"]
        numbers["difference"] = difference[upper]
        most = int(np.nanargmax(np.abs(difference[upper])))
        i, j = upper[0][most], upper[1][most]
        words += f" The largest difference is {number(difference[i, j], 2)}, of {part.names[i]} and {part.names[j]}."
        made.append(figure(matrix_chart(difference, part.names, "Model less data.", DIFFERENCE), "Model less data",
                           f"from −{DIFFERENCE:g} (orange) to {DIFFERENCE:g} (blue)"))  # fmt: skip
    blocks = (chosen, words, tag("div", made, class_="grid"), _numbers("correlations.csv", numbers))
    return Section("correlations", "Correlations", blocks)


def rank_correlations(values: np.ndarray) -> np.ndarray:
    """Spearman's correlations `(d, d)` of columns `(n, d)`, of the rows that have both; NaN where nothing varies."""
    there = np.isfinite(values)
    ranks = np.zeros(values.shape)
    for i in range(values.shape[1]):
        own = rankdata(values[there[:, i], i])
        ranks[there[:, i], i] = (own - (own.mean() if len(own) else 0.0)) / max(len(own), 1)
    mask = there.astype(np.float64)
    n = np.maximum(mask.T @ mask, 1)
    mean = (ranks.T @ mask) / n  # of the first column over the rows that have both
    square = (ranks**2).T @ mask / n - mean**2
    both = ranks.T @ ranks / n - mean * mean.T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(square * square.T > 1e-12, both / np.sqrt(np.maximum(square * square.T, 1e-300)), np.nan)
