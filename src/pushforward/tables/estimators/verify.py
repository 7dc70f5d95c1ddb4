"""What is said of every fitted model: checks of its exactness, simple densities to compare it with, row status."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._precision import widened
from pushforward.checking import CheckLine, CheckReport, Part, check, row_status
from pushforward.checking.run_checks import LIBRARIES
from pushforward.checking.status import MARGIN, STATUSES
from pushforward.distributions.categorical import AutoregressiveCategorical
from pushforward.distributions.table import TableDistribution
from pushforward.metrics import Baseline, baselines
from pushforward.numerics.mean_error import mean_and_error
from pushforward.tables.encoding import Encoded, Layout, remainders_of, within_bounds
from pushforward.tables.estimators.samples import edge_masses, edge_peaks, edges_line, samples_line
from pushforward.tables.estimators.verify_margins import check_margins
from pushforward.tables.modelling.rows import Seen, standard_rows
from pushforward.tables.modelling.table_model import TableModel

# Rows that simple densities are compared on, and draws for each of what is rounded or absent.
COMPARED_ROWS, COMPARED_DRAWS = 2000, 4
# Rows of samples that are held against the schema.
SAMPLED_ROWS = 1000
# Rows whose masses are summed over all states, and by how much the sum may miss 1 in float64.
SUMMED_ROWS, SUM_TOLERANCE = 16, 1e-10
# Nats by which a slope of the units may miss its derivative, and relative error of the way back.
UNITS_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Comparison:
    """Simple densities on held-out rows, and the model on the same.

    Attributes:
        baselines: as `pushforward.metrics.baselines` gives them.
        model: log-probability of each of these rows under the model, nats.
        rows: places of these rows among those compared.
    """

    baselines: tuple[Baseline, ...]
    model: np.ndarray
    rows: np.ndarray


def compare_with_simple(
    model: TableModel,
    train: Encoded,
    held_out: Encoded,
    train_condition: np.ndarray | None = None,
    condition: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> Comparison:
    """Fit a Gaussian, a Gaussian mixture and a kernel density to the same rows; score all on the same held-out rows.

    They see what the model sees, as numbers: states by their codes and rounded values, each spread evenly over its
    step, so that their densities average to the mass of the cell; where a value is absent, a normal that is divided
    out again. Given conditions, they are fitted to what a linear regression on the conditions leaves.

    Args:
        model: fitted.
        train: rows to fit them to.
        held_out: rows to score, at most `COMPARED_ROWS` of which are.
        train_condition: `(n, k)` or None.
        condition: `(m, k)` or None.
        seed: of all draws.
    """
    rng = np.random.default_rng(seed)
    chosen = np.arange(len(held_out.rows))
    if len(chosen) > COMPARED_ROWS:
        chosen = np.sort(rng.choice(len(chosen), COMPARED_ROWS, replace=False))
    own = Encoded(held_out.rows[chosen], held_out.within[chosen], {})
    own_condition = None if condition is None else condition[chosen]
    scores = model.score_encoded(own, own_condition).log_prob
    numbers = Numbers(model.layout, train.rows)
    x, _ = numbers.spread(train.rows, rng)
    drawn = [numbers.spread(own.rows, rng) for _ in range(numbers.draws)]
    y = np.concatenate([rows for rows, _ in drawn])
    if train_condition is not None and own_condition is not None:
        line = _regression(train_condition, x)
        x = x - line(train_condition)
        y = y - np.tile(line(own_condition), (numbers.draws, 1))
    try:
        found = baselines(x, y, seed=seed)
    except ValueError:  # a column is constant among the few rows that are left
        found = ()
    made = []
    for baseline in found:
        per_row = baseline.per_row.reshape(numbers.draws, -1) + np.stack([extra for _, extra in drawn])
        per_row = np.logaddexp.reduce(per_row, axis=0) - np.log(numbers.draws) + own.within
        nats, error = map(float, mean_and_error(per_row))
        made.append(Baseline(baseline.name, nats, error, baseline.detail, per_row))
    return Comparison(tuple(made), scores, chosen)


def compare_on_folds(
    models: Sequence[TableModel], encoded: Encoded, folds: Sequence[np.ndarray], condition: np.ndarray | None
) -> Comparison:
    """`compare_with_simple` for an ensemble: each part of the rows under the model of the others, and put together.

    Args:
        models: the model of the rows outside each fold.
        encoded: all rows.
        folds: places of the rows of each fold; as many of them are taken as hold `COMPARED_ROWS`.
        condition: `(n, k)` or None.
    """
    found: list[Comparison] = []
    for model, out in zip(models, folds, strict=True):
        if sum(len(each.rows) for each in found) >= COMPARED_ROWS:
            break
        kept = np.delete(np.arange(len(encoded.rows)), out)
        parts = (None, None) if condition is None else (condition[kept], condition[out])
        each = compare_with_simple(model, encoded.take(kept), encoded.take(out), *parts)
        found.append(Comparison(each.baselines, each.model, out[each.rows]))
    if len(found) == 1:
        return found[0]
    joined = []
    for together in zip(*(each.baselines for each in found), strict=False):
        per_row = np.concatenate([baseline.per_row for baseline in together])
        nats, error = map(float, mean_and_error(per_row))
        detail = f"fitted to the rows outside each of {len(found)} folds: {together[0].detail}"
        joined.append(Baseline(together[0].name, nats, error, detail, per_row))
    model = np.concatenate([each.model for each in found])
    return Comparison(tuple(joined), model, np.concatenate([each.rows for each in found]))


class Numbers:
    """Rows as numbers without ties, for densities that know no states.

    Args:
        layout: of the rows.
        rows: `(n, dim)`, to measure the scale of the columns by.
    """

    def __init__(self, layout: Layout, rows: np.ndarray):
        n_states = len(layout.stated)
        columns = [layout.columns[i] for i in layout.valued]
        self.n_states, self.state_of_value = n_states, layout.state_of_value
        self.steps = np.array([column.step or 0.0 for column in columns])
        self.counted = np.array([column.counted for column in columns], bool)
        self.filling = []
        for j, state in enumerate(self.state_of_value):
            values = rows[:, n_states + j]
            values = values if state < 0 else values[rows[:, state] == 0]
            scale = float(values.std()) if len(values) > 1 else 1.0
            self.filling.append((float(values.mean()) if len(values) else 0.0, scale if scale > 0 else 1.0))
        absent = any(state >= 0 for state in self.state_of_value)
        self.draws = COMPARED_DRAWS if n_states or absent or (self.steps > 0).any() else 1

    def spread(self, rows: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """The rows as numbers `(n, dim)`, and what each row's log-density has to gain, `(n,)` nats."""
        out, extra = rows.astype(float).copy(), np.zeros(len(rows))
        out[:, : self.n_states] += rng.uniform(size=(len(rows), self.n_states))
        for j, state in enumerate(self.state_of_value):
            column = out[:, self.n_states + j]
            there = np.ones(len(rows), bool) if state < 0 else rows[:, state] == 0
            if self.steps[j] > 0:
                column = column + self.steps[j] * rng.uniform(size=len(rows))
                extra += np.where(there & self.counted[j], np.log(self.steps[j]), 0.0)
            if not there.all():
                loc, scale = self.filling[j]
                normal = rng.standard_normal(len(rows))
                column = np.where(there, column, loc + scale * normal)
                extra += np.where(there, 0.0, 0.5 * normal**2 + 0.5 * np.log(2 * np.pi) + np.log(scale))
            out[:, self.n_states + j] = column
        return out, extra


