"""Builders of transformer flows."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np

from pushforward._checks import message
from pushforward._types import PRNGKeyArray, Shape
from pushforward.bijections import (
    AdditiveMap,
    Affine,
    AffineMap,
    Autoregressive,
    Chain,
    Conv1x1,
    Coupling,
    Invert,
    InvertedMap,
    Reshape,
    Reverse,
    Scan,
    SigmoidAffineMap,
    Squeeze,
    Tokens,
    half_split,
)
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow, StandardNormal
from pushforward.flows.stack import in_turn
from pushforward.images.zoo.plan import ImagePlan
from pushforward.nets import CausalTransformer, VisionTransformer

# Bound on a log-scale, as in STARFlow.
MAX_LOG_SCALE = 4.0
# Couplings of channels for each coupling of places in Jet.
CHANNELS_IN_TURN = 4


def tarflow(plan: ImagePlan) -> Flow:
    """Autoregressions over patches, in one order and the other in turn, over a standard normal image."""
    o = plan.options
    to_patches = Chain([(patches := Squeeze(plan.shape, o.patch)), Tokens(patches.out_shape)])
    n_tokens, token_dim = shape = to_patches.out_shape
    own_map = AdditiveMap() if o.volume_preserving else InvertedMap(AffineMap(MAX_LOG_SCALE))

    def block(key: PRNGKeyArray, depth: int, cond_shape: Shape | None) -> AbstractBijection:
        sizes = {"width": o.width, "depth": depth, "n_heads": o.n_heads, "start_token": o.start_token}
        net = CausalTransformer(key, n_tokens, token_dim, own_map.n_params, cond_shape=cond_shape, **sizes)
        return Chain([Invert(Autoregressive(net, own_map)), Reverse(shape)])

    def layers(key: PRNGKeyArray) -> list[AbstractBijection]:
        deep_key, key = jax.random.split(key)
        deep = o.deep_depth > 0
        # The deep block is nearest to the latent, and then the only one that sees the class.
        found = [block(deep_key, o.deep_depth, plan.cond_shape)] if deep else []
        cond_shape = None if deep else plan.cond_shape
        n_blocks = o.n_blocks - len(found)
        if n_blocks:
            found.append(Scan.of(lambda k: block(k, o.depth, cond_shape), key, n_layers=n_blocks))
        return found

    # Without scales in the layers the latent has a deviation for each of its numbers.
    start = [Affine(scale=1.0, shape=shape)] if o.volume_preserving else []
    made = eqx.filter_jit(layers)(plan.key)
    return Flow(StandardNormal(plan.shape), Chain([to_patches, *start, *made, Invert(to_patches)]))


def jet(plan: ImagePlan) -> Flow:
    """Couplings of channels and of places of one image of patches, whose networks are vision transformers."""
    o = plan.options
    to_patches = Squeeze(plan.shape, o.patch)
    channels, n_places = to_patches.out_shape[0], int(np.prod(to_patches.out_shape[1:]))
    if channels < 2:
        fix = "Take patch=2 or more, so that a patch can be split."
        raise ValueError(message("jet", "patches of two numbers or more", f"{channels}", fix))
    flat = Reshape(to_patches.out_shape, (channels, n_places))
    in_tokens = Tokens(flat.out_shape)
    sizes = {"width": o.width, "depth": o.depth, "n_heads": o.n_heads, "cond_shape": plan.cond_shape}

    def coupling(key: PRNGKeyArray, split: np.ndarray, in_shape: Shape, out_shape: Shape) -> AbstractBijection:
        net = VisionTransformer(key, in_shape, (2, *out_shape), **sizes)
        return Invert(Coupling(split, net, SigmoidAffineMap(offset=0.0), cond_shape=plan.cond_shape))

    def of_channels(key: PRNGKeyArray) -> AbstractBijection:
        order_key, key = jax.random.split(key)
        passing = channels // 2
        own = coupling(key, half_split(flat.out_shape), (passing, n_places), (channels - passing, n_places))
        return Chain([own, Conv1x1(in_turn(order_key, np.arange(channels) >= passing), flat.out_shape)])

    def of_places(key: PRNGKeyArray) -> AbstractBijection:
        order_key, key = jax.random.split(key)
        # Of an odd number of places one more passes: a place that is mapped is paired with one that passes.
        passing = n_places - n_places // 2
        mask = np.arange(n_places) >= passing
        split = np.broadcast_to(mask, flat.out_shape)
        own = coupling(key, split, (channels, passing), (channels, n_places - passing))
        mix = Conv1x1(in_turn(order_key, mask), in_tokens.out_shape)
        return Chain([own, in_tokens, mix, Invert(in_tokens)])

    def step(key: PRNGKeyArray) -> AbstractBijection:
        channel_key, place_key = jax.random.split(key)
        own = Scan.of(of_channels, channel_key, n_layers=CHANNELS_IN_TURN)
        return Chain([own, of_places(place_key)]) if n_places > 1 else own

    steps = eqx.filter_jit(lambda key: Scan.of(step, key, n_layers=o.n_steps))(plan.key)
    frame = Chain([to_patches, flat])
    return Flow(StandardNormal(plan.shape), Chain([frame, steps, Invert(frame)]))
