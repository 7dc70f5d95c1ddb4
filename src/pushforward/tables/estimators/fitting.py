"""The work of `FlowDensity.fit`: a table is prepared, a model is trained, checked and compared."""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward._checks import OptionError, message
from pushforward.metrics import compare
from pushforward.tables.errors import TableWarning
from pushforward.tables.estimators.held_out import HeldOut
from pushforward.tables.estimators.intake import rows_to_fit, shards_to_stream
from pushforward.tables.estimators.seeds import seed_words
from pushforward.tables.estimators.verify import check_model, compare_on_folds
from pushforward.tables.modelling.build import make_recipe
from pushforward.tables.modelling.members import members_of
from pushforward.tables.modelling.preparation import Prepared, prepare
from pushforward.tables.modelling.streamed import Streamed, prepare_streamed
from pushforward.tables.modelling.table_model import TableModel
from pushforward.tables.modelling.train import Trained, train
from pushforward.tables.modelling.wide import sentence
from pushforward.tables.reading.conventions import Conventions
from pushforward.tables.reading.shards import Shards
from pushforward.training import Adam, Checkpoint, Reporting, Steps, Stopping
from pushforward.training.devices import devices_of
from pushforward.training.options import Option
from pushforward.training.tracking import AbstractTracker

if TYPE_CHECKING:
    from pushforward.tables.estimators.density import FlowDensity


def fit_rows(
    density: FlowDensity,
    X: Any,
    sample_weight: Any,
    *,
    checkpoint: str | os.PathLike | None,
    resume: bool,
    tracker: AbstractTracker | Sequence[AbstractTracker] | None,
    on_prepared: Callable[[Prepared], None] | None,
    stream: bool | None,
    devices: Any,
) -> None:
    """Fit an estimator to a table and set its attributes; see `FlowDensity.fit` for the arguments."""
    seeds = seed_words(density.random_state, (2, 2))
    shards = shards_to_stream(density, X, sample_weight, stream)
    if shards is None:
        taken = rows_to_fit(density, X, sample_weight)
        prepared = prepare(
            taken.table,
            taken.weights,
            names=taken.names,
            schema=taken.schema,
            reading=Conventions.of(density.na, density.decimal, density.strip),
            **_of_table(density),
        )
        prepared = dataclasses.replace(prepared, notes=(*taken.notes, *prepared.notes))
        source = Source(taken.kind, prepared, None, len(prepared.rows), taken.rows - len(prepared.rows))
    else:
        source = _streamed(density, shards, sample_weight, seeds)
        prepared = source.prepared
    if on_prepared is not None:
        on_prepared(prepared)
    else:
        for note in prepared.notes:
            warnings.warn(note, TableWarning, stacklevel=3)
    options = {"n_layers": density.n_layers, "width": density.width, "depth": density.depth, "bins": density.bins}
    options = {**options, "autoregressive": density.autoregressive, **(density.flow_options or {})}
    how: list[Option] = [Stopping(density.max_seconds), Steps(density.batch_size), Reporting(tracker=tracker)]
    if devices is not None:
        how.append(devices_of(devices))
    if checkpoint is not None:
        how.append(Checkpoint(checkpoint, resume=resume))
    elif resume:
        raise ValueError("FlowDensity.fit: expected a checkpoint folder to resume from, got none. Pass checkpoint=.")
    recipe = make_recipe(density.flow, density.base, options, source.rows, bool(density.order))
    plain = density.objective is None and density.max_epochs is None and density.validation_fraction > 0
    n_members = density.n_members
    for name, alone in (("order=", bool(density.order)), ("a streamed table", source.streamed is not None)):
        if alone:  # the wide member of an ensemble has no order, and members share rows in memory
            n_members = 1 if n_members is None else n_members
            if n_members > 1:
                fix = "Leave out one of the two."
                raise OptionError(message("FlowDensity", f"one member with {name}", f"n_members={n_members}", fix))
    n_members, recipe = members_of(n_members, source.rows, recipe, plain)
    trained = train(
        prepared if source.streamed is None else source.streamed,
        recipe,
        seeds,
        validation=density.validation_fraction,
        objective=density.objective,
        optimizer=Adam(density.learning_rate, density.weight_decay),
        max_epochs=density.max_epochs,
        n_members=n_members,
        progress=density.progress,
        options=how,
    )
    density._keep(trained.model, trained.result)
    density.notes_, density.held_out_ = (*prepared.notes, *_of_flow(trained.model)), trained.held_out
    density._held_out = HeldOut.of(trained, prepared)
    density._kind, density._n_rows = source.kind, source.rows
    density.n_rows_left_out_ = source.left_out
    density.baselines_, density.gains_, density.checks_ = (), (), None
    if density.verify:
        _verify(density, prepared, trained)


@dataclasses.dataclass(frozen=True)
class Source:
    """The rows of a fit.

    Attributes:
        kind: Kind of table that samples come back as; None for arrays.
        prepared: The table, or a sample of one that is larger than memory.
        streamed: The table that is larger than memory, or None.
        rows: Number of rows that are fitted or held out.
        left_out: Number of rows that are left out.
    """

    kind: str | None
    prepared: Prepared
    streamed: Streamed | None
    rows: int
    left_out: int


def _of_table(density: FlowDensity) -> dict[str, Any]:
    """The parameters that say how a table is taken."""
    names: dict[str, Any] = {name: getattr(density, name) for name in ("given", "missing", "bounds")}
    return {**names, "order": tuple(density.order or ())}


def _streamed(density: FlowDensity, shards: Shards, weights: str | None, seeds: np.ndarray) -> Source:
    """Prepare a table that is read in pieces, and set the attributes that scikit-learn wants set."""
    streamed = prepare_streamed(
        shards,
        weights,
        seed=seeds[1].tolist(),
        validation=density.validation_fraction,
        schema=density.schema,
        **_of_table(density),
    )
    names = [name for name in shards.names if name != weights]
    vars(density).update(n_features_in_=len(names), feature_names_in_=np.asarray(names, dtype=object))
    return Source("pyarrow", streamed.sample, streamed, streamed.n_rows, streamed.n_left_out)


def _of_flow(model: TableModel) -> tuple[str, ...]:
    """A remark where a table leaves nothing to the flow, or so much that its sizes follow a rule; none otherwise."""
    if model.recipe.column_bins:
        return (sentence(model.recipe, len(model.member.flow_places)),)
    if not model.recipe.margins or model.member.flow_places:
        return ()
    why = "reach an end of their range, are rounded coarsely, may be absent or come round"
    return (
        f"All numbers {why}: they have distribution functions of their own, and the flow {model.recipe.flow} none.",
    )


def _verify(density: FlowDensity, prepared: Prepared, trained: Trained) -> None:
    """Check the model and compare it, on the held-out rows; without any, check it on its samples."""
    held_out, condition = np.concatenate(trained.folds), prepared.condition
    if len(held_out) == 0:
        density.checks_ = None if density.given_ else check_model(density.model_, None)
        return
    own = None if condition is None else condition[held_out]
    density.checks_ = check_model(density.model_, prepared.encoded.take(held_out), own)
    models = trained.of_folds or (density.model_,)
    compared = compare_on_folds(models, prepared.encoded, trained.folds, condition)
    density.baselines_, density.gains_ = compared.baselines, tuple(compare(compared.model, compared.baselines))
