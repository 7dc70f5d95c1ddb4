"""Builders of continuous flows of images: U-Nets on a path, and convolutional fields of several scales."""

from __future__ import annotations

import equinox as eqx
import jax
import numpy as np

from pushforward._types import PRNGKeyArray, Shape
from pushforward.bijections import Chain, Continuous, Invert, Partial, PartialWhitening, Reshape, Squeeze, Standardize
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow, StandardNormal
from pushforward.dynamics import Adaptive, NetworkField, NullableCondition, PredictionField
from pushforward.flows.velocity import PATHS
from pushforward.images.zoo.plan import ImagePlan
from pushforward.nets import TimeConv, UNet
from pushforward.numerics.trace_estimators import Hutchinson


def _solver(plan: ImagePlan) -> Adaptive:
    o = plan.options
    return Adaptive(o.method, rtol=o.tolerance, atol=o.tolerance)


def regression(plan: ImagePlan) -> Flow:
    """The flow of a U-Net on a path, which is trained by regression."""
    o = plan.options
    path, predicts, noise = PATHS[plan.name](plan)

    sizes = {name: getattr(o, name) for name in ("width", "depth", "n_scales", "n_heads", "n_frequencies")}
    # Built under one `jit`: dozens of small operations, each compiled by itself, would take seconds.
    net = eqx.filter_jit(lambda key: UNet(key, plan.shape, cond_shape=plan.cond_shape, **sizes))(plan.key)
    # A class is a one-hot vector, so that zeros can mean "no class".
    field = PredictionField(net if plan.cond_shape is None else NullableCondition(net, told=False), path, predicts)  # pyright: ignore[reportArgumentType]
    # A random trace, which ends with training: `evaluation_form` takes the exact one where that is cheap enough.
    layers: list[AbstractBijection] = [Continuous(field, Hutchinson(), _solver(plan))]
    if noise != 1:
        layers.insert(0, Standardize(np.zeros(plan.shape), np.full(plan.shape, float(noise))))
    if o.whiten:
        flat = Reshape(plan.shape, (plan.size,))
        layers += [flat, PartialWhitening(plan.size, standardises=True), Reshape((plan.size,), plan.shape)]
    return Flow(StandardNormal(plan.shape), layers[0] if len(layers) == 1 else Chain(layers))


def ffjord(plan: ImagePlan) -> Flow:
    """Convolutional fields at each scale, half of whose channels pass from one scale to the next."""
    return Flow(StandardNormal(plan.shape), _scale(plan, plan.key, plan.shape, plan.options.n_scales))


def _scale(plan: ImagePlan, key: PRNGKeyArray, shape: Shape, n_scales: int) -> AbstractBijection:
    """From latent to data: the coarser scales on half of the channels of the squeezed image, and then the fields."""
    own, key = jax.random.split(key)
    trace, solver = Hutchinson(plan.options.n_probes), _solver(plan)
    layers: list[AbstractBijection] = []
    if n_scales > 1:
        squeeze = Squeeze(shape)
        channels, height, width = squeeze.out_shape
        half = (channels // 2, height, width)
        coarse = Partial(_scale(plan, key, half, n_scales - 1), range(half[0]), dim=channels)
        layers = [squeeze, coarse, Invert(squeeze)]
    for k in jax.random.split(own, plan.options.n_layers):
        layers.append(Continuous(NetworkField(_conv_net(plan, k, shape)), trace, solver))
    return layers[0] if len(layers) == 1 else Chain(layers)


def _conv_net(plan: ImagePlan, key: PRNGKeyArray, shape: Shape) -> TimeConv:
    o = plan.options
    sizes = {"width": o.width, "depth": o.depth, "n_frequencies": o.n_frequencies}
    return eqx.filter_jit(lambda key: TimeConv(key, shape, cond_shape=plan.cond_shape, mixing=o.mixing, **sizes))(key)
