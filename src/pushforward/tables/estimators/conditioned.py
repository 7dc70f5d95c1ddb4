"""A fitted `FlowDensity` of which some cells are known: `pf.condition_on` and `pf.marginal` of a table's model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from pushforward._checks import check_int
from pushforward.inference.conditioning import Way, check_way, draw_by_weights
from pushforward.inference.known import Boxes, ConditioningError
from pushforward.inference.table_sources import table_sources
from pushforward.inference.weighted import (
    PILOT,
    ConditionalDraws,
    Evidence,
    Report,
    Source,
    equal,
    evidence_of,
    refuse,
    weighted_rows,
)
from pushforward.tables.encoding import as_asked
from pushforward.tables.estimators.frames import to_frame, wanted_kind
from pushforward.tables.estimators.known_cells import (
    SOURCE,
    Remaining,
    boxes_for,
    column_named,
    given_cells_of,
    remaining_of,
    wanted_of,
)
from pushforward.tables.estimators.seeds import seed_words
from pushforward.tables.kinds.base import AbstractLevels

if TYPE_CHECKING:
    from pushforward.tables.estimators.density import FlowDensity


@dataclass(frozen=True)
class ConditionalTable:
    """A fitted `FlowDensity` of which some cells are known; `pf.condition_on` builds it.

    Args:
        density: The fitted estimator.
        conditions: What is known, by name of the column.
        method: How to draw.
    """

    density: FlowDensity
    conditions: Mapping[str, Any]
    method: Way

    @property
    def boxes(self) -> Boxes:
        """What is known, in the model's states and values."""
        return boxes_for(self.density.model_, self.conditions)

    def sample(self, n_samples: int = 1, *, random_state: Any = None) -> Any:
        """Whole rows, what is known among them, as the kind of table that `FlowDensity.sample` returns.

        Args:
            n_samples: Number of rows.
            random_state: An integer, a NumPy `RandomState` or `Generator`, or None for other rows each time.

        Raises:
            ConditioningError: The draws would not be worth trusting, or what is known has no probability.
        """
        return self.draw(n_samples, random_state=random_state)[0]

    def draw(self, n_samples: int = 1, *, random_state: Any = None) -> tuple[Any, Report]:
        """Whole rows as in `sample`, and what they are worth."""
        density = self.density
        table, report = self.table(n_samples, random_state)
        kind = wanted_kind(getattr(density, "_output", None), density._kind)
        held = {c.name: c.container for c in density.schema_.columns if c.container is not None}
        return to_frame(table, kind, held if kind == density._kind else None), report

    def table(self, n_samples: int, random_state: Any) -> tuple[pa.Table, Report]:
        """The rows as an Arrow table, and what they are worth."""
        found = self.encoded(n_samples, random_state)
        return self.decoded(found.rows, random_state), found.report

    def encoded(self, n_samples: int, random_state: Any) -> ConditionalDraws:
        """The rows as the model sees them, and what they are worth."""
        n, seed = check_int(SOURCE, "n_samples", n_samples, 1), seed_words(random_state, 2)
        boxes = self.boxes
        found = draw_by_weights(SOURCE, self._sources(boxes), boxes, seed, n, self.method)
        if not isinstance(found, ConditionalDraws):
            raise refuse(SOURCE, found)
        return found

    def decoded(self, rows: np.ndarray, random_state: Any) -> pa.Table:
        """Rows `(n, dim)` as the model sees them as an Arrow table, with what is known as it was asked for."""
        model, n = self.density.model_, len(rows)
        cells = model.decode(rows, seed_words(random_state, 2)) | self._as_asked(n)
        given = given_cells_of(model, self.conditions)
        if given is not None and model.given_layout is not None:
            cells |= as_asked(model.given_layout, given, n)
        names = [name for name in model.names_out() if name in cells]
        return pa.table({name: cells[name] for name in names})

    def _as_asked(self, n: int) -> dict[str, pa.Array]:
        """Levels that share a state with others, as they were asked for."""
        made: dict[str, pa.Array] = {}
        for name, value in self.conditions.items():
            column, wanted = self.density.schema_.column(name), wanted_of(name, value)
            if not isinstance(column.family, AbstractLevels) or len(wanted.values) != 1 or not column.rare:
                continue
            rare = [level for level in column.rare if str(level) == str(wanted.values[0])]
            if rare:
                one = column.model_copy(update={"rare": (rare[0],), "rare_counts": (1,)})
                states = np.full(n, len(column.levels))
                made[name] = column.family.write(states, one, np.random.default_rng(0))
        return made

    def log_evidence(self, *, n: int = PILOT, random_state: Any = 0) -> Evidence:
        """The log-probability, or log-density, of what is known, in nats and the data's units, with its standard error.

        Args:
            n: Number of weighted rows for each case.
            random_state: Seed of the rows.
        """
        boxes = self.boxes
        return _evidence(weighted_rows(self._sources(boxes)[0], boxes, seed_words(random_state, 2), n).log_weights)

    def _sources(self, boxes: Boxes) -> list[Source]:
        """Where rows come from; those in which a number with a remainder is not in its range weigh nothing."""
        model = self.density.model_
        sources, remaining = table_sources(model.distribution, boxes), remaining_of(model, self.conditions)
        return [_within(source, remaining) for source in sources] if remaining else sources


