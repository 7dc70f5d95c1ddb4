"""What is checked of a model folder beyond the shapes of its arrays, before anything in it is used."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.distributions.ensemble import Ensemble
from pushforward.distributions.table import TableDistribution
from pushforward.io.errors import UntrustedModelError
from pushforward.io.weights import named_arrays
from pushforward.tables.encoding import Layout
from pushforward.tables.modelling.places import space_ends, space_of
from pushforward.tables.modelling.records import Config
from pushforward.tables.schema import Column


def check_report(checks: Any, path: Path) -> None:
    """Check that the report of a model's checks is one, or that there is none."""
    from pushforward.checking import CheckReport

    if checks is None:
        return
    try:
        CheckReport.from_json(checks)
    except ValueError as error:
        raise UntrustedModelError(f"{path / 'checks.json'}: {' '.join(str(error).split())[:300]}") from error


def check_margins(config: Config, layout: Layout, label: str) -> None:
    """Check that values with spaces of their own are columns of the schema, in its order, and fill these spaces."""
    columns = {layout.columns[i].name: layout.columns[i] for i in layout.valued}
    order = list(columns)
    places = [order.index(record.name) if record.name in columns else -1 for record in config.margins.columns]
    if -1 in places or any(a >= b for a, b in itertools.pairwise(places)):
        raise UntrustedModelError(f"{label}: margins.columns: not columns of numbers of schema.json, in its order.")
    for record in config.margins.columns:
        if record.space != space_of(columns[record.name]):
            raise UntrustedModelError(
                f"{label}: margins.columns: {record.name!r} does not fill a space {record.space!r}."
            )
    absent = {
        layout.columns[i].name for i, state in zip(layout.valued, layout.state_of_value, strict=True) if state >= 0
    }
    if absent - {record.name for record in config.margins.columns}:
        raise UntrustedModelError(f"{label}: margins.columns: a value that may be absent has no space of its own.")


def check_values(model: TableDistribution | Ensemble, label: str) -> None:
    """Check what shapes do not show: that scales are positive and that indices are permutations."""
    arrays = named_arrays(model)
    for name, values in arrays.items():
        if name.endswith(
            ("units.scale.value", "units.spread.value", "spaces.scale.value", "_power.value", "tail.value")
        ) and not np.all(np.asarray(values) > 0):
            raise UntrustedModelError(f"{label}: {name}: a scale of the columns' units is not positive.")
        if name == "log_weights.value" and not np.isclose(np.logaddexp.reduce(np.asarray(values)), 0, atol=1e-9):
            raise UntrustedModelError(f"{label}: {name}: the weights of the members do not sum to 1.")
        if name.endswith(".indices"):
            inverse = np.asarray(arrays[name.removesuffix("indices") + "inverse_indices"])
            there, length = np.asarray(values), inverse.shape[-1]
            inside = np.all((there >= 0) & (there < length)) and np.all((inverse >= 0) & (inverse < length))
            if not inside or np.any(np.take_along_axis(there, inverse, -1) != np.arange(length)):
                raise UntrustedModelError(f"{label}: {name} is not a permutation.")


def check_columns(model: TableDistribution, template: TableDistribution, columns: Sequence[Column], label: str) -> None:
    """Check that the weights and the schema agree on the columns: steps, bounds, and logarithms of scales."""
    for name in ("steps", "bounds"):
        if not np.array_equal(getattr(model, name).value, getattr(template, name).value):
            raise UntrustedModelError(f"{label}: {name}: other than those of the columns in schema.json.")
    if model.margins is not None:
        spaces, others = model.margins.spaces, template.margins.spaces  # pyright: ignore[reportOptionalMemberAccess]
        if not np.array_equal(spaces.step.value, others.step.value):
            raise UntrustedModelError(f"{label}: margins: steps other than those of the columns in schema.json.")
        if not np.allclose(spaces.log_unit.value, spaces.unit_of(others.counted), 1e-12, 1e-12):
            raise UntrustedModelError(f"{label}: margins.spaces.log_unit: not that of the columns' scales and steps.")
        ends = [space_ends(layout_column) for layout_column in columns]
        for j, (loc, scale) in enumerate(ends):
            # Of an ensemble, each member has a row of them.
            wrong = loc is not None and np.any(np.asarray(spaces.loc.value)[..., j] != loc)
            if wrong or (scale is not None and np.any(np.asarray(spaces.scale.value)[..., j] != scale)):
                raise UntrustedModelError(f"{label}: margins: ends other than those of the columns in schema.json.")
    for units in (model.units, None if model.given is None else model.given.units):
        # They agree up to the last digits, in which logarithms differ from machine to machine.
        if units is not None and not np.allclose(units.log_scale.value, np.log(units.scale.value), 1e-12, 1e-12):
            raise UntrustedModelError(f"{label}: units.log_scale: not the logarithm of the columns' scales.")
