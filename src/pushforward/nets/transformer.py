"""Stacks of transformer layers, which the networks of tokens share."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._meshes import scan
from pushforward._parts import unstacked
from pushforward._types import Array, PRNGKeyArray
from pushforward.nets.attention import Attention, KeysAndValues
from pushforward.nets.base import check_sizes, hidden_layer, uniforms
from pushforward.nets.mlp import layer_norm
from pushforward.numerics.product import dense


class TransformerLayer(eqx.Module):
    r"""One pre-norm layer, $h' = h + A(N(h)),\; h'' = h' + W_2\,\operatorname{gelu}(W_1 N(h'))$.

    The layer normalisation $N$ has no gain and no bias, because the weights after it hold both.

    Args:
        key: JAX key for the initial weights.
        width: Number of channels of a token.
        n_heads: Number of attention heads.
        causal: Whether a token sees itself and the tokens before it alone.
        expansion: Number of hidden units per channel.

    Source: Xiong et al., 2020, figure 1, arXiv 2002.04745.
    """

    attention: Attention
    inner: Array  # (expansion * width, width + 1)
    outer: Array  # (width, expansion * width + 1)

    def __init__(self, key: PRNGKeyArray, width: int, n_heads: int, *, causal: bool, expansion: int):
        own, below = jax.random.split(key)
        self.attention = Attention(own, width, n_heads, causal=causal)
        hidden = expansion * width
        inner, outer = uniforms(below, [(hidden, width + 1), (width, hidden + 1)])
        self.inner, self.outer = hidden_layer(inner, width), hidden_layer(outer, hidden)

    def _widened(self, h: Array) -> Array:
        flat = layer_norm(h).reshape(h.shape[0], -1)
        return h + dense(self.outer, jax.nn.gelu(dense(self.inner, flat))).reshape(h.shape)

    def __call__(self, h: Array) -> Array:
        return self._widened(h + self.attention(layer_norm(h)))

    def extend(self, cache: KeysAndValues, start: Array | int, h: Array) -> tuple[Array, KeysAndValues]:
        """The layer for the tokens from number `start` on, as `Attention.extend` does it."""
        out, cache = self.attention.extend(cache, start, layer_norm(h))
        return self._widened(h + out), cache


class Transformer(eqx.Module):
    """Pre-norm transformer layers of one size, whose arrays are stacked: compiling a pass does not grow with depth.

    Args:
        key: JAX key for the initial weights.
        width: Number of channels of a token.
        depth: Number of layers.
        n_heads: Number of attention heads, which divides `width`.
        causal: Whether a token sees itself and the tokens before it alone.
        expansion: Number of hidden units per channel.

    Shapes:
        `(width, n_tokens, n) -> (width, n_tokens, n)`, normalised per token

    Raises:
        ValueError: A size is out of bounds, or the heads do not divide the width.

    Source: Vaswani et al., 2017, arXiv 1706.03762.
    """

    layers: TransformerLayer
    depth: int = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        width: int,
        depth: int,
        n_heads: int,
        *,
        causal: bool = False,
        expansion: int = 4,
    ):
        self.depth, expansion = check_sizes("Transformer", depth=depth, expansion=expansion)

        def layer(key: PRNGKeyArray) -> TransformerLayer:
            return TransformerLayer(key, width, n_heads, causal=causal, expansion=expansion)

        self.layers = eqx.filter_vmap(layer)(jax.random.split(key, self.depth))

    def __call__(self, h: Array) -> Array:
        arrays, static = eqx.partition(self.layers, eqx.is_array)

        def step(h: Array, own: Any) -> tuple[Array, None]:
            return eqx.combine(own, static)(h).astype(h.dtype), None

        h, _ = scan(step, h.astype(jnp.result_type(h, self.layers.inner)), arrays)
        return layer_norm(h)

    def init(self, n_tokens: int, n: int) -> tuple[KeysAndValues, ...]:
        """The empty caches of all layers; arguments as in `Attention.init`."""
        return (self.layers.attention.init(n_tokens, n),) * self.depth

    def extend(
        self, caches: tuple[KeysAndValues, ...], start: Array | int, h: Array
    ) -> tuple[Array, tuple[KeysAndValues, ...]]:
        """The output for the tokens from number `start` on, and the caches with theirs; see `Attention.extend`.

        The layers are written out and not scanned: a scan copies each cache in and out, and a draw then took 2.2 times
        as long (64 tokens, 16 images, two layers of width 64).
        """
        extended = []
        for layer, cache in zip(unstacked(self.layers, self.depth), caches, strict=True):
            h, cache = layer.extend(cache, start, h)
            extended.append(cache)
        return layer_norm(h), tuple(extended)
