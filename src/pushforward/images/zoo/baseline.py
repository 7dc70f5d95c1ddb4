"""Builders of the models that others are measured against."""

from __future__ import annotations

from pushforward.bijections import Chain, GaussianStart, Reshape
from pushforward.distributions import Flow, StandardNormal
from pushforward.images.zoo.plan import ImagePlan


def gaussian(plan: ImagePlan) -> Flow:
    """A standard normal image through one affine map of all its numbers, which is the identity until it is set."""
    flat = Reshape(plan.shape, (plan.size,))
    layer = GaussianStart(plan.size, None if plan.cond_shape is None else plan.cond_shape[0])
    return Flow(StandardNormal(plan.shape), Chain([flat, layer, Reshape((plan.size,), plan.shape)]))