def _regression(condition: np.ndarray, x: np.ndarray) -> Any:
    """The linear function of the condition that comes closest to `x`."""
    centre, scale = condition.mean(axis=0), condition.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)

    def design(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ones((len(rows), 1)), (rows - centre) / scale], axis=1)

    solution = np.linalg.lstsq(design(condition), x, rcond=None)[0]
    return lambda rows: design(rows) @ solution


def check_model(
    model: TableModel, encoded: Encoded | None, condition: np.ndarray | None = None, *, seed: int = 0
) -> CheckReport:
    """Every check of a fitted model, on held-out rows, or without rows on its own samples.

    Args:
        model: fitted.
        encoded: rows, best ones that the fit has not seen; None for none.
        condition: `(n, k)` or None; a conditional model needs rows.
        seed: of all draws.
    """
    start = time.perf_counter()
    distribution, key = model.member, jax.random.key(seed)
    flow = distribution.as_flow()  # of an ensemble that of its first member
    with jax.enable_x64(False):
        guard = check_draws(model, encoded, condition, seed)
        if flow is not None:
            report = check(flow, None if encoded is None else encoded.rows, key=key, condition=condition)
            return CheckReport((*guard, *report.lines), time.perf_counter() - start, _versions())
        rows = encoded.rows if encoded is not None else model.draw(SAMPLED_ROWS, np.array([seed, 0], np.uint32), None)
        lines: list[CheckLine] = [*guard, check_samples(model, condition, seed)]
        if distribution.masses is not None:
            lines.append(check_masses(distribution.masses, rows, _features(model, condition, len(rows))))
        if distribution.margins is not None:
            lines += check_margins(model, rows, condition)
        if distribution.units is not None:
            lines.append(check_units(distribution, model.layout, rows))
        if distribution.values is not None:
            standard = standard_rows(distribution, rows, condition)
            part = Part(distribution.values, standard.values, standard.condition)
            report = check(part.model, part.data, key=key, condition=part.condition)
            lines += report.lines
    return CheckReport(tuple(lines), time.perf_counter() - start, _versions())


