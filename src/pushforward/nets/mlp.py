"""Fully connected networks: plain and residual."""

from __future__ import annotations

import itertools
import math

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import activation_of, hidden_layer, limit_input, output_layer, uniforms
from pushforward.numerics.product import dense, dense_output


def _joined(name: str, x: Array, condition: Array | None, cond_shape: Shape | None) -> Array:
    if cond_shape is None:
        return limit_input(x)
    if condition is None:
        raise ValueError(message(name, f"a condition of shape {cond_shape}", "none", "Pass condition=..."))
    return limit_input(jnp.concatenate([x, condition.reshape(math.prod(cond_shape), *x.shape[1:]).astype(x.dtype)]))


class MLP(eqx.Module):
    r"""A fully connected network, $h_0 = [x, c],\; h_{l+1} = \sigma(W_l h_l + b_l)$, with a linear output of any shape.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        in_size: Length of `x`; 0 gives a constant, or a function of the condition alone.
        out_shape: shape of the output, `(n_params, n_transformed)` for a coupling.
        width: Number of units per hidden layer.
        depth: number of hidden layers, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional.
        activation: one of relu, elu, gelu, silu, softplus, tanh.

    Shapes:
        `(in_size, n) -> (*out_shape, n)`, the batch on the last axis; or `(in_size,) -> out_shape`

    Raises:
        ValueError: a size is out of bounds, the activation unknown, or the condition missing.
    """

    weights: tuple[Array, ...]
    in_size: int = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        in_size: int,
        out_shape: Shape,
        *,
        width: int = 64,
        depth: int = 2,
        cond_shape: Shape | None = None,
        activation: str = "relu",
    ):
        width = check_int("MLP", "width", width, 1)
        depth = check_int("MLP", "depth", depth, 1)
        activation_of(activation)
        self.in_size, self.out_shape = check_int("MLP", "in_size", in_size, 0), tuple(out_shape)
        self.cond_shape, self.activation = cond_shape, activation
        sizes = [in_size + (0 if cond_shape is None else math.prod(cond_shape))] + [width] * depth
        sizes.append(math.prod(self.out_shape))
        draws = uniforms(key, [(after, before + 1) for before, after in itertools.pairwise(sizes)])
        hidden = (hidden_layer(w, size) for w, size in zip(draws[:-1], sizes, strict=False))
        self.weights = (*hidden, output_layer(draws[-1]))

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        h = _joined("MLP", x, condition, self.cond_shape)
        activation = activation_of(self.activation)
        for weight in self.weights[:-1]:
            h = activation(dense(weight, h))
        return dense_output(self.weights[-1], h).reshape(*self.out_shape, *x.shape[1:])


class ResidualMLP(eqx.Module):
    r"""A residual network, $r_0 = W [x, c] + b,\; r_{l+1} = r_l + B_l\,\sigma(A_l\,\sigma(r_l) + a_l) + b_l$.

    The output is linear in $\sigma(r)$.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        in_size: length of `x`; 0 is allowed.
        out_shape: shape of the output.
        width: Number of units per hidden layer.
        depth: number of residual blocks of two layers, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional.
        activation: one of relu, elu, gelu, silu, softplus, tanh.

    Shapes:
        `(in_size, n) -> (*out_shape, n)`, the batch on the last axis; or `(in_size,) -> out_shape`

    Raises:
        ValueError: a size is out of bounds, the activation unknown, or the condition missing.

    Source: He, Zhang, Ren, Sun, 2016, arXiv 1603.05027; Durkan et al., 2019, arXiv 1906.04032 (as a conditioner).
    """

    weights: tuple[Array, ...]
    in_size: int = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        in_size: int,
        out_shape: Shape,
        *,
        width: int = 64,
        depth: int = 2,
        cond_shape: Shape | None = None,
        activation: str = "relu",
    ):
        width = check_int("ResidualMLP", "width", width, 1)
        depth = check_int("ResidualMLP", "depth", depth, 1)
        activation_of(activation)
        self.in_size, self.out_shape = check_int("ResidualMLP", "in_size", in_size, 0), tuple(out_shape)
        self.cond_shape, self.activation = cond_shape, activation
        first = in_size + (0 if cond_shape is None else math.prod(cond_shape))
        sizes = [first, *[width] * (2 * depth + 1), math.prod(self.out_shape)]
        draws = uniforms(key, [(after, before + 1) for before, after in itertools.pairwise(sizes)])
        # The second layer of each block starts small, so that a deep network starts as its first layer.
        inner = (output_layer(w) if n % 2 else hidden_layer(w, width) for n, w in enumerate(draws[1:-1]))
        self.weights = (hidden_layer(draws[0], first), *inner, output_layer(draws[-1]))

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        activation = activation_of(self.activation)
        h = dense(self.weights[0], _joined("ResidualMLP", x, condition, self.cond_shape))
        for inner, outer in zip(self.weights[1:-1:2], self.weights[2:-1:2], strict=True):
            h = h + dense(outer, activation(dense(inner, activation(h))))
        return dense_output(self.weights[-1], activation(h)).reshape(*self.out_shape, *x.shape[1:])
