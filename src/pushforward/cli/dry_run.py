"""The work of `pushforward fit --dry-run`: what would be fitted, its size and its time are printed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np

from pushforward._types import Cost
from pushforward.checking import summary
from pushforward.cli.reporter import OK, Reporter
from pushforward.cli.table_input import show_columns, streamed_or_read
from pushforward.io.fit_options import FitOptions
from pushforward.objectives import objective_named
from pushforward.objectives.field_view import has_field
from pushforward.tables.encoding import Layout
from pushforward.tables.errors import DataError
from pushforward.tables.modelling.assemble import Recipe, assemble, split_values
from pushforward.tables.modelling.build import make_recipe
from pushforward.tables.modelling.members import member_seeds, members_of, together
from pushforward.tables.modelling.preparation import Prepared, layouts, prepare
from pushforward.tables.modelling.streamed import Streamed, prepare_streamed
from pushforward.tables.modelling.train import stream_of, untrained
from pushforward.tables.modelling.wide import WIDE, completed, sentence
from pushforward.tables.reading.shards import Shards
from pushforward.training import Adam, Steps
from pushforward.training.rehearsal import Rehearsal, guess, rehearse
from pushforward.training.rows import MAX_HELD_OUT

# Scoring is a third of a step, whose gradient costs twice as much; sampling runs in float64, which is half as fast.
STEP_OVER_PASS, IN_FLOAT64 = 3.0, 2.0
EVALUATIONS = 60  # for one draw of a velocity field at a tolerance of 1e-5; usual numbers are 40 to 100
SAMPLED = 1000


def run_dry(data: str, options: FitOptions, *, reporter: Reporter) -> int:
    """Read the table, print what would be fitted, and time a few steps; nothing is written. Return the exit code.

    Args:
        data: Path of the table.
        options: Options of the fit.
        reporter: Reporter that prints the findings.

    Raises:
        typer.BadParameter: Options contradict each other.
        DataError: The table cannot be fitted.
    """
    keywords = options.keywords()
    table, weights = streamed_or_read(data, options.data)
    streamed, source = None, table.label if isinstance(table, Shards) else table.source
    try:
        of_table = {name: keywords[name] for name in ("schema", "given", "missing", "bounds")}
        if isinstance(table, Shards):
            share = options.training.validation_fraction
            seed = [options.training.seed]
            streamed = prepare_streamed(table, weights, seed=seed, validation=share, **of_table)  # pyright: ignore
            prepared, n, kept = streamed.sample, streamed.n_rows + streamed.n_left_out, streamed.n_rows
        else:
            prepared = prepare(table, weights, names=None, **of_table)  # pyright: ignore
            n, kept = len(table), len(prepared.rows)
    except DataError:
        raise
    except ValueError as error:
        raise DataError("unreadable", f"{source}: {error}") from error
    layout, given_layout = layouts(prepared)
    reporter.say(f"{source}: {n:,} rows, {kept:,} to fit, {n - kept:,} left out")
    show_columns(prepared.schema, prepared.given, reporter)
    for note in prepared.notes:
        reporter.warn(note)
    named = {key: keywords[key] for key in ("n_layers", "width", "depth", "bins", "autoregressive")}
    chosen = {**named, **(keywords["flow_options"] or {})}
    made = make_recipe(keywords["flow"], keywords["base"], chosen, kept)
    recipe = completed(made, layout, prepared.rows, bool(prepared.schema.order))
    if recipe.column_bins:
        reporter.warn(sentence(recipe, len(split_values(layout, recipe.margins)[0])))
    training = options.training
    plain = training.objective is None and training.max_epochs is None and training.validation_fraction > 0
    n_members, recipe = members_of(1 if streamed else training.n_members, kept, recipe, plain)
    size = sizes(layout, given_layout, recipe)
    guessed = plain and layout.dim >= WIDE and size.cost != "iterative"
    rehearsal = (_guessed if guessed else _rehearse)(streamed or prepared, recipe, options, n_members)
    sampling = SAMPLED * IN_FLOAT64 * size.passes * rehearsal.step_seconds / (STEP_OVER_PASS * rehearsal.batch_rows)
    limit = keywords["max_seconds"] or math.inf
    seconds = min(rehearsal.seconds, limit)
    work = "" if rehearsal.work_bytes is None else f", {in_bytes(rehearsal.work_bytes)} at work in a step"
    total = rehearsal.row_bytes + rehearsal.state_bytes + (rehearsal.work_bytes or 0)
    guess = " (of a solver that runs to its tolerance: a guess)" if size.cost == "iterative" else ""
    rough = ". It is guessed from the sizes, to a factor of three: a wide table's program is not compiled"
    rough = rough if guessed else ""
    cut = "" if rehearsal.seconds <= limit else f", cut short by the budget of {in_words(limit)}"
    for line in (
        f"An event is {len(layout.valued)} values and {sum(layout.sizes):,} states of {len(layout.stated)} columns. "
        f"Model {recipe.flow}: {size.trained:,} parameters ({in_bytes(4 * size.trained)} in float32)"
        + (f", trained {n_members} times at once." if n_members > 1 else "."),
        f"Memory on the device: about {in_bytes(total)}: rows {in_bytes(rehearsal.row_bytes)}, weights and optimiser "
        f"{in_bytes(rehearsal.state_bytes)}{work}.",
        f"Plan: {rehearsal.rows:,} rows to train on, {rehearsal.held_out_rows:,} held out; {rehearsal.steps:,} steps "
        f"of {rehearsal.batch_rows:,} rows, {rehearsal.epochs:,} epochs, if it does not stop early.",
        f"Time: {in_words(rehearsal.compile_seconds)} to compile, then {1000 * rehearsal.step_seconds:.3g} ms per "
        f"step: {in_words(seconds)} at most{cut}{rough}.",
        f"Sampling: {size.passes} passes per draw{guess}, about {in_words(sampling)} per {SAMPLED:,} rows once "
        "compiled, to a factor of five.",
        "Nothing was written.",
    ):
        reporter.say(line)
    found = dataclasses.asdict(rehearsal)
    taken = ("held_out_rows", "batch_rows", "steps", "row_bytes", "state_bytes", "work_bytes", "compile_seconds")
    facts = {
        "data": source,
        "rows": n,
        "rows_to_fit": kept,
        "rows_left_out": n - kept,
        "columns": {column.name: column.kind for column in prepared.schema.columns},
        "given": list(prepared.given),
        "values": len(layout.valued),
        "states": list(layout.sizes),
        "flow": recipe.flow,
        "arguments": dict(recipe.arguments),
        "members": n_members,
        "parameters": size.trained,
        "fixed_numbers": size.fixed,
        **{name: found[name] for name in (*taken, "step_seconds")},
        "guessed": guessed,
        "epochs": rehearsal.epochs,
        "seconds_at_most": seconds,
        "sampling_passes": size.passes,
        "sampling_seconds_per_1000_rows": sampling,
    }
    reporter.result("dry-run", facts)
    return OK


class Sizes(NamedTuple):
    """Size of a model: trained numbers, fixed numbers, passes through its networks for one draw, kind of that cost.

    For a solver that runs to its tolerance the number of passes is a guess.
    """

    trained: int
    fixed: int
    passes: int
    cost: Cost


def sizes(layout: Layout, given: Layout | None, recipe: Recipe) -> Sizes:
    """The size of a model, found from shapes alone: nothing is computed, so that the model may be of any size.

    Args:
        layout: Layout of the modelled columns.
        given: Layout of the conditions, or None.
        recipe: What the model is built from.
    """
    with jax.enable_x64(False):
        model = eqx.filter_eval_shape(lambda key: assemble(layout, given, recipe, key), jax.random.key(0))
    whole = summary(model)
    cost = "parallel" if model.values is None else model.values.bijection.traits.forward
    passes = len(layout.stated)  # the states are drawn one after the other
    if layout.valued:
        solved = model.values is not None and has_field(model.values)
        passes += 1 if cost == "parallel" else EVALUATIONS if solved else len(layout.valued) - len(recipe.margins)
        passes += len(recipe.margins)
    return Sizes(whole.trained, whole.fixed, passes, cost)


def _guessed(table: Prepared | Streamed, recipe: Recipe, options: FitOptions, n_members: int) -> Rehearsal:
    """The plan, the time and the memory of a wide table's fit, whose program alone would take longer to compile."""
    training = options.training
    prepared, n = (table.sample, table.n_rows) if isinstance(table, Streamed) else (table, len(table.rows))
    n_held_out = min(max(round(training.validation_fraction * n), 1), MAX_HELD_OUT)
    numbers = prepared.rows.shape[1] + (0 if prepared.condition is None else prepared.condition.shape[1]) + 1
    return guess(
        n if n_members > 1 else n - n_held_out,
        n_held_out,
        n_members * sizes(*layouts(prepared), recipe).trained,
        numbers,
        optimizer=Adam(training.learning_rate),
        options=Steps(training.batch_size),
    )