def _within(source: Source, remaining: list[Remaining]) -> Source:
    """A source whose rows weigh nothing where a number with a remainder is not in its range."""

    def run(*arguments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows, log_weights = (np.asarray(part) for part in source(*arguments))
        holds = np.all([one.holds(rows) for one in remaining], axis=0)
        return rows, np.where(holds, log_weights, -np.inf)

    return run


def condition_table(density: FlowDensity, given: Mapping[str, Any], *, method: Way = "auto") -> ConditionalTable:
    """A fitted `FlowDensity` given some cells; see `pf.condition_on`.

    Raises:
        DataError: A column or a level is not in the model, or a condition of the model itself is not known.
        ConditioningError: Chains are asked for.
    """
    check_way(SOURCE, method)
    if method == "mcmc":
        fix = "Use method='auto'."
        raise ConditioningError("unsupported", f"{SOURCE}: the rows of a table are drawn without chains. {fix}")
    found = ConditionalTable(density, dict(given) if isinstance(given, Mapping) else given, method)
    boxes_for(density.model_, found.conditions)
    return found


@dataclass(frozen=True)
class MarginalTable:
    """Some columns of a fitted `FlowDensity`; `pf.marginal` builds it.

    Args:
        density: The fitted estimator.
        columns: Their names.
    """

    density: FlowDensity
    columns: tuple[str, ...]

    def sample(self, n_samples: int = 1, *, random_state: Any = None) -> Any:
        """Draws of these columns; they are exact."""
        rows = self.density.sample(n_samples, random_state=random_state)
        if isinstance(rows, np.ndarray):
            places = [self.density.columns_.index(name) for name in self.columns]
            return rows[:, places]
        return rows[list(self.columns)]

    def log_prob(self, rows: Any, *, n: int = PILOT, random_state: Any = 0) -> np.ndarray:
        """The log-densities of rows of these columns, `(m,)` nats, as `score` without the errors."""
        return self.score(rows, n=n, random_state=random_state)[0]

    def score(self, rows: Any, *, n: int = PILOT, random_state: Any = 0) -> tuple[np.ndarray, np.ndarray]:
        """The log-densities of rows of these columns, and their standard errors, `(m,)` nats each.

        They are in the units of `FlowDensity.score_samples`, and exact (with errors of 0) where the columns come first
        in the model's order.

        Args:
            rows: A list of dicts, or a dict of columns; a number or a level, or None for a missing cell.
            n: Number of weighted rows for each density.
            random_state: Seed of these.
        """
        return _evidences(self.density, _rows_of(rows, self.columns), n, seed_words(random_state, 2))

    def pdf(self, grid: Sequence[Any], *, n: int = PILOT, random_state: Any = 0) -> np.ndarray:
        """The densities, or probabilities, of values of one column, `(m,)`."""
        return np.exp(self.log_prob({self._only("pdf"): list(grid)}, n=n, random_state=random_state))

    def cdf(self, x: Any, *, n: int = PILOT, random_state: Any = 0) -> np.ndarray:
        """The distribution function of one column of numbers, in the shape of `x`; missing cells are left out."""
        name, numbers = self._only("cdf"), np.asarray(x, np.float64)
        column = self.density.schema_.column(name)
        start, end = column.support
        if column.kind == "circular":
            start, end = (bound + (column.low or 0.0) for bound in (start, end))
        start = min(start, *column.atoms, math.inf)
        # A mass may lie at the start itself.
        closed = bool(column.atoms) or column.step is not None

        inside = [start < one < end or (closed and one == start) for one in numbers.ravel()]
        ends = [math.inf, *(float(one) for one, own in zip(numbers.ravel(), inside, strict=True) if own)]
        given = [{name: (start, high)} for high in ends]
        whole, *masses = np.exp(_evidences(self.density, given, n, seed_words(random_state, 2))[0])
        inner = iter(masses)
        parts = [
            next(inner) if own else 0.0 if one <= start else whole
            for one, own in zip(numbers.ravel(), inside, strict=True)
        ]
        return (np.array(parts) / whole).clip(0.0, 1.0).reshape(numbers.shape)

    def quantile(self, p: Any, *, random_state: Any = 0) -> np.ndarray:
        """The numbers below which one column lies with these probabilities, of 65,536 draws that are not missing."""
        shares = np.asarray(p, np.float64)
        if not ((shares > 0) & (shares < 1)).all():
            raise ValueError(f"marginal: expected probabilities in (0, 1), got {p!r:.60}. Give shares.")
        drawn = MarginalTable(self.density, (self._only("quantile"),)).sample(2**16, random_state=random_state)
        values = np.asarray(drawn, np.float64).ravel()
        return np.quantile(values[~np.isnan(values)], shares)

    def interval(self, level: float = 0.95, *, random_state: Any = 0) -> tuple[float, float]:
        """The central interval of one column that holds this probability."""
        low, high = self.quantile([0.5 - level / 2, 0.5 + level / 2], random_state=random_state)
        return float(low), float(high)

    def _only(self, method: str) -> str:
        if len(self.columns) != 1:
            fix = "Take the marginal of one column."
            raise ConditioningError("column", f"marginal.{method}: expected one column, got {len(self.columns)}. {fix}")
        (name,) = self.columns
        return name


def _evidences(
    density: FlowDensity, rows: Sequence[Mapping[str, Any]], n: int, seed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Log-densities of what each row says, and their errors; rows of which the same numbers are known go together."""
    if any(remaining_of(density.model_, row) for row in rows):
        found = [condition_table(density, row).log_evidence(n=n, random_state=int(seed[0])) for row in rows]
        return np.array([one.value for one in found]), np.array([one.error for one in found])
    boxes = [condition_table(density, row).boxes for row in rows]
    groups: dict[bytes, list[int]] = {}
    for place, own in enumerate(boxes):
        groups.setdefault(np.concatenate([own.known, own.points], axis=1).all(axis=0).tobytes(), []).append(place)
    values, errors = np.zeros(len(rows)), np.zeros(len(rows))
    for places in groups.values():
        owner = np.repeat(places, [len(boxes[place].low) for place in places])
        low, high = (np.concatenate([boxes[place][end] for place in places]) for end in (0, 1))
        together = Boxes(low, high)
        source = table_sources(density.model_.distribution, together)[0]
        log_weights = weighted_rows(source, together, seed, n).log_weights
        for place in places:
            values[place], errors[place] = _evidence(log_weights[owner == place])
    return values, errors


def _evidence(log_weights: np.ndarray) -> Evidence:
    found = evidence_of(log_weights)
    return found._replace(error=0.0) if math.isfinite(found.value) and equal(log_weights) else found


def _rows_of(rows: Any, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    if isinstance(rows, Mapping):
        lists = [list(rows[name]) for name in columns]
        return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
    return [{name: row[name] for name in columns} for row in rows]


def marginal_table(density: FlowDensity, columns: Sequence[str]) -> MarginalTable:
    """Some columns of a fitted `FlowDensity`; see `pf.marginal`.

    Raises:
        DataError: A column is not in the model.
    """
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    for name in names:
        column_named(density.schema_, name)
    if density.given_:
        fix = "Take it of a model of all columns."
        raise ConditioningError("unsupported", f"marginal: the model is a density given {list(density.given_)}. {fix}")
    return MarginalTable(density, names)
