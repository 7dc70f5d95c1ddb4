"""From the layout of a table and a flow of the zoo to the distribution of the table's rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._checks import OptionError
from pushforward._types import PRNGKeyArray
from pushforward.bijections import Affine, Chain, Elementwise, GaussianStart, RationalQuadraticMap
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.elementwise import ColumnUnits, Support, Unit
from pushforward.distributions import Flow
from pushforward.distributions.categorical import AutoregressiveCategorical
from pushforward.distributions.margins import ConditionalMargins
from pushforward.distributions.spaces import Place, Spaces
from pushforward.distributions.table import UNBOUNDED, TableDistribution
from pushforward.distributions.table_features import Cells
from pushforward.flows import ENTRIES, ZOO
from pushforward.flows.bases import BASES
from pushforward.tables.encoding import Layout
from pushforward.tables.modelling.places import Margin, blank_place
from pushforward.tables.schema import Column

# Half-width, in standard units, of the interval that the splines of a wide table's columns bend.
COLUMN_BOUND = 6.0


@dataclass(frozen=True)
class Recipe:
    """What a table's model is built of, beside its columns.

    Args:
        flow: Name of the flow in the zoo.
        arguments: Arguments of the zoo's function, without `dim`, `condition_dim` and `base`.
        base: Name of the base distribution.
        mass_width: Units per hidden layer of the network of the states.
        mass_depth: Number of hidden layers of that network.
        smoothing: Share of the uniform distribution in each mass.
        embed: The features of states and condition are embedded in a vector of this length, if there are more of them.
        margins: The values with spaces of their own, in the order of the columns.
        margin_width: Units per hidden layer of the network of the margins.
        margin_depth: Number of residual blocks of that network.
        margin_bins: Bins of the margins' splines.
        gaussian_start: Whether the flow's last layer is a `GaussianStart`, which the wide member of an ensemble needs.
        members: Number of models of this architecture in an ensemble, its wide member among them; 1 is a model alone.
        column_bins: Bins of a spline of each of the flow's columns, which a `GaussianStart` follows, as the flow of a
            wide table has them; 0 for none.
        chosen: Names of the arguments that the user chose; no part of the architecture.
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
    column_bins: int = 0
    chosen: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    margins: tuple[Margin, ...] = ()
    margin_width: int = 128
    margin_depth: int = 1
    margin_bins: int = 16


@dataclass(frozen=True)
class Measured:
    """What is measured of a table's columns before its model is built.

    Attributes:
        units: Units of the flow's values, None without any.
        places: Spaces of the margins.
        starts: Parameters of the margins' splines, `(n_params, n_margins)`, or None without margins.
        given_units: Units of the values among the conditions, None without any.
        frequencies: Shares of the states, one variable after the other; None for equal ones.
    """

    units: ColumnUnits | None
    places: tuple[Place, ...] = ()
    starts: np.ndarray | None = None
    given_units: ColumnUnits | None = None
    frequencies: np.ndarray | None = None


