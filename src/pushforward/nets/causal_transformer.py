"""A causal transformer as the conditioner of an autoregression over tokens."""

from __future__ import annotations

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp

from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.attention import KeysAndValues
from pushforward.nets.base import (
    AbstractConditioner,
    check_sizes,
    flat_condition,
    hidden_layer,
    limit_input,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.nets.transformer import Transformer
from pushforward.numerics.product import dense, dense_output

# Standard deviation of the embeddings of positions at the start, as in TarFlow.
POSITION_SCALE = 1e-2


class TokenState(NamedTuple):
    """The state of the sequential evaluation: caches of all layers, and what the condition adds, `(width, n)`."""

    caches: tuple[KeysAndValues, ...]
    given: Array


class CausalTransformer(AbstractConditioner):
    r"""The parameters of token $i$ as a function of the tokens before it, $\theta_i(x_{<i}, c)$, by a transformer.

    Step $i$ sees an embedding of its position, of the condition and of $x_{i-1}$, and by causal attention those of the
    steps before. In place of $x_{-1}$ stands a **start token**, which is learned. With `start_token=True` it gives the
    parameters of the first token (STARFlow); otherwise these are 0, so that the first token passes unchanged (TarFlow).

    One step after the other, keys and values are kept in caches, so that a step costs one token and not the whole
    sequence.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        n_tokens: Number of tokens, which is that of steps.
        token_dim: How many numbers a token has.
        n_params: Number of parameters for each number of a token.
        width: Number of channels of the transformer.
        depth: Number of its layers.
        n_heads: Number of attention heads, which divides `width`.
        cond_shape: Shape of the condition, None if unconditional. A one-hot vector names a class; zeros name none.
        start_token: Whether the first token has parameters too.

    Shapes:
        `(n_tokens, token_dim, n) -> (n_params, n_tokens, token_dim, n)`, the batch on the last axis

    Cost: one pass in parallel, $O(T^2)$ in the number of tokens. All sequential steps together cost about as much
        arithmetic, in $T$ steps.

    Raises:
        ValueError: A size is out of bounds, or the condition is missing.

    Source: Zhai et al., 2024, arXiv 2412.06329 (TarFlow); Gu et al., 2025, arXiv 2506.06276 (STARFlow).

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> net = pf.nets.CausalTransformer(jax.random.key(0), 4, 3, 2, width=8, depth=1, n_heads=2)
        >>> net(jnp.ones((4, 3, 5))).shape
        (2, 4, 3, 5)
    """

    embed: Array  # (width, token_dim + 1)
    positions: Array  # (width, n_tokens)
    from_condition: Array | None  # (width, n_cond)
    transformer: Transformer
    out_weight: Array  # (n_params * token_dim, width + 1)
    n_steps: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    token_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    start_token: bool = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        n_tokens: int,
        token_dim: int,
        n_params: int,
        *,
        width: int = 64,
        depth: int = 2,
        n_heads: int = 4,
        cond_shape: Shape | None = None,
        start_token: bool = False,
    ):
        sizes = check_sizes("CausalTransformer", n_tokens=n_tokens, token_dim=token_dim, n_params=n_params, width=width)
        self.n_steps, token_dim, self.n_params, width = sizes
        self.token_shape, self.cond_shape, self.start_token = (token_dim,), cond_shape, bool(start_token)
        n_cond = size_of(cond_shape)
        shapes = [(width, token_dim + 1), (width, self.n_steps), (width, n_cond + 1), (n_params * token_dim, width + 1)]
        embed, positions, given, out = uniforms(key, shapes)
        self.embed = hidden_layer(embed, token_dim)
        self.positions = 3**0.5 * POSITION_SCALE * positions
        self.from_condition = None if cond_shape is None else hidden_layer(given, n_cond)[:, :-1]
        self.transformer = Transformer(key, width, depth, n_heads, causal=True)
        self.out_weight = output_layer(out)

    def _given(self, condition: Array | None, n: int) -> Array:
        """What the condition adds to each token, `(width, n)`."""
        if self.from_condition is None:
            return jnp.zeros((self.embed.shape[0], n), self.embed.dtype)
        flat = limit_input(flat_condition("CausalTransformer", condition, self.cond_shape))
        return jnp.broadcast_to(self.from_condition @ flat, (self.embed.shape[0], n))

    def _embedded(self, inputs: Array, positions: Array, given: Array) -> Array:
        """The embeddings of tokens `(k, token_dim, n)` at positions `(width, k)`, as `(width, k, n)`."""
        k, size, n = inputs.shape
        flat = jnp.moveaxis(limit_input(inputs), 1, 0).reshape(size, -1)
        return dense(self.embed, flat).reshape(-1, k, n) + positions[:, :, None] + given[:, None]

    def _params(self, h: Array, first: Array) -> Array:
        """The parameters from the last layer `(width, k, n)`; `first` says which of the `k` steps are the first."""
        width, k, n = h.shape
        params = dense_output(self.out_weight, h.reshape(width, -1)).reshape(self.n_params, -1, k, n)
        params = jnp.swapaxes(params, 1, 2)
        return params if self.start_token else jnp.where(first[:, None, None], 0, params)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        before = jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])
        h = self.transformer(self._embedded(before, self.positions, self._given(condition, x.shape[-1])))
        return self._params(h, jnp.arange(self.n_steps) == 0)

    def init(self, batch: Shape, condition: Array | None = None) -> TokenState:
        return TokenState(self.transformer.init(self.n_steps, batch[0]), self._given(condition, batch[0]))

    def step(self, state: TokenState, i: Array, previous: Array) -> tuple[Array, TokenState]:
        params, state = self.step_block(state, i, previous[None])
        return params[:, 0], state

    def init_block(self, batch: Shape, condition: Array | None = None) -> TokenState:
        return self.init(batch, condition)

    def step_block(self, state: TokenState, start: Array, previous: Array) -> tuple[Array, TokenState]:
        steps = start + jnp.arange(previous.shape[0])
        inputs = jnp.where((steps == 0)[:, None, None], 0, previous)
        h, caches = self.transformer.extend(
            state.caches, start, self._embedded(inputs, self.positions[:, steps], state.given)
        )
        return self._params(h, steps == 0), TokenState(caches, state.given)
