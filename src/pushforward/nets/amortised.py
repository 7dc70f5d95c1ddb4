"""A vector of parameters that is either free, or amortised: computed by a network of the condition."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.mlp import MLP


class Amortised(eqx.Module):
    r"""Parameters $\theta(c) = \theta_0 + g(c)$ with a network $g$ of the condition, or $\theta_0$ without a condition.

    A new network gives nearly 0, so that a new conditional layer is near the unconditional one.

    Args:
        key: JAX key for the weights of the network.
        start: $\theta_0$, `(n_params,)`.
        cond_shape: shape of the condition, None for free parameters.
        net: A network from the flattened condition `(size, n)` to `(n_params, n)`, the batch on the last axis; None
            builds an `MLP` of two hidden layers of 64.
        name: Name of the layer, for messages.

    Raises:
        ValueError: a network is given without a condition, or it has another number of outputs.
    """

    start: Array
    net: Callable[[Array], Array] | None
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        start: Array,
        *,
        cond_shape: Shape | None = None,
        net: Callable[[Array], Array] | None = None,
        name: str = "Amortised",
    ):
        expected = start.shape
        if cond_shape is None and net is not None:
            raise ValueError(message(name, "no net without a condition", "a net", "Pass cond_shape=... too."))
        if cond_shape is not None and net is None:
            net = MLP(key, math.prod(cond_shape), expected)
        got: Any = getattr(net, "out_shape", expected)
        if tuple(got) != expected:
            raise ValueError(message(name, f"a net with output {expected}", f"{got}", f"Build it for {expected}."))
        self.start, self.net, self.cond_shape = start, net, None if cond_shape is None else tuple(cond_shape)

    def __call__(self, condition: Array | None, dtype: Any) -> Array:
        """Parameters `(n_params, n)`, or `(n_params, 1)` if they are the same for every row.

        Args:
            condition: Conditions of the rows, `(*cond_shape, n)`; None if unconditional.
            dtype: Type in which the parameters are computed.
        """
        start = self.start.astype(dtype)[:, None]
        if self.net is None or condition is None:
            return start
        return start + self.net(condition.reshape(-1, condition.shape[-1]).astype(dtype))


def rows_product(matrix: Array, x: Array) -> Array:
    """The product `(a, n)` of the matrix of each row, `(a, b, n)`, or of one matrix `(a, b, 1)`, and rows `(b, n)`."""
    if matrix.shape[-1] == 1:
        return matrix[..., 0] @ x
    return jnp.sum(matrix * x[None], axis=1)
