"""Whether a table has a density to be fitted: what forbids one, and what makes one doubtful."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pushforward.data.columns import listed
from pushforward.data.errors import DataError
from pushforward.data.tables import Table

# A column counts as tied when one value takes this share of its rows, or when so few of its values are distinct.
TIED_SHARE = 0.05
DISTINCT_SHARE = 0.1
TIES_FROM_ROWS = 50
# Smallest eigenvalue of the correlations below which columns count as linear combinations of one another; float32, in
# which models are trained, tells nothing apart below 1e-7. More columns than this are not looked at: it takes too long.
DEPENDENT_BELOW = 1e-10
MOST_CORRELATED = 2000


def check_table(table: Table, exempt: Iterable[str] = ()) -> list[str]:
    """Refuse a table that has no density, and warn of ties.

    Args:
        table: as read.
        exempt: columns not modelled, such as weights.

    Returns:
        Warnings for the user, a sentence each.

    Raises:
        DataError: one row, constant columns, or values whose variance float64 cannot hold.
    """
    n = len(table.values)
    if n < 2:
        raise DataError("one-row", f"{table.source}: a density needs rows to learn from; there is only {n}.")
    skip = set(exempt)
    modelled = [(name, table.values[:, i]) for i, name in enumerate(table.names) if name not in skip]
    constant = [name for name, column in modelled if column.min() == column.max()]
    if constant:
        keep = [name for name, _ in modelled if name not in constant]
        how = f"Set them aside: --columns {','.join(keep)}" if 0 < len(keep) <= 30 else "Set them aside with --columns"
        raise DataError(
            "constant",
            f"{table.source}: {_plural(constant)} {listed(constant)} constant, so there is no density over them. "
            f"{how} (columns= in Python).",
        )
    with np.errstate(over="ignore", under="ignore"):
        extreme = [name for name, column in modelled if not 0 < np.var(column) < np.inf]
    if extreme:
        raise DataError(
            "infinite",
            f"{table.source}: the variance of {listed(extreme)} overflows or underflows float64. Change the units.",
        )
    return _ties(table.source, modelled) + _dependence(table.source, modelled)


def _ties(source: str, modelled: list[tuple[str, np.ndarray]]) -> list[str]:
    """A sentence on the columns whose values repeat, if there are any."""
    tied = []
    for name, column in modelled:
        if len(column) < TIES_FROM_ROWS:
            continue
        values, counts = np.unique(column, return_counts=True)
        top = counts.argmax()
        share = counts[top] / len(column)
        if share >= TIED_SHARE:
            tied.append(f"{name} ({share:.0%} of the rows are {values[top]:g})")
        elif len(values) / len(column) <= DISTINCT_SHARE:
            tied.append(f"{name} ({len(values)} distinct values)")
    if not tied:
        return []
    shown = ", ".join(tied[:8]) + (f" and {len(tied) - 8} more columns" if len(tied) > 8 else "")
    return [
        f"{source}: values repeat in {shown}. A density over repeated values can grow without limit: compare "
        "log-densities only between models of these same columns."
    ]


def _dependence(source: str, modelled: list[tuple[str, np.ndarray]]) -> list[str]:
    """A sentence on columns that are linear combinations of one another, or on too few rows to tell."""
    if not modelled:
        return []
    matrix = np.stack([(column - column.mean()) / column.std() for _, column in modelled], axis=1)
    n, dim = matrix.shape
    if n <= dim:
        return [f"{source}: only {n} rows for {dim} columns: the fit rests on very little. Use fewer columns."]
    if dim == 1 or dim > MOST_CORRELATED:
        return []
    values, vectors = np.linalg.eigh(matrix.T @ matrix / n)
    if values[0] > DEPENDENT_BELOW:
        return []
    loads = np.abs(vectors[:, 0])
    part = [modelled[i][0] for i in np.flatnonzero(loads > 0.1 * loads.max())]
    return [
        f"{source}: {listed(part)} are linear combinations of one another, so the rows fill no volume and their "
        "density has no limit. Leave one of these columns out."
    ]


def _plural(names: Sequence[str]) -> str:
    return "these columns are" if len(names) > 1 else "this column is"
