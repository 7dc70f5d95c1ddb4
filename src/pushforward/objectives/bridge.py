"""Schrodinger bridges and stochastic interpolants: velocity and score by one regression along Brownian bridges."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp

from pushforward._checks import as_key, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.dynamics import BridgeField
from pushforward.objectives.base import AbstractObjective, Rows
from pushforward.objectives.drawn_times import AbstractTimes, UniformTimes, stratified
from pushforward.objectives.field_view import view
from pushforward.paths import Sinkhorn
from pushforward.paths.pairings import AbstractPairing


class BridgeMatching(AbstractObjective):
    r"""Regression on bridges, $\mathbb{E}\,|u_\theta(t, x_t) - (x_1 - x_0)|^2 + |\lambda_t h_\theta(t, x_t) + z|^2$.

    Here $x_t = t x_1 + (1-t) x_0 + \sigma_t z$ with $\sigma_t = \sigma\sqrt{t(1-t)}$, and $\lambda_t = 2 \sigma_t /
    \sigma^2$. The minimum is the pair of networks of `BridgeField`: $u$ the mean velocity of the lines and $h$ half of
    $\sigma^2$ times the score. The weight keeps the target of the score, $-z/\lambda_t$, from being infinite at the
    ends. Noise $x_0$ is drawn from the flow's base, which may be any distribution.

    Args:
        pairing: Pairing of the batch's noise and data; None is the Schrodinger bridge, `Sinkhorn(2 * sigma**2)` with
            the field's $\sigma$, which needs ott-jax. With `Independent()` it is a stochastic interpolant, with
            `OptimalTransport()` near the bridge of a small $\sigma$.
        times: Law of the times: `UniformTimes()` or `LogitNormalTimes()`.

    Raises:
        ImportError: Ott-jax is not installed and no pairing is given.
        TypeError: The field is no `BridgeField`, or the flow not a `Continuous` one with nothing else to train.

    Source: Tong, Malkin, Fatras et al., 2024, eq. 9 and section 4, arXiv 2307.03672; Albergo, Boffi, Vanden-Eijnden,
        2023, theorem 2.8, arXiv 2303.08797.

    Example:
        >>> import jax, pushforward as pf
        >>> from pushforward.dynamics import BridgeField
        >>> nets = [pf.nets.TimeMLP(key, 2, width=8) for key in jax.random.split(jax.random.key(0))]
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.Continuous(BridgeField(*nets, sigma=0.5)))
        >>> matching = pf.objectives.BridgeMatching(pf.paths.OptimalTransport())
        >>> matching(flow, jax.numpy.zeros((4, 2)), None, None, jax.random.key(1)).shape
        ()
    """

    pairing: AbstractPairing | None
    times: AbstractTimes
    in_nats: ClassVar[bool] = False
    is_regression: ClassVar[bool] = True
    trains: ClassVar = "field"

    def __init__(self, pairing: AbstractPairing | None = None, times: AbstractTimes | None = None):
        self.pairing = pairing
        self.times = UniformTimes() if times is None else times

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The squared errors of both networks at one time of each row, `(n,)`."""
        seen = view("BridgeMatching", flow, x, condition, as_key("BridgeMatching", key))
        rows, field = seen.x, seen.layer.field
        if not isinstance(field, BridgeField):
            fix = "Build Continuous(BridgeField(velocity_net, score_net, sigma)); others are for FlowMatching."
            raise TypeError(message("BridgeMatching", "a BridgeField", type(field).__name__, fix))
        sigma = field.path.sigma
        pairing = Sinkhorn(2 * sigma**2) if self.pairing is None else self.pairing
        time_key, noise_key, pair_key, between_key = jax.random.split(seen.key, 4)
        t = self.times(stratified(time_key, rows.shape[-1], rows.dtype))
        noise = seen.draw(noise_key)
        noise = pairing(noise, rows, seen.condition, pair_key)
        z = jax.random.normal(between_key, rows.shape, rows.dtype)
        where = field.path.between(t, noise, rows, z)
        lines = field.velocity_net(t, where, seen.condition) - (rows - noise)
        score = (2 / sigma**2) * field.path.spread(t) * field.score_net(t, where, seen.condition) + z
        return jnp.sum(lines**2 + score**2, axis=tuple(range(rows.ndim - 1))) - seen.log_prob
