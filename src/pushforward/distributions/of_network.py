"""Networks from one condition to the parameters of a distribution: what they must give, and their outputs in rows."""

from __future__ import annotations

import math
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, Shape


def check_network(
    name: str, net: Callable[[Array], Array], cond_shape: Shape, event_shape: Shape, wanted: int, fix: str
) -> None:
    """Raise unless a network takes one condition and gives as many numbers as are wanted.

    Args:
        name: Name of the distribution, for the error.
        net: The network.
        cond_shape: Shape of one condition.
        event_shape: Shape of one event, for the error.
        wanted: Number of outputs.
        fix: What the outputs are to be, for the error.

    Raises:
        ValueError: The network takes other conditions, or gives another number of outputs.
    """
    try:
        out = eqx.filter_eval_shape(net, jax.ShapeDtypeStruct(cond_shape, jnp.result_type(float)))
    except (TypeError, ValueError) as error:
        expected = f"a network that takes one condition of shape {cond_shape}"
        raise ValueError(message(name, expected, f"the error: {error}", fix)) from error
    if math.prod(out.shape) != wanted:
        expected = f"a network with {wanted} outputs for events of shape {event_shape}"
        raise ValueError(message(name, expected, f"outputs of shape {out.shape}", fix))


def outputs(net: Callable[[Array], Array], condition: Array | None) -> Array:
    """The outputs of a network for each of the conditions, which stand along the last axis."""
    return jax.vmap(net, in_axes=-1, out_axes=-1)(condition)  # pyright: ignore[reportArgumentType] - it is there
