"""The invertible 1x1 convolution: any map of a vector of channels, the same at every pixel."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBijection, AbstractTwoWayBijection, run_batch


class Conv1x1(AbstractTwoWayBijection):
    r"""$y_{:,i,j} = f(x_{:,i,j})$ on events `(channels, height, width)`; log-determinants add up over the pixels.

    With a linear $f$ this is the invertible 1x1 convolution of Glow, parametrised as $f$ is: `LULinear` (Glow's LU),
    `Householder`, `Cayley` or `MatrixExponential` (orthogonal), `QRLinear` (Emerging convolutions), `FullLinear` (as
    Glow's first version, which can become singular). With `ActNorm` it is the activation normalisation of images.

    Args:
        bijection: a map of vectors of `channels` elements.
        shape: `(channels, height, width)`, or any number of axes after the channels.

    Cost: that of $f$ for `height * width` times the rows, as one batch: one matrix product for all pixels of all rows.

    Raises:
        ValueError: the bijection is not of vectors of `channels` elements.

    Source: Kingma and Dhariwal, 2018, section 3.2, arXiv 1807.03039.

    Example:
        >>> import jax, pushforward as pf
        >>> conv = pf.bijections.Conv1x1(pf.LULinear(jax.random.key(0), 3), (3, 4, 4))
        >>> conv.forward(jax.numpy.ones((3, 4, 4))).shape
        (3, 4, 4)
    """

    bijection: AbstractBijection
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    traits: Traits = eqx.field(static=True)

    def __init__(self, bijection: AbstractBijection, shape: Shape):
        self.in_shape = self.out_shape = tuple(check_int("Conv1x1", "shape", size, 1) for size in shape)
        if len(shape) < 2 or bijection.in_shape != self.in_shape[:1] or bijection.out_shape != self.in_shape[:1]:
            fix = "Build the bijection for one pixel, a vector of channels; channels come first."
            got = f"{type(bijection).__name__} of {bijection.in_shape} for events {tuple(shape)}"
            raise ValueError(message("Conv1x1", "a bijection of shape (channels,)", got, fix))
        self.bijection, self.cond_shape, self.traits = bijection, bijection.cond_shape, bijection.traits

    @property
    def n_pixels(self) -> int:
        """Height times width."""
        return math.prod(self.in_shape[1:])

    def to_pixels(self, value: Array) -> Array:
        """Rows `(channels, height, width, n)` as `(channels, height * width * n)`: pixels are rows."""
        return value.reshape(value.shape[0], -1)

    def condition_of_pixels(self, condition: Array | None) -> Array | None:
        """The condition `(*cond_shape, n)` of each pixel of each row."""
        if condition is None:
            return None
        repeated = jnp.broadcast_to(
            condition[..., None, :], (*condition.shape[:-1], self.n_pixels, condition.shape[-1])
        )
        return repeated.reshape(*condition.shape[:-1], -1)

    def run_rows(
        self, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array]:
        if keys is not None:
            keys = jax.vmap(lambda key: jax.random.split(key, self.n_pixels), out_axes=1)(keys).reshape(-1)
        pixels, conditions = self.to_pixels(value), self.condition_of_pixels(condition)
        out, log_dets = run_batch(self.bijection, pixels, conditions, keys, forward)
        return out.reshape(value.shape), jnp.sum(log_dets.reshape(-1, value.shape[-1]), axis=0)
