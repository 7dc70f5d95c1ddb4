"""Builders of the couplings of images: NICE, RealNVP, Glow and Flow++."""

from __future__ import annotations

import jax

from pushforward._types import PRNGKeyArray, Shape
from pushforward.bijections import (
    ActNorm,
    AdditiveMap,
    AffineMap,
    Chain,
    Coupling,
    Invert,
    LogisticMixtureMap,
    Reshape,
    Scan,
    SigmoidAffineMap,
    Squeeze,
    alternating_split,
)
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.images.zoo.multiscale import as_flow, check_scales, glow_step, of_colours, pair_step, scales, steps
from pushforward.images.zoo.plan import ImagePlan
from pushforward.nets import MLP

# How many of the couplings of Flow++ stand where: 4 on a checkerboard, 2 of channels, 3 on a checkerboard again.
CHANNEL_SHARE = 2


def nice(plan: ImagePlan) -> Flow:
    """Additive couplings of every other number of an image given the rest, and a scale for each."""
    o = plan.options
    split = alternating_split(plan.size)

    def make(key: PRNGKeyArray) -> AbstractBijection:
        couplings = []
        for mask, own in zip((split, ~split), jax.random.split(key), strict=True):
            n_mapped = int(mask.sum())
            net = MLP(
                own,
                plan.size - n_mapped,
                (1, n_mapped),
                width=o.width,
                depth=o.depth,
                cond_shape=plan.cond_shape,
                activation=o.activation,
            )
            couplings.append(Coupling(mask, net, AdditiveMap(), cond_shape=plan.cond_shape))
        return Chain(couplings)

    def layers(key: PRNGKeyArray) -> list[AbstractBijection]:
        flat = Reshape(plan.shape, (plan.size,))
        return [flat, Scan.of(make, key, n_layers=o.n_steps), ActNorm(plan.size), Invert(flat)]

    return as_flow(plan, layers)


def realnvp(plan: ImagePlan) -> Flow:
    """Couplings on a checkerboard and, after the squeeze, of channels, at several scales."""
    step = pair_step(plan, AffineMap(), of_pixels=False)

    def scale(key: PRNGKeyArray, shape: Shape) -> list[AbstractBijection]:
        one, two = jax.random.split(key)
        squeeze, n_steps = Squeeze(shape), plan.options.n_steps
        return [*of_colours(step, one, shape, n_steps), squeeze, steps(step, two, squeeze.out_shape, n_steps)]

    return scales(plan, scale)


def glow(plan: ImagePlan) -> Flow:
    """Glow's steps on squeezed images, at several scales."""
    scalar_map = SigmoidAffineMap() if plan.options.scale == "sigmoid" else AffineMap()
    step = glow_step(plan, scalar_map)

    def scale(key: PRNGKeyArray, shape: Shape) -> list[AbstractBijection]:
        squeeze = Squeeze(shape)
        return [squeeze, steps(step, key, squeeze.out_shape, plan.options.n_steps)]

    return scales(plan, scale)


def flowpp(plan: ImagePlan) -> Flow:
    """The layout of Flow++: checkerboard couplings, a squeeze, couplings of channels, checkerboard couplings."""
    check_scales(plan.name, plan.shape, 1)
    o = plan.options
    step = pair_step(plan, LogisticMixtureMap(o.components), of_pixels=True)

    def layers(key: PRNGKeyArray) -> list[AbstractBijection]:
        one, two, three = jax.random.split(key, 3)
        squeeze = Squeeze(plan.shape)
        few = max(1, o.n_steps // CHANNEL_SHARE)
        made = [*of_colours(step, one, plan.shape, o.n_steps), squeeze, steps(step, two, squeeze.out_shape, few)]
        if squeeze.out_shape[2] % 2 == 0:
            made += of_colours(step, three, squeeze.out_shape, o.n_steps)
        else:
            made.append(steps(step, three, squeeze.out_shape, o.n_steps))
        return [*made, Invert(squeeze)]

    return as_flow(plan, layers)
