"""Multi-head attention between the tokens of an event, in parallel or with a cache of keys and values."""

from __future__ import annotations

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray
from pushforward.nets.base import check_sizes, hidden_layer, uniforms
from pushforward.numerics.product import dense


class KeysAndValues(NamedTuple):
    """The cache of an attention layer: keys and values of its tokens, each `(n, n_heads, n_tokens, size)`.

    One token's scores are then a product of a matrix and a vector for each row and head. With the rows on the last axis
    they would be a sum that XLA computes element by element: 64 steps of 64 rows took 162 ms of CPU instead of 13.
    """

    keys: Array
    values: Array


class Attention(eqx.Module):
    r"""Multi-head self-attention $W_o\,V \operatorname{softmax}(K^\top Q / (\tau\sqrt{s}))$ between tokens.

    Here $Q, K, V$ are affine in the tokens, and $s$ is the size of a head. Tokens stand on the second axis, after their
    channels, so that an image `(channels, h, w, n)` is reshaped to its tokens without moving a number, and a layer
    applied to all of them is one matrix product. Of five arrangements of the arrays this one and the classical one
    (rows first) were the fastest on a CPU; with tokens before channels a step of training took 1.15 to 1.3 times as
    long at 49 tokens of 64 channels, and sums over elements instead of products of matrices took 20 times as long.

    Args:
        key: JAX key for the initial weights.
        width: Number of channels of a token, which the heads share out.
        n_heads: Number of heads; it divides `width`.
        causal: Whether a token sees itself and the tokens before it alone.
        temperature: Divisor $\tau > 0$ of the logits beside the usual one; 1 is plain attention.

    Shapes:
        `(width, n_tokens, n) -> (width, n_tokens, n)`, for any number of tokens

    Cost: $O(T^2)$ per event of $T$ tokens; a token by the cache costs $O(T)$.

    Raises:
        ValueError: A size is out of bounds, the heads do not divide the width, or the temperature is not positive.

    Source: Vaswani et al., 2017, section 3.2, arXiv 1706.03762.

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> attention = pf.nets.Attention(jax.random.key(0), 8, 2)
        >>> attention(jnp.ones((8, 5, 3))).shape
        (8, 5, 3)
    """

    weight: Array  # (3 * width, width + 1): queries, keys and values, the last column is the bias
    out_weight: Array  # (width, width + 1)
    n_heads: int = eqx.field(static=True)
    causal: bool = eqx.field(static=True)
    temperature: float = eqx.field(static=True)

    def __init__(
        self, key: PRNGKeyArray, width: int, n_heads: int = 4, *, causal: bool = False, temperature: float = 1.0
    ):
        width, self.n_heads = check_sizes("Attention", width=width, n_heads=n_heads)
        if width % self.n_heads:
            fix = "Choose a width that is a multiple of the number of heads."
            raise ValueError(message("Attention", "heads that divide the width", f"{n_heads} and {width}", fix))
        self.causal, self.temperature = bool(causal), check_temperature("Attention", temperature)
        weight, out = uniforms(key, [(3 * width, width + 1), (width, width + 1)])
        self.weight, self.out_weight = hidden_layer(weight, width), hidden_layer(out, width)

    def _projected(self, x: Array) -> Array:
        """Queries, keys and values of tokens `(width, k, n)`, as `(3, n_heads, size, k, n)`."""
        width, k, n = x.shape
        return dense(self.weight, x.reshape(width, -1)).reshape(3, self.n_heads, width // self.n_heads, k, n)

    def _attend(self, queries: Array, known: KeysAndValues, allowed: Array | None) -> Array:
        """The output for queries `(n_heads, size, k, n)`; `allowed` are booleans `(k, n_tokens)`."""
        heads, size, k, n = queries.shape
        # The scale goes to the queries, of which there are fewer than logits.
        scaled = queries * (size**-0.5 / self.temperature)
        logits = jnp.einsum("hdtn,nhsd->nhts", scaled, known.keys)
        if allowed is not None:
            logits = jnp.where(allowed, logits, jnp.finfo(logits.dtype).min)
        mixed = jnp.einsum("nhts,nhsd->hdtn", jax.nn.softmax(logits, axis=-1), known.values)
        return dense(self.out_weight, mixed.reshape(heads * size, -1)).reshape(heads * size, k, n)

    def __call__(self, x: Array) -> Array:
        queries, keys, values = self._projected(x)
        allowed = causal_mask(0, x.shape[1], x.shape[1]) if self.causal else None
        return self._attend(queries, KeysAndValues(_by_rows(keys), _by_rows(values)), allowed)

    def init(self, n_tokens: int, n: int, dtype: Any = None) -> KeysAndValues:
        """An empty cache for `n_tokens` tokens of `n` rows.

        Args:
            n_tokens: Largest number of tokens.
            n: Number of rows.
            dtype: Type of the numbers; None takes that of the weights.
        """
        shape = (n, self.n_heads, n_tokens, self.out_weight.shape[-2] // self.n_heads)
        empty = jnp.zeros(shape, self.weight.dtype if dtype is None else dtype)
        return KeysAndValues(empty, empty)

    def extend(self, cache: KeysAndValues, start: Array | int, x: Array) -> tuple[Array, KeysAndValues]:
        """The output for some tokens after others whose keys and values are known, and the cache with theirs.

        Each token sees itself and those before it, whatever stands in the cache after it.

        Args:
            cache: Keys and values of the tokens before `start`.
            start: Number of the first of the tokens; it may be traced.
            x: Consecutive tokens, `(width, k, n)`.
        """
        queries, *new = self._projected(x)
        cache = KeysAndValues(
            *(
                jax.lax.dynamic_update_slice_in_dim(old, _by_rows(own).astype(old.dtype), start, 2)
                for old, own in zip(cache, new, strict=True)
            )
        )
        return self._attend(queries, cache, causal_mask(start, x.shape[1], cache.keys.shape[2])), cache


def causal_mask(start: Array | int, k: int, n_tokens: int) -> Array:
    """Booleans `(k, n_tokens)`: whether each of `k` tokens from number `start` on sees each token."""
    return jnp.arange(n_tokens) <= start + jnp.arange(k)[:, None]


def check_temperature(name: str, temperature: float) -> float:
    """The temperature as a number.

    Raises:
        ValueError: It is not positive.
    """
    if not 0 < temperature < float("inf"):
        raise ValueError(message(name, "a temperature above 0", repr(temperature), "Plain attention has 1."))
    return float(temperature)


def _by_rows(array: Array) -> Array:
    """Keys or values `(n_heads, size, k, n)` as a cache holds them."""
    return jnp.transpose(array, (3, 0, 2, 1))
