"""Fully connected networks: plain and residual."""

from __future__ import annotations

import itertools
import math

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import check_int
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import (
    activation_of,
    bias_scale,
    dense,
    hidden_scale,
    limit_input,
    output_scale,
    uniforms,
)


def _joined(name: str, x: Array, condition: Array | None, cond_shape: Shape | None) -> Array:
    if cond_shape is None:
        return limit_input(x)
    if condition is None:
        raise ValueError(f"{name}: expected a condition of shape {cond_shape}, got none. Pass condition=...")
    return limit_input(jnp.concatenate([x, condition.reshape(-1, x.shape[-1]).astype(x.dtype)]))


class MLP(eqx.Module):
    r"""$h_0 = [x, c],\; h_{l+1} = \sigma(W_l h_l + b_l)$, and a linear output of any shape.

    Args:
        key: for the initial weights. The output starts near 0.
        in_size: length of `x`; 0 is allowed (a constant, or a function of the condition alone).
        out_shape: shape of the output, `(n_params, n_transformed)` for a coupling.
        width: units per hidden layer.
        depth: number of hidden layers, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional.
        activation: one of relu, elu, gelu, silu, softplus, tanh.

    Shapes:
        `(in_size, n) -> (*out_shape, n)`, the batch on the last axis

    Raises:
        ValueError: a size is out of bounds, the activation unknown, or the condition missing.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
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
        weights = uniforms(key, [(after, before) for before, after in itertools.pairwise(sizes)] + [(width,)] * depth)
        self.weights = (
            *(w * hidden_scale(size) for w, size in zip(weights[:depth], sizes[:-2], strict=True)),
            weights[depth] * output_scale(width),
        )
        biases = zip(weights[depth + 1 :], sizes[:-2], strict=True)
        self.biases = (*(b * bias_scale(size) for b, size in biases), jnp.zeros(sizes[-1]))

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        h = _joined("MLP", x, condition, self.cond_shape)
        activation = activation_of(self.activation)
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = activation(dense(weight, bias, h))
        return dense(self.weights[-1], self.biases[-1], h).reshape(*self.out_shape, x.shape[-1])


class ResidualMLP(eqx.Module):
    r"""$r_0 = W [x, c] + b,\; r_{l+1} = r_l + B_l\,\sigma(A_l\,\sigma(r_l) + a_l) + b_l$, output linear in $\sigma(r)$.

    Args:
        key: for the initial weights. The output starts near 0.
        in_size: length of `x`; 0 is allowed.
        out_shape: shape of the output.
        width: units per hidden layer.
        depth: number of residual blocks of two layers, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional.
        activation: one of relu, elu, gelu, silu, softplus, tanh.

    Shapes:
        `(in_size, n) -> (*out_shape, n)`, the batch on the last axis

    Raises:
        ValueError: a size is out of bounds, the activation unknown, or the condition missing.

    Source: He, Zhang, Ren, Sun, 2016, arXiv 1603.05027; as a conditioner in Durkan et al., 2019, arXiv 1906.04032.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
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
        n_inner, out_size = 2 * depth, math.prod(self.out_shape)
        shapes = [(width, first), *[(width, width)] * n_inner, (out_size, width), *[(width,)] * (n_inner + 1)]
        draws = uniforms(key, shapes)
        # The second layer of each block starts small, so that a deep network starts as its first layer.
        scales = [hidden_scale(first), *[hidden_scale(width), output_scale(width)] * depth, output_scale(width)]
        self.weights = tuple(w * scale for w, scale in zip(draws[: n_inner + 2], scales, strict=True))
        fans = [first] + [width] * n_inner
        biases = zip(draws[n_inner + 2 :], fans, strict=True)
        self.biases = (*(b * bias_scale(fan) for b, fan in biases), jnp.zeros(out_size))

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        activation = activation_of(self.activation)
        layers = list(zip(self.weights, self.biases, strict=True))
        h = dense(*layers[0], _joined("ResidualMLP", x, condition, self.cond_shape))
        for inner, outer in zip(layers[1:-1:2], layers[2:-1:2], strict=True):
            h = h + dense(*outer, activation(dense(*inner, activation(h))))
        return dense(*layers[-1], activation(h)).reshape(*self.out_shape, x.shape[-1])
