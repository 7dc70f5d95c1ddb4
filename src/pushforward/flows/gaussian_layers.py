"""The builder of Gaussianization: mixing layers, and each coordinate made normal by a mixture of normals."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from pushforward._types import PRNGKeyArray
from pushforward.bijections import Coupling, Elementwise, GaussianMixtureMap, Invert
from pushforward.bijections.base import AbstractBijection
from pushforward.distributions import Flow
from pushforward.flows.build_plan import Plan
from pushforward.flows.stack import stack
from pushforward.nets import MLP


def elementwise(plan: Plan) -> Flow:
    """Mixtures in each coordinate, whose parameters are a network of the condition, if there is one."""
    o = plan.options
    scalar_map = GaussianMixtureMap(o.components, max_log_scale=o.max_log_scale)
    shape = (scalar_map.n_params, plan.dim)
    start = jnp.broadcast_to(scalar_map.spread()[:, None], shape)

    def make(key: PRNGKeyArray) -> AbstractBijection:
        if plan.cond_shape is None:
            return Invert(Elementwise(scalar_map, (plan.dim,), start))
        sizes = {"width": o.width, "depth": o.depth, "activation": o.activation}
        net = MLP(key, 0, shape, cond_shape=plan.cond_shape, **sizes)
        biased = net.weights[-1].at[:, -1].set(start.ravel())
        net = eqx.tree_at(lambda net: net.weights[-1], net, biased)
        return Invert(Coupling(np.ones(plan.dim, bool), net, scalar_map, cond_shape=plan.cond_shape))

    return stack(plan, make)