def split_values(layout: Layout, margins: Sequence[Margin]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Places among the values: those of the flow, and those of the margins."""
    own = {margin.name for margin in margins}
    names = [layout.columns[i].name for i in layout.valued]
    of_flow, of_margins = ([j for j, name in enumerate(names) if (name in own) is flag] for flag in (False, True))
    return tuple(of_flow), tuple(of_margins)


def blank(layout: Layout, given: Layout | None, recipe: Recipe) -> Measured:
    """Placeholders of the structure that measuring a table gives, for a model that is about to be loaded."""
    of_flow, of_margins = split_values(layout, recipe.margins)
    angles = ENTRIES[recipe.flow].space == "circle"
    columns = [layout.columns[layout.valued[j]] for j in of_flow]
    units = ColumnUnits([Unit() if angles else blank_unit(column, 0.0, 1.0) for column in columns]) if columns else None
    places = [
        blank_place(margin, layout.columns[layout.valued[j]])
        for margin, j in zip(recipe.margins, of_margins, strict=True)
    ]
    given_units = None
    if given is not None and given.valued:
        given_units = ColumnUnits([blank_unit(given.columns[i], 0.0, 1.0) for i in given.valued])
    return Measured(units, tuple(places), given_units=given_units)


def assemble(
    layout: Layout,
    given: Layout | None,
    recipe: Recipe,
    key: PRNGKeyArray,
    measured: Measured | None = None,
) -> TableDistribution:
    """The untrained distribution of the rows of a table.

    Args:
        layout: Layout of the modelled columns.
        given: Layout of the columns that are conditions, or None.
        recipe: How to build it.
        key: JAX key for the initial weights.
        measured: What was measured of the columns; None takes placeholders of the same structure.

    Raises:
        OptionError: The flow cannot be built with the recipe's arguments.
    """
    keys = jax.random.split(key, 4)
    measured = measured or blank(layout, given, recipe)
    of_flow, of_margins = split_values(layout, recipe.margins)
    condition = None
    if given is not None:
        circular = tuple(given.columns[i].kind == "circular" for i in given.valued)
        condition = Cells(measured.given_units, given.sizes, given.state_of_value, circular)
    n_given = 0 if condition is None else condition.n_features
    masses = None
    if layout.sizes:
        masses = AutoregressiveCategorical(
            keys[0],
            layout.sizes,
            frequencies=measured.frequencies,
            smoothing=recipe.smoothing,
            drawable=layout.drawable,
            width=recipe.mass_width,
            depth=recipe.mass_depth,
            cond_size=n_given,
        )
    n_features = sum(layout.sizes) + n_given
    size = n_features if recipe.embed is None else min(recipe.embed, n_features)
    values = margins = None
    if of_flow:
        base = BASES[recipe.base](len(of_flow))
        try:
            values = ZOO[recipe.flow](
                keys[1], dim=len(of_flow), condition_dim=size or None, base=base, **recipe.arguments
            )
        except (TypeError, ValueError) as error:
            raise OptionError(str(error)) from error
        last: list[AbstractBijection] = []
        if recipe.gaussian_start or recipe.column_bins:
            last.append(GaussianStart(len(of_flow), size or None))
        if recipe.column_bins:
            spline = RationalQuadraticMap(recipe.column_bins, COLUMN_BOUND, end_slopes="free")
            last += [Elementwise(spline, (len(of_flow),)), Affine(shape=(len(of_flow),))]
        values = Flow(values.base, Chain([values.bijection, *last])) if last else values
    elif layout.valued:
        _check_flow(recipe)
    if of_margins:
        margins = ConditionalMargins(
            keys[3],
            measured.places,
            start=measured.starts,
            bins=recipe.margin_bins,
            width=recipe.margin_width,
            depth=recipe.margin_depth,
            cond_size=size + len(of_flow),
        )
    columns = [layout.columns[layout.valued[j]] for j in of_flow]
    return TableDistribution(
        masses,
        values,
        measured.units,
        margins=margins,
        margin_places=of_margins,
        steps=[column.step or 0.0 for column in columns],
        counted=[column.counted for column in columns],
        bounds=[column.support for column in columns],
        state_of_value=layout.state_of_value,
        given=condition,
        dequantize=True,
        embed=size if size < n_features else None,
        key=keys[2],
    )


def _check_flow(recipe: Recipe) -> None:
    """Check the options of a flow that a table leaves nothing to, as if it had two numbers."""
    if recipe.arguments.get("split") is not None or recipe.arguments.get("adjacency") is not None:
        return  # they are for other numbers of columns
    try:
        eqx.filter_eval_shape(
            lambda key: ZOO[recipe.flow](key, dim=2, base=BASES[recipe.base](2), **recipe.arguments), jax.random.key(0)
        )
    except (TypeError, ValueError) as error:
        raise OptionError(str(error)) from error


def with_measured(model: TableDistribution, layout: Layout, recipe: Recipe, measured: Measured) -> TableDistribution:
    """The model with these units and spaces, and the steps and bounds of its columns, as NumPy arrays.

    What goes through a compiled function comes out as JAX arrays, in float32 where that is the default; NumPy keeps
    float64.
    """
    of_flow, _ = split_values(layout, recipe.margins)
    columns = [layout.columns[layout.valued[j]] for j in of_flow]
    steps = np.array([column.step or 0.0 for column in columns], np.float64)
    bounds = np.clip(np.array([c.support for c in columns], np.float64).reshape(-1, 2), -UNBOUNDED, UNBOUNDED)
    fixed = (steps, bounds, np.zeros(()))
    model = eqx.tree_at(lambda t: (t.steps.value, t.bounds.value, t.middle_error.value), model, fixed)
    if measured.units is not None:
        model = eqx.tree_at(lambda t: t.units, model, measured.units)
    if measured.places:
        model = eqx.tree_at(lambda t: t.margins.spaces, model, Spaces(measured.places))
    if measured.given_units is not None:
        model = eqx.tree_at(lambda t: t.given.units, model, measured.given_units)  # pyright: ignore[reportOptionalMemberAccess]
    return model


def support_of(column: Column) -> Support:
    """The support of a value of the flow, and the map onto it."""
    low, high = column.support
    if column.kind == "circular" or not (np.isfinite(low) or np.isfinite(high)):
        return "real"
    if np.isfinite(low) and np.isfinite(high):
        return "interval"
    if np.isfinite(low):
        return "log" if column.scale == "log" else "softplus"
    return "below, log" if column.scale == "log" else "below, softplus"


def blank_unit(column: Column, loc: float, scale: float) -> Unit:
    """The unit of a column's numbers, with this location and scale."""
    support = support_of(column)
    return Unit(support, loc, scale, None if column.kind == "circular" or support == "interval" else column.tail_index)
