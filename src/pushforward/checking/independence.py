"""Checks that the score of a row depends on that row alone."""

from __future__ import annotations

import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward.checking.context import Context
from pushforward.checking.programs import Programs
from pushforward.checking.report import CheckLine

ROWS = 16
SINGLE = 4  # number of rows that are scored by themselves
TOLERANCE = 1e-10  # in float64, relative to log-densities beyond 1 nat
NARROW_TOLERANCE = 1e-5  # in float32
# Rounding errors are 5e8 times smaller in float64 than in float32; the rest is room for another order of operations.
ROUNDING_SHARE = 1e-6
NARROW_ROUNDINGS = 1e-2  # share of the float32 error of a row that another order of operations may move


def check_independence(context: Context) -> CheckLine:
    """Check that `log_prob` of rows is the same to rounding with other neighbours, in another order and one by one."""
    name = "independence of rows"
    if context.traits.inverse == "absent":
        return CheckLine(name, None, None, "skipped", "The model cannot score rows.")
    n = min(ROWS, len(context.points))
    keys = context.row_keys(len(context.points))
    known = context.scores.log_prob[:n]
    narrow = context.narrow.score(context.points, context.point_conditions, keys).log_prob[:n]
    with np.errstate(invalid="ignore"):
        gap = np.abs(narrow - known)
    gap = np.where(np.isfinite(gap), gap, 0.0)
    wide_share = spread_of_scores(context, context.wide, known, keys, n) / (
        TOLERANCE * np.maximum(1, np.abs(known)) + ROUNDING_SHARE * gap
    )
    finite = np.isfinite(narrow)
    narrow_spread = np.where(finite, spread_of_scores(context, context.narrow, narrow, keys, n, alone=False), 0.0)
    narrow_share = narrow_spread / (NARROW_TOLERANCE * np.maximum(1, np.abs(known)) + NARROW_ROUNDINGS * gap)
    shares = np.concatenate([wide_share, narrow_share])
    wide = wide_share * TOLERANCE
    figure = float(np.max(wide, where=np.isfinite(wide), initial=0.0))
    failed = not (shares <= 1).all()
    text = f"The log-densities of {n} rows were computed with other neighbours, in another order and one by one: they"
    if failed:
        text += " change by more than rounding. A row's score must not depend on the rows beside it."
    else:
        text += f" change by {figure:.0e} at most, relative to their size."
    return CheckLine(name, figure, TOLERANCE, "fail" if failed else "pass", text)


def spread_of_scores(
    context: Context,
    programs: Programs,
    known: np.ndarray,
    keys: PRNGKeyArray | None,
    n: int,
    alone: bool = True,
) -> np.ndarray:
    """The largest change `(n,)` of the log-densities `known` of the first rows; NaN where one is NaN."""
    rows, conditions = context.points, context.point_conditions
    # Neighbours that are far away: a mean over the batch would move.
    mates = rows.copy()
    mates[n:] = rows[n:] + 3 * context.spread.reshape(rows.shape[1:]) if len(rows) > n else rows[n:]
    reverse = np.arange(len(rows))[::-1]
    reverse_keys = None if keys is None else keys[reverse]
    found = [
        programs.score(mates, conditions, keys).log_prob[:n],
        programs.score(rows[reverse], None if conditions is None else conditions[reverse], reverse_keys).log_prob[
            reverse
        ][:n],
    ]
    if alone:
        few = min(SINGLE, n)
        own = None if conditions is None else conditions[:few]
        single = programs.log_prob(rows[:few], own, None if keys is None else keys[:few], chunk=1)
        found.append(np.concatenate([single, known[few:]]))
    same = [np.where(one == known, 0.0, np.abs(one.astype(np.float64) - known)) for one in found]
    return np.max(same, axis=0)
