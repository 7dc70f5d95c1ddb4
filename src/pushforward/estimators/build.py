"""The estimator's flow: the zoo by name, with the defaults that measurement chose."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from pushforward.distributions import Flow
from pushforward.flows import ZOO
from pushforward.io.model_folder import BASES

# What measurement over the tables of benchmarks/tables.py chose where it differs from the zoo's own defaults; see
# docs/explanation/flow_defaults.md.
DEFAULTS: dict[str, dict[str, Any]] = {
    "nsf": {"linear": "lu", "autoregressive": True},
    "realnvp": {"linear": "lu"},
    "maf": {"linear": "lu"},
}


def build_flow(
    name: str, base: str, options: Mapping[str, Any], dim: int, condition_dim: int, seed: np.ndarray
) -> tuple[Flow, dict[str, Any]]:
    """An untrained flow over standardised columns, and what it was built of.

    Args:
        name: in `pushforward.flows.ZOO`.
        base: in `pushforward.io.model_folder.BASES`.
        options: arguments of the zoo's function; those that are None are left to `DEFAULTS`, then to the zoo.
        dim: modelled columns.
        condition_dim: given columns.
        seed: two words, for the initial weights.

    Raises:
        ValueError: a name is unknown, or an option is not one of the flow's.
    """
    if name not in ZOO:
        raise ValueError(f"FlowDensity: expected flow to be one of {', '.join(ZOO)}, got {name!r}. Choose one of them.")
    if base not in BASES:
        raise ValueError(
            f"FlowDensity: expected base to be one of {', '.join(BASES)}, got {base!r}. Choose one of them."
        )
    chosen = {key: value for key, value in options.items() if value is not None}
    signature = inspect.signature(ZOO[name]).parameters
    accepted = [key for key in signature if key not in ("key", "dim", "condition_dim", "base")]
    foreign = [key for key in chosen if key not in accepted]
    if foreign:
        fix = f"It has {', '.join(accepted)}."
        raise ValueError(f"FlowDensity: expected options of flow {name!r}, got {foreign[0]!r}. {fix}")
    # All arguments, so that what is written down means the same when a default changes.
    own = {key: signature[key].default for key in accepted}
    arguments = {"dim": dim, "condition_dim": condition_dim or None, **own, **DEFAULTS.get(name, {}), **chosen}
    frozen = tuple(
        (key, tuple(value) if isinstance(value, (list, np.ndarray)) else value) for key, value in arguments.items()
    )
    return _build(seed, name, base, frozen), {"flow": name, "arguments": arguments, "base": base}


@eqx.filter_jit
def _build(seed: Any, name: str, base: str, arguments: tuple[tuple[str, Any], ...]) -> Flow:
    """Compiled once per architecture, so that the second fit of one builds its flow at once."""
    options = {key: list(value) if isinstance(value, tuple) else value for key, value in arguments}
    key = jax.random.wrap_key_data(seed, impl="threefry2x32")
    return ZOO[name](key, base=BASES[base](options["dim"]), **options)
