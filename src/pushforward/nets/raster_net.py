"""A network over the numbers of an image in raster order: a causal trunk, and a head for the channels of a pixel."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import AbstractConditioner, check_sizes
from pushforward.nets.pixel_trunk import AbstractTrunk, column, mix, stacked

# The last layer starts at this gain: a new model is close to one law for all pixels, yet every weight has a gradient.
OUT_GAIN = 0.05


class State(NamedTuple):
    """What is known between two steps."""

    row: Array  # (n_channels, W, n): the row as far as it is known
    caches: Any
    features: Array  # (n_features, n) of the pixel


class RasterNet(AbstractConditioner):
    r"""Parameters of every channel of every pixel, from the pixels before it and the channels before it in its pixel.

    Step $i$ is channel $i \bmod C$ of pixel $\lfloor i / C \rfloor$, in rows. With the features $f$ of a trunk, channel
    $c$ has the parameters $V_c\,\mathrm{ELU}(A f + U_c x_{<c} + a) + S_c x_{<c} + b_c$, whose middle part lets a mean
    follow the channels before it, as in PixelCNN++.

    Args:
        key: JAX key for the initial weights.
        trunk: The causal trunk, of `n_channels + 1` inputs: the last is 1 inside the image and 0 beyond its edges.
        shape: Shape `(C, H, W)` of an image.
        n_params: Number of parameters of each step.
        width: Number of units of the head's hidden layer.

    Shapes:
        `(C * H * W, n) -> (n_params, C * H * W, n)`, the steps in raster order, the channels of a pixel together

    Cost: one pass; all steps together cost the arithmetic of one pass, and of the head `C` times.
    """

    trunk: AbstractTrunk
    hidden: Array  # (width, n_features)
    hidden_bias: Array  # (C, width)
    channels: Array  # (C, width, C)
    out: Array  # (C, n_params, width)
    out_bias: Array  # (C, n_params)
    skip: Array  # (C, n_params, C)
    image_shape: Shape = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(self, key: PRNGKeyArray, trunk: AbstractTrunk, shape: Shape, n_params: int, *, width: int = 64):
        self.n_params, width = check_sizes("RasterNet", n_params=n_params, width=width)
        c = shape[0]
        self.image_shape, self.n_steps = shape, int(np.prod(shape))
        self.trunk, self.cond_shape = trunk, trunk.cond_shape
        shapes: dict[str, tuple[Shape, float]] = {
            "hidden": ((1, width, trunk.n_features), 1.0),
            "hidden_bias": ((1, c, width), 0.0),
            "channels": ((c, width, c), 1.0),
            "out": ((c, n_params, width), OUT_GAIN),
            "out_bias": ((1, c, n_params), 0.0),
            "skip": ((c, n_params, c), 0.0),
        }
        made = stacked(key, shapes)
        self.hidden, self.hidden_bias, self.out_bias = (made[k][0] for k in ("hidden", "hidden_bias", "out_bias"))
        self.channels, self.out, self.skip = made["channels"], made["out"], made["skip"]

    def _head(self, features: Array, x: Array) -> Array:
        """The parameters `(C, n_params, *shape)` of features `(n_features, *shape)` and of pixels `(C, *shape)`."""
        c, shape = x.shape[0], x.shape[1:]
        hidden = mix(self.hidden, features)
        out = []
        for channel in range(c):
            own, bias = hidden, self.hidden_bias[channel].reshape(-1, *(1,) * len(shape))
            if channel:
                own = own + mix(self.channels[channel, :, :channel], x[:channel])
            params = mix(self.out[channel], jax.nn.elu(own + bias))
            if channel:
                params = params + mix(self.skip[channel, :, :channel], x[:channel])
            out.append(params + self.out_bias[channel].reshape(-1, *(1,) * len(shape)))
        return jnp.stack(out)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        c, height, width = self.image_shape
        x = jnp.moveaxis(x.reshape(height, width, c, -1), 2, 0)
        inside = jnp.concatenate([x, jnp.ones_like(x[:1])])
        params = self._head(self.trunk(inside, condition), x)  # (C, n_params, H, W, n)
        return jnp.transpose(params, (1, 2, 3, 0, 4)).reshape(self.n_params, self.n_steps, -1)

    def init(self, batch: Shape, condition: Array | None = None) -> State:
        (n,), (c, _, width) = batch, self.image_shape
        dtype = self.hidden.dtype
        caches = self.trunk.init(width, n, condition)
        return State(jnp.zeros((c, width, n), dtype), caches, jnp.zeros((self.trunk.n_features, n), dtype))

    def step(self, state: State, i: Array, previous: Array) -> tuple[Array, State]:
        c, _, width = self.image_shape
        i = jnp.asarray(i)
        channel, pixel = i % c, i // c
        place, r = pixel % width, pixel // width
        before = jnp.maximum(i - 1, 0)
        known = state.row.at[before % c, (before // c) % width].set(previous.astype(state.row.dtype))
        row = jnp.where(i > 0, known, state.row)
        one = jnp.ones_like(row[:1])

        def new_row(row: Array, caches: Any) -> tuple[Array, Any]:
            above = jnp.where(r > 0, jnp.concatenate([row, one]), 0)
            return jnp.zeros_like(row), self.trunk.row(caches, r, above)

        def new_pixel(row: Array, caches: Any) -> tuple[Array, Array, Any]:
            row, caches = jax.lax.cond(place == 0, new_row, lambda *kept: kept, row, caches)
            left = column(jnp.concatenate([row, one]), jnp.maximum(place - 1, 0))
            features, caches = self.trunk.pixel(caches, place, jnp.where(place > 0, left, 0))
            return row, features, caches

        if c == 1:
            row, features, caches = new_pixel(row, state.caches)
        else:
            row, features, caches = jax.lax.cond(
                channel == 0, new_pixel, lambda row, caches: (row, state.features, caches), row, state.caches
            )
        params = self._head(features, column(row, place))
        own = jax.lax.dynamic_index_in_dim(params, channel, 0, keepdims=False)
        return own, State(row, caches, features)


def raster_order(shape: Shape) -> np.ndarray:
    """The place in the flattened `(C, H, W)` image of every step of a `RasterNet`."""
    return np.transpose(np.arange(np.prod(shape)).reshape(shape), (1, 2, 0)).ravel()
