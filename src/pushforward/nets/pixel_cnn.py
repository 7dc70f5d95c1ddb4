r"""PixelCNN: two stacks of causal convolutions, one over the rows above and one over the row itself, no blind spot.

The vertical stack at row $r$ sees the rows above, in kernels of 2 x 3; the horizontal one sees the pixels to the left,
in kernels of 1 x 2, and the vertical one at its own place. So the pixels above and far to the right come in, which one
stack of masked kernels cannot see.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._meshes import scan
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import check_sizes, size_of
from pushforward.nets.pixel_trunk import (
    AbstractTrunk,
    Stem,
    column,
    constants,
    correlate,
    from_condition,
    mix,
    padded,
    stacked,
)

Blocks = Literal["gated", "residual"]
# Gain of the last layer of a block relative to the usual one, so that a deep network starts as its first layer.
BLOCK_GAIN = 0.1


class Caches(NamedTuple):
    """What the evaluation by rows and pixels keeps."""

    stem: tuple[Array, Array]
    vertical: Array  # (n_layers, n_features, W, n): inputs of the vertical layers in the row above
    crossing: Array  # (n_layers, 2 n_features, W, n): what the vertical layers give to the horizontal ones in this row
    horizontal: Array  # (n_layers, n_features, n): inputs of the horizontal layers at the pixel to the left
    first: Array  # (n_features, W, n): what the stem gives to the horizontal stack in this row
    conditions: Array | None  # (n_layers, 4 n_features, n)


class PixelCNN(AbstractTrunk):
    r"""Causal features by gated or residual blocks in two stacks, $h \leftarrow h + W\,(\phi(a) \odot \sigma(b))$.

    In a `"gated"` block $\phi = \tanh$ (van den Oord et al.); in a `"residual"` one, that of PixelCNN++, the block's
    input goes through $\mathrm{ELU}(\pm h)$ and $\phi$ is the identity.

    Args:
        key: JAX key for the initial weights.
        n_inputs: Number of input channels.
        width: Number of features of each stack.
        depth: Number of blocks.
        reach: Number of rows and of pixels that the first layer sees; 3 is the kernel of 7 x 7 of the papers.
        blocks: `"gated"` or `"residual"`.
        cond_shape: Shape of the condition, None if unconditional.

    Shapes:
        `(n_inputs, H, W, n) -> (width, H, W, n)`

    Cost: one pass, about `(2 * 2 * 3 + 2 * 2 + 4 + 2) * width**2 * depth` multiplications a pixel for gated blocks.
        All steps together, by rows and pixels, cost the same arithmetic in `H W` small products.

    Source: van den Oord, Kalchbrenner, Vinyals, Espeholt, Graves, Kavukcuoglu, 2016, arXiv 1606.05328 (gated);
        Salimans, Karpathy, Chen, Kingma, 2017, arXiv 1701.05517 (residual).
    """

    stem: Stem
    layers: dict[str, Array]
    cond_weight: Array | None
    n_inputs: int = eqx.field(static=True)
    n_features: int = eqx.field(static=True)
    blocks: Blocks = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        n_inputs: int,
        *,
        width: int = 32,
        depth: int = 6,
        reach: int = 3,
        blocks: Blocks = "gated",
        cond_shape: Shape | None = None,
    ):
        sizes = check_sizes("PixelCNN", n_inputs=n_inputs, width=width, depth=depth, reach=reach)
        self.n_inputs, self.n_features, depth, reach = sizes
        if blocks not in ("gated", "residual"):
            raise ValueError(message("PixelCNN", "blocks gated or residual", repr(blocks), "Choose one."))
        self.blocks, self.cond_shape = blocks, cond_shape
        f, n_cond = self.n_features, size_of(cond_shape)
        seen = f if blocks == "gated" else 2 * f
        shapes: dict[str, tuple[Shape, float]] = {
            "vertical": ((depth, 2 * f, seen, 2, 3), 1.0),
            "horizontal": ((depth, 2 * f, seen, 1, 2), 1.0),
            "crossing": ((depth, 2 * f, 2 * f), 1.0),
            "vertical_out": ((depth, f, f), BLOCK_GAIN),
            "horizontal_out": ((depth, f, f), BLOCK_GAIN),
            "bias": ((depth, 4 * f), 0.0),
            "condition": ((depth, 4 * f, n_cond), 1.0),
        }
        first, rest = jax.random.split(key)
        made = stacked(rest, shapes)
        condition = made.pop("condition")
        self.stem, self.layers = Stem(first, self.n_inputs, f, reach), made
        self.cond_weight = condition if n_cond else None

    def _seen(self, h: Array) -> Array:
        return h if self.blocks == "gated" else jnp.concatenate([jax.nn.elu(h), jax.nn.elu(-h)])

    def _gated(self, pre: Array) -> Array:
        change, gate = jnp.split(pre, 2)
        return (jnp.tanh(change) if self.blocks == "gated" else change) * jax.nn.sigmoid(gate)

    def __call__(self, x: Array, condition: Array | None) -> Array:
        vertical, left = self.stem(x)
        biases = constants(
            self.layers["bias"], from_condition("PixelCNN", self.cond_weight, condition, self.cond_shape)
        )

        def layer(carry: tuple[Array, Array], given: tuple) -> tuple[tuple[Array, Array], None]:
            (v, h), (weights, bias) = carry, given
            bias_v, bias_h = jnp.split(bias[:, None, None], 2)
            pre_v = correlate(weights["vertical"], padded(self._seen(v), top=1, left=1, right=1)) + bias_v
            pre_h = correlate(weights["horizontal"], padded(self._seen(h), left=1)) + bias_h
            pre_h = pre_h + mix(weights["crossing"], pre_v)
            v = v + mix(weights["vertical_out"], self._gated(pre_v))
            return (v, h + mix(weights["horizontal_out"], self._gated(pre_h))), None

        (_, h), _ = scan(layer, (vertical, vertical + left), (self.layers, biases))
        return jax.nn.elu(h)

    def init(self, width: int, n: int, condition: Array | None) -> Caches:
        depth, f, dtype = self.layers["bias"].shape[0], self.n_features, self.layers["bias"].dtype

        def zeros(*shape: int) -> Array:
            return jnp.zeros((*shape, n), dtype)

        return Caches(
            self.stem.init(width, n),
            zeros(depth, f, width),
            zeros(depth, 2 * f, width),
            zeros(depth, f),
            zeros(f, width),
            from_condition("PixelCNN", self.cond_weight, condition, self.cond_shape),
        )

    def row(self, caches: Caches, r: Array, above: Array) -> Caches:
        first, stem = self.stem.row(caches.stem, above)
        biases = constants(self.layers["bias"], caches.conditions)[:, : 2 * self.n_features]

        def layer(v: Array, given: tuple) -> tuple[Array, tuple[Array, Array]]:
            weights, bias, before = given
            rows = padded(self._seen(jnp.stack([before, v], axis=1)), left=1, right=1)
            pre = correlate(weights["vertical"], rows)[:, 0] + bias[:, None]
            return v + mix(weights["vertical_out"], self._gated(pre)), (v, mix(weights["crossing"], pre))

        _, (vertical, crossing) = scan(layer, first, (self.layers, biases, caches.vertical))
        return Caches(stem, vertical, crossing, jnp.zeros_like(caches.horizontal), first, caches.conditions)

    def pixel(self, caches: Caches, c: Array, left: Array) -> tuple[Array, Any]:
        own, stem = self.stem.pixel(caches.stem, left)
        biases = constants(self.layers["bias"], caches.conditions)[:, 2 * self.n_features :]

        def layer(h: Array, given: tuple) -> tuple[Array, Array]:
            weights, bias, crossing, before = given
            kernel = weights["horizontal"][:, :, 0]
            pre = kernel[..., 0] @ self._seen(before) + kernel[..., 1] @ self._seen(h) + bias + crossing
            return h + weights["horizontal_out"] @ self._gated(pre), h

        start = column(caches.first, c) + own
        given = (self.layers, biases, column(caches.crossing, c), caches.horizontal)
        h, horizontal = scan(layer, start, given)
        return jax.nn.elu(h), caches._replace(stem=stem, horizontal=horizontal)
