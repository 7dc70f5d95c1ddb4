"""A residual network with gates and layer normalisation: the conditioner of Flow++, for vectors."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import check_int, message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import activation_of, hidden_layer, limit_input, output_layer, uniforms
from pushforward.numerics.product import dense, dense_output

# Added to the variance in layer normalisation, which is 0 for a layer whose units agree.
MIN_VARIANCE = 1e-6


def layer_norm(h: Array) -> Array:
    """The units `(width, ...)` of each row, normalised to mean 0 and variance 1 without a gain or a bias."""
    centred = h - jnp.mean(h, axis=0)
    return centred * jax.lax.rsqrt(jnp.mean(centred * centred, axis=0) + MIN_VARIANCE)


class GatedMLP(eqx.Module):
    r"""A network of gated residual blocks, $h_0 = W [x, c] + b,\; h_{l+1} = N(h_l + u_l \odot \sigma(v_l))$.

    Here $[u_l, v_l] = B_l\,\varphi(A_l h_l + a_l) + b_l$, $N$ is layer normalisation, $\varphi$ the activation, and the
    output is linear in $\varphi(h)$. The published conditioner also has attention between pixels, which vectors do not
    need, and dropout, which a density cannot have.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        in_size: length of `x`; 0 is allowed.
        out_shape: shape of the output.
        width: Number of units per hidden layer.
        depth: number of gated residual blocks, 1 or more.
        cond_shape: shape of the condition, flattened and joined to `x`; None if unconditional.
        activation: one of relu, elu, gelu, silu, softplus, tanh.

    Shapes:
        `(in_size, n) -> (*out_shape, n)`, the batch on the last axis; or `(in_size,) -> out_shape`

    Raises:
        ValueError: a size is out of bounds, the activation unknown, or the condition missing.

    Source: Ho, Chen, Srinivas, Duan, Abbeel, 2019, section 3.2, arXiv 1902.00275.

    Example:
        >>> import jax
        >>> from pushforward.nets.gated import GatedMLP
        >>> GatedMLP(jax.random.key(0), 2, (3, 1), width=8, depth=1)(jax.numpy.ones(2)).shape
        (3, 1)
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
        width = check_int("GatedMLP", "width", width, 1)
        depth = check_int("GatedMLP", "depth", depth, 1)
        activation_of(activation)
        self.in_size, self.out_shape = check_int("GatedMLP", "in_size", in_size, 0), tuple(out_shape)
        self.cond_shape, self.activation = cond_shape, activation
        first = in_size + (0 if cond_shape is None else math.prod(cond_shape))
        blocks = [(width, width + 1), (2 * width, width + 1)] * depth
        draws = uniforms(key, [(width, first + 1), *blocks, (math.prod(self.out_shape), width + 1)])
        # The second layer of each block starts small, so that a deep network starts as its first layer.
        inner = (output_layer(w) if n % 2 else hidden_layer(w, width) for n, w in enumerate(draws[1:-1]))
        self.weights = (hidden_layer(draws[0], first), *inner, output_layer(draws[-1]))

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        activation = activation_of(self.activation)
        if self.cond_shape is not None:
            if condition is None:
                raise ValueError(
                    message("GatedMLP", f"a condition of shape {self.cond_shape}", "none", "Pass condition=...")
                )
            x = jnp.concatenate([x, condition.reshape(-1, *x.shape[1:]).astype(x.dtype)])
        h = dense(self.weights[0], limit_input(x))
        for inner, outer in zip(self.weights[1:-1:2], self.weights[2:-1:2], strict=True):
            change, gate = jnp.split(dense(outer, activation(dense(inner, h))), 2)
            h = layer_norm(h + change * jax.nn.sigmoid(gate))
        return dense_output(self.weights[-1], activation(h)).reshape(*self.out_shape, *x.shape[1:])
