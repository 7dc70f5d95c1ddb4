"""The invertible 1x1 convolution: any map of a vector of channels, the same at every pixel."""

from __future__ import annotations

import math
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape, Traits
from pushforward.bijections.base import AbstractBijection, AbstractComposite, Step
from pushforward.bijections.lifting import repeated, split_keys


class Conv1x1(AbstractComposite):
    r"""$y_{:,i,j} = f(x_{:,i,j})$ on events `(channels, height, width)`; log-determinants add up over the pixels.

    With a linear $f$ this is the invertible 1x1 convolution of Glow, parametrised as $f$ is: `LULinear` (Glow's LU),
    `Householder`, `Cayley` or `MatrixExponential` (orthogonal), `QRLinear` (Emerging convolutions), `FullLinear` (as
    Glow's first version, which can become singular). With `ActNorm` it is the activation normalisation of images.

    Args:
        bijection: A bijection of vectors of `channels` elements.
        shape: Shape of an event, `(channels, height, width)`, or any number of axes after the channels.

    Cost: that of $f$ for `height * width` times the rows, as one batch: one matrix product for all pixels of all rows.

    Raises:
        ValueError: the bijection does not map vectors of `channels` elements.

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

    def with_members(self, members: tuple[AbstractBijection, ...]) -> Conv1x1:
        return Conv1x1(members[0], self.in_shape)

    def run_with(
        self, step: Step, value: Array, condition: Array | None, keys: PRNGKeyArray | None, forward: bool
    ) -> tuple[Array, Array, tuple[Any, ...]]:
        # Pixels are rows: (channels, height, width, n) as (channels, height * width * n).
        n_pixels = math.prod(self.in_shape[1:])
        pixels = value.reshape(value.shape[0], -1)
        conditions, keys = repeated(condition, n_pixels), split_keys(keys, n_pixels)
        out, log_dets, extra = step(self.bijection, pixels, conditions, keys, forward)
        return out.reshape(value.shape), jnp.sum(log_dets.reshape(-1, value.shape[-1]), axis=0), (extra,)