def _versions() -> dict[str, str]:
    from importlib import metadata

    return {name: metadata.version(name) for name in LIBRARIES}


def _features(model: TableModel, condition: np.ndarray | None, n: int) -> np.ndarray | None:
    given = model.member.given
    if given is None or condition is None:
        return None
    with jax.enable_x64(True):
        return np.asarray(widened(given)(jnp.asarray(condition[:SUMMED_ROWS].T)))


def check_masses(masses: AutoregressiveCategorical, rows: np.ndarray, features: np.ndarray | None) -> CheckLine:
    """Whether the masses of each variable's states sum to 1, whatever the variables before it are."""
    states = np.asarray(rows[:SUMMED_ROWS, : len(masses.sizes)], np.float64)
    wide, worst, most = widened(masses), 0.0, max(masses.sizes)
    with jax.enable_x64(True):
        own = None if features is None else jnp.asarray(np.repeat(features, most, axis=1))
        every = np.repeat(states, most, axis=0)
        for c, size in enumerate(masses.sizes):
            # As many rows for each variable, so that one program serves them all.
            rows_of_states = every.copy()
            rows_of_states[:, c] = np.tile(np.minimum(np.arange(most), size - 1), len(states))
            log_mass = np.asarray(_masses(wide, jnp.asarray(rows_of_states.T), own))[c]
            total = np.exp(log_mass).reshape(len(states), most)[:, :size].sum(axis=1)
            worst = float(np.fmax(worst, np.abs(total - 1).max())) if np.isfinite(total).all() else np.nan
    bad = not worst <= SUM_TOLERANCE
    text = f"The probabilities of the states of each of {len(masses.sizes)} columns sum to 1 within {worst:.1e}."
    if bad:
        text += " They are no probabilities: every log-probability is wrong by as much."
    return CheckLine("masses of states", worst, SUM_TOLERANCE, "fail" if bad else "pass", text)


@eqx.filter_jit
def _masses(masses: AutoregressiveCategorical, states: jax.Array, features: jax.Array | None) -> jax.Array:
    return masses.each_log_prob(states, features)


