"""Why a row is unusual: how surprising each of its cells is given the others, and what was to be expected there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from pushforward._checks import check_int, message
from pushforward._words import nearest
from pushforward.anomalies.lines import Line
from pushforward.anomalies.scores import ConditionalScore, LatentScore, NegativeLogDensityScore, RankEnsembleScore
from pushforward.tables.encoding import Encoded, Layout, places_of
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.conditional import Mesh
from pushforward.tables.schema import Column

# Probability of the interval, or of the levels, that are called expected.
EXPECTED = 0.9
# Nats of surprise from which a cell is named in the sentence of a row: those of three standard deviations.
NAMED, MOST_NAMED = 4.5, 3
MISSING = "missing"


@dataclass(frozen=True)
class CellSurprise:
    r"""How surprising a cell is given the other cells of its row.

    Attributes:
        column: Name of the column.
        value: The cell, in words.
        nats: $\log \max_y p(y \mid \text{rest}) - \log p(x_j \mid \text{rest})$, not negative: by how much the cell is
            less probable than the most probable one. It does not depend on the unit of the column; a normal number at
            $k$ standard deviations has $k^2 / 2$, and one beyond the bounds of its column infinitely many.
        expected: The interval, or the levels, that hold 90 % of the probability given the rest, in words.
    """

    column: str
    value: str
    nats: float
    expected: str

    @property
    def sentence(self) -> str:
        """The cell and what was expected, such as `wind 9.5; given the rest 2.1 to 5.0 was expected`."""
        return f"{self.column} {self.value}; given the rest {self.expected} was expected"


@dataclass(frozen=True)
class Explanation:
    """Why a row is unusual.

    Attributes:
        cells: Its cells, the most surprising first.
    """

    cells: tuple[CellSurprise, ...]

    @property
    def sentence(self) -> str:
        """The cells of more than 4.5 nats, at most three, or that there is none."""
        # Beside a number that cannot be, the others are explained given the bound that it was held to.
        least = math.inf if math.isinf(self.cells[0].nats) else NAMED
        named = [cell.sentence for cell in self.cells if cell.nats >= least][:MOST_NAMED]
        if named:
            return ". ".join(named) + "."
        return f"No cell stands out given the others; the most surprising is {self.cells[0].sentence}."


def explain(
    model: Any, X: Any, *, columns: Sequence[str] | None = None, points: int | None = None
) -> list[Explanation]:
    r"""Say for each row how surprising each cell is given the others, and what was to be expected there.

    The conditional density of a column is the joint density along that column, normalised:
    $p(x_j \mid x_{-j}) = p(x) / \int p(x_1, \dots, y, \dots, x_d)\, dy$. The integral is a sum over all states of the
    column and a trapezium rule over 1001 numbers, or over all steps of a rounded column, which reach beyond the data by
    half their range. No other model is fitted. Of a density given other columns, the conditions of the row are among
    what is given.

    Args:
        model: A fitted `FlowDensity`, a fitted score that has a flow, or a `FlowOutlierDetector`. Of several flows the
            first one explains. The flows of the default ensemble are smoothed by noise of 0.3
            standard deviations, so that what they expect is that much wider.
        X: Rows, as the model takes them.
        columns: Names of the columns whose cells are explained; None explains all.
        points: Number of numbers at which each column is looked at, at most; None takes 1001, or all steps.

    Cost: as many densities as there are points, for each cell.

    Raises:
        ValueError: The model has no flow, or a column is unknown.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> from pushforward.anomalies import explain
        >>> a = np.random.default_rng(0).normal(size=500)
        >>> x = np.stack([a, a + 0.1 * np.random.default_rng(1).normal(size=500)], axis=1)
        >>> flow = pf.FlowDensity("maf", n_layers=2, width=8, max_epochs=60, n_members=1, verify=False, random_state=0)
        >>> why = explain(flow.fit(x), [[1.0, -1.0]])[0]
        >>> why.cells[0].nats > 5
        True
    """
    density, rows_of = density_of(model)
    names = [column.name for column in density.model_.layout.columns]
    unknown = [name for name in columns or () if name not in names]
    if unknown:
        raise ValueError(
            message("explain", f"columns of {', '.join(names[:20])}", unknown[0], nearest(unknown[0], names))
        )
    chosen = names if columns is None else columns
    if points is not None:
        check_int("explain", "points", points, 2)
    encoded, condition = density.encode(rows_of(X))
    held, beyond = _held_to_bounds(density.model_.layout, encoded.rows)
    own = density.model_.score_encoded(Encoded(held, np.zeros(len(held)), {}), condition).log_prob
    each = [
        _of_column(density, Rows(encoded.rows, held, np.where(beyond[:, i], -np.inf, own), condition), i, points)
        for i in map(names.index, chosen)
    ]
    return [Explanation(tuple(sorted(cells, key=lambda cell: -cell.nats))) for cells in zip(*each, strict=True)]


def density_of(model: Any) -> tuple[FlowDensity, Any]:
    """The flow of a model, and the function that makes its rows of those of the model.

    Args:
        model: As for `explain`.

    Raises:
        ValueError: The model has no flow.
    """
    if isinstance(model, FlowDensity):
        return model, lambda X: X
    models: Sequence[Any] = getattr(model, "models_", ()) or (model,)
    for score in models:
        parts = [part.score for part in score.parts] if isinstance(score, RankEnsembleScore) else [score]
        for part in parts:
            if isinstance(part, NegativeLogDensityScore | LatentScore | ConditionalScore):
                return part.density, part.rows_for_density
    fix = "Explain a fitted FlowDensity, or a score with a flow such as RankEnsemble()."
    raise ValueError(message("explain", "a model with a flow", type(model).__name__, fix))


def _held_to_bounds(layout: Layout, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Encoded rows with every number within the bounds of its column, and which columns of a row `(n, d)` were not."""
    held, beyond = rows.copy(), np.zeros((len(rows), len(layout.columns)), bool)
    for i, place in places_of(layout)[1].items():
        column = layout.columns[i]
        low = -np.inf if column.low is None else column.low
        high = np.inf if column.high is None else column.high
        # Where there is no number, the place of it is empty and means nothing.
        at = places_of(layout)[0].get(i)
        there = np.ones(len(rows), bool) if at is None else np.rint(rows[:, at]) == 0
        beyond[:, i] = there & ((rows[:, place] < low) | (rows[:, place] > high))
        held[:, place] = np.where(there, np.clip(rows[:, place], low, high), rows[:, place])
    return held, beyond


