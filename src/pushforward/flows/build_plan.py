"""What a flow is built of: a checked order that goes from `build` to the builders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import jax

from pushforward._checks import as_key, check_int, message
from pushforward._types import PRNGKeyArray, Shape
from pushforward.bijections.scalar_maps import AbstractScalarMap
from pushforward.distributions.base import AbstractDistribution
from pushforward.flows.maps import maps_on, scalar_map_of
from pushforward.flows.options import MAX_EVENT
from pushforward.flows.registry import Entry
from pushforward.flows.spaces import check_base, space_of_map


@dataclass(frozen=True)
class Plan:
    """What a flow is built of.

    Args:
        entry: Entry of the zoo.
        key: JAX key for the initial weights.
        dim: Length of an event.
        cond_shape: Shape of the condition, or None.
        base: Distribution of the latent.
        options: Object with all the entry's options as attributes.
    """

    entry: Entry
    key: PRNGKeyArray
    dim: int
    cond_shape: Shape | None
    base: AbstractDistribution
    options: Any

    @property
    def name(self) -> str:
        """The name of the flow, for messages."""
        return self.entry.name

    @property
    def features(self) -> str:
        """The form in which networks see the coordinates: angles as their cosine and sine."""
        return "circular" if self.entry.space == "circle" else "identity"

    def option(self, name: str, absent: Any = None) -> Any:
        """The value of an option that not every flow has."""
        return getattr(self.options, name, absent)

    def scalar_map(self) -> Callable[[PRNGKeyArray], AbstractScalarMap]:
        """The scalar map of a layer, as a function of the layer's key.

        Raises:
            TypeError: The option is neither a name nor a scalar map.
            ValueError: The scalar map is for another space than that of the events.
        """
        chosen = self.options.scalar_map
        if isinstance(chosen, str):
            make = scalar_map_of(chosen, vars(self.options))
        elif not isinstance(chosen, AbstractScalarMap):
            fix = f"Name one of {', '.join(maps_on(self.entry.space))}, or pass an AbstractScalarMap."
            raise TypeError(message(self.name, "scalar_map a name or a scalar map", type(chosen).__name__, fix))
        elif space_of_map(chosen) != self.entry.space:
            allowed = f"a scalar map of the {self.entry.space}: {', '.join(maps_on(self.entry.space))}"
            fix = f"This flow is over the {self.entry.space}."
            raise ValueError(message(self.name, allowed, type(chosen).__name__, fix))
        else:
            return lambda key: chosen
        # The map's own key: fold in a number that no constructor reaches by splitting.
        return lambda key: make(jax.random.fold_in(key, 0x6D6170))


def plan_of(entry: Entry, key: PRNGKeyArray, given: Mapping[str, Any]) -> Plan:
    """The order for a flow, every argument checked.

    Raises:
        TypeError: An argument is missing, unknown or of another kind.
        ValueError: An argument is out of its bounds, or the flow cannot have this base.
    """
    name, options = entry.name, dict(given)
    if "dim" not in options:
        fix = f"Write pf.flows.{name}(key, dim=2)."
        raise TypeError(message(name, "dim=, the length of an event", "none", fix))
    dim = check_int(name, "dim", options.pop("dim"), 1, MAX_EVENT)
    condition_dim, base = options.pop("condition_dim", None), options.pop("base", None)
    cond_shape = None if condition_dim is None else (check_int(name, "condition_dim", condition_dim, 1, MAX_EVENT),)
    arguments = entry.arguments(options)
    chosen = check_base(name, base, dim, entry.space, independent=arguments.get("adjacency") is not None)
    return Plan(entry, as_key(name, key), dim, cond_shape, chosen, SimpleNamespace(**arguments))