@eqx.filter_jit
def _back_and_forth(units: Any, y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Take values back and forth: log-slopes of the way back, values and log-slopes after both, and derivatives."""
    x, back = units.each_inverse(y)
    again, there = units.each_forward(x)
    # The map is elementwise: one direction of ones gives all its derivatives.
    derivative = jax.jvp(lambda v: units.each_inverse(v)[0], (y,), (jnp.ones_like(y),))[1]
    return back, again, there, derivative


def check_units(distribution: TableDistribution, layout: Layout, rows: np.ndarray) -> CheckLine:
    """Whether the map to the columns' units comes back, and whether its slopes are its derivatives."""
    units: Any = distribution.units
    wide = widened(units)
    places = len(layout.stated) + np.array(distribution.flow_places, int)
    values = rows[:256][:, places].astype(np.float64) + 0.5 * np.asarray(distribution.steps.value)
    with jax.enable_x64(True):
        back, again, there, derivative = (np.asarray(part) for part in _back_and_forth(wide, jnp.asarray(values.T)))
    scale = np.maximum(np.abs(values.T), np.asarray(units.scale.value)[:, None])
    trip = float(np.max(np.abs(again - values.T) / scale))
    gap = float(np.max(np.abs(np.log(np.abs(derivative)) - back)))
    cancel = float(np.max(np.abs(back + there)))
    figure = float(np.max([trip, gap, cancel]))
    bad = not figure <= UNITS_TOLERANCE
    text = (
        f"From the columns' units and back values return within {trip:.1e} of their size; slopes differ from the "
        f"derivative by {gap:.1e} nats at most."
    )
    return CheckLine("units of columns", figure, UNITS_TOLERANCE, "fail" if bad else "pass", text)


def check_draws(model: TableModel, encoded: Encoded | None, condition: np.ndarray | None, seed: int) -> list[CheckLine]:
    """The guard of samples, and with rows that of the ends of columns; see `samples.py`."""
    own = None if condition is None else condition[:SAMPLED_ROWS]
    drawn = model.draw(SAMPLED_ROWS if own is None else 1, np.array([seed, 2], np.uint32), own)
    lines = [samples_line(model.layout, drawn, model.schema.rows)]
    if encoded is None:
        return lines
    data = encoded.take(np.arange(min(len(encoded.rows), SAMPLED_ROWS)))

    def score(rows: np.ndarray, of: np.ndarray) -> np.ndarray:
        given = None if condition is None else condition[of]
        return model.score_encoded(Encoded(rows, np.zeros(len(rows)), {}), given).log_prob

    return [*lines, edges_line(edge_masses(model.layout, data.rows, drawn), edge_peaks(model.layout, data.rows, score))]


def check_samples(model: TableModel, condition: np.ndarray | None, seed: int) -> CheckLine:
    """Whether samples stay within bounds, on steps, and among known levels, also before they are written as cells."""
    own = None if condition is None else condition[:SAMPLED_ROWS]
    rows = model.draw(SAMPLED_ROWS if own is None else 1, np.array([seed, 1], np.uint32), own)
    layout, outside = model.layout, 0
    n_states = len(layout.stated)
    for j, i in enumerate(layout.valued):
        column, state = layout.columns[i], layout.state_of_value[j]
        values = rows[:, n_states + j]
        values = values if state < 0 else values[rows[:, state] == 0]
        low, high = column.support
        slack = 1e-6 * (column.step or 0.0)
        outside += int((~np.isfinite(values) | (values < low - slack) | (values > high)).sum())
        cells = within_bounds(values.copy(), column)
        if column.kind != "circular":
            outside += int((cells < low).sum()) + int((cells > (high if column.high is None else column.high)).sum())
    drawable, start = layout.drawable, 0
    for c, size in enumerate(layout.sizes):
        known = np.flatnonzero(drawable[start : start + size])
        outside += int((~np.isin(rows[:, c], known)).sum())
        start += size
    text = f"Of {len(rows):,} samples {outside:,} cells lie outside the bounds or levels of their column."
    return CheckLine("samples within the schema", float(outside), 0.0, "fail" if outside else "pass", text)


def status_of(
    model: TableModel,
    encoded: Encoded,
    condition: np.ndarray | None,
    log_prob: np.ndarray,
    walk: Seen | None = None,
) -> np.ndarray:
    """The status of each row: `ok`, `tail`, `extrapolated` or `unconverged`; see `pushforward.checking.row_status`.

    Args:
        model: fitted.
        encoded: rows.
        condition: `(n, k)` or None.
        log_prob: their scores.
        walk: what the flow saw of them, if it is known.
    """
    code = np.zeros(len(encoded.rows), int)
    if model.member.values is not None:
        standard = standard_rows(model.member, encoded.rows, condition) if walk is None else walk.standard
        # Every row with a density of zero or none is marked below.
        known = np.zeros(len(standard.values))
        walked = None if walk is None else walk.walked
        how: dict[str, Any] = {"log_prob": known, "round_trip": "tail", "walked": walked}
        words = row_status(model.member.values, standard.values, standard.condition, **how)
        code = (words[:, None] == np.array(STATUSES)).argmax(axis=1)
    outside = log_prob == -np.inf
    layout = model.layout
    for j, i in enumerate(layout.valued):
        seen, state = layout.columns[i].seen, layout.state_of_value[j]
        if seen is None:
            continue
        values, margin = encoded.rows[:, len(layout.stated) + j], MARGIN * (seen[1] - seen[0])
        there = np.ones(len(values), bool) if state < 0 else encoded.rows[:, state] == 0
        outside |= there & ((values < seen[0] - margin) | (values > seen[1] + margin))
    for c, i in enumerate(layout.stated):
        column = layout.columns[i]
        if not column.valued and not column.rare:  # the state of levels never seen
            outside |= encoded.rows[:, c] == len(column.levels)
    for i, place in remainders_of(layout).items():  # a remainder that was never seen
        outside |= encoded.rows[:, place] == len(layout.columns[i].remainders)
    if encoded.strange is not None:  # a constant column has another value, or whole numbers a fraction
        outside |= encoded.strange
    code = np.maximum(code, np.where(outside, STATUSES.index("extrapolated"), 0))
    lost = np.isnan(log_prob) | (log_prob == np.inf)
    return np.array(STATUSES)[np.where(lost, STATUSES.index("unconverged"), code)]
