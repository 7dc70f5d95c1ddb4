"""A masked network over groups of units: the logits of discrete variables, each given those before it."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._checks import check_int
from pushforward._types import Array, PRNGKeyArray
from pushforward.nets.base import activation_of, hidden_layer, output_layer, uniforms
from pushforward.nets.masked import degrees_of
from pushforward.numerics.product import dense, dense_output


class CategoricalMADE(eqx.Module):
    r"""A masked network that gives the logits of each discrete variable $c$ from those before it, in one pass.

    A hidden unit of degree $m$ sees the one-hot blocks of the variables $1..m$; the logits of variable $c$ see units of
    degree $< c$, and a bias. Hidden layers after the first are residual.

    Args:
        key: JAX key for the initial weights.
        sizes: Number of states of each variable, 2 or more each.
        width: Number of units per hidden layer; more if there are more variables than that.
        depth: Number of hidden layers.
        cond_size: Length of the condition, 0 if there is none.
        activation: one of relu, elu, gelu, silu, softplus, tanh.

    Shapes:
        `(sum(sizes), n) -> (sum(sizes), n)`, the batch on the last axis

    Source: Germain, Gregor, Murray, Larochelle, 2015, eq. 9-11, arXiv 1502.03509.
    """

    first_weight: Array
    hidden_weights: tuple[Array, ...]
    out_weight: Array
    cond_weight: Array | None
    cond_out_weight: Array | None
    sizes: tuple[int, ...] = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        sizes: tuple[int, ...],
        *,
        width: int = 128,
        depth: int = 2,
        cond_size: int = 0,
        activation: str = "silu",
    ):
        width = max(check_int("CategoricalMADE", "width", width, 1), len(sizes))
        depth = check_int("CategoricalMADE", "depth", depth, 1)
        activation_of(activation)
        self.sizes = tuple(check_int("CategoricalMADE", "size", size, 2) for size in sizes)
        self.activation = activation
        total = sum(self.sizes)
        degrees = degrees_of(len(sizes), width, cond_size > 0).hidden
        shapes = [(width, total + 1), (total, width + 1), (width, cond_size + 1), (total, cond_size + 1)]
        first, out, cond, cond_out, *hidden = uniforms(key, shapes + [(width, width + 1)] * (depth - 1))
        # In one-hot blocks as many inputs are 1 as there are variables.
        self.first_weight = hidden_layer(first, degrees[:, None] + cond_size) * np.sqrt(3.0)
        self.hidden_weights = tuple(output_layer(w) for w in hidden)
        self.out_weight = output_layer(out)
        self.cond_weight = hidden_layer(cond, degrees[:, None] + cond_size)[:, :-1] if cond_size else None
        self.cond_out_weight = output_layer(cond_out)[:, :-1] if cond_size else None

    def _masked(self) -> tuple[Array, tuple[Array, ...], Array]:
        n, width = len(self.sizes), self.first_weight.shape[0]
        degrees = degrees_of(n, width, self.cond_weight is not None).hidden
        variable = np.repeat(np.arange(1, n + 1), self.sizes)
        # The last column, the bias, belongs to every unit.
        degrees_in = np.append(degrees, -1)
        first = jnp.where(jnp.asarray(degrees[:, None] >= np.append(variable, -1)), self.first_weight, 0)
        sees = jnp.asarray(degrees[:, None] >= degrees_in)
        hidden = tuple(jnp.where(sees, w, 0) for w in self.hidden_weights)
        return first, hidden, jnp.where(jnp.asarray(variable[:, None] > degrees_in), self.out_weight, 0)

    def __call__(self, one_hot: Array, condition: Array | None = None) -> Array:
        first, hidden, out = self._masked()
        activation = activation_of(self.activation)
        pre = dense(first, one_hot)
        if self.cond_weight is not None and condition is not None:
            pre = pre + self.cond_weight @ condition
        h = activation(pre)
        for weight in hidden:
            h = h + activation(dense(weight, h))
        logits = dense_output(out, h)
        if self.cond_out_weight is not None and condition is not None:
            logits = logits + self.cond_out_weight @ condition
        return logits
