"""The protocol of strictly causal features of images, and the parts that every such network has.

Pixels are in raster order, row by row. The feature of a pixel sees the rows above it and the pixels to its left, in all
channels, and never the pixel itself. A trunk computes the features of all pixels in one pass, or one after the other:
what needs the whole row above is computed once a row, and the rest once a pixel. Both ways are the same arithmetic.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._module import Module
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import flat_condition, size_of, uniforms
from pushforward.numerics.product import matrix_product


class AbstractTrunk(Module):
    """Features `(n_features, H, W, n)` of images `(n_inputs, H, W, n)`, each of the pixels before it alone.

    Attributes:
        n_inputs: Number of input channels.
        n_features: Number of features of a pixel.
        cond_shape: Shape of the condition, None if unconditional.
    """

    n_inputs: eqx.AbstractVar[int]
    n_features: eqx.AbstractVar[int]
    cond_shape: eqx.AbstractVar[Shape | None]

    @abstractmethod
    def __call__(self, x: Array, condition: Array | None) -> Array:
        """The features of all pixels in one pass.

        Args:
            x: Images `(n_inputs, H, W, n)`.
            condition: Conditions `(*cond_shape, n)` or None.
        """

    @abstractmethod
    def init(self, width: int, n: int, condition: Array | None) -> Any:
        """The caches before the first row, for images of that width."""

    @abstractmethod
    def row(self, caches: Any, r: Array, above: Array) -> Any:
        """The caches at the start of row `r`, from the row above it, `(n_inputs, W, n)`; zeros if there is none."""

    @abstractmethod
    def pixel(self, caches: Any, c: Array, left: Array) -> tuple[Array, Any]:
        """The features `(n_features, n)` of pixel `c` of the row, from the one to its left, `(n_inputs, n)`."""


def correlate(weight: Array, x: Array) -> Array:
    """The correlation of `x`, `(n_in, H, W, n)`, with a kernel `(n_out, n_in, kh, kw)` where it fits inside `x`.

    The shifts of the image are gathered before one matrix product: XLA's CPU backend has a fast convolution, but inside
    a loop, such as the scan over layers, it takes a plain one, which was 12 times slower (32 channels, 2 x 3, 28 x 28
    images, batch 64: 2.4 against 0.24 s of CPU for value and gradient of four layers).
    """
    n_out, _, *sides = weight.shape
    height, width = (size - side + 1 for size, side in zip(x.shape[1:3], sides, strict=True))
    offsets = itertools.product(*map(range, sides))
    seen = jnp.concatenate([x[:, down : down + height, right : right + width] for down, right in offsets])
    return mix(weight.astype(x.dtype).transpose(0, 2, 3, 1).reshape(n_out, -1), seen)


def mix(weight: Array, x: Array) -> Array:
    """The product of `(n_out, n_in)` and `(n_in, *shape)` over the channels."""
    return matrix_product(weight, x.reshape(x.shape[0], -1)).reshape(-1, *x.shape[1:])


def padded(x: Array, top: int = 0, left: int = 0, right: int = 0) -> Array:
    """`x`, `(n_in, H, W, n)`, with rows of zeros above and columns of zeros beside it."""
    return jnp.pad(x, ((0, 0), (top, 0), (left, right), (0, 0)))


def column(array: Array, c: Array) -> Array:
    """Entry `c` of the columns, which are the last axis but one."""
    return jax.lax.dynamic_index_in_dim(array, c, array.ndim - 2, keepdims=False)


def with_column(array: Array, c: Array, value: Array) -> Array:
    """The array with entry `c` of its columns replaced."""
    return jax.lax.dynamic_update_index_in_dim(array, value.astype(array.dtype), c, array.ndim - 2)


def stacked(key: PRNGKeyArray, shapes: dict[str, tuple[Shape, float]]) -> dict[str, Array]:
    """Initial weights by name, uniform, with the standard deviation `gain / sqrt(fan_in)`.

    Args:
        key: JAX key.
        shapes: The shape and the gain of each weight. A gain of 0 gives zeros. The fan-in is stated by the shape: all
            axes after the one that follows the axis of the layers, `(n_layers, n_out, *fan_in)`.
    """
    made = {}
    for draw, (name, (shape, gain)) in zip(uniforms(key, [s for s, _ in shapes.values()]), shapes.items(), strict=True):
        fan_in = max(size_of(shape[2:]), 1)
        made[name] = draw * (gain * (3.0 / fan_in) ** 0.5)
    return made


def from_condition(name: str, weight: Array | None, condition: Array | None, cond_shape: Shape | None) -> Array | None:
    """The terms `(n_layers, n_out, n)` of a condition in every layer; None without one.

    Args:
        name: Name of the network, for messages.
        weight: `(n_layers, n_out, size of a condition)` or None.
        condition: `(*cond_shape, n)` or None.
        cond_shape: Shape of the condition or None.
    """
    if weight is None:
        return None
    return weight @ flat_condition(name, condition, cond_shape).astype(weight.dtype)


def constants(bias: Array, conditions: Array | None) -> Array:
    """The constant terms of all layers, `(n_layers, n_out, n)`, or `(n_layers, n_out, 1)` without conditions.

    Args:
        bias: `(n_layers, n_out)`.
        conditions: What `from_condition` gives.
    """
    return bias[..., None] if conditions is None else bias[..., None] + conditions


class Stem(eqx.Module):
    """The first layer: a kernel over `reach` rows above, and one over `reach` pixels to the left, both exclusive.

    Args:
        key: JAX key for the initial weights.
        n_inputs: Number of input channels.
        n_features: Number of features of each of the two.
        reach: Number of rows above, of columns to either side of them, and of pixels to the left, that it sees.
    """

    above: Array  # (n_features, n_inputs, reach, 2 reach + 1)
    left: Array  # (n_features, n_inputs, reach)
    bias: Array  # (n_features,)

    def __init__(self, key: PRNGKeyArray, n_inputs: int, n_features: int, reach: int):
        shapes = {
            "above": ((1, n_features, n_inputs, reach, 2 * reach + 1), 1.0),
            "left": ((1, n_features, n_inputs, reach), 1.0),
        }
        made = stacked(key, shapes)
        self.above, self.left = made["above"][0], made["left"][0]
        self.bias = jnp.zeros((n_features,), self.left.dtype)

    @property
    def reach(self) -> int:
        """How many rows and pixels it sees."""
        return self.left.shape[-1]

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """What the rows above give and what the pixels to the left give, each `(n_features, H, W, n)`."""
        k, (_, height, width, _) = self.reach, x.shape
        rows = padded(x, top=k, left=k, right=k)[:, : height + k - 1]
        pixels = padded(x, left=k)[:, :, : width + k - 1]
        above = correlate(self.above, rows) + self.bias[:, None, None, None]
        return above, correlate(self.left[:, :, None], pixels)

    def init(self, width: int, n: int) -> tuple[Array, Array]:
        """The rows above and the pixels to the left, before there are any."""
        n_inputs, k, dtype = self.left.shape[1], self.reach, self.left.dtype
        return jnp.zeros((n_inputs, k, width, n), dtype), jnp.zeros((n_inputs, k, n), dtype)

    def row(self, caches: tuple[Array, Array], above: Array) -> tuple[Array, tuple[Array, Array]]:
        """What the rows above give to each pixel of a row, `(n_features, W, n)`, and the caches at its start."""
        rows = jnp.concatenate([caches[0][:, 1:], above[:, None].astype(caches[0].dtype)], axis=1)
        out = correlate(self.above, padded(rows, left=self.reach, right=self.reach))[:, 0]
        return out + self.bias[:, None, None], (rows, jnp.zeros_like(caches[1]))

    def pixel(self, caches: tuple[Array, Array], left: Array) -> tuple[Array, tuple[Array, Array]]:
        """What the pixels to the left give to a pixel, `(n_features, n)`."""
        pixels = jnp.concatenate([caches[1][:, 1:], left[:, None].astype(caches[1].dtype)], axis=1)
        weight = self.left.reshape(self.left.shape[0], -1)
        return weight @ pixels.reshape(-1, pixels.shape[-1]), (caches[0], pixels)
