"""Checks how many rows lie outside the splines, where a spline flow is as stiff as its linear tails."""

from __future__ import annotations

import numpy as np

from pushforward.checking.context import Context
from pushforward.checking.report import CheckLine, Outcome
from pushforward.checking.round_trip import skipped

NOTED = 0.05  # share of rows
LOST = 0.5


def check_tails(context: Context) -> CheckLine:
    """Measure the share of rows with a coordinate outside the splines, in the worst layer and in any layer."""
    name = "rows in spline tails"
    if context.bijection is None:
        return skipped(name, context)
    if not context.splines:
        return CheckLine(name, None, None, "skipped", "The flow has no spline layers.")
    if context.data is None:
        return CheckLine(name, None, None, "skipped", "There are no data. Pass held-out rows.")
    missed = context.missed_splines(context.data, context.condition)
    shares, overall = missed.mean(axis=0), float(missed.any(axis=1).mean())
    worst = int(np.argmax(shares))
    figure = float(shares[worst])
    verdict: Outcome = "fail" if figure > LOST else "note" if overall > NOTED else "pass"
    text = f"{100 * overall:.2g} % of {len(missed)} rows have a coordinate in the tails of some spline layer,"
    text += f" {100 * figure:.2g} % in the worst layer (number {worst + 1} of {len(shares)} from the data)."
    if verdict != "pass":
        text += " There the splines cannot bend: standardise the data, or raise `bound`."
    return CheckLine(name, figure, LOST, verdict, text)
