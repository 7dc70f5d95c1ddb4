"""Fully connected networks of plain, residual or gated layers."""

from __future__ import annotations

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import (
    activation_of,
    check_sizes,
    hidden_layer,
    join_condition,
    limit_input,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.numerics.product import dense, dense_output

Blocks = Literal["plain", "residual", "gated"]
# Added to the variance in layer normalisation, which is 0 for a layer whose units agree.
MIN_VARIANCE = 1e-6


def layer_norm(h: Array) -> Array:
    """The units `(width, ...)` of each row, normalised to mean 0 and variance 1 without a gain or a bias."""
    centred = h - jnp.mean(h, axis=0)
    return centred * jax.lax.rsqrt(jnp.mean(centred * centred, axis=0) + MIN_VARIANCE)


class MLP(eqx.Module):
    r"""A fully connected network from $h_0 = W_0 [x, c] + b_0$, whose output is linear in $\sigma(h)$, of any shape.

    Its layers are `"plain"`, $h_{l+1} = W_l\,\sigma(h_l) + b_l$; `"residual"` blocks of two,
    $h_{l+1} = h_l + B_l\,\sigma(A_l\,\sigma(h_l) + a_l) + b_l$; or the `"gated"` blocks of Flow++,
    $h_{l+1} = N(h_l + u_l \odot \operatorname{sigmoid}(v_l))$ with $[u_l, v_l] = B_l\,\sigma(A_l h_l + a_l) + b_l$
    and layer normalisation $N$. The published gated network also has attention between pixels, which vectors do not
    need, and dropout, which a density cannot have.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        in_size: Length of `x`; 0 gives a constant, or a function of the condition alone.
        out_shape: shape of the output, `(n_params, n_transformed)` for a coupling.
        width: Number of units per hidden layer.
        depth: number of hidden layers, or of blocks, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional.
        activation: one of relu, elu, gelu, silu, softplus, tanh.
        blocks: `"plain"`, `"residual"` or `"gated"`.

    Shapes:
        `(in_size, n) -> (*out_shape, n)`, the batch on the last axis; or `(in_size,) -> out_shape`

    Raises:
        ValueError: a size is out of bounds, a name unknown, or the condition missing.

    Source: He, Zhang, Ren, Sun, 2016, arXiv 1603.05027; Durkan et al., 2019, arXiv 1906.04032 (residual); Ho, Chen,
        Srinivas, Duan, Abbeel, 2019, section 3.2, arXiv 1902.00275 (gated).

    Example:
        >>> import jax, pushforward as pf
        >>> pf.MLP(jax.random.key(0), 2, (3, 1), width=8, depth=1, blocks="gated")(jax.numpy.ones(2)).shape
        (3, 1)
    """

    weights: tuple[Array, ...]
    in_size: int = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    activation: str = eqx.field(static=True)
    blocks: Blocks = eqx.field(static=True)

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
        blocks: Blocks = "plain",
    ):
        width, depth = check_sizes("MLP", width=width, depth=depth)
        activation_of(activation)
        inner = {
            "plain": [(width, width + 1)] * (depth - 1),
            "residual": [(width, width + 1)] * (2 * depth),
            "gated": [(width, width + 1), (2 * width, width + 1)] * depth,
        }
        if blocks not in inner:
            raise ValueError(message("MLP", f"blocks to be one of {', '.join(inner)}", repr(blocks), "Choose one."))
        self.in_size, self.out_shape = check_int("MLP", "in_size", in_size, 0), tuple(out_shape)
        self.cond_shape, self.activation, self.blocks = cond_shape, activation, blocks
        n_in, n_out = in_size + size_of(cond_shape), size_of(self.out_shape)
        first, *draws, last = uniforms(key, [(width, n_in + 1), *inner[blocks], (n_out, width + 1)])
        # The second layer of each block starts small, so that a deep network starts as its first layer.
        small = [blocks != "plain" and n % 2 == 1 for n in range(len(draws))]
        hidden = (output_layer(w) if s else hidden_layer(w, width) for w, s in zip(draws, small, strict=True))
        self.weights = (hidden_layer(first, n_in), *hidden, output_layer(last))

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        activation = activation_of(self.activation)
        first, *between, last = self.weights
        h = dense(first, limit_input(join_condition("MLP", x, condition, self.cond_shape)))
        if self.blocks == "plain":
            for weight in between:
                h = dense(weight, activation(h))
        for inner, outer in zip(between[::2], between[1::2], strict=True) if self.blocks != "plain" else ():
            if self.blocks == "residual":
                h = h + dense(outer, activation(dense(inner, activation(h))))
            else:
                change, gate = jnp.split(dense(outer, activation(dense(inner, h))), 2)
                h = layer_norm(h + change * jax.nn.sigmoid(gate))
        return dense_output(last, activation(h)).reshape(*self.out_shape, *x.shape[1:])
