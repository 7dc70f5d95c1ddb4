"""The same numbers in another shape, so that layers over vectors serve images and the other way round."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_shape, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.bijections.base import AbstractBatchedBijection


class Reshape(AbstractBatchedBijection):
    r"""$y$ has the numbers of $x$ in the same order, row by row, and another shape; the log-determinant is 0.

    Args:
        in_shape: Event shape of $x$.
        out_shape: Event shape of $y$, with as many numbers.

    Cost: none, in both directions; log-det exact.

    Raises:
        ValueError: The two shapes have different numbers of numbers.

    Example:
        >>> import jax.numpy as jnp, pushforward as pf
        >>> pf.bijections.Reshape((2, 4, 4), (32,)).forward(jnp.ones((2, 4, 4))).shape
        (32,)
    """

    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)

    def __init__(self, in_shape: Any, out_shape: Any):
        self.in_shape, self.out_shape = check_shape("Reshape", in_shape), check_shape("Reshape", out_shape)
        if math.prod(self.in_shape) != math.prod(self.out_shape):
            expected = f"out_shape with {math.prod(self.in_shape)} numbers, as in_shape {self.in_shape} has"
            fix = "Only shapes of as many numbers hold the same event."
            raise ValueError(message("Reshape", expected, f"{self.out_shape}", fix))

    def forward_rows(self, x: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return x.reshape(*self.out_shape, x.shape[-1]), jnp.zeros(x.shape[-1:], x.dtype)

    def inverse_rows(self, y: Array, condition: Array | None, keys: PRNGKeyArray | None) -> tuple[Array, Array]:
        return y.reshape(*self.in_shape, y.shape[-1]), jnp.zeros(y.shape[-1:], y.dtype)
