"""A conditioner beside a contrast to it, from which guided models extrapolate."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from pushforward._types import Array, Shape
from pushforward.nets.base import AbstractConditioner


class WithContrast(AbstractConditioner):
    """The parameters of a conditioner, those of a contrast, and the share of a guidance's weight, for each step.

    Args:
        conditioner: The conditioner.
        contrast: Another one of the same sizes, such as itself with attention of another temperature.
        drop_condition: Whether the contrast sees zeros in place of the condition.
        annealed: Whether the share grows evenly from 0 at the first step to 1 at the last; otherwise it is 1.

    Cost: that of both.
    """

    conditioner: AbstractConditioner
    contrast: AbstractConditioner
    drop_condition: bool = eqx.field(static=True)
    annealed: bool = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    token_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self, conditioner: AbstractConditioner, contrast: AbstractConditioner, *, drop_condition: bool, annealed: bool
    ):
        self.conditioner, self.contrast = conditioner, contrast
        self.drop_condition, self.annealed = bool(drop_condition), bool(annealed)
        self.n_steps, self.n_params = conditioner.n_steps, 2 * conditioner.n_params + 1
        self.token_shape, self.cond_shape = conditioner.token_shape, conditioner.cond_shape

    def _other(self, condition: Array | None) -> Array | None:
        return jnp.zeros_like(condition) if self.drop_condition and condition is not None else condition

    def _joined(self, own: Array, other: Array, steps: Array) -> Array:
        """The parameters `(n_params, *steps, *token_shape, n)` for steps whose numbers are given."""
        share = steps / max(self.n_steps - 1, 1) if self.annealed else jnp.ones(steps.shape)
        share = share.astype(own.dtype).reshape(steps.shape + (1,) * (own.ndim - 1 - steps.ndim))
        return jnp.concatenate([own, other, jnp.broadcast_to(share, own[:1].shape)])

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        own, other = self.conditioner(x, condition), self.contrast(x, self._other(condition))
        return self._joined(own, other, jnp.arange(self.n_steps))

    def init(self, batch: Shape, condition: Array | None = None) -> tuple[Any, Any]:
        return self.conditioner.init(batch, condition), self.contrast.init(batch, self._other(condition))

    def step(self, state: tuple[Any, Any], i: Array, previous: Array) -> tuple[Array, tuple[Any, Any]]:
        own, first = self.conditioner.step(state[0], i, previous)
        other, second = self.contrast.step(state[1], i, previous)
        return self._joined(own, other, jnp.asarray(i)), (first, second)

    def init_block(self, batch: Shape, condition: Array | None = None) -> tuple[Any, Any]:
        return self.conditioner.init_block(batch, condition), self.contrast.init_block(batch, self._other(condition))

    def step_block(self, state: tuple[Any, Any], start: Array, previous: Array) -> tuple[Array, tuple[Any, Any]]:
        own, first = self.conditioner.step_block(state[0], start, previous)
        other, second = self.contrast.step_block(state[1], start, previous)
        return self._joined(own, other, start + jnp.arange(previous.shape[0])), (first, second)