def _rehearse(table: Prepared | Streamed, recipe: Recipe, options: FitOptions, n_members: int) -> Rehearsal:
    training = options.training
    prepared = table.sample if isinstance(table, Streamed) else table
    words = np.random.default_rng(training.seed).integers(0, 2**32, size=(2, 2), dtype=np.uint32)
    with jax.enable_x64(False):
        # Members differ in their numbers alone, so that one stands for all.
        model, condition = untrained(prepared, recipe, member_seeds(words[0], n_members)[0])
        flow, rows, validation = model.standardised(), model.standardise(prepared.rows), training.validation_fraction
        key = jax.random.wrap_key_data(words[1], impl="threefry2x32")
        objective = None if training.objective is None else objective_named(training.objective, model)
        if n_members > 1:
            task = together([flow] * n_members, rows, condition, prepared.weights, key, validation, objective)
            flow, rows, validation, objective = task.flow, task.x, task.validation, task.objective
        given: dict[str, Any] = {"condition": condition, "weights": prepared.weights, "validation": validation}
        if isinstance(table, Streamed):
            rows, given = stream_of(table, model), {}
        return rehearse(
            flow,
            rows,
            **given,
            key=key,
            objective=objective,
            max_epochs=training.max_epochs,
            optimizer=Adam(training.learning_rate),
            options=Steps(training.batch_size),
        )


def in_bytes(size: float) -> str:
    """A size in the largest unit that it fills."""
    power = min(int(math.log(max(size, 1), 1024)), 3)
    return f"{size / 1024**power:.3g} {('bytes', 'KiB', 'MiB', 'GiB')[power]}"


def in_words(seconds: float) -> str:
    """A time in seconds, minutes or hours."""
    if seconds < 120:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
