"""The distribution of one column given the others: densities on a grid, the PIT, the CDE loss, coverage.

What is measured is any function from values of the column to log-probabilities at each condition, so that everything
here is arithmetic on a mesh of that column.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.tables.encoding import Encoded, Layout, encode
from pushforward.tables.estimators.frames import frame_kind, given_cells, is_source
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.schema import Column

if TYPE_CHECKING:
    from pushforward.tables.estimators.density import FlowDensity

# Points of a mesh over numbers without steps, and steps up to which each one is a point of its own.
POINTS, MOST_STEPS = 1001, 4096
# Share of the range of the data by which a mesh goes beyond it.
BEYOND = 0.5
# Scores that are held at once.
SCORES = 4_000_000
LEVELS = (0.5, 0.68, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Mesh:
    """Values of a column that stand for all of its distribution.

    Attributes:
        points: Values `(g,)`, increasing; states of levels by their codes.
        rows: The points and after them the atoms as encoded rows `(g + a, dim)`.
        atoms: Numbers `(a,)` with a mass of their own.
        size: Factor from the probability of a point to its mass: 1 where it is a mass, a step where it is a density
            that is constant over that step; None where it is a density at a point of a continuous line.
        stride: Number of steps that each point stands for, above 1 where some of the steps are left out.
    """

    points: np.ndarray
    rows: np.ndarray
    atoms: np.ndarray
    size: float | None
    stride: int = 1

    @staticmethod
    def of(layout: Layout) -> Mesh:
        """The mesh of a layout of one column.

        Raises:
            ValueError: There are several columns, or the range of the column is not known.
        """
        column = only_column(layout)
        if not column.valued:
            codes = np.arange(float(len(column.levels)))
            return Mesh(codes, codes[:, None], np.zeros(0), 1.0)
        if column.seen is None:
            raise ValueError(message("FlowDensity", f"the range of {column.name!r}", "none", "Fit the model again."))
        low, high = column.support
        width = column.seen[1] - column.seen[0] or 1.0
        low, high = max(low, column.seen[0] - BEYOND * width), min(high, column.seen[1] + BEYOND * width)
        step, size = column.step, None
        if step is not None and (high - low) / step <= MOST_STEPS:
            points = column.seen[0] + step * np.arange(np.ceil((low - column.seen[0]) / step - 1e-6), MOST_STEPS + 1)
            points = points[points < high - 1e-6 * step] if np.isfinite(column.support[1]) else points[points <= high]
            size = 1.0 if column.kind in ("integer", "count") else step
        else:
            points = np.linspace(low, high, POINTS)
        atoms = np.asarray(column.atoms, float)
        return Mesh(points, np.concatenate([value_rows(column, points), atom_rows(column)]), atoms, size)


def only_column(layout: Layout) -> Column:
    """The column of a layout.

    Raises:
        ValueError: There are several.
    """
    if len(layout.columns) != 1:
        names = ", ".join(column.name for column in layout.columns)
        fix = "Fit the model with given= all columns but one."
        raise ValueError(message("FlowDensity", "a model of one column given the others", f"one of {names}", fix))
    return layout.columns[0]


def value_rows(column: Column, values: np.ndarray) -> np.ndarray:
    """Encoded rows of numbers of a column that are there."""
    return np.stack([*([np.zeros(len(values))] if column.n_states else []), values], axis=1)


def atom_rows(column: Column) -> np.ndarray:
    """Encoded rows of the atoms of a column of numbers."""
    n = len(column.atoms)
    return np.stack([np.arange(1.0, n + 1), np.zeros(n)], axis=1) if n else np.zeros((0, 2 if column.n_states else 1))


@dataclass(frozen=True)
class Conditionals:
    r"""The distribution of the column at each of `m` conditions, on a mesh, as masses that sum to one.

    Where a number has a density, the mass between two points is that of the trapezium over them.

    Attributes:
        mesh: The mesh.
        log_prob: Log-probabilities `(m, g + a)` of its rows, in nats.
    """

    mesh: Mesh
    log_prob: np.ndarray

    @property
    def density(self) -> np.ndarray:
        """Densities or masses at the points, `(m, g)`."""
        return np.exp(self.log_prob[:, : len(self.mesh.points)])

    @property
    def atom_masses(self) -> np.ndarray:
        """Masses of the atoms, `(m, a)`."""
        return np.exp(self.log_prob[:, len(self.mesh.points) :])

    @property
    def cumulative(self) -> np.ndarray:
        """Mass of the numbers before each point, atoms left out, and in the last column of all: `(m, g + 1)`."""
        p, points = self.density, self.mesh.points
        if self.mesh.size is None:
            parts = 0.5 * (p[:, 1:] + p[:, :-1]) * np.diff(points)
            parts = np.concatenate([parts, np.zeros((len(p), 1))], axis=1)
        else:
            parts = p * self.mesh.size * self.mesh.stride
        return np.concatenate([np.zeros((len(p), 1)), np.cumsum(parts, axis=1)], axis=1)

    def total(self) -> np.ndarray:
        """Mass of all numbers, `(m,)`: one, up to the error of the mesh, and less where a value may be missing."""
        return self.cumulative[:, -1] + self.atom_masses.sum(axis=1)

    def below(self, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""$P(Y < y)$ and $P(Y \le y)$ at each condition, of the mass of all numbers.

        Args:
            y: One number `(m,)` for each condition; NaN gives NaN.
        """
        cumulative, points, (m, total) = self.cumulative, self.mesh.points, (len(y), self.total())
        rows = np.arange(m)
        if self.mesh.size is None:
            place = np.clip(np.searchsorted(points, y, side="right") - 1, 0, len(points) - 2)
            width = points[place + 1] - points[place]
            t = np.clip((y - points[place]) / width, 0, 1)
            left, right = self.density[rows, place], self.density[rows, place + 1]
            # The integral of the line between the two densities.
            low = high = cumulative[rows, place] + width * (left * t + 0.5 * (right - left) * t**2)
        else:
            # A number off the mesh lies between two of its points, and has no mass.
            half = 0.5 * np.min(np.diff(points), initial=1.0) * 1e-6
            low = cumulative[rows, np.searchsorted(points, y - half)]
            high = cumulative[rows, np.searchsorted(points, y + half)]
        for atom, mass in zip(self.mesh.atoms, self.atom_masses.T, strict=True):
            low, high = low + mass * (atom < y), high + mass * (atom <= y)
        known = ~np.isnan(y)
        return np.where(known, low / total, np.nan), np.where(known, high / total, np.nan)

    def pit(self, y: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        r"""$u\,P(Y \le y) + (1 - u)\,P(Y < y)$ with a uniform $u$ for each condition."""
        low, high = self.below(y)
        return low + rng.uniform(size=len(y)) * (high - low)

    def squared(self) -> np.ndarray:
        r"""$\int p^2$ with the squares of the masses of states and atoms, `(m,)`."""
        p, atoms = self.density, (self.atom_masses**2).sum(axis=1)
        if self.mesh.size is None:
            return np.trapezoid(p**2, self.mesh.points, axis=1) + atoms
        return (p**2).sum(axis=1) * self.mesh.size * self.mesh.stride + atoms


def scores_at(density: FlowDensity, condition: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Log-probabilities `(m, g)` of each of `g` encoded rows of the column at each of `m` conditions."""
    model, g = density.model_, len(rows)
    m = 1 if condition is None else len(condition)
    found, at_once = np.empty((m, g)), max(1, SCORES // max(g, 1))
    for start in range(0, m, at_once):
        own = None if condition is None else np.repeat(condition[start : start + at_once], g, axis=0)
        many = np.tile(rows, (1 if own is None else len(own) // g, 1))
        scores = model.score_encoded(Encoded(many, np.zeros(len(many)), {}), own)
        found[start : start + at_once] = scores.log_prob.reshape(-1, g)
    return found


def pdf_grid(density: FlowDensity, X: Any, column: str | None, grid: Any) -> np.ndarray:
    """See `FlowDensity.pdf_grid`."""
    layout = density.model_.layout
    target = only_column(layout)
    if column is not None and column != target.name:
        raise ValueError(message("FlowDensity.pdf_grid", f"the column {target.name!r}", repr(column), "Pass that one."))
    values = encode(layout, read_cells({target.name: grid}))
    return np.exp(scores_at(density, conditions(density, X), values.rows) + values.within)


def conditions(density: FlowDensity, X: Any) -> np.ndarray | None:
    """The conditions of a table, which may hold other columns too, or of an array of all columns or of these alone."""
    layout = density.model_.given_layout
    if layout is None:
        return None
    if frame_kind(X) is None and not is_source(X):
        X = np.atleast_2d(np.asarray(X))
        if X.shape[1] == len(density.columns_) != len(density.given_):
            X = X[:, [density.columns_.index(name) for name in density.given_]]
    elif isinstance(X, str) or not isinstance(X, dict):
        X = read_cells(X, conventions=density.model_.schema.reading)
    return encode(layout, given_cells(X, density.given_, density.model_.schema.reading), unseen=density.unseen).rows


def over_rows(density: FlowDensity, X: Any, measure: Callable[[Conditionals, np.ndarray], np.ndarray]) -> np.ndarray:
    """A measure of the distribution at each row's condition and of the row's own number, `(n,)`, in parts of the rows.

    Args:
        density: Fitted estimator of one column.
        X: Rows with all columns.
        measure: Function of the distributions and the numbers `(m,)`, NaN where one is missing.
    """
    encoded, condition = density.encode(X)
    layout = density.model_.layout
    mesh, y = Mesh.of(layout), numbers_of_rows(layout, encoded.rows)
    if condition is None:
        alone = scores_at(density, None, mesh.rows)
        return measure(Conditionals(mesh, np.repeat(alone, len(y), axis=0)), y)
    at_once = max(1, SCORES // len(mesh.rows))
    found = []
    for start in range(0, len(y), at_once):
        part = slice(start, start + at_once)
        found.append(measure(Conditionals(mesh, scores_at(density, condition[part], mesh.rows)), y[part]))
    return np.concatenate(found)


def numbers_of_rows(layout: Layout, rows: np.ndarray) -> np.ndarray:
    """The number of each encoded row of one column, a level by its code, NaN where it is missing."""
    column = only_column(layout)
    states = np.rint(rows[:, 0]) if column.n_states else np.zeros(len(rows))
    y = rows[:, -1].copy() if column.valued else states.copy()
    for place, atom in enumerate(column.atoms):
        y[states == 1 + place] = atom
    if column.missing:
        y[states == column.missing_state] = np.nan
    return y


def check_ordered(layout: Layout, what: str) -> None:
    """Raise if there is no order on the values of the column.

    Raises:
        ValueError: The values are words, or come round.
    """
    column = only_column(layout)
    if column.kind in ("category", "boolean", "circular"):
        fix = "Take cde_loss."
        raise ValueError(message(what, "a column with an order", f"{column.name!r}, of kind {column.kind}", fix))


def central_coverage(pit: np.ndarray, levels: Sequence[float]) -> np.ndarray:
    """Share of the rows in the central interval of each level, from their PIT; NaN does not count."""
    wanted = np.asarray(levels, float)
    if wanted.ndim != 1 or not ((wanted > 0) & (wanted < 1)).all():
        raise ValueError(message("FlowDensity.coverage", "levels between 0 and 1", f"{levels!r}", "Such as (0.68,)."))
    away = np.abs(pit[~np.isnan(pit)] - 0.5)
    return np.array([np.mean(away <= level / 2) for level in wanted])
