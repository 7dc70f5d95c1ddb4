"""A fitted model as a folder of JSON and safetensors with a manifest.

Loading never runs code from the folder and never allocates more than the files that are there: the config is held
against a schema with bounds, the weights file is counted before a model of the config's size is even imagined, the
model is built as shapes alone, and only then filled.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._files import parse_json
from pushforward.distributions.ensemble import Ensemble, ensemble_like
from pushforward.distributions.scoring_form import evaluation_form
from pushforward.distributions.table import TableDistribution
from pushforward.flows import ENTRIES
from pushforward.io.errors import UntrustedModelError
from pushforward.io.files import CARD, read_folder, write_folder
from pushforward.io.weights import fill, parse_weights, read_shapes, weights_to_bytes
from pushforward.tables.encoding import Layout
from pushforward.tables.errors import DataError
from pushforward.tables.kinds.text import arrow_type
from pushforward.tables.modelling.assemble import Recipe, assemble, blank, split_values, with_measured
from pushforward.tables.modelling.folder_checks import check_columns, check_margins, check_report, check_values
from pushforward.tables.modelling.places import Margin
from pushforward.tables.modelling.records import FORMAT_VERSION, Config, Metrics, validate
from pushforward.tables.schema import TableSchema


@dataclass(frozen=True)
class ModelParts:
    """What a model folder holds, on its way in or out.

    Args:
        schema: Schema of all columns of the table.
        given: Names of the columns that are conditions.
        recipe: What the distribution is built from.
        distribution: The fitted distribution, in the units of the data.
        named: Whether the columns of the table had names; otherwise they are called `x0`, `x1`, ...
        frame: Kind of table in which samples are returned, None for arrays.
        rows: Number of rows that the model was fitted to.
        rows_left_out: Number of rows of the table that it was not fitted to.
        settings: Parameters of the estimator, None where nothing is known of them.
        history: `FitResult.history`.
        verdict: The fields of `FitResult.verdict`.
        baselines: Scores of simple densities on the held-out rows: `name`, `nats`, `standard_error`, `detail`, and what
            the model gains over them: `gain`, `gain_error`, `comparison`.
        notes: Remarks on the table, one sentence each.
        checks: Report of `pushforward.check` as plain JSON, None if no checks were made.
        held_out_scores: Log-probabilities of rows that the model was not trained on, `(n,)`.
        card: Page for people, which is written and never read.
    """

    schema: TableSchema
    given: tuple[str, ...]
    recipe: Recipe
    distribution: TableDistribution | Ensemble
    named: bool
    frame: str | None
    rows: int
    history: Mapping[str, np.ndarray]
    verdict: Mapping[str, Any]
    rows_left_out: int = 0
    settings: Mapping[str, Any] | None = None
    baselines: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    checks: Mapping[str, Any] | None = None
    held_out_scores: np.ndarray = field(default_factory=lambda: np.zeros(0))
    card: str = ""


def save_model(parts: ModelParts, folder: str | os.PathLike, *, force: bool = False) -> None:
    """Write a model folder: complete under its name, or not at all.

    Args:
        parts: The model and its records.
        folder: Folder to write.
        force: Whether an existing model folder is replaced.

    Raises:
        FileExistsError: The folder exists and `force` is False, or it holds files that are no part of a model.
        ValueError: The model could not be loaded again.
    """
    write_folder(Path(folder), {**model_files(parts), CARD: parts.card.encode("utf-8")}, force, unlisted=(CARD,))


def model_files(parts: ModelParts) -> dict[str, bytes]:
    """The files of a model folder by name, without the card.

    Args:
        parts: The model and its records.

    Raises:
        ValueError: The model could not be loaded again.
    """
    recipe = parts.recipe
    config = {
        "format": "pushforward",
        "format_version": FORMAT_VERSION,
        "pushforward_version": version("pushforward"),
        "flow": {"name": recipe.flow, "arguments": dict(recipe.arguments), "base": recipe.base},
        "masses": {
            "width": recipe.mass_width,
            "depth": recipe.mass_depth,
            "smoothing": recipe.smoothing,
            "embed": recipe.embed,
        },
        "gaussian_start": recipe.gaussian_start,
        "column_bins": recipe.column_bins,
        "members": recipe.members,
        "margins": {
            "columns": [dataclasses.asdict(margin) for margin in recipe.margins],
            "width": recipe.margin_width,
            "depth": recipe.margin_depth,
            "bins": recipe.margin_bins,
        },
        "given": list(parts.given),
        "settings": None if parts.settings is None else dict(parts.settings),
        "named": parts.named,
        "frame": parts.frame,
    }
    metrics = {
        "rows": parts.rows,
        "rows_left_out": parts.rows_left_out,
        "history": {name: [_number(value) for value in column] for name, column in parts.history.items()},
        "verdict": {name: _number(value) for name, value in parts.verdict.items()},
        "baselines": [{name: _number(value) for name, value in record.items()} for record in parts.baselines],
        "notes": list(parts.notes),
        "held_out_scores": [_number(score) for score in parts.held_out_scores],
    }
    files = {
        "config.json": _json(config),
        "schema.json": parts.schema.to_json().encode("utf-8"),
        "metrics.json": _json(metrics),
        "checks.json": _json(parts.checks),
        "model.safetensors": weights_to_bytes(parts.distribution),
    }
    model_parts(files, Path("the model"))  # a model that could not be loaded is not written
    return files


def load_model(folder: str | os.PathLike) -> ModelParts:
    """Read a model folder, trusting nothing in it.

    Raises:
        FileNotFoundError: There is no such folder.
        UntrustedModelError: A file is missing, damaged, altered, out of bounds, or does not fit the others.
    """
    path = Path(folder)
    return model_parts(read_folder(path), path)


def read_records(
    files: Mapping[str, bytes], path: Path, entries: dict[str, Any] | None = None
) -> tuple[Config, TableSchema, Metrics, Any, dict[str, Any]]:
    """Read config, schema, metrics, checks and raw arrays from the files of a model, and validate them.

    Args:
        files: Contents of the files by name.
        path: Path of the folder, which error messages name.
        entries: Arrays of the model; None reads them from the weights file.
    """
    records = {name: parse_json(data, path / name) for name, data in files.items() if name.endswith(".json")}
    if entries is None:
        entries = parse_weights(files["model.safetensors"], f"{path / 'model.safetensors'}")
    lacking = [name for name in ("schema.json", "checks.json") if name not in records]
    config: Config = validate(Config, records["config.json"], f"{path / 'config.json'}")
    if lacking:
        raise UntrustedModelError(f"{path / lacking[0]}: the file is missing, so the model is not complete.")
    metrics: Metrics = validate(Metrics, records["metrics.json"], f"{path / 'metrics.json'}")
    try:
        schema = TableSchema.from_value(records["schema.json"], f"{path / 'schema.json'}")
    except DataError as error:
        raise UntrustedModelError(str(error)) from error
    for column in schema.columns:
        try:
            arrow_type(column.type)
        except DataError as error:
            raise UntrustedModelError(f"{path / 'schema.json'}: column {column.name!r}: {error}") from error
    check_report(records["checks.json"], path)
    unknown = [name for name in config.given if name not in {column.name for column in schema.modelled}]
    if unknown:
        raise UntrustedModelError(f"{path / 'config.json'}: given names a column {unknown[0]!r} that is not modelled.")
    if set(config.given) == {column.name for column in schema.modelled}:
        raise UntrustedModelError(f"{path / 'config.json'}: the columns given are all there are.")
    return config, schema, metrics, records["checks.json"], entries


def model_parts(files: Mapping[str, bytes], path: Path) -> ModelParts:
    """What the files of a model folder hold, trusting nothing in them.

    Args:
        files: Contents of the files by name, as `model_files` gives them.
        path: Path of the folder, which error messages name.

    Raises:
        UntrustedModelError: A file is missing, damaged, out of bounds, or does not fit the others.
    """
    config, schema, metrics, checks, entries = read_records(files, path)
    label = f"{path / 'model.safetensors'}"
    recipe = recipe_of(config)
    template = skeleton(config, schema, entries, path)
    distribution = fill(template, entries, label)
    check_values(distribution, label)
    margins = [schema.column(record.name) for record in config.margins.columns]
    one, like = (distribution.stacked, template.stacked) if config.members > 1 else (distribution, template)
    check_columns(one, like, margins, label)
    return ModelParts(
        schema=schema,
        given=tuple(config.given),
        recipe=recipe,
        distribution=distribution,
        named=config.named,
        frame=config.frame,
        rows=metrics.rows,
        rows_left_out=metrics.rows_left_out,
        settings=None if config.settings is None else config.settings.plain(),
        history={
            name: np.array([math.nan if value is None else value for value in column])
            for name, column in metrics.history.items()
        },
        verdict=metrics.verdict.model_dump(),
        baselines=[record.model_dump(exclude_unset=True) for record in metrics.baselines],
        notes=tuple(metrics.notes),
        held_out_scores=np.array([-math.inf if score is None else score for score in metrics.held_out_scores]),
        checks=checks,
    )


def recipe_of(config: Config) -> Recipe:
    """The recipe that a config describes."""
    masses, margins = config.masses, config.margins
    return Recipe(
        config.flow.name,
        config.flow.arguments.given(),
        config.flow.base,
        mass_width=masses.width,
        mass_depth=masses.depth,
        smoothing=masses.smoothing,
        embed=masses.embed,
        gaussian_start=config.gaussian_start,
        members=config.members,
        column_bins=config.column_bins,
        margins=tuple(Margin(m.name, m.space, m.heavy, m.rounded) for m in margins.columns),
        margin_width=margins.width,
        margin_depth=margins.depth,
        margin_bins=margins.bins,
    )


def skeleton(config: Config, schema: TableSchema, entries: Mapping[str, Any], path: Path) -> Any:
    """The model as shapes alone, without memory for its weights."""
    entry, label = ENTRIES[config.flow.name], f"{path / 'config.json'}"
    if config.flow.base not in entry.bases:
        raise UntrustedModelError(f"{label}: flow.base: {config.flow.base} is no base of the flow {entry.name}.")
    try:
        arguments = entry.arguments(config.flow.arguments.given())
    except (TypeError, ValueError) as error:
        raise UntrustedModelError(f"{label}: flow.arguments: {error}") from error

    layout = Layout(tuple(column for column in schema.modelled if column.name not in config.given))
    given = Layout(tuple(schema.column(name) for name in config.given)) if config.given else None

    check_margins(config, layout, label)
    of_flow, _ = split_values(layout, recipe_of(config).margins)

    def size(name: str) -> int:
        """An argument that the flow lacks counts as 1."""
        return arguments.get(name, 1)

    # Each network has at least these weights. They are counted first, because a large model costs time even as shapes.
    least, n_values, n_states = 0, len(of_flow), sum(layout.sizes)
    if n_values and not entry.has_networks:
        least += size("n_layers") * n_values
    elif n_values and arguments.get("adjacency") is None:  # along a graph is one layer, maybe of biases
        least += size("n_layers") * size("width") * (n_values + (size("depth") - 1) * size("width"))
    if n_states:
        masses = config.masses
        least += masses.width * (2 * n_states + (masses.depth - 1) * masses.width)
    if config.margins.columns:
        margins, n_margins = config.margins, len(config.margins.columns)
        least += margins.width * (n_margins * (2 + 3 * margins.bins) + margins.depth * margins.width)
    least *= config.members
    held = sum(math.prod(entry["shape"]) for entry in entries.values())
    if least > held:
        raise UntrustedModelError(
            f"{label}: describes a model of at least {least:,} numbers, but model.safetensors holds {held:,}."
        )
    recipe = recipe_of(config)
    try:
        model = eqx.filter_eval_shape(lambda key: assemble(layout, given, recipe, key), jax.random.key(0))
    except (ValueError, TypeError) as error:  # the zoo's own checks of its arguments
        raise UntrustedModelError(f"{label}: flow: {' '.join(str(error).split())[:300]}") from error
    # What is saved is what is scored.
    model = evaluation_form(model)
    model = with_measured(model, layout, recipe, blank(layout, given, recipe))
    return model if config.members == 1 else ensemble_like(model, config.members)


def _number(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    number = float(value)
    if not math.isfinite(number):
        return None
    return int(number) if isinstance(value, np.integer) else number


def _json(value: Any) -> bytes:
    def other(item: Any) -> Any:
        if isinstance(item, np.ndarray | np.generic):
            return item.tolist()
        raise ValueError(f"save_model: {item!r} cannot be saved. Use arguments that are names, numbers and lists.")

    return (json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False, default=other) + "\n").encode("utf-8")


@dataclass(frozen=True)
class ModelFacts:
    """The records of a model folder, without the weights.

    Attributes:
        config: Architecture of the model.
        schema: Schema of its columns.
        metrics: How the fit of the model went.
        checks: Report of the model's checks as plain JSON, or None.
        distribution: The model as shapes alone, without numbers.
    """

    config: Config
    schema: TableSchema
    metrics: Metrics
    checks: Any
    distribution: Any

    @property
    def member(self) -> Any:
        """The model, or of an ensemble its first member, as shapes alone."""
        return self.distribution.each[0] if self.config.members > 1 else self.distribution


def inspect_model(folder: str | os.PathLike) -> ModelFacts:
    """Read the records of a model folder, trusting nothing in it. Only names and shapes of the weights are read.

    Raises:
        FileNotFoundError: There is no such folder.
        UntrustedModelError: A file is missing, damaged, altered, out of bounds, or does not fit the others.
    """
    path = Path(folder)
    files, shapes = read_folder(path, small=True), read_shapes(path / "model.safetensors")
    config, schema, metrics, checks, entries = read_records(files, path, shapes)
    return ModelFacts(config, schema, metrics, checks, skeleton(config, schema, entries, path))