class Rows(NamedTuple):
    """Encoded rows that are explained.

    Attributes:
        cells: The rows as they are `(m, dim)`.
        held: The same with every number within its bounds.
        own: Log-probabilities of these `(m,)`, minus infinity where the column in question is beyond its bounds.
        condition: Their conditions `(m, k)`; None for a density without any.
    """

    cells: np.ndarray
    held: np.ndarray
    own: np.ndarray
    condition: np.ndarray | None


def _of_column(density: FlowDensity, rows: Rows, i: int, points: int | None) -> list[CellSurprise]:
    """The surprise of column `i` in each of some encoded rows."""
    line = Line.of(density.model_.layout, i)
    if points is not None:
        line = line.within(-math.inf, math.inf, points)
    words, found = Words(line.column, line.mesh), []
    for part in line.parts(len(rows.cells)):
        condition = None if rows.condition is None else rows.condition[part]
        surprises = line.surprises(density, rows.held[part], rows.own[part], condition)
        shares = zip(surprises.cumulative, surprises.masses, surprises.states, strict=True)
        for row, nats, expected in zip(rows.cells[part], surprises.nats, shares, strict=True):
            cell = words.beyond(row[line.places]) if np.isinf(nats) else words.cell(row[line.places])
            found.append(CellSurprise(line.column.name, cell, float(nats), words.expected(*expected)))
    return found


@dataclass(frozen=True)
class Words:
    """The cells of a column in words.

    Attributes:
        column: The column.
        mesh: Mesh of its numbers, or of its levels, and its atoms.
    """

    column: Column
    mesh: Mesh

    def cell(self, cell: np.ndarray) -> str:
        """An encoded cell in words."""
        column, state = self.column, round(cell[0]) if self.column.n_states else 0
        if column.missing and state == column.missing_state:
            return MISSING
        if not column.valued:
            return str(column.levels[state]) if state < len(column.levels) else "another level"
        return self._number(column.atoms[state - 1] if state else cell[-1])

    def _number(self, value: float) -> str:
        family: Any = self.column.family
        return self._written(family.to_cells(np.array([value]), self.column))

    def _written(self, values: np.ndarray) -> str:
        family: Any = self.column.family
        cell = family.write(values, self.column)[0].as_py()
        if isinstance(cell, float):
            return f"{cell:.0f}" if 1e4 <= abs(cell) < 1e9 else f"{cell:.4g}"
        return str(cell).removesuffix(" 00:00:00")

    def beyond(self, cell: np.ndarray) -> str:
        """The same for a number beyond the bounds of its column, with these."""
        number = self._written(cell[-1:])
        low, high = (None if end is None else self._number(float(end)) for end in (self.column.low, self.column.high))
        if low is None and high is None:
            return self.cell(cell)
        if high is None:
            return f"{number}, below {low}, the least that can be"
        return (
            f"{number}, beyond the bounds {low} and {high}" if low else f"{number}, above {high}, the most that can be"
        )

    def expected(self, cumulative: np.ndarray, masses: np.ndarray, states: np.ndarray) -> str:
        """The likeliest cells, in words, which together hold what is called expected."""
        n_atoms = len(self.mesh.atoms)
        names = [self._number(atom) for atom in self.mesh.atoms] + [MISSING] * (len(states) - n_atoms)
        likely = [(float(mass), name) for mass, name in zip(states, names, strict=True)]
        if self.column.valued:
            low, high = self._interval(cumulative)
            likely.append((float(cumulative[-1]), f"{self._number(low)} to {self._number(high)}"))
        else:
            likely += [(float(m), str(level)) for m, level in zip(masses, self.column.levels, strict=True)]
        likely.sort(key=lambda pair: -pair[0])
        total, chosen, held = sum(mass for mass, _ in likely), [], 0.0
        for mass, name in likely:
            chosen.append(name)
            held += mass
            if held >= EXPECTED * total or len(chosen) == MOST_NAMED:
                break
        return " or ".join(chosen)

    def _interval(self, cumulative: np.ndarray) -> tuple[float, float]:
        """The central interval of the numbers."""
        wanted = np.array([0.5 - EXPECTED / 2, 0.5 + EXPECTED / 2]) * cumulative[-1]
        points = self.mesh.points
        if self.mesh.size is None:
            low, high = np.interp(wanted, cumulative[:-1], points)
        else:
            low, high = points[np.minimum(np.searchsorted(cumulative[1:], wanted), len(points) - 1)]
        return float(low), float(high)
