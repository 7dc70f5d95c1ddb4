r"""What an explorer shows of the density of a table: functions from a model and fixed cells to numbers.

Nothing here draws or serves; the pages show what these functions give, and print the call beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pushforward._checks import check_int, message
from pushforward._words import nearest
from pushforward.anomalies import explain
from pushforward.anomalies.explanation import CellSurprise, Words
from pushforward.anomalies.lines import Line, joint_of
from pushforward.explore.curves import Curve, How, Surface, masses_of, visible, widths
from pushforward.explore.known import Known, cells_of_row, known_cells
from pushforward.tables.estimators.conditioned import condition_table
from pushforward.tables.estimators.seeds import seed_words

if TYPE_CHECKING:
    import pyarrow as pa

    from pushforward.tables.estimators import FlowDensity

# Densities of one call of the compiled program, in which all answers fit: about 6 ms and 40 ms of a core at 12 columns.
FEW, MANY = 512, 4096
# Draws of the columns that are not held, over which a density of one column, or of two, is averaged.
DRAWS, PAIR_DRAWS = 31, 8
# Draws from which these are taken, and which say where the column lies.
DRAWN = 200
# A peak that fills a smaller share of the line is looked at again from nearby.
NARROW = 0.2
# Numbers of each column at which the surprise of a cell is measured.
SURPRISE_POINTS = 201


def conditional(
    density: FlowDensity, column: str, held: Mapping[str, Any], *, draws: int = DRAWS, random_state: Any = 0
) -> Curve:
    r"""The distribution of a column given cells that are held fixed.

    With all other columns held it is the joint density along the column, normalised by a sum and a trapezium rule. With
    one column left free, that one is summed over a grid. With more, it is averaged over draws of these given the held
    cells, $p(x_j \mid x_H) = \mathbb{E}_{x_F \mid x_H}\, p(x_j \mid x_F, x_H)$, by `pf.condition_on`, whose draws are
    exact, or resampled by their weights; `how` says which.

    Args:
        density: Fitted density.
        column: Name of a modelled column, which is not held.
        held: Cells by name of the column; None is a missing cell. Of a density with conditions all of these are held.
        draws: Number of draws of the columns that are not held.
        random_state: Seed of these.

    Cost: 401 densities if all others are held, 4096 otherwise, and the draws.

    Raises:
        ValueError: A column is not in the model, or is held and asked for.
        DataError: A cell is none of its column.
        ConditioningError: The draws would not be worth trusting.

    Example:
        >>> import numpy as np, pushforward as pf
        >>> a = np.random.default_rng(0).normal(size=500)
        >>> x = np.stack([a, a + 0.1 * np.random.default_rng(1).normal(size=500)], axis=1)
        >>> flow = pf.FlowDensity("maf", n_layers=2, width=8, max_epochs=60, n_members=1, verify=False, random_state=0)
        >>> curve = pf.explore.conditional(flow.fit(x), "x1", {"x0": 1.0})
        >>> curve.how.method, bool(0.5 < curve.median < 1.5)
        ('exact', True)
    """
    found = _asked(density, (column,), held, check_int("conditional", "draws", draws, 1), random_state)
    return found.curve(0)


def conditional_pair(
    density: FlowDensity, columns: Sequence[str], held: Mapping[str, Any], *, draws: int = PAIR_DRAWS,
    random_state: Any = 0,
) -> Surface:  # fmt: skip
    """The distribution of two columns given cells that are held fixed; see `conditional`.

    Args:
        density: Fitted density.
        columns: Names of two modelled columns, which are not held.
        held: Cells by name of the column; None is a missing cell.
        draws: Number of draws of the columns that are not held.
        random_state: Seed of these.

    Cost: 4096 densities if all others are held, 8192 otherwise, and the draws.

    Raises:
        ValueError: There are not two columns, one is not in the model, or is held and asked for.
        DataError: A cell is none of its column.
        ConditioningError: The draws would not be worth trusting.
    """
    if len(columns) != 2 or columns[0] == columns[1]:
        raise ValueError(message("conditional_pair", "two columns", repr(tuple(columns)), "Name two different ones."))
    found = _asked(
        density, tuple(columns), held, check_int("conditional_pair", "draws", draws, 1), random_state, shape=True
    )
    return Surface(found.curve(0), found.curve(1), found.mass, found.how)


class Drawn(NamedTuple):
    """Rows drawn given some cells.

    Attributes:
        table: The rows as an Arrow table.
        sentence: What they are worth.
    """

    table: pa.Table
    sentence: str


def draws_given(density: FlowDensity, held: Mapping[str, Any], n: int = DRAWN, *, random_state: Any = 0) -> Drawn:
    """Rows drawn given cells that are held fixed: those of `pf.condition_on(density, held).sample(n)`.

    Args:
        density: Fitted density.
        held: Cells by name of the column; None is a missing cell. Nothing needs to be held of a model of all columns.
        n: Number of rows.
        random_state: Seed of the draws.

    Raises:
        ValueError: A column is not in the model, or none is free.
        DataError: A cell is none of its column.
        ConditioningError: The draws would not be worth trusting.
    """
    known = known_cells(density, held, "draws_given")
    if not known.free:
        fix = "Leave a column out of those held."
        raise ValueError(message("draws_given", "a column that is not held", "all columns held", fix))
    rows, how = _drawn(density, known, held, n, random_state)
    model = density.model_
    if len(known.free) < len(model.layout.columns):
        return Drawn(condition_table(density, held).decoded(rows, random_state), how.sentence)
    cells = model.decode(rows, seed_words(random_state, 2))
    return Drawn(_with_given(density, cells, held, n), how.sentence)


class RowScore(NamedTuple):
    """The score of one row.

    Attributes:
        log_prob: Log-density of the row in nats.
        status: How far it can be trusted; see `FlowDensity.row_status`.
        cells: Its cells with their surprise given the others, in the order of the columns; see `anomalies.explain`.
    """

    log_prob: float
    status: str
    cells: tuple[CellSurprise, ...]


def score_row(density: FlowDensity, row: Mapping[str, Any], *, columns: Sequence[str] | None = None) -> RowScore:
    """The log-density of a row, and how surprising each of its cells is given the others.

    Args:
        density: Fitted density.
        row: A cell for each column of the model, by name; None is a missing cell.
        columns: Names of the columns whose surprise is measured; None takes all.

    Cost: 200 densities for each of these columns.

    Raises:
        DataError: A column is lacking, or a cell is none of its column.
    """
    cells = cells_of_row(density, row)
    why = explain(density, cells, columns=columns, points=SURPRISE_POINTS)[0].cells
    order = {column.name: i for i, column in enumerate(density.model_.layout.columns)}
    log_prob, status = density.score_samples(cells)[0], density.row_status(cells)[0]
    return RowScore(float(log_prob), str(status), tuple(sorted(why, key=lambda cell: order[cell.column])))


class _Found(NamedTuple):
    """A distribution over the cells of one line, or of two."""

    density: FlowDensity
    lines: tuple[Line, ...]
    mass: np.ndarray
    how: How

    def curve(self, which: int) -> Curve:
        line, others = self.lines[which], tuple(i for i in range(len(self.lines)) if i != which)
        column, n = line.column, len(line.mesh.points) if line.column.valued else 0
        mass = self.mass.sum(axis=others)
        words = Words(column, line.mesh)
        labels = tuple(words.cell(cell) for cell in line.cells[n:])
        places = np.full(len(labels), np.nan)
        places[: len(line.mesh.atoms)] = line.mesh.atoms
        family: Any = column.family
        numbers = family.to_cells(line.mesh.points, column) if n else np.zeros(0)
        weights = weights_of(line)[:n]
        per_unit = (column.step or 1.0) if column.counted and line.mesh.size is not None else 1.0
        height = np.divide(mass[:n], weights, out=np.zeros(n), where=weights > 0) / per_unit
        order = np.argsort(numbers, kind="stable")  # a circle may be written from another place than the model's
        return Curve(column.name, numbers[order], height[order], mass[:n][order], labels, places, mass[n:], self.how)


def _asked(
    density: FlowDensity,
    columns: tuple[str, ...],
    held: Mapping[str, Any],
    draws: int,
    random_state: Any,
    *,
    shape: bool = False,
) -> _Found:
    """The distribution of one or two columns given some cells."""
    layout = density.model_.layout
    names = [column.name for column in layout.columns]
    for name in columns:
        if name not in names:
            fix = nearest(name, names).strip()
            raise ValueError(message("conditional", f"a modelled column of {', '.join(names[:12])}", repr(name), fix))
        if name in held:
            fix = "Leave it out of those held."
            raise ValueError(message("conditional", "a column that is not held", repr(name), fix))
    known = known_cells(density, held, "conditional")
    lines = tuple(Line.of(layout, names.index(name)) for name in columns)
    rest = [i for i in known.free if names[i] not in columns]
    if not rest:
        words = "This is exact: all other columns are held."
        return _on_grid(density, known, lines, How("exact", words), len(columns))
    if len(rest) + len(columns) == 2:
        words = f"This is exact up to the grid over which {names[rest[0]]}, which is not held, was summed."
        return _on_grid(density, known, (*lines, Line.of(layout, rest[0])), How("grid", words), len(columns))
    rows, how = _drawn(density, known, held, DRAWN, random_state)
    few = rows[: max(1, draws)]
    budget = (2 * MANY if shape else MANY) // len(few)
    near = [_within(line, *_range_of(line, rows), int(budget ** (1 / len(lines)))) for line in lines]
    joint = joint_of(density, few, near, known.condition)
    mass = _masses(joint, near).mean(axis=0)
    return _Found(density, tuple(near), mass, how._replace(
        sentence=f"This is the mean over {len(few)} draws of the {len(rest)} columns that are not held. {how.sentence}"
    ))  # fmt: skip


def _on_grid(density: FlowDensity, known: Known, lines: tuple[Line, ...], how: How, kept: int) -> _Found:
    """The distribution on a grid over all columns that are free, first coarsely, then where its mass is."""
    side = 401 if len(lines) == 1 else 22
    coarse = [_within(line, -np.inf, np.inf, side) for line in lines]
    mass = _masses(joint_of(density, known.row[None], coarse, known.condition), coarse)[0]
    narrow = [_span_of(line, mass.sum(axis=tuple(j for j in range(len(lines)) if j != i)))
              for i, line in enumerate(coarse)]  # fmt: skip
    if len(lines) > 1 or narrow[0][2] < NARROW:
        fixed = [len(line.cells) for line in coarse if not line.column.valued]
        n_valued = len(lines) - len(fixed)
        most = MANY // int(np.prod(fixed, dtype=int)) if fixed else MANY
        side = 401 if len(lines) == 1 else max(int(most ** (1 / max(n_valued, 1))) - 2, 2)
        side = min(side, 401)
        coarse = [_within(line, low, high, side) for line, (low, high, _) in zip(lines, narrow, strict=True)]
        mass = _masses(joint_of(density, known.row[None], coarse, known.condition), coarse)[0]
    mass = mass.sum(axis=tuple(range(kept, len(lines))))
    return _Found(density, tuple(coarse[:kept]), mass, how)


def weights_of(line: Line) -> np.ndarray:
    """What each cell of a line counts: a number the width that it stands for, or its steps; all else 1, `(c,)`."""
    weights = np.ones(len(line.cells))
    if line.column.valued:
        points = line.mesh.points
        if line.mesh.size is not None:
            weights[: len(points)] = line.mesh.size * line.mesh.stride
        elif len(points) > 1:
            weights[: len(points)] = widths(points)
    return weights


def _masses(joint: np.ndarray, lines: Sequence[Line]) -> np.ndarray:
    """Probabilities of cells of lines from log-probabilities `(m, c1, ..., ck)`, which add up to 1 for each row."""
    mass, total = masses_of(joint, [weights_of(line) for line in lines])
    if not (total > 0).all():
        fix = "Hold other cells, or fewer."
        raise ValueError(message("conditional", "cells that the model holds possible", "cells of density 0", fix))
    return mass / total


def _within(line: Line, low: float, high: float, most: int) -> Line:
    """A line of at most so many cells, levels, atoms and a missing cell among them."""
    others = len(line.cells) - (len(line.mesh.points) if line.column.valued else 0)
    return line.within(low, high, max(most - others, 2))


def _span_of(line: Line, mass: np.ndarray) -> tuple[float, float, float]:
    """Where the density of a line can be seen, and the share of the line that this is."""
    if not line.column.valued:
        return -np.inf, np.inf, 1.0
    points = line.mesh.points
    height = mass[: len(points)] / weights_of(line)[: len(points)]
    seen = visible(height)
    if seen is None:
        return -np.inf, np.inf, 1.0
    first, last = seen
    return float(points[first]), float(points[last]), (last - first) / max(len(points) - 1, 1)


def _range_of(line: Line, rows: np.ndarray) -> tuple[float, float]:
    """The range of the numbers of a column in encoded rows, and as much as a third of it beyond each end."""
    if not line.column.valued:
        return -np.inf, np.inf
    values = rows[:, line.places[-1]]
    if line.column.n_states:
        values = values[np.rint(rows[:, line.places[0]]) == 0]
    if len(values) < 2 or np.ptp(values) == 0:
        return -np.inf, np.inf
    low, high = np.quantile(values, [0.005, 0.995])
    return float(low - (high - low) / 3), float(high + (high - low) / 3)


def _drawn(
    density: FlowDensity, known: Known, held: Mapping[str, Any], n: int, random_state: Any
) -> tuple[np.ndarray, How]:
    """Encoded rows given the held cells."""
    model = density.model_
    if len(known.free) == len(model.layout.columns):
        rows = model.draw(n, seed_words(random_state, 2), known.condition)
        return rows, How("draws", "The draws are exact: no modelled column is held.")
    found = condition_table(density, held).encoded(n, random_state)
    return found.rows, How("draws" if found.report.exact else "importance", found.report.sentence)


def _with_given(density: FlowDensity, cells: Mapping[str, Any], held: Mapping[str, Any], n: int) -> pa.Table:
    """Drawn cells as a table, with the conditions as they were asked for."""
    import pyarrow as pa

    from pushforward.tables.encoding import as_asked

    model, made = density.model_, dict(cells)
    if model.given_layout is not None:
        made |= as_asked(model.given_layout, cells_of_row(density, {name: held[name] for name in model.given}), n)
    return pa.table({name: made[name] for name in model.names_out() if name in made})
