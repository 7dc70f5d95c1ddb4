"""The distribution of a column given the other cells of a row: the joint density along that column, normalised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pushforward.tables.encoding import Encoded, Layout, places_of
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.estimators.conditional import SCORES, Conditionals, Mesh, atom_rows, value_rows
from pushforward.tables.schema import Column


class Surprises(NamedTuple):
    r"""How surprising a column is in some rows, given their other cells.

    Attributes:
        nats: $\log \max_y p(y \mid \text{rest}) - \log p(x_j \mid \text{rest})$, `(m,)`, not negative.
        cumulative: Mass of the numbers before each point of the mesh, and of all `(m, g + 1)`, up to a factor a row.
        masses: Masses at the points of the mesh `(m, g)`, up to the same factor.
        states: Masses of the atoms and of a missing cell `(m, s)`, up to the same factor.
    """

    nats: np.ndarray
    cumulative: np.ndarray
    masses: np.ndarray
    states: np.ndarray


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
    def of(layout: Layout, i: int, every: int = 1) -> Line:
        """The line of column `i` of a layout.

        Args:
            layout: Layout of the modelled columns.
            i: Position of the column.
            every: Of a continuous line, only each so many-th point is kept.
        """
        column, places = layout.columns[i], [where[i] for where in places_of(layout) if i in where]
        # A remainder is a state of its own, which stays as it is.
        plain = column.model_copy(update={"remainders": (), "fine": None})
        mesh = Mesh.of(Layout((plain,)))
        if mesh.size is None and every > 1:
            points = mesh.points[::every]
            mesh = Mesh(points, np.concatenate([value_rows(plain, points), atom_rows(plain)]), mesh.atoms, None)
        gone = np.zeros((int(column.missing), mesh.rows.shape[1]))
        gone[:, 0] = column.missing_state
        return Line(column, mesh, np.concatenate([mesh.rows, gone]), places)

    def within(self, low: float, high: float, most: int) -> Line:
        """The line with at most so many numbers, all of a range; levels, atoms and a missing cell stay.

        Args:
            low: Lower end of the range, in the model's numbers; minus infinity for none.
            high: Upper end.
            most: Number of points: new ones on a continuous line; of steps every one, or every second, third...
        """
        if not self.column.valued:
            return self
        mesh, stride = self.mesh, 1
        if mesh.size is None:
            first = max(low, float(mesh.points[0]))
            points = np.linspace(first, max(min(high, float(mesh.points[-1])), first), most)
        else:
            inside = mesh.points[(mesh.points >= low) & (mesh.points <= high)]
            inside = inside if len(inside) else mesh.points[np.abs(mesh.points - low).argmin()][None]
            stride = -(-len(inside) // most)
            points = inside[::stride]
        new = Mesh(points, np.concatenate([value_rows(self.column, points), self.mesh.rows[len(mesh.points) :]]),
                   mesh.atoms, mesh.size, stride)  # fmt: skip
        return Line(self.column, new, np.concatenate([new.rows, self.cells[len(mesh.rows) :]]), self.places)

    def parts(self, n: int) -> Iterator[slice]:
        """The parts that `n` rows are taken in, so that memory is bounded."""
        at_once = max(1, SCORES // len(self.cells))
        return (slice(start, start + at_once) for start in range(0, n, at_once))

    def surprises(
        self, density: FlowDensity, rows: np.ndarray, own: np.ndarray, condition: np.ndarray | None = None
    ) -> Surprises:
        """How surprising the column is in each of some rows.

        Args:
            density: Fitted density.
            rows: Encoded rows `(m, dim)`.
            own: Their log-probabilities `(m,)`.
            condition: Their conditions `(m, k)`, or None.
        """
        joint = joint_of(density, rows, [self], condition)
        top = np.maximum(joint.max(axis=1), own)
        top = np.where(np.isfinite(top), top, 0.0)[:, None]
        n_points, n_mesh = len(self.mesh.points), len(self.mesh.rows)
        line = Conditionals(self.mesh, joint[:, :n_mesh] - top)
        states, peak = np.exp(joint[:, n_points:] - top), line.density.max(axis=1)
        # A number stands for its step, or for so wide a piece of the line as holds all numbers at the highest density.
        held = line.cumulative[:, -1] / np.where(peak > 0, peak, 1.0)
        piece = np.full(len(rows), self.mesh.size) if self.mesh.size else np.where(held > 0, held, 1.0)
        first = np.rint(rows[:, self.places[0]])
        on_line = np.ones(len(rows), bool) if not (self.column.valued and self.column.n_states) else first == 0
        if self.column.missing and not self.column.valued:
            on_line = first != self.column.missing_state
        found = own - top[:, 0] + np.where(on_line, np.log(piece), 0.0)
        likeliest = np.maximum(peak * piece, states.max(axis=1, initial=0.0))
        nats = np.maximum(np.log(np.where(likeliest > 0, likeliest, 1.0)) - found, 0.0)
        return Surprises(nats, line.cumulative, line.density * piece[:, None], states)


def joint_of(
    density: FlowDensity, rows: np.ndarray, lines: Sequence[Line], condition: np.ndarray | None = None
) -> np.ndarray:
    """Log-probabilities `(m, c1, ..., ck)` of encoded rows with each cell of one line, or of several.

    Args:
        density: Fitted density.
        rows: Encoded rows `(m, dim)`.
        lines: The lines.
        condition: Their conditions `(m, k)`, or one for all `(1, k)`, or None.
    """
    sizes = tuple(len(line.cells) for line in lines)
    which = np.indices(sizes).reshape(len(sizes), -1)
    n = which.shape[1]
    many = np.repeat(rows, n, axis=0)
    for own, line in zip(which, lines, strict=True):
        many[:, line.places] = np.tile(line.cells[own], (len(rows), 1))
    given = None
    if condition is not None:
        given = np.repeat(np.broadcast_to(condition, (len(rows), condition.shape[1])), n, axis=0)
    found = density.model_.score_encoded(Encoded(many, np.zeros(len(many)), {}), given).log_prob
    return found.reshape(len(rows), *sizes)
