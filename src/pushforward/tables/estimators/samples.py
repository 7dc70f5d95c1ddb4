"""A guard of samples: whether they lie where the data do, and how density and samples behave at the ends of columns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from pushforward.checking import CheckLine
from pushforward.tables.encoding import Layout
from pushforward.tables.schema import Column

# A number is wild if it lies beyond the data by more than this many of their ranges.
RANGES = 1.0
# Share of wild rows that is no fault whatever the table.
ALLOWED = 0.01
# Share of a column's range that counts as one of its edges, and by how many standard errors and by what share the mass
# there may exceed that of the data.
EDGE, EDGE_ERRORS, EDGE_MASS = 0.01, 5.0, 0.02
# Distances to an end as shares of the range, at which the density is looked at; nats by which it may exceed the largest
# of the data; rows and columns at most.
TOWARDS = np.concatenate([[0.0], np.geomspace(1e-12, EDGE, 11)])
EDGE_NATS, EDGE_ROWS, EDGE_COLUMNS = 10.0, 16, 16
NAMED = 6


class Numbers(NamedTuple):
    """The numbers of one column among encoded rows.

    Attributes:
        column: The column.
        place: Where it stands in a row.
        values: Numbers `(n,)`.
        there: Flags `(n,)` of the rows that hold one.
    """

    column: Column
    place: int
    values: np.ndarray
    there: np.ndarray


def numbers_of(layout: Layout, rows: np.ndarray) -> Iterator[Numbers]:
    """The columns on a line whose range in the data is known, with their numbers among the rows."""
    for j, i in enumerate(layout.valued):
        column, state = layout.columns[i], layout.state_of_value[j]
        if column.seen is None or column.kind == "circular":
            continue
        place = len(layout.stated) + j
        there = np.ones(len(rows), bool) if state < 0 else rows[:, state] == 0
        yield Numbers(column, place, rows[:, place], there)


class Wild(NamedTuple):
    """Rows far beyond the data.

    Attributes:
        share: Share of the rows.
        limit: Share that chance allows.
        columns: Names of the columns, those with most such rows first.
        rows: Number of the rows.
    """

    share: float
    limit: float
    columns: tuple[str, ...]
    rows: int

    @property
    def sentence(self) -> str:
        """What was found, for people."""
        shown = ", ".join(self.columns[:NAMED])
        more = f" and {len(self.columns) - NAMED} more columns" if len(self.columns) > NAMED else ""
        found = f"{self.share:.2%} of {self.rows:,} samples lie beyond the data by more than their range"
        return f"{found}{f', in {shown}{more}' if shown else ''} (allowed: {self.limit:.2%})."


def wild_rows(layout: Layout, rows: np.ndarray, n_data: int) -> Wild:
    r"""The rows in which a number is not finite, or lies beyond the data by more than their range.

    A row exchangeable with $n$ rows of $d$ columns lies outside their range with a probability of $2 d / (n + 1)$ at
    most, and a range beyond it, with tails as heavy as Cauchy's, in a third of these cases.

    Args:
        layout: Layout of the rows.
        rows: Samples `(m, dim)`.
        n_data: Number $n$ of rows of the data.
    """
    counts, wild, n_columns = {}, np.zeros(len(rows), bool), 0
    for column, _, values, there in numbers_of(layout, rows):
        low, high = column.seen or (0.0, 0.0)
        width = RANGES * (high - low)
        beyond = there & ~((values >= low - width) & (values <= high + width))
        n_columns += 1
        wild |= beyond
        if beyond.any():
            counts[column.name] = int(beyond.sum())
    limit = min(ALLOWED + n_columns / (n_data + 1), 0.5)
    names = tuple(sorted(counts, key=lambda name: -counts[name]))
    return Wild(float(wild.mean()), limit, names, len(rows))


def samples_line(layout: Layout, rows: np.ndarray, n_data: int) -> CheckLine:
    """The check line "samples": whether more rows than chance allows lie far beyond the data."""
    wild = wild_rows(layout, rows, n_data)
    bad = wild.share > wild.limit
    advice = " The model is not to be drawn from: fit it anew, longer, or with fewer layers." if bad else ""
    return CheckLine("samples", wild.share, wild.limit, "fail" if bad else "pass", wild.sentence + advice)


class EdgeMass(NamedTuple):
    """Share of the data and of the samples within an edge of a column, and by how many standard errors they differ."""

    column: str
    end: str
    data: float
    samples: float
    errors: float


def edge_masses(layout: Layout, data: np.ndarray, samples: np.ndarray) -> list[EdgeMass]:
    """The mass within 1 % of the range at each end of each column, of data and of samples.

    Args:
        layout: Layout of the rows.
        data: Rows `(n, dim)`.
        samples: Rows `(m, dim)`.
    """
    found = []
    for own, drawn in zip(numbers_of(layout, data), numbers_of(layout, samples), strict=True):
        low, high = own.column.seen or (0.0, 0.0)
        x, y = own.values[own.there], drawn.values[drawn.there]
        if not len(x) or not len(y) or not high > low:
            continue
        for end, at in (("low", low), ("high", high)):
            p, q = (float(np.mean(np.abs(values - at) <= EDGE * (high - low))) for values in (x, y))
            both = (p * len(x) + q * len(y) + 1) / (len(x) + len(y) + 2)
            error = np.sqrt(both * (1 - both) * (1 / len(x) + 1 / len(y)))
            found.append(EdgeMass(own.column.name, end, p, q, float((q - p) / error)))
    return found


def edge_peaks(
    layout: Layout, data: np.ndarray, score: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> dict[str, float]:
    """By how many nats the log-density towards an end exceeds its largest value in the data, by column.

    Some rows of the data are moved towards each end that the column's support has, in one column at a time.

    Args:
        layout: Layout of the rows.
        data: Rows `(n, dim)`.
        score: Function of rows `(k, dim)` and of the places `(k,)` of the rows of `data` that they are made of, which
            gives their log-densities.
    """
    places = np.unique(np.linspace(0, len(data) - 1, min(EDGE_ROWS, len(data))).astype(int))
    largest = float(np.max(score(data, np.arange(len(data)))))
    found = {}
    for column, place, _, there in list(numbers_of(layout, data))[:EDGE_COLUMNS]:
        seen, chosen = column.seen or (0.0, 0.0), places[there[places]]
        low, high = column.support
        step = column.step or 0.0
        ends = [
            (end, sign)
            for end, sign, near in ((low, 1.0, seen[0]), (high - step, -1.0, seen[1]))
            if np.isfinite(end) and abs(near - end) <= 0.5 * (seen[1] - seen[0])
        ]
        if not ends or not len(chosen):
            continue
        grid = np.concatenate([end + sign * TOWARDS * (seen[1] - seen[0]) for end, sign in ends])
        grid = np.unique(step * np.rint(grid / step)) if step else grid
        rows = np.repeat(data[chosen], len(grid), axis=0)
        rows[:, place] = np.tile(grid, len(chosen))
        peak = float(np.max(score(rows, np.repeat(chosen, len(grid)))))
        found[column.name] = peak - largest
    return found


def edges_line(masses: list[EdgeMass], peaks: dict[str, float]) -> CheckLine:
    """The check line "edges of columns", whose figure is the largest excess of log-density towards an end, in nats."""
    heavy = [m for m in masses if m.errors > EDGE_ERRORS and m.samples - m.data > EDGE_MASS]
    high = [name for name, nats in peaks.items() if not nats <= EDGE_NATS]
    worst = max(peaks, key=lambda name: peaks[name]) if peaks else None
    parts = []
    if masses:
        most = max(masses, key=lambda mass: mass.errors)
        parts.append(
            f"Within 1 % of the {most.end} end of {most.column} lie {most.samples:.2%} of the samples and "
            f"{most.data:.2%} of the data, the largest excess."
        )
    if worst is not None:
        parts.append(
            f"Towards the ends of {worst} the log-density is {peaks[worst]:+.1f} nats from its largest in the data."
        )
    if heavy or high:
        names = ", ".join(dict.fromkeys([*(mass.column for mass in heavy), *high][:NAMED]))
        parts.append(f"The density at the ends of {names} is not to be believed.")
    text = " ".join(parts) or "No column of numbers has a range to look at."
    figure = None if worst is None else peaks[worst]
    return CheckLine("edges of columns", figure, EDGE_NATS, "fail" if heavy or high else "pass", text)


def clipped(layout: Layout, rows: np.ndarray) -> np.ndarray:
    """Rows whose numbers are held to the range of the data; a number that is no number becomes its middle."""
    rows = rows.copy()
    for column, place, values, there in list(numbers_of(layout, rows)):
        low, high = column.seen or (0.0, 0.0)
        held = np.clip(np.where(np.isnan(values), 0.5 * (low + high), values), low, high)
        rows[:, place] = np.where(there, held, values)
    return rows
