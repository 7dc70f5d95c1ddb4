"""Tells from the structure of a flow what it consists of and what it costs: `summary`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward._checks import message
from pushforward._types import Cost, Fixed, Shape, Traits
from pushforward.bijections.base import AbstractBijection, AbstractComposite, Layout
from pushforward.distributions import Flow
from pushforward.distributions.base import AbstractDistribution

EXACTNESS = {
    "exact": "log-densities are exact",
    "unbiased": "log-densities are random estimates, right on average",
    "biased": "log-densities are approximations",
}
HIDDEN = ("in_shape", "out_shape", "cond_shape", "traits", "event_shape", "needs_key", "noisy", "split")


@dataclass(frozen=True)
class LayerSummary:
    """One layer on the way from data to latent.

    Args:
        name: Class of the layer, and what it consists of.
        level: Depth of its nesting in other layers.
        repeats: Number of its copies in a row, each with parameters of its own.
        trained: Number of trained values in all copies.
        fixed: Number of other values.
        to_latent: Cost of the direction from data to latent.
        to_data: Cost of the direction from latent to data.
        log_det: Exactness of the log-determinant.
    """

    name: str
    level: int
    repeats: int
    trained: int
    fixed: int
    to_latent: Cost
    to_data: Cost
    log_det: str


@dataclass(frozen=True)
class Summary:
    """The structure and the costs of a model.

    Args:
        name: Class of the model.
        event_shape: Shape of a row.
        cond_shape: Shape of the condition, None if there is none.
        base: Distribution of the latents in words; None if the model is not a flow.
        trained: Number of trained values.
        fixed: Number of other values, such as those of standardisation and permutations.
        layers: Layers in the order from data to latent.
        log_prob_cost: Cost of scoring in words.
        sample_cost: Cost of sampling in words.
        log_prob_passes: Number of successive passes through the networks that a score takes; None if it is not fixed or
            scoring is not possible.
        sample_passes: Number of successive passes that a sample takes; a sequential direction takes one per dimension.
        exactness: Exactness of the log-density in words.
    """

    name: str
    event_shape: Shape
    cond_shape: Shape | None
    base: str | None
    trained: int
    fixed: int
    layers: tuple[LayerSummary, ...]
    log_prob_cost: str
    sample_cost: str
    log_prob_passes: int | None
    sample_passes: int | None
    exactness: str

    def to_dict(self) -> dict[str, Any]:
        """The summary as strings, numbers, lists and dicts, ready for JSON."""
        out = asdict(self)
        out["event_shape"] = list(self.event_shape)
        out["cond_shape"] = None if self.cond_shape is None else list(self.cond_shape)
        out["layers"] = list(out["layers"])
        return out

    def __str__(self) -> str:
        condition = "no condition" if self.cond_shape is None else f"given a condition of shape {self.cond_shape}"
        lines = [f"{self.name} over events of shape {self.event_shape}, {condition}"]
        lines.append(f"  parameters  {self.trained:,} trained, {self.fixed:,} fixed")
        if self.base is not None:
            lines.append(f"  base        {self.base}")
        lines.append(f"  log_prob    {self.log_prob_cost}; {self.exactness}")
        lines.append(f"  sample      {self.sample_cost}")
        if not self.layers:
            return "\n".join(lines)
        header = ("layer, from data to latent", "trained", "fixed", "to latent", "to data", "log-det")
        rows: list[tuple[str, ...]] = [header]
        for layer in self.layers:
            times = f"{layer.repeats} x " if layer.repeats > 1 else ""
            label = "  " * layer.level + times + layer.name
            costs = (layer.to_latent, layer.to_data, layer.log_det)
            rows.append((label, f"{layer.trained:,}", f"{layer.fixed:,}", *costs))
        widths = [max(len(row[i]) for row in rows) for i in range(len(header))]
        for row in rows:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            cells[1:3] = [cell.rjust(width) for cell, width in zip(row[1:3], widths[1:3], strict=True)]
            lines.append("  " + "  ".join(cells).rstrip())
        return "\n".join(lines)


def summary(model: AbstractDistribution) -> Summary:
    """Summarise a model: parameters, layers from data to latent, cost of each direction, exactness.

    Only the structure is looked at, so that a model of shapes (`eqx.filter_eval_shape` of a constructor) is enough.

    Args:
        model: A flow, or another distribution, which has no layers.

    Raises:
        TypeError: The model is not a distribution.

    Example:
        >>> import jax, pushforward as pf
        >>> print(pf.summary(pf.flows.maf(jax.random.key(0), dim=3, n_layers=2, width=8, linear="reverse")))
        Flow over events of shape (3,), no condition
          parameters  ... trained, 0 fixed
          base        StandardNormal (3,)
          log_prob    1 pass; log-densities are exact
          sample      3 sequential steps in each of 2 layers
          ...
    """
    if not isinstance(model, AbstractDistribution):
        fix = "Pass the model, for example the `flow` of what pf.fit returned."
        raise TypeError(message("summary", "a distribution", type(model).__name__, fix))
    trained, fixed = count(model)
    bijection = model.bijection if isinstance(model, Flow) else None
    traits = Traits() if bijection is None else bijection.traits
    layers = () if bijection is None else tuple(_layers(bijection, forward=False, level=0, repeats=1))
    base = f"{type(model.base).__name__} {model.base.event_shape}" if isinstance(model, Flow) else None
    dim = int(np.prod(model.event_shape, dtype=int))
    steps = {"forward": _sequential(bijection, True), "inverse": _sequential(bijection, False)}
    known = bijection is not None
    return Summary(
        name=type(model).__name__,
        event_shape=model.event_shape,
        cond_shape=model.cond_shape,
        base=base,
        trained=trained,
        fixed=fixed,
        layers=layers,
        log_prob_cost=_cost(traits.inverse, dim, steps["inverse"]) if known else "not known",
        sample_cost=_cost(traits.forward, dim, steps["forward"]) if known else "not known",
        log_prob_passes=_passes(traits.inverse, dim) if known else None,
        sample_passes=_passes(traits.forward, dim) if known else None,
        exactness=EXACTNESS["unbiased" if model.needs_key and traits.log_det == "exact" else traits.log_det],
    )


def count(tree: Any) -> tuple[int, int]:
    """Count the trained numbers and all others; arrays may be shapes alone."""
    trained = fixed = 0
    for node in jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Fixed)):
        if isinstance(node, Fixed):
            fixed += sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(node) if hasattr(leaf, "shape"))
        elif hasattr(node, "shape") and hasattr(node, "dtype"):
            size = math.prod(node.shape)
            if jax.numpy.issubdtype(node.dtype, jax.numpy.inexact):
                trained += size
            else:
                fixed += size
    return trained, fixed


def _layers(bijection: AbstractBijection, forward: bool, level: int, repeats: int) -> Iterator[LayerSummary]:
    """The layers in the order in which they run in that direction; a container comes before its members."""
    layout = bijection.layout if isinstance(bijection, AbstractComposite) else Layout()
    members = bijection.members if isinstance(bijection, AbstractComposite) else ()
    onwards, own = forward != layout.inverted, repeats * (layout.stacked or 1)
    if layout.in_turn:
        for member in members if onwards else reversed(members):
            yield from _layers(member, onwards, level, own)
        return
    trained, fixed = count(bijection)
    traits = bijection.traits
    costs = (traits.forward, traits.inverse) if forward else (traits.inverse, traits.forward)
    yield LayerSummary(describe(bijection), level, repeats, trained, fixed, *costs, traits.log_det)
    for member in members:
        yield from _layers(member, onwards, level + 1, own)


def describe(bijection: AbstractBijection) -> str:
    """A layer in a few words: its class, what kind of map and network it holds, and their settings."""
    parts = []
    for name in ("scalar_map", "conditioner", "net"):
        part = getattr(bijection, name, None)
        if part is not None:
            settings = ", ".join(f"{key}={value}" for key, value in _settings(part))
            parts.append(type(part).__name__ + (f" {settings}" if settings and name == "scalar_map" else ""))
    indices = getattr(bijection, "indices", None)
    if indices is not None:
        parts.append(f"{len(indices)} of {bijection.in_shape[0]} coordinates")
    return type(bijection).__name__ + (f" ({', '.join(parts)})" if parts else "")


def _settings(part: Any) -> Iterator[tuple[str, Any]]:
    if not isinstance(part, eqx.Module):
        return
    for name, value in vars(part).items():
        if isinstance(value, int | float | str) and name not in (*HIDDEN, "n_params"):
            yield name, value


def _sequential(bijection: AbstractBijection | None, forward: bool) -> int:
    """Number of layers that are sequential in that direction."""
    if bijection is None:
        return 0
    found = _layers(bijection, forward=False, level=0, repeats=1)
    tops = [layer for layer in found if layer.level == 0]
    return sum(layer.repeats for layer in tops if (layer.to_data if forward else layer.to_latent) == "sequential")


def _cost(cost: Cost, dim: int, n_sequential: int) -> str:
    if cost == "sequential":
        layers = f"each of {n_sequential} layers" if n_sequential > 1 else "one layer"
        return f"{dim} sequential steps in {layers}"
    words = {"parallel": "1 pass", "iterative": "a solver that runs to its tolerance", "absent": "not available"}
    return words[cost]


def _passes(cost: Cost, dim: int) -> int | None:
    return {"parallel": 1, "sequential": dim, "iterative": None, "absent": None}[cost]
