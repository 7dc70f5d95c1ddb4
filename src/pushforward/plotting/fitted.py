"""What figures ask of a fitted model: its samples, the rows that it can score, and its density on a grid."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import message
from pushforward.plotting.axes import Axis
from pushforward.plotting.columns import numbers_in

if TYPE_CHECKING:
    from pushforward.tables.estimators import FlowDensity
    from pushforward.tables.modelling.table_model import TableModel
    from pushforward.tables.reading.cells import Cells

# Share of the span of the data by which a grid reaches beyond them.
BEYOND = 0.15
# How near to an end of a column's support its density is looked at, as a share of the grid's span, or of the first
# spacing of one in decades.
INSIDE = 1e-6


@dataclass(frozen=True)
class Conditionals:
    """Densities of one column, for one row of conditions each.

    Attributes:
        positions: Positions `(m,)` of the grid along the axis.
        density: Density `(n, m)` per length along the axis; of levels their masses.
        atoms: Positions `(k,)` of values that have a probability of their own.
        masses: Probabilities `(n, k)` of these.
    """

    positions: np.ndarray
    density: np.ndarray
    atoms: np.ndarray
    masses: np.ndarray

    def mean(self) -> Conditionals:
        """The mean over the rows, as one row."""
        means = (part.mean(axis=0, keepdims=True) for part in (self.density, self.masses))
        density, masses = means
        return Conditionals(self.positions, density, self.atoms, masses)


def table_for(density: FlowDensity, data: Any) -> Cells:
    """A table as cells with the columns of a fit."""
    from pushforward.tables.reading.cells import read_cells

    columns = density.columns_ if isinstance(data, np.ndarray) else None
    return read_cells(data, columns=columns, conventions=density.schema_.reading).select(density.model_.needed)


def complete(density: FlowDensity, table: Cells) -> Cells:
    """The rows without a gap in a column whose gaps are not modelled: the others have no density."""
    return without_gaps(table, [column for column in density.schema_.modelled if not column.missing])


def without_gaps(table: Cells, columns: Any) -> Cells:
    """The rows without a gap in one of the columns."""
    if not columns:
        return table
    return table.take(np.flatnonzero(np.isfinite(numbers_in(columns, table)).all(axis=1)))


def sampled(density: FlowDensity, table: Cells | None, n: int, seed: int) -> Any:
    """About `n` samples as an Arrow table; of a model with conditions one or more for each row that has them."""
    arrow = copy.copy(density).set_output(transform="pyarrow")
    if not density.given_ or table is None:
        return arrow.sample(n, random_state=seed)
    rows = without_gaps(table, [c for c in conditions_of(density) if not c.missing])
    some = np.sort(np.random.default_rng(seed).permutation(len(rows))[:n])
    return arrow.sample(-(-n // len(some)), given=rows.take(some), random_state=seed)


def conditions_of(density: FlowDensity) -> list[Any]:
    """The columns that are conditions."""
    return [density.schema_.column(name) for name in density.given_]


def target_of(what: str, density: FlowDensity) -> Any:
    """The one column whose density a model has, given others.

    Raises:
        ValueError: There are no conditions, or more columns than one.
    """
    columns = density.model_.layout.columns
    if not density.given_ or len(columns) != 1:
        names = ", ".join(column.name for column in columns[:8])
        got = f"the density of {len(columns)} columns ({names}) given {len(density.given_)}"
        fix = "Fit FlowDensity(given=[...]) with all others (on the command line: fit --given)."
        raise ValueError(message(what, "a model of one column given others", got, fix))
    return columns[0]


def cells_of(column: Any, values: np.ndarray) -> Any:
    """Numbers as `numbers_in` has them as an Arrow array of the column's type."""
    from pushforward.tables.encoding import Layout, decode, in_steps

    # Steps with remainders are finer steps: each number has a mass.
    plain = column.model_copy(update={"missing": False, "atoms": (), "step": column.fine or column.step})
    plain = plain.model_copy(update={"fine": None, "remainders": ()})
    rows = in_steps(values, plain) if column.valued else values
    return decode(Layout((plain,)), np.asarray(rows, np.float64)[:, None])[column.name]


def rows_of(column: Any, values: np.ndarray) -> Cells:
    """Rows of one column with these numbers."""
    import pyarrow as pa

    from pushforward.tables.reading.cells import Cells

    return Cells(pa.table({column.name: cells_of(column, values)}))


