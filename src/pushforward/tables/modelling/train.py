"""From prepared rows to a trained model of a table: measured, built, fitted and held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import equinox as eqx
import jax
import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward.distributions.scoring_form import evaluation_form
from pushforward.distributions.table import TableDistribution
from pushforward.numerics.mean_error import mean_and_error
from pushforward.objectives import AbstractObjective, objective_named
from pushforward.tables.encoding import Encoded, Layout
from pushforward.tables.modelling.assemble import Recipe
from pushforward.tables.modelling.build import build
from pushforward.tables.modelling.measure import measure
from pushforward.tables.modelling.members import calibrated, member_seeds, together, weigh, wide_member
from pushforward.tables.modelling.preparation import Prepared, layouts
from pushforward.tables.modelling.rows import middle_error
from pushforward.tables.modelling.streamed import Streamed, TableStream
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.modelling.wide import completed, started
from pushforward.tables.schema import TableSchema
from pushforward.training import Adam, FitResult, fit
from pushforward.training.options import Option
from pushforward.training.rows import held_out_rows

# Rows that the error of taking rounded values at their middles is measured on.
ERROR_ROWS = 256


@dataclass(frozen=True)
class Trained:
    """A trained model and how it went.

    Attributes:
        model: in the data's units.
        result: how it went.
        folds: the places of held-out rows: one array, or for an ensemble one for each member.
        of_folds: for an ensemble, the model of the rows outside each fold; else empty.
    """

    model: TableModel
    result: FitResult
    folds: tuple[np.ndarray, ...]
    of_folds: tuple[TableModel, ...]

    @property
    def held_out(self) -> np.ndarray:
        """The places of the rows that no part of the model has seen."""
        return np.zeros(0, np.int64) if self.of_folds else self.folds[0]


def train(
    table: Prepared | Streamed,
    recipe: Recipe,
    seeds: np.ndarray,
    *,
    validation: float,
    objective: str | AbstractObjective | None = None,
    optimizer: Adam,
    max_epochs: int | None = None,
    n_members: int = 1,
    progress: bool | Literal["auto"] = "auto",
    options: Sequence[Option] = (),
) -> Trained:
    """Fit the model of a prepared table.

    Args:
        table: the table, or one larger than memory with a sample of it.
        recipe: what the model is built of.
        seeds: two times two words, for the initial weights and for the fit.
        validation: share of the rows to hold out; each member of an ensemble holds out others.
        objective: what to minimise, or its name; None is what the flow is made for.
        optimizer: as of `pushforward.fit`.
        max_epochs: passes over the rows; None chooses by their number.
        n_members: members of an ensemble; 1 is a model alone.
        progress: as of `pushforward.fit`.
        options: as of `pushforward.fit`.

    Raises:
        FitError: training diverged and could not be repaired.
    """
    streamed = table if isinstance(table, Streamed) else None
    prepared = table.sample if isinstance(table, Streamed) else table
    layout, _ = layouts(prepared)
    recipe = completed(recipe, layout, prepared.rows, bool(prepared.schema.order))
    key = jax.random.wrap_key_data(seeds[1], impl="threefry2x32")
    how: dict[str, Any] = {"optimizer": optimizer, "max_epochs": max_epochs, "progress": progress, "options": options}
    # Training is float32 also where the user has switched JAX to float64: twice as fast, and one compiled program.
    with jax.enable_x64(False):
        model, condition = untrained(prepared, recipe, seeds[0])
        chosen = objective_named(objective, model) if isinstance(objective, str) else objective
        if n_members > 1:
            return _train_members(prepared, recipe, seeds[0], key, n_members, validation, chosen, how)
        held_out = held_out_rows(len(prepared.rows), validation, key) if streamed is None else streamed.held_out
        flow, standard = model.standardised(), model.standardise(prepared.rows)
        if recipe.column_bins:
            kept = np.delete(np.arange(len(standard)), held_out)
            flow = started(flow, standard[kept], None if condition is None else condition[kept])
        rows: dict[str, Any] = {
            "x": standard,
            "condition": condition,
            "weights": prepared.weights,
            "validation": validation,
        }
        if streamed is not None:
            rows = {"x": stream_of(streamed, model)}
        result = fit(flow, **rows, key=key, objective=chosen, **how)  # pyright: ignore[reportArgumentType]
        final = calibrated(result.flow, prepared.rows, condition, prepared.weights, held_out)
        trained = final.in_units_of(model)
        trained = _with_middle_error(trained, prepared, held_out)
    schema = with_ranges(prepared.schema, layout, prepared.rows)
    schema = schema if streamed is None else streamed.with_ends(schema)
    fitted = TableModel(schema, prepared.given, recipe, trained)
    return Trained(fitted, _honest(fitted, prepared, result, held_out), (held_out,), ())


def _train_members(
    prepared: Prepared,
    recipe: Recipe,
    seed: np.ndarray,
    key: PRNGKeyArray,
    n_members: int,
    validation: float,
    objective: AbstractObjective | None,
    how: dict[str, Any],
) -> Trained:
    """Fit an ensemble; arguments as of `train`."""
    layout, _ = layouts(prepared)
    rows, weights = prepared.rows, prepared.weights
    models = [untrained(prepared, recipe, own) for own in member_seeds(seed, n_members)]
    model, condition = models[0]
    standard = model.standardise(rows)
    members = [each.standardised() for each, _ in models]
    task = together(members, standard, condition, weights, key, validation, objective)
    more = {"validation": task.validation, "objective": task.objective}
    result = fit(task.flow, task.x, condition=condition, weights=weights, key=key, **more, **how)
    trained: Any = result.flow

    def in_units(member: Any, out: np.ndarray) -> TableDistribution:
        scored = evaluation_form(calibrated(member, rows, condition, weights, out)).in_units_of(model)
        return _with_middle_error(scored, prepared, out)

    pairs = list(zip(trained.ensemble.each, task.wide, task.held_out, strict=True))
    nobody = np.zeros(0, np.int64)
    wide = in_units(wide_member(members[0], standard, condition), nobody)
    weighed = weigh(
        [in_units(member, out) for member, _, out in pairs],
        [in_units(broad, out) for _, broad, out in pairs],
        wide,
        rows,
        prepared.condition,
        weights,
        task.held_out,
    )
    schema = with_ranges(prepared.schema, layout, rows)
    own = replace(recipe, members=weighed.ensemble.size)
    table = TableModel(schema, prepared.given, own, weighed.ensemble)
    if len(weighed.places):
        own = weighed.scores + prepared.encoded.within[weighed.places]
        nats, error = mean_and_error(own, None if weights is None else weights[weighed.places])
        result = result.with_score(float(nats), float(error))
    return Trained(table, result, task.held_out, tuple(replace(table, distribution=own) for own in weighed.of_folds))


def _with_middle_error(model: TableDistribution, prepared: Prepared, held_out: np.ndarray) -> TableDistribution:
    """The model that knows the error of taking rounded values at their middles, from held-out rows if there are any."""
    some = (held_out if len(held_out) else np.arange(len(prepared.rows)))[:ERROR_ROWS]
    own = None if prepared.condition is None else prepared.condition[some]
    error = np.asarray(middle_error(model, prepared.rows[some], own))
    return eqx.tree_at(lambda t: t.middle_error.value, model, error)


def untrained(prepared: Prepared, recipe: Recipe, seed: np.ndarray) -> tuple[TableDistribution, np.ndarray | None]:
    """The model before its first step, in the data's units, and the conditions in standard units.

    Args:
        prepared: the table.
        recipe: what the model is built of.
        seed: two words, for the initial weights.
    """
    layout, given_layout = layouts(prepared)
    condition = prepared.condition
    measured = measure(layout, given_layout, recipe, prepared.rows, condition, prepared.weights)
    model = build(layout, given_layout, recipe, seed, measured)
    if condition is not None and model.given is not None:
        condition = model.given.standardise(condition)
    return model, condition


def stream_of(table: Streamed, model: TableDistribution) -> TableStream:
    """The rows of a table larger than memory as the flow of a model sees them.

    Args:
        table: the table.
        model: in the data's units.
    """
    return TableStream(table, model.standardise, None if model.given is None else model.given.standardise)


def with_ranges(schema: TableSchema, layout: Layout, rows: np.ndarray) -> TableSchema:
    """The schema with the smallest and largest number that each column's rows hold."""
    ranges = {}
    for j, i in enumerate(layout.valued):
        state = layout.state_of_value[j]
        values = rows[:, len(layout.stated) + j]
        values = values if state < 0 else values[rows[:, state] == 0]
        if len(values):
            ranges[layout.columns[i].name] = (float(values.min()), float(values.max()))
    columns = tuple(
        column.model_copy(update={"seen": ranges[column.name]}) if column.name in ranges else column
        for column in schema.columns
    )
    return schema.model_copy(update={"columns": columns})


def _honest(model: TableModel, prepared: Prepared, result: FitResult, held_out: np.ndarray) -> FitResult:
    """The result with the held-out score of the finished model: calibrated, and of many draws where it is a bound."""
    if not len(held_out) or not (model.distribution.needs_key or model.member.masses is not None):
        return result
    own = Encoded(prepared.rows[held_out], prepared.encoded.within[held_out], {})
    condition = None if prepared.condition is None else prepared.condition[held_out]
    scores = model.score_encoded(own, condition).log_prob
    weights = np.ones(len(scores)) if prepared.weights is None else prepared.weights[held_out]
    nats = float(np.average(scores, weights=weights))
    error = float(np.sqrt(np.sum((weights * (scores - nats)) ** 2)) / weights.sum())
    return result.with_score(nats, error)
