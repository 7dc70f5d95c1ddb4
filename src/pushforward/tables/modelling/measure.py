"""What is measured of a table's columns before its model is built: units, spaces, starts and frequencies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pushforward.bijections.elementwise import ColumnUnits, Unit
from pushforward.flows import ENTRIES
from pushforward.tables.encoding import Layout
from pushforward.tables.errors import DataError
from pushforward.tables.modelling.assemble import Measured, Recipe, blank_unit, split_values, support_of
from pushforward.tables.modelling.margin_start import start_of
from pushforward.tables.modelling.places import NORMAL_RANGE, fit_place, margins_of, values_of
from pushforward.tables.schema import Column

# Quantiles by which a column is measured.
QUANTILES = 2048
# Units per layer of the margins' network and bins of their splines, for tables of fewer rows than stand before them.
MARGIN_SIZES = ((1000, 32, 8), (5000, 64, 8), (50_000, 128, 10), (math.inf, 128, 16))


def measure(
    layout: Layout,
    given: Layout | None,
    recipe: Recipe,
    rows: np.ndarray,
    condition: np.ndarray | None,
    weights: np.ndarray | None = None,
) -> Measured:
    """Measure the columns of an encoded table.

    Args:
        layout: Layout of the modelled columns.
        given: Layout of the conditions, or None.
        recipe: What the model is built of.
        rows: Encoded rows `(n, layout.dim)`.
        condition: Encoded conditions, or None.
        weights: Weights of the rows `(n,)`, or None.

    Raises:
        DataError: The flow is over angles, and a column is none.
    """
    of_flow, of_margins = split_values(layout, recipe.margins)
    if ENTRIES[recipe.flow].space == "circle":
        units = angle_units(layout, rows)
    else:
        units = fit_units(layout, rows, weights, of_flow)
    places, quantiles, counts = [], [], []
    for margin, j in zip(recipe.margins, of_margins, strict=True):
        column, (values, own) = layout.columns[layout.valued[j]], values_of(layout, rows, j, weights)
        places.append(fit_place(margin, column, values))
        counts.append(float(len(values)))
        filled = _filled(column, values, 0)
        centre = np.full(QUANTILES, places[-1].loc + 0.5 * places[-1].scale * (-1 if margin.space == "below" else 1))
        quantiles.append(_quantiles(filled, own) if len(values) else centre)
    starts = start_of(places, np.stack(quantiles), counts, recipe.margin_bins) if places else None
    given_units = None
    if given is not None and condition is not None:
        given_units = fit_units(given, condition, weights, tuple(range(len(given.valued))))
    return Measured(units, tuple(places), starts, given_units, state_frequencies(layout, rows, weights))


def with_margins(recipe: Recipe, layout: Layout, rows: np.ndarray, ordered: bool = False) -> Recipe:
    """The recipe with the values that have spaces of their own; a flow over angles has them all.

    Args:
        recipe: What the model is built of.
        layout: Layout of the modelled columns.
        rows: Encoded rows `(n, layout.dim)`.
        ordered: Whether the order of the columns is to hold; see `margins_of`.
    """
    if ENTRIES[recipe.flow].space == "circle":
        return recipe
    width, bins = next(sizes for most, *sizes in MARGIN_SIZES if len(rows) < most)
    return replace(recipe, margins=margins_of(layout, rows, ordered), margin_width=width, margin_bins=bins)


def _filled(column: Column, values: np.ndarray, seed: int) -> np.ndarray:
    """Rounded numbers with a draw within their step added."""
    if column.step is None:
        return values
    return values + column.step * np.random.default_rng(seed).uniform(size=len(values))


def angle_units(layout: Layout, rows: np.ndarray) -> ColumnUnits:
    r"""The units of the values for a flow over angles: one turn of a column is $[-\pi, \pi)$, none is standardised.

    Args:
        layout: of the columns.
        rows: `(n, layout.dim)`, encoded.

    Raises:
        DataError: a column is no angle, or may be absent.
    """
    units = []
    for j, i in enumerate(layout.valued):
        column, values = layout.columns[i], rows[:, len(layout.stated) + j]
        if column.kind not in ("circular", "real") or layout.state_of_value[j] >= 0:
            what = "may be missing or at an atom" if layout.state_of_value[j] >= 0 else f"is {column.kind}"
            fix = "Give it kind circular, low and period in the schema, leave it out, or choose another flow."
            raise DataError("schema", f"the flow is over angles, but {column.name!r} {what}. {fix}")
        if column.kind == "circular":
            low, high = column.support
            units.append(Unit("real", (low + high) / 2, (high - low) / (2 * np.pi)))
            continue
        if np.abs(values).max(initial=0.0) > np.pi:
            fix = "Convert it, or give it kind circular, low and period in a schema."
            raise DataError("schema", f"the flow is over angles in radians, but {column.name!r} goes beyond pi. {fix}")
        units.append(Unit())
    return ColumnUnits(units)


def fit_units(
    layout: Layout, rows: np.ndarray, weights: Any = None, places: Sequence[int] = (), *, seed: int = 0
) -> ColumnUnits | None:
    """The units of some values of an encoded table; a turn of an angle is `[0, 1)`.

    Args:
        layout: Layout of the columns.
        rows: Encoded rows `(n, layout.dim)`.
        weights: Weights `(n,)` or None.
        places: Places of these values among all.
        seed: Seed of the places of rounded values within their steps.
    """
    if not places:
        return None
    units, parts = [], []
    for j in places:
        column, (values, own) = layout.columns[layout.valued[j]], values_of(layout, rows, j, weights)
        values = _filled(column, values, seed)
        units.append(blank_unit(column, *_location(column, values, own)))
        parts.append(_quantiles(values, own) if len(values) else np.full(QUANTILES, units[-1].loc + units[-1].scale))
    bent = [unit.support != "real" for unit in units]
    if not any(bent):
        return ColumnUnits(units)
    with jax.enable_x64(True):
        plain = ColumnUnits([replace(unit, tail=None) for unit in units])
        beyond = np.asarray(plain.each_inverse(jnp.asarray(np.stack(parts)))[0])
    for j, unit in enumerate(units):
        if bent[j]:
            lower, centre, upper = np.quantile(beyond[j], [0.25, 0.5, 0.75])
            spread = float(np.std(beyond[j])) if unit.tail is None else float(upper - lower) / NORMAL_RANGE
            centre = float(np.mean(beyond[j])) if unit.tail is None else float(centre)
            units[j] = replace(unit, centre=centre, spread=spread if spread > 0 else 1.0)
    return ColumnUnits(units)


def _quantiles(values: np.ndarray, weights: Any) -> np.ndarray:
    """`QUANTILES` evenly spaced quantiles: a table of any length then costs as much, and compiles nothing new."""
    order = np.argsort(values, kind="stable")
    mass = np.ones(len(values)) if weights is None else np.asarray(weights, float)[order]
    position = (np.cumsum(mass) - 0.5 * mass) / mass.sum()
    return np.interp((np.arange(QUANTILES) + 0.5) / QUANTILES, position, values[order])


def state_frequencies(layout: Layout, rows: np.ndarray, weights: Any = None) -> np.ndarray:
    """The share of each state of each variable, none of them 0."""
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, float) * len(rows) / np.sum(weights)
    shares = []
    for c, size in enumerate(layout.sizes):
        counts = np.bincount(rows[:, c].astype(np.int64), weights=weights, minlength=size) + 0.1
        shares.append(counts / counts.sum())
    return np.concatenate(shares) if shares else np.zeros(0)


def _location(column: Column, values: np.ndarray, weights: Any) -> tuple[float, float]:
    """Where the column's units begin and how large they are."""
    support = support_of(column)
    low, high = column.support
    if column.kind == "circular" or support == "interval":
        return low, high - low
    if len(values) == 0:
        return (0.0, 1.0) if support == "real" else (low if np.isfinite(low) else high, 1.0)
    if support != "real":
        end = low if np.isfinite(low) else high
        distance = np.abs(values - end)
        distance = distance[distance > 0]
        return end, float(np.median(distance)) if len(distance) else 1.0
    if column.tail_index is not None:
        lower, middle, upper = np.quantile(values, [0.25, 0.5, 0.75])
        spread = float(upper - lower) / NORMAL_RANGE
        return float(middle), spread if spread > 0 else float(np.std(values)) or 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        loc = float(np.average(values, weights=weights))
        scale = float(np.sqrt(np.average((values - loc) ** 2, weights=weights)))
    return loc, scale if np.isfinite(scale) and scale > 0 else 1.0
