"""What makes the density of a table doubtful: ties, repeated rows, columns that follow from others, few rows."""

from __future__ import annotations

import numpy as np

from pushforward.tables.encoding import Layout

# A column counts as tied when one value takes this share of its rows, or when so few of its values are distinct.
TIED_SHARE = 0.05
DISTINCT_SHARE = 0.1
TIES_FROM_ROWS = 50
# Repeated rows are remarked from this share on.
REPEATED_SHARE = 0.01
# Smallest eigenvalue of the correlations below which columns count as linear combinations of one another; float32, in
# which models are trained, tells nothing apart below 1e-7. More columns than this are not looked at: it takes too long.
DEPENDENT_BELOW = 1e-10
MOST_CORRELATED = 2000
NAMED = 8


def remarks(source: str, layout: Layout, rows: np.ndarray, condition: np.ndarray | None = None) -> list[str]:
    """What a user should know of a table before believing its density.

    Args:
        source: for the sentences.
        layout: of the columns.
        rows: `(n, layout.dim)`, encoded.
        condition: `(n, k)` or None.

    Returns:
        A sentence each.
    """
    columns = dict(zip([layout.columns[i].name for i in layout.valued], rows[:, len(layout.stated) :].T, strict=True))
    there = {
        layout.columns[i].name: np.ones(len(rows), bool) if state < 0 else rows[:, state] == 0
        for i, state in zip(layout.valued, layout.state_of_value, strict=True)
    }
    steps = {layout.columns[i].name: layout.columns[i].step for i in layout.valued}
    present = {name: values[there[name]] for name, values in columns.items()}
    everywhere = {name: values for name, values in columns.items() if there[name].all()}
    found = [_ties(present, steps), _repeated(rows, condition), _dependence(everywhere)]
    return [f"{source}: {sentence}" for sentence in found if sentence]


def _ties(columns: dict[str, np.ndarray], steps: dict[str, float | None]) -> str:
    """On numbers that repeat and lie on no step: on a step each stands for an interval, and may repeat."""
    tied = []
    for name, values in columns.items():
        if len(values) < TIES_FROM_ROWS or steps[name] is not None:
            continue
        distinct, counts = np.unique(values, return_counts=True)
        top = counts.argmax()
        share = counts[top] / len(values)
        if share >= TIED_SHARE:
            tied.append(f"{name} ({share:.0%} of its numbers are {distinct[top]:g})")
        elif len(distinct) <= DISTINCT_SHARE * len(values):
            tied.append(f"{name} ({len(distinct)} distinct)")
    if not tied:
        return ""
    shown = ", ".join(tied[:NAMED]) + (f" and {len(tied) - NAMED} more columns" if len(tied) > NAMED else "")
    return (
        f"numbers repeat in {shown}, and are taken for real ones: a density over repeated numbers can grow without "
        "limit. Whole or rounded numbers have masses instead if a schema says so, or if they come in a data frame."
    )


def _repeated(rows: np.ndarray, condition: np.ndarray | None) -> str:
    """On rows that repeat more often than independent columns of such values would by chance."""
    whole = rows if condition is None else np.concatenate([rows, condition], axis=1)
    n = len(whole)
    repeated = n - len(np.unique(whole, axis=0))
    if repeated <= REPEATED_SHARE * n:
        return ""
    same = 1.0  # probability that two rows agree
    for column in whole.T:
        shares = np.unique(column, return_counts=True)[1] / n
        same *= float(shares @ shares)
    if repeated <= same * n * (n - 1) / 2:
        return ""
    return (
        f"{repeated:,} of {n:,} rows repeat an earlier row exactly. Where they do not by nature, they make "
        "held-out rows look better than new ones will."
    )


def _dependence(columns: dict[str, np.ndarray]) -> str:
    """On numeric columns without gaps that are linear combinations of one another, or on too few rows to tell."""
    names = [name for name, values in columns.items() if 0 < values.std() < np.inf]
    if not names:
        return ""
    matrix = np.stack([(columns[name] - columns[name].mean()) / columns[name].std() for name in names], axis=1)
    n, dim = matrix.shape
    if n <= dim:
        return f"only {n} rows for {dim} columns of numbers: the fit rests on very little. Use fewer columns."
    if dim == 1 or dim > MOST_CORRELATED:
        return ""
    values, vectors = np.linalg.eigh(matrix.T @ matrix / n)
    if values[0] > DEPENDENT_BELOW:
        return ""
    loads = np.abs(vectors[:, 0])
    part = ", ".join(repr(names[i]) for i in np.flatnonzero(loads > 0.1 * loads.max())[:NAMED])
    return (
        f"{part} are linear combinations of one another, so the rows fill no volume and their density has no limit. "
        "Leave one of these columns out."
    )
