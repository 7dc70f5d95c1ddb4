"""What the JAX libraries without a training step of their own share: `log_prob` and `sample` under `jax.jit`, Adam."""

from __future__ import annotations

import platform
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import optax

from suite.work import LEARNING_RATE


class JaxAdapter:
    """An adapter around a few functions of one library.

    Args:
        library: its name in the package index.
        construct: `(model, dim, n_layers, seed) -> (params, build)`: the trainable arrays as a tree, and the function
            that makes the flow of such a tree; `ValueError` where the library has no such model.
        log_prob: `(flow, x) -> (n,)`.
        draw: `(flow, key, n, dim) -> (n, dim)`.
    """

    def __init__(
        self,
        library: str,
        construct: Callable[[str, int, int, int], tuple[Any, Callable[[Any], Any]]],
        log_prob: Callable[[Any, jax.Array], jax.Array],
        draw: Callable[[Any, jax.Array, int, int], jax.Array],
    ):
        self.library, self.construct, self.log_prob, self.draw = library, construct, log_prob, draw

    def versions(self) -> dict[str, str]:
        return {"python": platform.python_version()} | {name: version(name) for name in (self.library, "jax")}

    def build(self, model: str, dim: int, n_layers: int, seed: int) -> int:
        self.dim, self.key = dim, jax.random.key(seed)
        params, make = self.construct(model, dim, n_layers, seed)
        # Copies: jflows gives one array to several layers, and a buffer can be donated once.
        self.params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)
        optimizer = optax.adam(LEARNING_RATE)
        self.state = optimizer.init(self.params)

        def loss(params: Any, x: jax.Array) -> jax.Array:
            return -self.log_prob(make(params), x).mean()

        def update(params: Any, state: Any, x: jax.Array) -> tuple[Any, Any, jax.Array]:
            value, gradient = jax.value_and_grad(loss)(params, x)
            change, state = optimizer.update(gradient, state)
            return optax.apply_updates(params, change), state, value

        self._update = jax.jit(update, donate_argnums=(0, 1))
        self._density = jax.jit(lambda params, x: self.log_prob(make(params), x))
        self._sample = jax.jit(lambda params, key, n: self.draw(make(params), key, n, dim), static_argnums=2)
        jax.block_until_ready((self.params, self.state))
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    def load(self, rows: Any) -> None:
        self.x = jax.block_until_ready(jnp.asarray(rows, jnp.float32))

    def step(self) -> None:
        self.params, self.state, value = self._update(self.params, self.state, self.x)
        jax.block_until_ready((self.params, self.state, value))

    def density(self) -> None:
        self._density(self.params, self.x).block_until_ready()

    def prepare_sampling(self, n: int) -> None:
        self.n = n
        self.compiled = self._sample.lower(self.params, self.key, n).compile()

    def sample(self) -> None:
        rows = self.compiled(self.params, self.key)
        if rows.shape != (self.n, self.dim):
            raise RuntimeError(f"{self.library}: sample gave {rows.shape}, expected {(self.n, self.dim)}")
        rows.block_until_ready()
