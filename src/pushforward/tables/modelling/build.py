"""The estimator's flow: the zoo by name, with the defaults that measurement chose."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._checks import OptionError, message
from pushforward.distributions.table import TableDistribution
from pushforward.flows import ENTRIES
from pushforward.tables.encoding import Layout
from pushforward.tables.modelling.assemble import Measured, Recipe, assemble, blank, with_measured

# Builders of flows that are autoregressive in the order of the columns if nothing mixes these.
ORDERED = ("autoregressive", "arranged")


def make_recipe(name: str, base: str, options: Mapping[str, Any], n_rows: int, ordered: bool = False) -> Recipe:
    """What a table's model is to be built of, every argument written out.

    Args:
        name: in `pushforward.flows.ZOO`.
        base: one of those that the flow may have; flows over angles take the torus by themselves.
        options: arguments of the zoo's function; those that are None are left to the zoo's defaults.
        n_rows: of the table: a mass is at least about one in as many, rounded up to a power of two, so that tables of
            about one length share their compiled programs.
        ordered: whether the flow is to keep the order of the columns, so that nothing mixes them between its layers.

    Raises:
        OptionError: a name is unknown, a base is not the flow's, or an option is not one of the flow's.
    """
    if name not in ENTRIES:
        raise OptionError(
            f"FlowDensity: expected flow to be one of {', '.join(ENTRIES)}, got {name!r}. Choose one of them."
        )
    entry = ENTRIES[name]
    if entry.space == "circle" and base == "normal":  # which is the default
        base = entry.bases[0]
    if base not in entry.bases:
        fix = "Flows over angles have the torus, and no other flow has."
        allowed = f"base of flow {name!r} to be one of {', '.join(entry.bases)}"
        raise OptionError(message("FlowDensity", allowed, repr(base), fix))
    chosen = {key: value for key, value in options.items() if value is not None}
    if ordered:
        if entry.builder not in ORDERED or chosen.get("autoregressive") is False or "linear" in chosen:
            fix = "Take flow='nsf' or 'maf' without linear=, or leave out order=."
            expected = "an autoregressive flow in which nothing mixes the columns, with order="
            raise OptionError(message("FlowDensity", expected, f"flow {name!r} with {chosen}", fix))
        chosen["linear"] = None
    try:  # all arguments, so that what is written down means the same when a default changes
        arguments = entry.arguments(chosen)
    except (TypeError, ValueError) as error:
        raise OptionError(f"FlowDensity: {error}") from error
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
    return Recipe(name, plain, base, smoothing=1.0 / 2 ** n_rows.bit_length(), chosen=frozenset(chosen))


def build(
    layout: Layout, given: Layout | None, recipe: Recipe, seed: np.ndarray, measured: Measured
) -> TableDistribution:
    """The untrained model, compiled once per architecture, so that the second fit of one builds its flow at once.

    Arguments as in `assemble`; `seed` is two words, for the initial weights.
    """
    model = _initial(seed, _Static(layout, given, recipe), measured.frequencies, measured.starts)
    return with_measured(model, layout, recipe, measured)


class _Static:
    """Layouts and a recipe as one static argument: equal if they lead to the same program."""

    def __init__(self, layout: Layout, given: Layout | None, recipe: Recipe):
        self.parts = (layout, given, recipe)
        shapes = (_shape(layout, recipe), None if given is None else _shape(given, recipe))
        self.text = repr((*shapes, dataclasses.replace(recipe, margins=())))

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.text == other.text


def _shape(layout: Layout, recipe: Recipe) -> tuple:
    """What the structure of a model depends on: names, and all that is put in afterwards, are left out."""
    margins = {margin.name: (margin.space, margin.heavy, margin.rounded) for margin in recipe.margins}
    kinds = tuple(
        (c.kind, c.scale, c.tail_index, c.step is None, tuple(map(math.isfinite, c.support)), margins.get(c.name))
        for c in layout.columns
    )
    return layout.sizes, layout.state_of_value, tuple(layout.drawable.tolist()), kinds


@eqx.filter_jit
def _initial(seed: Any, static: _Static, frequencies: Any, starts: Any) -> TableDistribution:
    layout, given, recipe = static.parts
    key = jax.random.wrap_key_data(seed, impl="threefry2x32")
    measured = dataclasses.replace(blank(layout, given, recipe), frequencies=frequencies, starts=starts)
    return assemble(layout, given, recipe, key, measured)
