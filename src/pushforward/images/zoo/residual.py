"""Builders of contractive residual layers of images: i-ResNet and Residual Flow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax

from pushforward._types import PRNGKeyArray, Shape
from pushforward.bijections import ActNorm, Chain, Conv1x1, Invert, Reshape, Residual, Scan, Squeeze
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.images.zoo.multiscale import as_flow, check_scales
from pushforward.images.zoo.plan import ImagePlan
from pushforward.nets import LipschitzConvNet, LipschitzMLP
from pushforward.nets.lipschitz import AbstractContraction
from pushforward.numerics.log_det_series import AbstractLogDet, Poisson, RussianRoulette, Truncated
from pushforward.numerics.trace_estimators import Hutchinson

# Sides of the kernels of each network, as in Residual Flows.
KERNELS = (3, 1, 3)
# Width of the fully connected networks at the end, as in Residual Flows.
DENSE_WIDTH = 128
MakeNet = Callable[[PRNGKeyArray], AbstractContraction]


def contractive(plan: ImagePlan) -> Flow:
    """Contractive layers at several scales without channels that are given away, and fully connected ones at the end.

    Raises:
        ValueError: The images cannot be halved so often.
    """
    o = plan.options
    check_scales(plan.name, plan.shape, o.n_scales - 1)
    probes, n_exact = Hutchinson(o.n_probes), getattr(o, "n_exact", None)
    log_det: AbstractLogDet = (
        Truncated(o.n_terms, probes) if n_exact is None else RussianRoulette(Poisson(2.0), n_exact, probes)
    )
    bounds: Any = {"cond_shape": plan.cond_shape, "lipschitz": o.lipschitz}

    def stack(key: PRNGKeyArray, norm: Callable[[], AbstractBijection], net: MakeNet, n: int) -> Scan:
        return Scan.of(lambda own: Chain([Residual(net(own), log_det), norm()]), key, n_layers=n)

    def scale(key: PRNGKeyArray, shape: Shape, left: int) -> list[AbstractBijection]:
        own, below = jax.random.split(key)

        def net(key: PRNGKeyArray) -> AbstractContraction:
            return LipschitzConvNet(key, shape, width=o.width, kernels=KERNELS, **bounds)

        layers: list[AbstractBijection] = [stack(own, lambda: Conv1x1(ActNorm(shape[0]), shape), net, o.n_steps)]
        if left == 1:
            return layers
        squeeze = Squeeze(shape)
        return [*layers, squeeze, *scale(below, squeeze.out_shape, left - 1), Invert(squeeze)]

    def layers(key: PRNGKeyArray) -> list[AbstractBijection]:
        convolutions, dense = jax.random.split(key)
        made = scale(convolutions, plan.shape, o.n_scales)
        if o.n_dense:
            flat = Reshape(plan.shape, (plan.size,))

            def net(key: PRNGKeyArray) -> AbstractContraction:
                return LipschitzMLP(key, plan.size, width=DENSE_WIDTH, depth=1, **bounds)

            made += [flat, stack(dense, lambda: ActNorm(plan.size), net, o.n_dense), Invert(flat)]
        return made

    return as_flow(plan, layers)
