"""Convolutions of time and image: the velocity of a continuous flow of images."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import (
    activation_of,
    check_sizes,
    flat_condition,
    limit_input,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.nets.conv import Conv2d
from pushforward.nets.time_mlp import MIXINGS, Mixing, embed_time


def check_image(name: str, shape: Shape) -> tuple[int, int, int]:
    """The shape of an image, `(channels, height, width)`.

    Raises:
        ValueError: The shape has other axes.
    """
    if len(shape) != 3:
        fix = "Give the shape of an image as (channels, height, width)."
        raise ValueError(message(name, "a shape (C, H, W)", f"{tuple(shape)}", fix))
    channels, height, width = check_sizes(name, channels=shape[0], height=shape[1], width=shape[2])
    return channels, height, width


class TimeAndClass(eqx.Module):
    r"""The vector $e(t, c)$ of time and condition that enters the layers of a network of images, `(size, n)`.

    Args:
        name: Name of the network, for messages.
        cond_shape: Shape of the condition, None if there is none.
        n_frequencies: Number of frequencies of time, as in `embed_time`.
    """

    name: str = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    n_frequencies: int = eqx.field(static=True)

    def __init__(self, name: str, cond_shape: Shape | None, n_frequencies: int):
        self.name, self.cond_shape = name, None if cond_shape is None else tuple(cond_shape)
        self.n_frequencies = check_int(name, "n_frequencies", n_frequencies, 0)

    @property
    def size(self) -> int:
        """The length of the vector."""
        return 1 + 2 * self.n_frequencies + size_of(self.cond_shape)

    def __call__(self, t: Array, x: Array, condition: Array | None) -> Array:
        """The vector of rows.

        Args:
            t: Time, `()` or `(n,)`.
            x: Images, `(C, H, W, n)`.
            condition: Conditions of the rows, `(*cond_shape, n)`.

        Raises:
            ValueError: The condition is missing.
        """
        embedded = embed_time(jnp.broadcast_to(jnp.asarray(t, x.dtype), x.shape[-1:]), self.n_frequencies)
        if self.cond_shape is None:
            return embedded
        flat = limit_input(flat_condition(self.name, condition, self.cond_shape)).astype(x.dtype)
        return jnp.concatenate([embedded, flat])


def one_or_rows(net: eqx.Module, t: Array, x: Array, condition: Array | None) -> Array:
    """The `rows` of a network of images, or one image as a batch of one."""
    if x.ndim == 4:
        return net.rows(t, x, condition)  # pyright: ignore[reportAttributeAccessIssue]
    given = None if condition is None else jnp.asarray(condition)[..., None]
    return net.rows(t, x[..., None], given)[..., 0]  # pyright: ignore[reportAttributeAccessIssue]


class TimeConv(eqx.Module):
    r"""Convolutions of time and image, $h_{l+1} = \sigma(g_l \odot (K_l * h_l + b_l) + s_l)$ from $h_0 = x$.

    Gates and shifts of each channel are linear in $e(t, c)$, a vector of sines and cosines of time and of the
    condition: the shifts are $S_l e$, and the gates 1 (`"concat"`), $\operatorname{sigmoid}(G_l e)$
    (`"concatsquash"`, of FFJORD) or $1 + G_l e$ (`"film"`). The output has a shift and no gate.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        shape: Shape of an image, `(C, H, W)`.
        width: Number of channels of the hidden layers.
        depth: Number of hidden layers, 1 or more.
        cond_shape: Shape of the condition, such as `(n_classes,)`; None if unconditional.
        mixing: How time and condition enter, `"concat"`, `"concatsquash"` or `"film"`.
        n_frequencies: Number of frequencies in the time embedding.
        activation: Name of a smooth activation: `"tanh"`, `"softplus"`, `"silu"`, `"gelu"`, `"elu"`.
        kernel: Side of the kernels, odd.

    Cost: $O(H W k^2 \text{width}^2)$ per hidden layer.

    Shapes:
        time `()` or `(n,)`, `x` of `(C, H, W, n)`, condition `(*cond_shape, n)`; the result is `(C, H, W, n)`

    Raises:
        ValueError: A size is out of bounds, a name unknown, or the condition missing.

    Source: Grathwohl, Chen, Bettencourt, Sutskever, Duvenaud, 2019, section 4 and appendix B, arXiv 1810.01367.

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.TimeConv(jax.random.key(0), (1, 4, 4), width=4)
        >>> net(jax.numpy.array(0.5), jax.numpy.ones((1, 4, 4, 3))).shape
        (1, 4, 4, 3)
    """

    layers: tuple[Conv2d, ...]
    shifts: tuple[Array, ...]
    gates: tuple[Array, ...]
    entering: TimeAndClass
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    mixing: Mixing = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        shape: Shape,
        *,
        width: int = 32,
        depth: int = 2,
        cond_shape: Shape | None = None,
        mixing: Mixing = "concatsquash",
        n_frequencies: int = 0,
        activation: str = "softplus",
        kernel: int = 3,
    ):
        self.shape = check_image("TimeConv", shape)
        width, depth = check_sizes("TimeConv", width=width, depth=depth)
        if mixing not in MIXINGS:
            expected = f"mixing to be one of {', '.join(MIXINGS)}"
            raise ValueError(message("TimeConv", expected, repr(mixing), "Choose one of them."))
        activation_of(activation)
        self.mixing, self.activation = mixing, activation
        self.entering = TimeAndClass("TimeConv", cond_shape, n_frequencies)
        self.cond_shape = self.entering.cond_shape
        channels = [self.shape[0]] + [width] * depth + [self.shape[0]]
        own, key = jax.random.split(key)
        keys = jax.random.split(key, depth + 1)
        hidden = [Conv2d(k, n, width, kernel) for k, n in zip(keys, channels[:-2], strict=False)]
        self.layers = (*hidden, Conv2d(keys[-1], width, self.shape[0], kernel, small=True))
        size = self.entering.size
        shapes = [(n, size) for n in channels[1:]] + [(width, size)] * (depth if mixing != "concat" else 0)
        draws = [w * size**-0.5 for w in uniforms(own, shapes)]
        self.shifts, self.gates = (*draws[:depth], output_layer(draws[depth])), tuple(draws[depth + 1 :])

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return one_or_rows(self, t, x, condition)

    def rows(self, t: Array, x: Array, condition: Array | None) -> Array:
        """The output for rows, `(C, H, W, n)`; arguments as in the call."""
        h, entering = limit_input(x), self.entering(t, x, condition)
        for n, (layer, shift) in enumerate(zip(self.layers, self.shifts, strict=True)):
            h = layer(h)
            if n < len(self.gates):
                gate = self.gates[n] @ entering
                h = h * _wide(jax.nn.sigmoid(gate) if self.mixing == "concatsquash" else 1 + gate)
            h = h + _wide(shift @ entering)
            h = h if n == len(self.layers) - 1 else activation_of(self.activation)(h)
        return h


def _wide(values: Array) -> Array:
    """Values of channels and rows, `(channels, n)`, for images `(channels, h, w, n)`."""
    return values[:, None, None]
