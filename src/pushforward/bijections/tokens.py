"""Images as sequences of tokens."""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_shape, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection


class Tokens(AbstractBatchedBijection):
    r"""$(C, H, W) \to (H W, C)$: each place becomes a token of its channels, row by row; the log-determinant is 0.

    After `Squeeze` with a factor $p$ a token is a patch of $p \times p$ pixels.

    Args:
        shape: Shape of an event, channels first, with one axis of places or more.

    Raises:
        ValueError: The shape has no axis of places.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Tokens((2, 1, 3)).forward(jnp.arange(6.0).reshape(2, 1, 3)).tolist()
        [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    """

    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, shape: Shape):
        self.in_shape = check_shape("Tokens", shape)
        if len(self.in_shape) < 2:
            fix = "Channels come first, such as (c, h, w)."
            raise ValueError(message("Tokens", "channels and places", f"{self.in_shape}", fix))
        self.out_shape = (math.prod(self.in_shape[1:]), self.in_shape[0])

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        flat = x.reshape(*self.out_shape[::-1], -1)
        return jnp.swapaxes(flat, 0, 1), jnp.zeros(x.shape[-1:], x.dtype)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return jnp.swapaxes(y, 0, 1).reshape(*self.in_shape, -1), jnp.zeros(y.shape[-1:], y.dtype)
