r"""The field of a bridge, with one network for its lines and one for its score, and the two equations they give."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from pushforward._checks import message
from pushforward._types import Array, Shape
from pushforward.dynamics.fields import AbstractField, closed_form
from pushforward.nets.base import event_shape_of
from pushforward.paths.brownian_bridge import BridgePath


class BridgeField(AbstractField):
    r"""The velocity $v = u - (1 - 2t)\,h$, $u = \mathbb{E}[x_1 - x_0 \mid x_t]$, $h = \frac12\sigma^2 \nabla \log p_t$.

    This is the probability-flow velocity of `BridgePath`, so that `Continuous` samples and scores by it. The SDE with
    the same marginals is $dx = (v + h)\,dt + \sigma\,dw$; `draw(field, key, n, ReverseSDE(...))` solves it.

    The velocity of a pair, $x_1 - x_0 + \dot\sigma_t z$, is infinite at both ends and its variance is not integrable.
    Its conditional mean is finite, and is combined here from two means with finite losses.

    Args:
        velocity_net: Network for $u$, of time, event and condition, such as `TimeMLP`.
        score_net: Network for $h$, of the same arguments.
        sigma: Noise level of the path.

    Raises:
        ValueError: the networks' shapes differ, or `sigma` is not positive.

    Source: Tong, Malkin, Fatras et al., 2024, arXiv 2307.03672; Albergo, Boffi, Vanden-Eijnden, 2023, eq. 2.10-2.14,
        arXiv 2303.08797.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.dynamics import BridgeField, ReverseSDE, draw
        >>> nets = [pf.nets.TimeMLP(key, 2, width=8) for key in jax.random.split(jax.random.key(0))]
        >>> field = BridgeField(*nets, sigma=0.5)
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.Continuous(field))
        >>> draw(field, jax.random.key(1), 3, ReverseSDE(20)).shape
        (3, 2)
    """

    velocity_net: Any
    score_net: Any
    path: BridgePath
    shape: Shape = eqx.field(static=True)
    cond_shape: Shape | None = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, velocity_net: Any, score_net: Any, sigma: float):
        first, second = ((event_shape_of(net), net.cond_shape) for net in (velocity_net, score_net))
        if first != second:
            expected, got = "two networks of one event shape and cond_shape", f"{first} and {second}"
            raise ValueError(message("BridgeField", expected, got, "Build both with the same sizes."))
        self.velocity_net, self.score_net, self.path = velocity_net, score_net, BridgePath(sigma)
        self.shape, self.cond_shape = first
        self.start, self.end = self.path.start, self.path.end

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        share = 1 - 2 * jnp.asarray(t, x.dtype)
        return self.velocity_net(t, x, condition) - share * self.score_net(t, x, condition)

    def score(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        r"""The score $\nabla_x \log p_t(x)$ as the network estimates it."""
        return (2 / self.path.sigma**2) * self.score_net(t, x, condition)

    def sde_drift(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        r"""The drift $v + \frac12 \sigma^2 \nabla \log p_t$ of the SDE from noise to data."""
        return self.velocity_net(t, x, condition) + 2 * jnp.asarray(t, x.dtype) * self.score_net(t, x, condition)

    def closed_form(self) -> Any:
        both = closed_form(self.velocity_net), closed_form(self.score_net)
        return None if any(part is None for part in both) else both

    def value_and_divergence(self, t: Array, x: Array, condition: Array | None, closed: Any) -> tuple[Array, Array]:
        lines, lines_trace = self.velocity_net.value_and_trace(t, x, condition, closed[0])
        score, score_trace = self.score_net.value_and_trace(t, x, condition, closed[1])
        share = 1 - 2 * jnp.asarray(t, x.dtype)
        return lines - share * score, lines_trace - share * score_trace
