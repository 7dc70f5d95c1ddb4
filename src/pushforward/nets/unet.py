"""The U-Net: a network of time and image on several scales, for velocities and scores."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.attention import Attention
from pushforward.nets.base import check_sizes, hidden_layer, limit_input, uniforms
from pushforward.nets.conv import Conv2d
from pushforward.nets.time_conv import TimeAndClass, check_image, one_or_rows
from pushforward.numerics.product import dense

# Channels of a group are normalised together; more groups than channels there cannot be.
MAX_GROUPS = 8
# Added to the variance of a group, which is 0 for an image of one colour.
MIN_VARIANCE = 1e-5
# The number of channels grows with the scale up to this multiple of the first.
MOST_CHANNELS = 4


class GroupNorm(eqx.Module):
    r"""Groups of channels, each normalised over its pixels to mean 0 and variance 1, with a gain and a bias a channel.

    A group has $1/g$ of the channels, with $g$ the largest divisor of their number up to 8.

    Args:
        n: Number of channels.

    Shapes:
        `(n, h, w, rows) -> (n, h, w, rows)`

    Source: Wu, He, 2018, arXiv 1803.08494.
    """

    gain: Array
    bias: Array
    n_groups: int = eqx.field(static=True)

    def __init__(self, n: int):
        self.gain, self.bias = jnp.ones(n), jnp.zeros(n)
        self.n_groups = next(g for g in range(min(n, MAX_GROUPS), 0, -1) if n % g == 0)

    def __call__(self, h: Array) -> Array:
        grouped = h.reshape(self.n_groups, -1, *h.shape[1:])
        centred = grouped - jnp.mean(grouped, axis=(1, 2, 3), keepdims=True)
        variance = jnp.mean(centred * centred, axis=(1, 2, 3), keepdims=True)
        normal = (centred * jax.lax.rsqrt(variance + MIN_VARIANCE)).reshape(h.shape)
        return self.gain[:, None, None, None] * normal + self.bias[:, None, None, None]


class _Block(eqx.Module):
    """A residual block of two convolutions, between which time and condition scale and shift the channels."""

    norms: tuple[GroupNorm, GroupNorm]
    convs: tuple[Conv2d, Conv2d]
    entering: Array
    skip: Conv2d | None

    def __init__(self, key: PRNGKeyArray, n_in: int, n_out: int, n_entering: int):
        first, second, own, last = jax.random.split(key, 4)
        self.norms = (GroupNorm(n_in), GroupNorm(n_out))
        self.convs = (Conv2d(first, n_in, n_out, 3), Conv2d(second, n_out, n_out, 3, small=True))
        self.entering = hidden_layer(uniforms(own, [(2 * n_out, n_entering + 1)])[0], n_entering)
        self.skip = None if n_in == n_out else Conv2d(last, n_in, n_out, 1)

    def __call__(self, x: Array, entering: Array) -> Array:
        h = self.convs[0](jax.nn.silu(self.norms[0](x)))
        scale, shift = jnp.split(dense(self.entering, entering)[:, None, None], 2)
        h = self.convs[1](jax.nn.silu((1 + scale) * self.norms[1](h) + shift))
        return h + (x if self.skip is None else self.skip(x))


class _Attention(eqx.Module):
    """Attention between the pixels of an image, added to it."""

    norm: GroupNorm
    attention: Attention

    def __init__(self, key: PRNGKeyArray, n: int, n_heads: int):
        self.norm, self.attention = GroupNorm(n), Attention(key, n, n_heads)

    def __call__(self, x: Array) -> Array:
        tokens = self.norm(x).reshape(len(x), -1, x.shape[-1])
        return x + self.attention(tokens).reshape(x.shape)


class UNet(eqx.Module):
    r"""A U-Net $f(t, x; c)$ of images: down to coarse scales and up again, with what each scale saw joined on the way.

    Each scale has `depth` residual blocks on the way down and as many on the way up, with group normalisation. Time
    and condition scale and shift the channels in the middle of each block. A coarser scale has means of blocks of 2 x 2
    pixels and more channels: 1, 2, 3, at most 4 times `width`. The coarsest one has attention between its pixels.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        shape: Shape of an image, `(C, H, W)`.
        width: Number of channels at the finest scale.
        depth: Number of residual blocks of each scale and way.
        n_scales: Number of scales, 1 or more; None takes as many, up to 3, as leave 4 pixels or more to a side.
        n_heads: Number of heads of the attention, a divisor of the channels there; 0 has no attention.
        cond_shape: Shape of the condition, such as `(n_classes,)`; None if unconditional.
        n_frequencies: Number of frequencies in the time embedding.

    Cost: $O(H W \text{width}^2)$ per block at the finest scale, and less at coarser ones.

    Shapes:
        time `()` or `(n,)`, `x` of `(C, H, W, n)`, condition `(*cond_shape, n)`; the result is `(C, H, W, n)`

    Raises:
        ValueError: A size is out of bounds, the image cannot be halved so often, or the condition is missing.

    Source: Ronneberger, Fischer, Brox, 2015, arXiv 1505.04597; with time and attention: Ho, Jain, Abbeel, 2020,
        appendix B, arXiv 2006.11239; Dhariwal, Nichol, 2021, section 3, arXiv 2105.05233.

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.UNet(jax.random.key(0), (1, 8, 8), width=4, n_scales=2, n_heads=0)
        >>> net(jax.numpy.array(0.5), jax.numpy.ones((1, 8, 8, 3))).shape
        (1, 8, 8, 3)
    """

    first: Conv2d
    embedding: tuple[Array, Array]
    down: tuple[tuple[_Block, ...], ...]
    middle: _Attention | None
    up: tuple[tuple[_Block, ...], ...]
    norm: GroupNorm
    last: Conv2d
    entering: TimeAndClass
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        shape: Shape,
        *,
        width: int = 32,
        depth: int = 1,
        n_scales: int | None = None,
        n_heads: int = 2,
        cond_shape: Shape | None = None,
        n_frequencies: int = 4,
    ):
        self.shape = check_image("UNet", shape)
        width, depth = check_sizes("UNet", width=width, depth=depth)
        n_heads = check_int("UNet", "n_heads", n_heads, 0)
        n_scales = scales_of(self.shape, n_scales)
        self.entering = TimeAndClass("UNet", cond_shape, n_frequencies)
        self.cond_shape = self.entering.cond_shape
        channels, size = [width * min(n + 1, MOST_CHANNELS) for n in range(n_scales)], 4 * width
        first, own, attention, last, key = jax.random.split(key, 5)
        self.first = Conv2d(first, self.shape[0], width, 3)
        wide, square = uniforms(own, [(size, self.entering.size + 1), (size, size + 1)])
        self.embedding = (hidden_layer(wide, self.entering.size), hidden_layer(square, size))

        keys = iter(jax.random.split(key, 2 * n_scales * depth))
        before, down = width, []
        for n in channels:
            down.append(tuple(_Block(next(keys), before if i == 0 else n, n, size) for i in range(depth)))
            before = n
        up = []
        for n in reversed(channels):
            blocks = []
            for _ in range(depth):
                blocks.append(_Block(next(keys), before + n, n, size))
                before = n
            up.append(tuple(blocks))
        self.down, self.up = tuple(down), tuple(up)
        self.middle = None if n_heads == 0 else _Attention(attention, channels[-1], n_heads)
        self.norm, self.last = GroupNorm(width), Conv2d(last, width, self.shape[0], 3, small=True)

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return one_or_rows(self, t, x, condition)

    def rows(self, t: Array, x: Array, condition: Array | None) -> Array:
        """The output for rows, `(C, H, W, n)`; arguments as in the call."""
        entering = self.entering(t, x, condition)
        for layer in self.embedding:
            entering = jax.nn.silu(dense(layer, entering))
        h, seen = self.first(limit_input(x)), []
        for scale, blocks in enumerate(self.down):
            h = h if scale == 0 else _halved(h)
            for block in blocks:
                h = block(h, entering)
                seen.append(h)
        h = h if self.middle is None else self.middle(h)
        for scale, blocks in enumerate(self.up):
            h = h if scale == 0 else _doubled(h)
            for block in blocks:
                h = block(jnp.concatenate([h, seen.pop()]), entering)
        return self.last(jax.nn.silu(self.norm(h)))


def scales_of(shape: Shape, n_scales: int | None) -> int:
    """The number of scales of an image, checked."""
    sides = shape[1:]
    if n_scales is None:
        n_scales = 1
        while n_scales < 3 and all(side % 2**n_scales == 0 and side >= 4 * 2**n_scales for side in sides):
            n_scales += 1
    n_scales = check_int("UNet", "n_scales", n_scales, 1)
    if any(side % 2 ** (n_scales - 1) for side in sides):
        expected = f"sides that 2 ** {n_scales - 1} divides, for {n_scales} scales"
        raise ValueError(message("UNet", expected, f"{shape}", "Take fewer scales, or pad the images."))
    return n_scales


def _halved(h: Array) -> Array:
    """The means of blocks of 2 x 2 pixels."""
    channels, height, width, rows = h.shape
    return jnp.mean(h.reshape(channels, height // 2, 2, width // 2, 2, rows), axis=(2, 4))


def _doubled(h: Array) -> Array:
    """Each pixel four times."""
    return jnp.repeat(jnp.repeat(h, 2, axis=1), 2, axis=2)
