"""A plain vision transformer: tokens in, as many tokens out."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, PRNGKeyArray, Shape
from pushforward.nets.base import (
    check_sizes,
    flat_condition,
    hidden_layer,
    limit_input,
    output_layer,
    size_of,
    uniforms,
)
from pushforward.nets.causal_transformer import POSITION_SCALE
from pushforward.nets.transformer import Transformer
from pushforward.numerics.product import dense, dense_output


class VisionTransformer(eqx.Module):
    r"""A transformer over the places of an image, each of which is a token of its channels.

    Tokens are embedded, positions and the condition are added, and every token sees every other. After `Squeeze` the
    channels of a place are the numbers of a patch.

    Args:
        key: JAX key for the initial weights. The output starts near 0.
        in_shape: Shape `(channels, *places)` of an event, such as `(c, h, w)`.
        out_shape: Shape of the output, which ends in the places, such as `(n_params, c', h, w)`. If the places have one
            axis, it may end in the first few of them.
        width: Number of channels of the transformer.
        depth: Number of its layers.
        n_heads: Number of attention heads, which divides `width`.
        cond_shape: Shape of the condition, None if unconditional. A one-hot vector names a class; zeros name none.

    Shapes:
        `(*in_shape, n) -> (*out_shape, n)`, the batch on the last axis

    Cost: one pass, $O(T^2)$ in the number of places.

    Raises:
        ValueError: A size is out of bounds, the places differ, or the condition is missing.

    Source: Dosovitskiy et al., 2021, arXiv 2010.11929; as the conditioner of couplings Kolesnikov, Pinto, Tschannen,
        2024, arXiv 2412.15129 (Jet).

    Example:
        >>> import jax, jax.numpy as jnp, pushforward as pf
        >>> net = pf.nets.VisionTransformer(jax.random.key(0), (2, 3, 3), (4, 3, 3), width=8, depth=1, n_heads=2)
        >>> net(jnp.ones((2, 3, 3, 5))).shape
        (4, 3, 3, 5)
    """

    embed: Array  # (width, channels + 1)
    positions: Array  # (width, n_places)
    from_condition: Array | None  # (width, n_cond)
    transformer: Transformer
    out_weight: Array  # (outputs per place, width + 1)
    in_shape: Shape = eqx.field(static=True)
    out_shape: Shape = eqx.field(static=True)
    n_out_places: int = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)

    def __init__(
        self,
        key: PRNGKeyArray,
        in_shape: Shape,
        out_shape: Shape,
        *,
        width: int = 64,
        depth: int = 2,
        n_heads: int = 4,
        cond_shape: Shape | None = None,
    ):
        (width,) = check_sizes("VisionTransformer", width=width)
        self.in_shape, self.out_shape, self.cond_shape = tuple(in_shape), tuple(out_shape), cond_shape
        places = self.in_shape[1:]
        given = self.out_shape[max(0, len(self.out_shape) - len(places)) :]
        fewer = len(places) == len(given) == 1 and given <= places
        if not places or (given != places and not fewer):
            fix = "Give both shapes with the places last: (channels, h, w) and (n_params, channels, h, w)."
            got = f"{self.in_shape} and {self.out_shape}"
            raise ValueError(message("VisionTransformer", "input and output with the same places", got, fix))
        n_places, n_cond = size_of(places), size_of(cond_shape)
        self.n_out_places = size_of(given)
        n_out = size_of(self.out_shape) // self.n_out_places
        shapes = [(width, self.in_shape[0] + 1), (width, n_places), (width, n_cond + 1), (n_out, width + 1)]
        embed, positions, given, out = uniforms(key, shapes)
        self.embed = hidden_layer(embed, self.in_shape[0])
        self.positions = 3**0.5 * POSITION_SCALE * positions
        self.from_condition = None if cond_shape is None else hidden_layer(given, n_cond)[:, :-1]
        self.transformer = Transformer(key, width, depth, n_heads)
        self.out_weight = output_layer(out)

    def __call__(self, x: Array, condition: Array | None = None) -> Array:
        n = x.shape[-1]
        flat = limit_input(x).reshape(self.in_shape[0], -1)
        h = dense(self.embed, flat).reshape(self.embed.shape[0], -1, n) + self.positions[:, :, None]
        if self.from_condition is not None:
            given = limit_input(flat_condition("VisionTransformer", condition, self.cond_shape))
            h = h + (self.from_condition @ given)[:, None]
        h = self.transformer(h)[:, : self.n_out_places]
        out = dense_output(self.out_weight, h.reshape(h.shape[0], -1))
        return jnp.reshape(out, (*self.out_shape, n))
