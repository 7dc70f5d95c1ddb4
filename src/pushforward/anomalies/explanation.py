"""Why a row is unusual: how surprising each of its cells is given the others, and what was to be expected there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pushforward._checks import message
from pushforward.anomalies.scores import LatentScore, NegativeLogDensityScore, RankEnsembleScore
from pushforward.tables.encoding import Encoded, Layout, places_of
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.conditional import SCORES, Conditionals, Mesh
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
            $k$ standard deviations has $k^2 / 2$.
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
        named = [cell.sentence for cell in self.cells if cell.nats >= NAMED][:MOST_NAMED]
        if named:
            return ". ".join(named) + "."
        return f"No cell stands out given the others; the most surprising is {self.cells[0].sentence}."


def explain(model: Any, X: Any) -> list[Explanation]:
    r"""Say for each row how surprising each cell is given the others, and what was to be expected there.

    The conditional density of a column is the joint density along that column, normalised:
    $p(x_j \mid x_{-j}) = p(x) / \int p(x_1, \dots, y, \dots, x_d)\, dy$. The integral is a sum over all states of the
    column and a trapezium rule over 1001 numbers, or over all steps of a rounded column, which reach beyond the data by
    half their range. No other model is fitted.

    Args:
        model: A fitted `FlowDensity` without conditions, a fitted score that has a flow, or a `FlowOutlierDetector`. Of
            several flows the first one explains. The flows of the default ensemble are smoothed by noise of 0.3
            standard deviations, so that what they expect is that much wider.
        X: Rows, as the model takes them.

    Cost: about 1000 densities for each cell.

    Raises:
        ValueError: The model has no flow, or its flow has conditions.

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
    if density.given_:
        fix = "Fit a density of all columns."
        raise ValueError(message("explain", "a density without conditions", f"given {list(density.given_)}", fix))
    encoded, _ = density.encode(rows_of(X))
    own = density.model_.score_encoded(encoded, None).log_prob - encoded.within
    each = [_of_column(density, encoded.rows, own, i) for i in range(len(density.model_.layout.columns))]
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
            if isinstance(part, NegativeLogDensityScore | LatentScore):
                return part.density, part.rows_for_density
    fix = "Explain a fitted FlowDensity, or a score with a flow such as RankEnsemble()."
    raise ValueError(message("explain", "a model with a flow", type(model).__name__, fix))


def _of_column(density: FlowDensity, rows: np.ndarray, own: np.ndarray, i: int) -> list[CellSurprise]:
    """The surprise of column `i` in each of some encoded rows, whose log-probabilities are `own`."""
    layout = density.model_.layout
    line = Line.of(layout, i)
    at_once, found = max(1, SCORES // len(line.cells)), []
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        many = np.repeat(part, len(line.cells), axis=0)
        many[:, line.places] = np.tile(line.cells, (len(part), 1))
        joint = density.model_.score_encoded(Encoded(many, np.zeros(len(many)), {}), None).log_prob
        for row, log_joint, log_own in zip(part, joint.reshape(len(part), -1), own[start:], strict=False):
            found.append(line.surprise(row[line.places], log_joint, float(log_own)))
    return found


@dataclass(frozen=True)
class Line:
    """All cells that a column may have: numbers on a mesh or levels, then atoms, then a missing cell.

    Attributes:
        column: The column.
        mesh: Mesh of its numbers, or of its levels, and its atoms.
        cells: Encoded cells `(c, k)`.
        places: Places of these in an encoded row `(k,)`.
    """

    column: Column
    mesh: Mesh
    cells: np.ndarray
    places: list[int]

    @staticmethod
    def of(layout: Layout, i: int) -> Line:
        """The line of column `i` of a layout."""
        column, places = layout.columns[i], [where[i] for where in places_of(layout) if i in where]
        # A remainder is a state of its own, which stays as it is.
        mesh = Mesh.of(Layout((column.model_copy(update={"remainders": (), "fine": None}),)))
        gone = np.zeros((int(column.missing), mesh.rows.shape[1]))
        gone[:, 0] = column.missing_state
        return Line(column, mesh, np.concatenate([mesh.rows, gone]), places)

    def surprise(self, cell: np.ndarray, log_joint: np.ndarray, log_own: float) -> CellSurprise:
        """The surprise of a cell.

        Args:
            cell: The encoded cell `(k,)`.
            log_joint: Log-probabilities of the row with each of `cells` in its place `(c,)`.
            log_own: That of the row itself.
        """
        top = max(float(log_joint.max()), log_own) if np.isfinite(log_joint).any() else 0.0
        n_points, n_mesh = len(self.mesh.points), len(self.mesh.rows)
        line = Conditionals(self.mesh, log_joint[None, :n_mesh] - top)
        numbers, states = float(line.cumulative[0, -1]), np.exp(log_joint[n_points:] - top)
        density = line.density[0]
        # A number stands for its step, or for so wide a piece of the line as holds all numbers at the highest density.
        piece = self.mesh.size or (numbers / density.max() if density.max() > 0 else 1.0)
        is_number = self.column.valued and (not self.column.n_states or round(cell[0]) == 0)
        own = log_own - top + (np.log(piece) if is_number or not self.column.valued else 0.0)
        likeliest = max(float(density.max() * piece), float(states.max(initial=0.0)))
        nats = max(np.log(likeliest) - own, 0.0) if likeliest > 0 else 0.0
        words = self._expected(line.cumulative[0], density * piece, states)
        return CellSurprise(self.column.name, self._word(cell), float(nats), words)

    def _word(self, cell: np.ndarray) -> str:
        """An encoded cell in words."""
        column, state = self.column, round(cell[0]) if self.column.n_states else 0
        if column.missing and state == column.missing_state:
            return MISSING
        if not column.valued:
            return str(column.levels[state]) if state < len(column.levels) else "another level"
        return self._number(column.atoms[state - 1] if state else cell[-1])

    def _number(self, value: float) -> str:
        family: Any = self.column.family
        cell = family.write(family.to_cells(np.array([value]), self.column), self.column)[0].as_py()
        return f"{cell:.4g}" if isinstance(cell, float) else str(cell).removesuffix(" 00:00:00")

    def _expected(self, cumulative: np.ndarray, masses: np.ndarray, states: np.ndarray) -> str:
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
