"""Networks of other libraries, as they compute: dense layers with masks, residual blocks, conditions, gates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from pushforward._checks import message
from pushforward._types import Array, Shape
from pushforward.io.foreign.arrays import Node
from pushforward.nets.base import AbstractConditioner, activation_of, flat_condition


class Operation(eqx.Module):
    """One operation of a network on `(width, n)`; the condition `(n_condition, n)` may enter it."""

    def __call__(self, h: Array, condition: Array | None, activation: str) -> Array:
        raise NotImplementedError

    def reach(self, before: np.ndarray) -> np.ndarray:
        """Which inputs each unit depends on, `(width, n_inputs)`, from that of the units before."""
        return before


class Dense(Operation):
    r"""The layer $W h + b$, or $(W \odot M) h + b$ with a mask, which stays when the weights are trained further."""

    weight: Array
    bias: Array
    mask: Array | None

    def __call__(self, h: Array, condition: Array | None, activation: str) -> Array:
        weight = self.weight if self.mask is None else jnp.where(self.mask, self.weight, 0)
        return weight @ h + self.bias[:, None]

    def reach(self, before: np.ndarray) -> np.ndarray:
        mask = np.ones(self.weight.shape, bool) if self.mask is None else np.asarray(self.mask)
        return (mask.astype(int) @ before.astype(int)) > 0


class Activate(Operation):
    """The activation function of the network."""

    def __call__(self, h: Array, condition: Array | None, activation: str) -> Array:
        return activation_of(activation)(h)


class Residual(Operation):
    """A residual block $h + f(h)$."""

    inner: tuple[Operation, ...]

    def __call__(self, h: Array, condition: Array | None, activation: str) -> Array:
        out = h
        for operation in self.inner:
            out = operation(out, condition, activation)
        return h + out

    def reach(self, before: np.ndarray) -> np.ndarray:
        after = before
        for operation in self.inner:
            after = operation.reach(after)
        return before | after


class AddCondition(Operation):
    r"""The condition's own layer, added to the units: $h + W c + b$, or $h + \sigma(W c + b)$ if `activated`."""

    layer: Dense
    activated: bool = eqx.field(static=True)

    def __call__(self, h: Array, condition: Array | None, activation: str) -> Array:
        term = self.layer(_given(condition), None, activation)
        return h + (activation_of(activation)(term) if self.activated else term)


class Gate(Operation):
    r"""A gate that the condition opens: $h \cdot \operatorname{sigmoid}(W c + b)$."""

    layer: Dense

    def __call__(self, h: Array, condition: Array | None, activation: str) -> Array:
        return h * jax.nn.sigmoid(self.layer(_given(condition), None, activation))


class Network(eqx.Module):
    """Operations one after the other, from `(n_inputs, n)` to `(*out_shape, n)`.

    Args:
        operations: The operations in their order.
        activation: Name of the activation function.
        cond_shape: Shape of the condition; None without one.
        joined: Whether the condition stands below the input, as further rows of it.
        out_shape: Shape of the output as conditioners give it.
        by_feature: Whether the last layer lists the parameters of one feature after those of another, and not the other
            way round.
    """

    operations: tuple[Operation, ...]
    activation: str = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    joined: bool = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    by_feature: bool = eqx.field(static=True, default=True)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        c = None if self.cond_shape is None else flat_condition("Network", condition, self.cond_shape)
        h = x if c is None or not self.joined else jnp.concatenate([x, c.astype(x.dtype)])
        for operation in self.operations:
            h = operation(h, c, self.activation)
        n_params, n_features = self.out_shape
        if self.by_feature:
            return jnp.swapaxes(h.reshape(n_features, n_params, -1), 0, 1)
        return h.reshape(n_params, n_features, -1)

    def reach(self, n_inputs: int) -> np.ndarray:
        """Which of the inputs each feature's parameters depend on, `(n_features, n_inputs)`."""
        size = 0 if self.cond_shape is None or not self.joined else self.cond_shape[0]
        after = np.concatenate([np.eye(n_inputs, dtype=bool), np.zeros((size, n_inputs), bool)])
        for operation in self.operations:
            after = operation.reach(after)
        n_params, n_features = self.out_shape
        shape = (n_features, n_params, n_inputs) if self.by_feature else (n_params, n_features, n_inputs)
        return np.asarray(after.reshape(shape).any(axis=1 if self.by_feature else 0))


class WholePasses(AbstractConditioner):
    """An autoregressive network that knows no single steps: each step of the inverse is a whole pass.

    Args:
        network: Network from all inputs to the parameters of all of them.
        order: The inputs in an order in which each depends on those before it alone. The steps follow it.

    Cost: one pass in parallel; `n_steps` passes in sequence, as in the libraries that the weights come from.
    """

    network: Network
    order: tuple[int, ...] = eqx.field(static=True)
    n_steps: int = eqx.field(static=True)
    n_params: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(self, network: Network, order: Sequence[int]):
        self.network, self.order = network, tuple(int(i) for i in order)
        self.n_params, self.n_steps = network.out_shape
        self.cond_shape = network.cond_shape

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        order = np.array(self.order)
        return self.network(x[np.argsort(order)], condition)[:, order]

    def init(self, batch: Shape, condition: Array | None = None) -> Any:
        return jnp.zeros((self.n_steps, *batch)), condition

    def step(self, state: Any, i: Array, previous: Array) -> tuple[Array, Any]:
        x, condition = state
        # At step 0 nothing is known: what the first row then gets is overwritten in step 1.
        x = x.at[jnp.maximum(i - 1, 0)].set(previous.astype(x.dtype))
        return self(x, condition)[:, i], (x, condition)


def _given(condition: Array | None) -> Array:
    """The condition, which a network with layers of its own for it always gets."""
    if condition is None:
        raise ValueError(message("Network", "a condition", "none", "Pass condition=."))
    return condition


def dense(node: Node, rows: Array | None = None) -> Dense:
    """A linear layer of torch, with the mask that stands beside its weights in masked networks.

    Args:
        node: The part with `weight`, `bias` and perhaps `mask`.
        rows: Factor of each unit, `(width,)`; None leaves the weights as they are.
    """
    weight, bias = node.take("weight", 2), node.take("bias", 1)
    mask = node.take("mask", 2) > 0 if "mask" in node else None
    if rows is not None:
        weight, bias = weight * rows[:, None], bias * rows
    return Dense(weight, bias, mask)
