"""Convolutional networks of images, and the layer from which they are built."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int, message
from pushforward._types import Array, Fixed, PRNGKeyArray, Shape
from pushforward.nets.attention import Attention
from pushforward.nets.base import (
    activation_of,
    check_sizes,
    flat_condition,
    hidden_layer,
    limit_input,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.nets.mlp import layer_norm
from pushforward.numerics.bounded import tamed
from pushforward.numerics.convolution import convolve
from pushforward.numerics.product import matrix_product

ConvBlocks = Literal["plain", "residual", "gated"]
# Up to so many standard deviations an input enters a `ConvNet` as it is, and beyond by its logarithm. A pixel of MNIST
# that is black in the images from which layers start reaches 300 once it is lit; the network then gave others, which
# saw its rounding, parameters that were 1e-3 off.
TAME = 4.0


class Conv2d(eqx.Module):
    r"""$y_{o,i,j} = b_o + \sum_{c,a,b} K_{o,c,a,b}\, x_{c,i+a,j+b}$: a convolution that pads with zeros.

    Height and width stay as they are.

    Args:
        key: JAX key for the initial weights.
        n_in: Number of channels of the input.
        n_out: Number of channels of the output.
        kernel: Side of the kernel, or its height and width; odd.
        mask: Numbers that multiply the kernel, broadcast to `(n_out, n_in, k_h, k_w)`, such as 0 and 1 for a causal
            convolution. They are kept with the model and not trained.
        small: Whether the weights start near 0 and the bias at 0, as those of the last layer of a conditioner.

    Shapes:
        `(n_in, h, w, n) -> (n_out, h, w, n)`, the batch on the last axis; or `(n_in, h, w) -> (n_out, h, w)`

    Raises:
        ValueError: A size is out of bounds, or the mask does not fit.

    Example:
        >>> import jax, pushforward as pf
        >>> pf.nets.Conv2d(jax.random.key(0), 3, 8)(jax.numpy.ones((3, 4, 4, 2))).shape
        (8, 4, 4, 2)
    """

    weight: Array
    bias: Array
    mask: Fixed | None

    def __init__(
        self,
        key: PRNGKeyArray,
        n_in: int,
        n_out: int,
        kernel: int | tuple[int, int] = 3,
        *,
        mask: Any = None,
        small: bool = False,
    ):
        n_in, n_out = check_sizes("Conv2d", n_in=n_in, n_out=n_out)
        sides = (kernel, kernel) if isinstance(kernel, int) else tuple(kernel)
        if len(sides) != 2 or any(check_int("Conv2d", "kernel", side, 1) % 2 == 0 for side in sides):
            fix = "An even kernel shifts the image."
            raise ValueError(message("Conv2d", "one or two odd sides of a kernel", repr(kernel), fix))
        shape = (n_out, n_in, *sides)
        fan_in: Any = n_in * sides[0] * sides[1]
        self.mask = None
        if mask is not None:
            given = np.shape(mask)
            if len(given) > 4 or any(one not in (1, two) for one, two in zip(given[::-1], shape[::-1], strict=False)):
                fix = "Give numbers that can be broadcast to the kernel."
                raise ValueError(message("Conv2d", f"a mask for kernels {shape}", f"shape {given}", fix))
            self.mask = Fixed(jnp.broadcast_to(jnp.asarray(mask, jnp.result_type(float)), shape))
            fan_in = np.count_nonzero(np.broadcast_to(np.asarray(mask), shape), axis=(1, 2, 3))[:, None]
        draw = uniforms(key, [(n_out, n_in * sides[0] * sides[1] + 1)])[0]
        layer = output_layer(draw) if small else hidden_layer(draw, fan_in)
        self.weight, self.bias = layer[:, :-1].reshape(shape), layer[:, -1]

    def __call__(self, x: Array) -> Array:
        weight = self.weight if self.mask is None else self.weight * self.mask.value
        rows = x if x.ndim == 4 else x[..., None]
        out = convolve(weight, rows) + self.bias[:, None, None, None]
        return out if x.ndim == 4 else out[..., 0]


class ConvNet(eqx.Module):
    r"""A convolutional conditioner of image couplings: a first layer, blocks at one width, and a last layer near 0.

    The first layer is a 3 x 3 convolution. A trained number is added to its output for each channel and pixel, so that
    the network knows where a pixel is. Blocks are `"plain"`, 1 x 1 convolutions, as in Glow; `"residual"`,
    $h \leftarrow h + B\,\sigma(A\,\sigma(h))$ with a 3 x 3 convolution $A$ and a 1 x 1 convolution $B$; or `"gated"`,
    as in Flow++, $h \leftarrow N(h + u \odot \operatorname{sigmoid}(v))$ with $[u, v] = B\,\sigma(A h)$ and layer
    normalisation $N$ of the channels. The last layer is a 3 x 3 convolution. Inputs beyond 4 enter by their logarithm.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        shape: Shape of the input, `(channels, height, width)`.
        out_shape: Numbers of parameters and of channels of the output, `(n_params, n_channels)`.
        width: Number of channels of the hidden layers.
        depth: Number of blocks, 1 or more.
        cond_shape: Shape of the condition. A vector, such as a class, is mapped to the hidden channels of the first
            layer; an image `(c, height, width)` joins the channels of the input. None if unconditional.
        activation: One of relu, elu, gelu, silu, softplus, tanh.
        blocks: `"plain"`, `"residual"` or `"gated"`.
        n_heads: Number of heads of self-attention between all pixels, which then follows each gated block,
            $h \leftarrow N(h + \operatorname{attention}(h))$; 0 has none.

    Shapes:
        `(channels, height, width, n) -> (n_params, n_channels, height, width, n)`, the batch on the last axis

    Raises:
        ValueError: A size is out of bounds, a name unknown, or the condition missing or of another size.

    Source: Kingma and Dhariwal, 2018, section 4, arXiv 1807.03039 (plain); Dinh et al., 2017, section 3.6, arXiv
        1605.08803 (residual); Ho, Chen, Srinivas, Duan, Abbeel, 2019, section 3.2, arXiv 1902.00275 (gated).
    """

    weights: tuple[Array, ...]
    attentions: tuple[Attention, ...]
    positions: Array
    from_condition: Array | None
    shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    blocks: ConvBlocks = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        shape: Shape,
        out_shape: Sequence[int],
        *,
        width: int = 64,
        depth: int = 1,
        cond_shape: Shape | None = None,
        activation: str = "relu",
        blocks: ConvBlocks = "plain",
        n_heads: int = 0,
    ):
        width, depth = check_sizes("ConvNet", width=width, depth=depth)
        activation_of(activation)
        if blocks not in ("plain", "residual", "gated"):
            fix = "Choose one of them."
            raise ValueError(message("ConvNet", "blocks 'plain', 'residual' or 'gated'", repr(blocks), fix))
        if n_heads and blocks != "gated":
            fix = "Use blocks='gated', or n_heads=0."
            raise ValueError(message("ConvNet", "attention in gated blocks alone", f"blocks={blocks!r}", fix))
        if len(shape) != 3:
            fix = "Channels come first."
            raise ValueError(message("ConvNet", "a shape (channels, height, width)", f"{tuple(shape)}", fix))
        self.shape = tuple(check_int("ConvNet", "shape", size, 1) for size in shape)
        n_params, n_channels = check_sizes("ConvNet", n_params=out_shape[0], n_channels=out_shape[1])
        self.out_shape = (n_params, n_channels, *self.shape[1:])
        self.cond_shape, self.activation, self.blocks = cond_shape, activation, blocks
        n_in = self.shape[0] + _joined_channels(self.shape, cond_shape)
        vector = cond_shape is not None and len(cond_shape) != 3
        inner = {"plain": [(width, width)], "residual": [(width, 9 * width), (width, width)]}
        inner["gated"] = [(width, 9 * width), (2 * width, width)]
        ends = [(width, 9 * n_in), (n_params * n_channels, 9 * width), (width, size_of(cond_shape) if vector else 0)]
        # The last column of a layer is its bias.
        own_key, *keys = jax.random.split(key, 1 + depth) if n_heads else [key]
        self.attentions = tuple(Attention(one, width, n_heads) for one in keys)
        draws = uniforms(own_key, [(n_out, fan_in + 1) for n_out, fan_in in ends + inner[blocks] * depth])
        first, last, given, *hidden = draws
        # The second layer of each block starts small, so that a new block is near the identity.
        small = [blocks != "plain" and n % 2 == 1 for n in range(len(hidden))]
        between = (
            output_layer(w) if s else hidden_layer(w, w.shape[1] - 1) for w, s in zip(hidden, small, strict=True)
        )
        self.weights = (hidden_layer(first, 9 * n_in), *between, output_layer(last))
        self.from_condition = hidden_layer(given, given.shape[1] - 1)[:, :-1] if vector else None
        self.positions = jnp.zeros((width, *self.shape[1:]))

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        activation = activation_of(self.activation)
        x = tamed(limit_input(x), TAME)
        if self.cond_shape is not None and self.from_condition is None:
            flat = flat_condition("ConvNet", condition, self.cond_shape)
            x = jnp.concatenate([x, limit_input(flat.reshape(*self.cond_shape, -1)).astype(x.dtype)])
        first, *between, last = self.weights
        h = _layer(first, x) + self.positions[..., None]
        if self.from_condition is not None:
            flat = limit_input(flat_condition("ConvNet", condition, self.cond_shape))
            h = h + matrix_product(self.from_condition, flat.astype(h.dtype))[:, None, None]
        for weight in between if self.blocks == "plain" else ():
            h = _layer(weight, activation(h))
        pairs = zip(between[::2], between[1::2], strict=True) if self.blocks != "plain" else ()
        for n, (inner, outer) in enumerate(pairs):
            if self.blocks == "residual":
                h = h + _layer(outer, activation(_layer(inner, activation(h))))
            else:
                change, gate = jnp.split(_layer(outer, activation(_layer(inner, h))), 2)
                h = layer_norm(h + change * jax.nn.sigmoid(gate))
                if self.attentions:
                    seen = self.attentions[n](h.reshape(h.shape[0], -1, h.shape[-1]))
                    h = layer_norm(h + seen.reshape(h.shape))
        return _layer(last, activation(h)).reshape(*self.out_shape, x.shape[-1])


def _layer(weight: Array, x: Array) -> Array:
    """A convolution with the weights `(n_out, n_in * side**2 + 1)`, the last column of which is the bias."""
    n_in, side = x.shape[0], 1 if weight.shape[1] == x.shape[0] + 1 else 3
    kernel = weight[:, :-1].reshape(-1, n_in, side, side)
    return convolve(kernel, x) + weight[:, -1][:, None, None, None]


def _joined_channels(shape: Shape, cond_shape: Shape | None) -> int:
    """The number of channels that a condition adds to the input.

    Raises:
        ValueError: The condition is an image of another size.
    """
    if cond_shape is None or len(cond_shape) != 3:
        return 0
    if cond_shape[1:] != shape[1:]:
        fix = "Give the condition in the size of the event, such as by Squeeze."
        raise ValueError(message("ConvNet", f"a condition (c, {shape[1]}, {shape[2]})", f"{cond_shape}", fix))
    return cond_shape[0]
