"""Layers of images at several scales, from data to latent.

A scale normalises, mixes and couples, squeezes 2 x 2 pixels into channels, and does so again. Then a half of the
channels is given away, and the next scale goes on with the other half. Given away means not touched again: `Partial`
acts on a part of the channels, and Glow's learned prior of the channels given away is one more coupling, which maps
them given the rest. So the latent has the shape of an image, and decodes into one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax

from pushforward._checks import message
from pushforward._types import PRNGKeyArray, Shape
from pushforward.bijections import (
    ActNorm,
    Chain,
    CheckerboardSqueeze,
    Conv1x1,
    Coupling,
    Invert,
    LULinear,
    Partial,
    Scan,
    Squeeze,
    half_split,
)
from pushforward.bijections.base import AbstractBijection
from pushforward.bijections.scalar_maps import AbstractScalarMap, AffineMap
from pushforward.distributions import Flow, StandardNormal
from pushforward.images.zoo.plan import ImagePlan
from pushforward.nets import ConvNet

# From a key and the shape of an event to a layer that keeps the shape.
MakeLayer = Callable[[PRNGKeyArray, Shape], AbstractBijection]
# From a key and the shape of a scale to the layers of the scale, the last of which gives squeezed images.
MakeScale = Callable[[PRNGKeyArray, Shape], list[AbstractBijection]]


def check_scales(name: str, shape: Shape, n_scales: int) -> None:
    """Raise if images cannot be halved so often.

    Raises:
        ValueError: A side is odd at one of the scales.
    """
    most = 0
    while all(side % 2 ** (most + 1) == 0 for side in shape[1:]):
        most += 1
    if n_scales > most:
        fix = f"Use n_scales={most}." if most else "Pad or crop the images to an even height and width."
        raise ValueError(message(name, f"images that can be halved n_scales = {n_scales} times", f"{shape}", fix))


def as_flow(plan: ImagePlan, make: Callable[[PRNGKeyArray], list[AbstractBijection]]) -> Flow:
    """The flow over images whose layers from data to latent follow an `ActNorm` of every pixel.

    It is built under one `jit`: dozens of small operations, each compiled by itself, would take seconds.

    Args:
        plan: Plan of the model.
        make: Function from a key to the layers, in the order from data to latent.
    """

    def built(key: PRNGKeyArray) -> AbstractBijection:
        return Invert(Chain([ActNorm(plan.shape), *make(key)]))

    return Flow(StandardNormal(plan.shape), eqx.filter_jit(built)(plan.key))


def scales(plan: ImagePlan, make_scale: MakeScale) -> Flow:
    """The multi-scale flow of couplings, in each of whose scales but the last a half of the channels is given away.

    Args:
        plan: Plan of the model, with the options `n_scales` and `learned_split`.
        make_scale: Function from a key and a shape to the layers of a scale.

    Raises:
        ValueError: The images cannot be halved so often.
    """
    check_scales(plan.name, plan.shape, plan.options.n_scales)

    def scale(key: PRNGKeyArray, shape: Shape, left: int) -> list[AbstractBijection]:
        own, prior, below = jax.random.split(key, 3)
        layers = make_scale(own, shape)
        squeezed = layers[-1].out_shape
        if left > 1:
            kept = (squeezed[0] // 2, *squeezed[1:])
            if plan.options.learned_split:
                layers.append(image_coupling(plan, prior, squeezed, AffineMap()))
            inner = Chain(scale(below, kept, left - 1))
            layers.append(Partial(inner, range(kept[0]), dim=squeezed[0]))
        return [*layers, Invert(Squeeze(shape))]

    return as_flow(plan, lambda key: scale(key, plan.shape, plan.options.n_scales))


def image_coupling(
    plan: ImagePlan, key: PRNGKeyArray, shape: Shape, scalar_map: AbstractScalarMap, *, first: bool = False
) -> Coupling:
    """A coupling of the halves of the channels with the convolutional network that the options describe.

    Args:
        plan: Plan of the model.
        key: JAX key for the initial weights.
        shape: Shape of an event.
        scalar_map: The map of each number.
        first: Whether the first half is transformed, given the second, or the second half.
    """
    split = ~half_split(shape) if first else half_split(shape)
    n_mapped = int(split[:, 0, 0].sum())
    passing = (shape[0] - n_mapped, *shape[1:])
    o = plan.options
    sizes: Any = {"width": o.width, "depth": o.depth, "cond_shape": plan.cond_shape, "blocks": o.blocks}
    sizes |= {"n_heads": getattr(o, "n_heads", 0), "activation": o.activation}
    net = ConvNet(key, passing, (scalar_map.n_params, n_mapped), **sizes)
    return Coupling(split, net, scalar_map, cond_shape=plan.cond_shape)


def steps(make: MakeLayer, key: PRNGKeyArray, shape: Shape, n_steps: int) -> Scan:
    """Steps of the same kind, scanned."""
    return Scan.of(lambda own: make(own, shape), key, n_layers=n_steps)


def of_colours(make: MakeLayer, key: PRNGKeyArray, shape: Shape, n_steps: int) -> list[AbstractBijection]:
    """Steps on the colours of a checkerboard, and back to images."""
    colours = CheckerboardSqueeze(shape)
    return [colours, steps(make, key, colours.out_shape, n_steps), Invert(colours)]


def glow_step(plan: ImagePlan, scalar_map: AbstractScalarMap) -> MakeLayer:
    """Glow's step: ActNorm of the channels, the invertible 1x1 convolution, a coupling of the halves."""

    def make(key: PRNGKeyArray, shape: Shape) -> AbstractBijection:
        mix, own = jax.random.split(key)
        layers = [ActNorm(shape[0]), LULinear(mix, shape[0])]
        return Chain([*(Conv1x1(layer, shape) for layer in layers), image_coupling(plan, own, shape, scalar_map)])

    return make


def pair_step(plan: ImagePlan, scalar_map: AbstractScalarMap, *, of_pixels: bool) -> MakeLayer:
    """ActNorm and two couplings, of either half of the channels given the other.

    Args:
        plan: Plan of the model.
        scalar_map: The map of each number.
        of_pixels: Whether every pixel of every channel is normalised by itself, or every channel.
    """

    def make(key: PRNGKeyArray, shape: Shape) -> AbstractBijection:
        one, two = jax.random.split(key)
        norm = ActNorm(shape) if of_pixels else Conv1x1(ActNorm(shape[0]), shape)
        couplings = [image_coupling(plan, one, shape, scalar_map)]
        couplings.append(image_coupling(plan, two, shape, scalar_map, first=True))
        return Chain([norm, *couplings])

    return make
