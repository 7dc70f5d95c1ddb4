"""From the layout of a table and a flow of the zoo to the distribution of the table's rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import OptionError
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Chain, GaussianStart
from pushforward.bijections.elementwise import ColumnUnits, Support, Unit
from pushforward.distributions import Flow
from pushforward.distributions.categorical import AutoregressiveCategorical
from pushforward.distributions.table import UNBOUNDED, Cells, TableDistribution
from pushforward.flows import ENTRIES, ZOO
from pushforward.flows.bases import BASES
from pushforward.tables.encoding import Layout
from pushforward.tables.errors import DataError
from pushforward.tables.schema import Column

# Quantiles by which a column is measured.
QUANTILES = 2048
# The interquartile range of a normal, in standard deviations.
NORMAL_RANGE = 1.349


@dataclass(frozen=True)
class Recipe:
    """What a table's model is built of, beside its columns.

    Args:
        flow: name in the zoo.
        arguments: of the zoo's function, without `dim`, `condition_dim` and `base`.
        base: of the latent, by name.
        mass_width: units per hidden layer of the network of the states.
        mass_depth: its hidden layers.
        smoothing: share of the uniform distribution in each mass.
        embed: the features of states and condition are embedded in a vector of this length, if there are more of them.
        gaussian_start: the flow's last layer is a `bijections.GaussianStart`, which makes a wide member of an ensemble.
        members: models of this architecture in an ensemble, its wide member among them; 1 is a model alone.
    """

    flow: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    base: str = "normal"
    mass_width: int = 128
    mass_depth: int = 2
    smoothing: float = 1e-6
    embed: int | None = 64
    gaussian_start: bool = False
    members: int = 1


def assemble(
    layout: Layout,
    given: Layout | None,
    recipe: Recipe,
    key: PRNGKeyArray,
    *,
    units: ColumnUnits | None = None,
    given_units: ColumnUnits | None = None,
    frequencies: Any = None,
) -> TableDistribution:
    """The untrained distribution of the rows of a table.

    Args:
        layout: of the modelled columns.
        given: of the columns that are conditions, or None.
        recipe: how to build it.
        key: JAX key for the initial weights.
        units: of the values; None takes a placeholder of the same structure, for a model that is about to be loaded.
        given_units: of the values among the conditions, likewise.
        frequencies: of the states, where the masses start.

    Raises:
        OptionError: the flow cannot be built with the recipe's arguments.
    """
    keys = jax.random.split(key, 3)
    n_values = len(layout.valued)
    own = Cells(None, layout.sizes, layout.state_of_value)
    condition = None if given is None else Cells(given_units or blank_units(given), given.sizes, given.state_of_value)
    n_given = 0 if condition is None else condition.n_features
    masses = None
    if layout.sizes:
        masses = AutoregressiveCategorical(
            keys[0],
            layout.sizes,
            frequencies=frequencies,
            smoothing=recipe.smoothing,
            drawable=layout.drawable,
            width=recipe.mass_width,
            depth=recipe.mass_depth,
            cond_size=n_given,
        )
    values = None
    if n_values:
        n_features = sum(own.sizes) + n_given
        size = n_features if recipe.embed is None else min(recipe.embed, n_features)
        base = BASES[recipe.base](n_values)
        try:
            values = ZOO[recipe.flow](keys[1], dim=n_values, condition_dim=size or None, base=base, **recipe.arguments)
        except (TypeError, ValueError) as error:
            raise OptionError(str(error)) from error
        if recipe.gaussian_start:
            values = Flow(values.base, Chain([values.bijection, GaussianStart(n_values, size or None)]))
    columns = [layout.columns[i] for i in layout.valued]
    return TableDistribution(
        masses,
        values,
        (units or blank_units(layout, recipe)) if n_values else None,
        steps=[column.step or 0.0 for column in columns],
        counted=[column.kind in ("integer", "count") for column in columns],
        bounds=[column.support for column in columns],
        state_of_value=layout.state_of_value,
        given=condition,
        key=keys[2],
    )


def blank_units(layout: Layout, recipe: Recipe | None = None) -> ColumnUnits | None:
    """Units of the structure that `fit_units` gives, with placeholders for all that is measured."""
    if not layout.valued:
        return None
    if recipe is not None and ENTRIES[recipe.flow].space == "circle":
        return ColumnUnits([Unit()] * len(layout.valued))
    return ColumnUnits([_unit(layout.columns[i], 0.0, 1.0) for i in layout.valued])


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


def fit_units(layout: Layout, rows: np.ndarray, weights: Any = None, *, seed: int = 0) -> ColumnUnits | None:
    """The units of the values of an encoded table.

    Args:
        layout: of the columns.
        rows: `(n, layout.dim)`, encoded.
        weights: `(n,)` or None.
        seed: for the places of rounded values within their steps.
    """
    if not layout.valued:
        return None
    rng = np.random.default_rng(seed)
    units, parts = [], []
    for j, i in enumerate(layout.valued):
        column, state = layout.columns[i], layout.state_of_value[j]
        there = np.ones(len(rows), bool) if state < 0 else rows[:, state] == 0
        values = rows[there, len(layout.stated) + j]
        own = None if weights is None else np.asarray(weights)[there]
        if column.step is not None:
            values = values + column.step * rng.uniform(size=len(values))
        units.append(_unit(column, *_location(column, values, own)))
        parts.append(_quantiles(values, own) if len(values) else np.full(QUANTILES, units[-1].loc + units[-1].scale))
    bent = [unit.support != "real" for unit in units]
    if not any(bent):
        return ColumnUnits(units)
    with jax.enable_x64(True):
        beyond = np.asarray(
            ColumnUnits([replace(unit, tail=None) for unit in units]).each_inverse(jnp.asarray(np.stack(parts)))[0]
        )
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


def with_units(
    model: TableDistribution, layout: Layout, units: ColumnUnits | None, given_units: ColumnUnits | None
) -> TableDistribution:
    """The model with these units, and the steps and bounds of its columns, as NumPy arrays, which keep float64.

    What goes through a compiled function comes out as JAX arrays, in float32 where that is the default.
    """
    columns = [layout.columns[i] for i in layout.valued]
    steps = np.array([column.step or 0.0 for column in columns], np.float64)
    bounds = np.clip(np.array([c.support for c in columns], np.float64).reshape(-1, 2), -UNBOUNDED, UNBOUNDED)
    model = eqx.tree_at(lambda t: (t.steps.value, t.bounds.value), model, (steps, bounds))
    if units is not None:
        model = eqx.tree_at(lambda t: t.units, model, units)
    if given_units is not None:
        model = eqx.tree_at(lambda t: t.given.units, model, given_units)  # pyright: ignore[reportOptionalMemberAccess]
    return model


def state_frequencies(layout: Layout, rows: np.ndarray, weights: Any = None) -> np.ndarray:
    """The share of each state of each variable, none of them 0."""
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, float) * len(rows) / np.sum(weights)
    shares = []
    for c, size in enumerate(layout.sizes):
        counts = np.bincount(rows[:, c].astype(np.int64), weights=weights, minlength=size) + 0.1
        shares.append(counts / counts.sum())
    return np.concatenate(shares) if shares else np.zeros(0)


def _support(column: Column) -> Support:
    if column.kind in ("bounded", "circular"):
        return "interval"
    if column.kind in ("positive", "count"):
        return "log" if column.scale == "log" else "softplus"
    return "real"


def _unit(column: Column, loc: float, scale: float) -> Unit:
    tail = column.tail_index if _support(column) in ("real", "softplus") else None
    return Unit(_support(column), loc, scale, tail)


def _location(column: Column, values: np.ndarray, weights: Any) -> tuple[float, float]:
    """Where the column's units begin and how large they are."""
    support = _support(column)
    low, high = column.support
    if support == "interval":
        return low, high - low
    if len(values) == 0:
        return (low, 1.0) if support != "real" else (0.0, 1.0)
    if support != "real":
        inside = values[values > low] - low
        middle = float(np.median(inside)) if len(inside) else 1.0
        return low, middle if middle > 0 else 1.0
    if column.tail_index is not None:
        lower, middle, upper = np.quantile(values, [0.25, 0.5, 0.75])
        spread = float(upper - lower) / NORMAL_RANGE
        return float(middle), spread if spread > 0 else float(np.std(values)) or 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        loc = float(np.average(values, weights=weights))
        scale = float(np.sqrt(np.average((values - loc) ** 2, weights=weights)))
    return loc, scale if np.isfinite(scale) and scale > 0 else 1.0
