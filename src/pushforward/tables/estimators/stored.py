"""A fitted `FlowDensity` as the parts of a model folder, and back: the same model, the same settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.checking import CheckReport
from pushforward.metrics import Baseline, Gain
from pushforward.tables.estimators.words import card
from pushforward.tables.modelling.folder import ModelParts
from pushforward.tables.modelling.table_model import TableModel
from pushforward.training import FitResult, Verdict

if TYPE_CHECKING:
    from pushforward.tables.estimators.density import FlowDensity

# Parameters of `FlowDensity` that a folder holds as they are.
PLAIN = (
    "n_layers",
    "width",
    "depth",
    "bins",
    "autoregressive",
    "missing",
    "bounds",
    "unseen",
    "verify",
    "n_members",
    "max_epochs",
    "max_seconds",
    "batch_size",
    "learning_rate",
    "weight_decay",
    "validation_fraction",
)


def to_parts(density: FlowDensity) -> ModelParts:
    """The parts of a model folder that holds a fitted estimator.

    Args:
        density: Fitted estimator.
    """
    gains = {gain.name: gain for gain in density.gains_}
    parts = ModelParts(
        schema=density.schema_,
        given=density.given_,
        recipe=density.model_.recipe,
        distribution=density.model_.distribution,
        named=hasattr(density, "feature_names_in_"),
        frame=density._kind,
        rows=density._n_rows,
        rows_left_out=density.n_rows_left_out_,
        settings=settings_of(density),
        history=density.result_.history,
        verdict=dataclasses.asdict(density.result_.verdict),
        baselines=[_record(baseline, gains.get(baseline.name)) for baseline in density.baselines_],
        notes=density.notes_,
        checks=None if density.checks_ is None else density.checks_.to_json(),
        held_out_scores=density.held_out_scores_,
    )
    return dataclasses.replace(parts, card=card(parts, density.meaning()))


def settings_of(density: FlowDensity) -> dict[str, Any]:
    """The parameters of an estimator as JSON has them.

    What JSON cannot hold, a random generator or an objective that has no name, becomes null, which is the default.
    """
    settings = {name: _plain(getattr(density, name)) for name in PLAIN}
    settings["flow"], settings["base"] = density.flow, density.base
    settings["flow_options"] = None if density.flow_options is None else _options(density.flow_options)
    settings["objective"] = density.objective if isinstance(density.objective, str) else None
    settings["schema"] = density.schema is not None
    settings["progress"] = density.progress if isinstance(density.progress, bool | str) else False
    seed = density.random_state
    settings["random_state"] = int(seed) if isinstance(seed, int | np.integer) else None
    given = density.given
    if given is not None:
        given = [name if isinstance(name, str) else density.columns_[int(name)] for name in given]
    settings["given"] = given
    settings["order"] = None if density.order is None else list(density.order)
    settings["output"] = getattr(density, "_output", None)
    return settings


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray | np.generic) else value for name, value in options.items()
    }


def _record(baseline: Baseline, gain: Gain | None) -> dict[str, Any]:
    record = {name: getattr(baseline, name) for name in ("name", "nats", "standard_error", "detail")}
    if gain is not None:
        record |= {"gain": gain.gain, "gain_error": gain.standard_error, "comparison": gain.sentence}
    return record


def fill(density: FlowDensity, parts: ModelParts) -> None:
    """Make an estimator with the settings of a model folder a fitted one.

    Args:
        density: Estimator that `parameters_of` gave the parameters of.
        parts: Parts of the folder.
    """
    model = TableModel(parts.schema, parts.given, parts.recipe, parts.distribution)
    distribution: Any = parts.distribution
    density._keep(model, FitResult(distribution, dict(parts.history), Verdict(**parts.verdict)))
    names = parts.schema.names
    named = {"feature_names_in_": np.asarray(names, dtype=object)} if parts.named else {}
    density.notes_, density.n_rows_left_out_ = tuple(parts.notes), parts.rows_left_out
    density.baselines_ = tuple(_baseline(record) for record in parts.baselines)
    density.gains_ = tuple(_gain(record) for record in parts.baselines if record.get("comparison") is not None)
    density._held_out = parts.held_out_scores
    density.checks_ = None if parts.checks is None else CheckReport.from_json(dict(parts.checks))
    output = {} if not parts.settings or parts.settings["output"] is None else {"_output": parts.settings["output"]}
    vars(density).update(named, **output, n_features_in_=len(names), _kind=parts.frame, _n_rows=parts.rows)


def parameters_of(parts: ModelParts) -> dict[str, Any]:
    """The parameters of the estimator in a model folder; of a folder without them, its architecture."""
    recipe, settings, how = parts.recipe, parts.settings, parts.schema.reading
    reading = {"na": list(how.na) or None, "decimal": how.decimal, "strip": how.strip or None}
    if settings is None:
        architecture = {"flow_options": dict(recipe.arguments), "base": recipe.base}
        return {"flow": recipe.flow, "given": list(parts.given) or None, **architecture, **reading}
    others = {name: value for name, value in settings.items() if name not in ("schema", "output")}
    return {**others, **reading, "schema": parts.schema if settings["schema"] else None}


def _baseline(record: Mapping[str, Any]) -> Baseline:
    """A baseline as its record has it, without the rows."""
    nats, error = (math.nan if record[name] is None else record[name] for name in ("nats", "standard_error"))
    return Baseline(record["name"], nats, error, record["detail"], np.zeros(0))


def _gain(record: Mapping[str, Any]) -> Gain:
    gain, error = (math.nan if record[name] is None else record[name] for name in ("gain", "gain_error"))
    return Gain(record["name"], gain, error, record["comparison"])