def densities(density: FlowDensity, column: Any, axis: Axis, rows: Cells | None, count: int) -> Conditionals:
    """The density of a column on a grid, given each of some rows, in one batched call.

    Args:
        density: Model of this column alone, with conditions or without.
        column: Column of the schema.
        axis: Its axis.
        rows: Rows of conditions; None for a model without.
        count: Number of points of the grid.
    """
    if column.levels:
        return _of_levels(density, column, axis, rows)
    positions = _grid(column, axis, count)
    atoms = np.array(column.atoms, np.float64)
    places = axis.place(atoms)
    values = axis.values(positions)
    found = np.exp(_log_prob(density, column, np.concatenate([values, atoms]), rows))
    height = found[:, : len(values)]
    if column.counted:  # its log-probabilities are masses
        height = height / (column.fine or column.step or 1.0)
    return Conditionals(positions, axis.per_length(height, positions), places, found[:, len(values) :])


def _of_levels(density: Any, column: Any, axis: Axis, rows: Any) -> Conditionals:
    values = np.arange(len(column.levels), dtype=np.float64)
    masses = np.exp(_log_prob(density, column, values, rows))
    none = np.zeros((len(masses), 0))
    if not axis.words:  # levels that are numbers, on an axis of numbers
        return Conditionals(np.zeros(0), none, axis.place(np.array(column.levels, np.float64)), masses)
    places = axis.place(values).astype(int)
    joined = np.stack([masses[:, places == place].sum(axis=1) for place in range(len(axis.words))], axis=1)
    return Conditionals(np.arange(len(axis.words), dtype=np.float64), joined, np.zeros(0), none)


def _log_prob(density: Any, column: Any, values: np.ndarray, rows: Any) -> np.ndarray:
    """Log-probabilities `(n, m)` of values of a column, given each row."""
    import pyarrow as pa

    from pushforward.tables.reading.cells import Cells

    n, m = 1 if rows is None else len(rows), len(values)
    made = {column.name: cells_of(column, values).take(pa.array(np.tile(np.arange(m), n)))}
    if rows is not None:
        repeated = rows.take(np.repeat(np.arange(n), m)).table
        made |= {name: repeated.column(name) for name in density.given_}
    return density.score_samples(Cells(pa.table(made))).reshape(n, m)


def _grid(column: Any, axis: Axis, count: int) -> np.ndarray:
    """Positions along an axis, within the support of a column and on its steps, somewhat beyond what the fit saw."""
    low, high = axis.span
    if column.seen is not None and not column.period:
        low, high = axis.place(np.array(column.seen))
    if axis.logarithmic:
        low = max(low, axis.edges[axis.edges > 0][0])
    ends = axis.lengths(np.array([low, high]))
    if not column.period:
        ends += np.array([-BEYOND, BEYOND]) * (ends[1] - ends[0])
    positions = np.linspace(ends[0], ends[1], count)
    positions = 10.0**positions if axis.logarithmic else positions
    if not column.period:
        near = INSIDE * np.diff(positions[:2] if axis.logarithmic else positions[[0, -1]])
        bounds = axis.place(np.array(column.support))
        positions = np.unique(np.clip(positions, bounds[0] + near, bounds[1] - near))
    own = column.fine or column.step
    if own:
        values = axis.values(positions)
        step = own * max(1, round((values[-1] - values[0]) / own / count))
        positions = axis.place(np.unique(np.floor(values / step + 1e-9) * step))
    return positions[positions > 0] if axis.logarithmic else positions


def reference_latents(model: TableModel, n: int, seed: int) -> np.ndarray | None:
    """Draws `(n, d)` of what the latents follow in a right model; None for standard normals, as those of margins are.

    Args:
        model: Fitted model.
        n: Number of draws.
        seed: Seed of the draws.
    """
    import jax

    from pushforward.distributions import StandardNormal

    flow = model.member.values
    if flow is None or isinstance(flow.base, StandardNormal):
        return None
    drawn = np.random.default_rng(seed).standard_normal((n, len(model.layout.valued)))
    drawn[:, list(model.member.flow_places)] = np.asarray(flow.base.sample(jax.random.key(seed), (n,)))
    return drawn
