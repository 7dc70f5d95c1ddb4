"""The law of learned noise: a small conditional flow of an image given the image."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._types import Array, PRNGKeyArray
from pushforward.bijections import AffineMap, Chain, CheckerboardSqueeze, Coupling, EmbedCondition, Invert, half_split
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import ConditionalNormal, Flow, VariationalDequantizer
from pushforward.nets.conv import ConvNet

# The noise starts nearly even over a level: a normal of this deviation, through the sigmoid, is the nearest to uniform.
EVEN = 1.6


class NormalNet(eqx.Module):
    """Means and log-deviations of each pixel's noise, of which only the deviations of an untrained net are not 0."""

    net: ConvNet

    def __call__(self, image: Array) -> Array:
        mean, log_scale = self.net(image[..., None])[..., 0]
        return jnp.stack([mean, log_scale + jnp.log(EVEN)])


class Coloured(eqx.Module):
    """An image in the order of a checkerboard, as the couplings' condition."""

    squeeze: CheckerboardSqueeze

    def __call__(self, image: Array) -> Array:
        return self.squeeze.forward(image)


def learned_noise(
    key: PRNGKeyArray, shape: tuple[int, int, int], *, n_layers: int = 4, width: int = 32
) -> VariationalDequantizer:
    """Learned noise for images: a normal whose parameters are a network of the image, then checkerboard couplings.

    Images of odd width have the normal alone.

    Args:
        key: JAX key for the initial weights.
        shape: Shape `(C, H, W)` of an image.
        n_layers: Number of couplings.
        width: Number of channels of the hidden layers.
    """
    own, *keys = jax.random.split(key, 1 + n_layers)
    net = NormalNet(ConvNet(own, shape, (2, shape[0]), width=width, depth=2, blocks="residual"))
    base = ConditionalNormal(net, shape, shape)
    if shape[2] % 2 or not n_layers:
        return VariationalDequantizer(base)
    squeeze = CheckerboardSqueeze(shape)
    colours = squeeze.out_shape
    layers: list[AbstractBijection] = []
    for i, one in enumerate(keys):
        split = half_split(colours) if i % 2 else ~half_split(colours)
        half = (colours[0] // 2, *colours[1:])
        conditioner = ConvNet(one, half, (2, half[0]), width=width, depth=2, blocks="residual", cond_shape=colours)
        layers.append(Coupling(split, conditioner, AffineMap(), cond_shape=colours))
    inner = Chain([squeeze, EmbedCondition(Chain(layers), Coloured(squeeze), shape), Invert(squeeze)])
    return VariationalDequantizer(Flow(base, inner))
