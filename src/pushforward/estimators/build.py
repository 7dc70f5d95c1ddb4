"""The estimator's flow: the zoo by name, with the defaults that measurement chose."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._checks import OptionError, message
from pushforward.bijections.units import ColumnUnits
from pushforward.data.assemble import Recipe, assemble, with_units
from pushforward.data.encoding import Layout
from pushforward.distributions.table import TableDistribution
from pushforward.flows import ZOO
from pushforward.flows.bases import ANGULAR, BASES

# What measurement over the tables of benchmarks/tables.py chose where it differs from the zoo's own defaults; see
# docs/explanation/flow_defaults.md.
DEFAULTS: dict[str, dict[str, Any]] = {
    "nsf": {"linear": "lu", "autoregressive": True},
    **{name: {"whiten": True} for name in ("flow_matching", "rectified_flow", "score_sde", "ncsn")},
    **{
        name: {"linear": "lu"}
        for name in ("nice", "realnvp", "maf", "iaf", "naf", "sos", "planar", "radial", "sylvester")
    },
}


def make_recipe(name: str, base: str, options: Mapping[str, Any], n_rows: int) -> Recipe:
    """What a table's model is to be built of, every argument written out.

    Args:
        name: in `pushforward.flows.ZOO`.
        base: in `pushforward.flows.bases.BASES`; flows over angles take the torus by themselves.
        options: arguments of the zoo's function; those that are None are left to `DEFAULTS`, then to the zoo.
        n_rows: of the table: a mass is at least about one in as many.

    Raises:
        OptionError: a name is unknown, a base is not the flow's, or an option is not one of the flow's.
    """
    if name not in ZOO:
        raise OptionError(
            f"FlowDensity: expected flow to be one of {', '.join(ZOO)}, got {name!r}. Choose one of them."
        )
    if base not in BASES:
        expected = f"base to be one of {', '.join(BASES)}"
        raise OptionError(message("FlowDensity", expected, repr(base), "Choose one of them."))
    if (name in ANGULAR) != (base == "torus"):
        if name not in ANGULAR or base != "normal":  # which is the default
            fix = f"Flows over angles ({', '.join(sorted(ANGULAR))}) have the torus, and no other flow has."
            raise OptionError(f"FlowDensity: base {base!r} does not fit flow {name!r}. {fix}")
        base = "torus"
    chosen = {key: value for key, value in options.items() if value is not None}
    signature = inspect.signature(ZOO[name]).parameters
    accepted = [key for key in signature if key not in ("key", "dim", "condition_dim", "base")]
    foreign = [key for key in chosen if key not in accepted]
    if foreign:
        fix = f"It has {', '.join(accepted)}."
        raise OptionError(message("FlowDensity", f"options of flow {name!r}", repr(foreign[0]), fix))
    # All arguments, so that what is written down means the same when a default changes.
    own = {key: signature[key].default for key in accepted}
    arguments = {**own, **DEFAULTS.get(name, {}), **chosen}
    if "adjacency" in chosen and "linear" not in chosen:
        arguments["linear"] = None  # a mixing layer would join what the graph keeps apart
    plain = {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in arguments.items()}
    return Recipe(name, plain, base, smoothing=1.0 / (n_rows + 1))


def build(
    layout: Layout,
    given: Layout | None,
    recipe: Recipe,
    seed: np.ndarray,
    units: ColumnUnits | None,
    given_units: ColumnUnits | None,
    frequencies: np.ndarray,
) -> TableDistribution:
    """The untrained model, compiled once per architecture, so that the second fit of one builds its flow at once.

    Arguments as in `assemble`; `seed` is two words, for the initial weights.
    """
    model = _initial(seed, _Static(layout, given, recipe), frequencies if len(frequencies) else None)
    return with_units(model, layout, units, given_units)


class _Static:
    """Layouts and a recipe as one static argument: equal if they lead to the same program."""

    def __init__(self, layout: Layout, given: Layout | None, recipe: Recipe):
        self.parts = (layout, given, recipe)
        self.text = repr((_shape(layout), None if given is None else _shape(given), recipe))

    def __hash__(self) -> int:
        return hash(self.text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Static) and self.text == other.text


def _shape(layout: Layout) -> tuple:
    kinds = tuple((c.kind, c.scale, c.tail_index, c.step is None) for c in layout.columns)
    return layout.sizes, layout.state_of_value, tuple(layout.drawable.tolist()), kinds


@eqx.filter_jit
def _initial(seed: Any, static: _Static, frequencies: Any) -> TableDistribution:
    layout, given, recipe = static.parts
    key = jax.random.wrap_key_data(seed, impl="threefry2x32")
    return assemble(layout, given, recipe, key, frequencies=frequencies)
