"""Flow matching: a velocity field, or any prediction of a diffusion, by regression along paths."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, message
from pushforward._types import Array, PRNGKeyArray, trainable
from pushforward._vectorize import split_batch
from pushforward.bijections import Chain, Continuous
from pushforward.bijections.base import AbstractBijection, run_batch
from pushforward.distributions import AbstractDistribution, Flow, StandardNormal
from pushforward.dynamics import PredictionField
from pushforward.objectives.base import AbstractObjective, Rows, weighted_mean
from pushforward.paths import AbstractPath, LinearPath
from pushforward.paths.pairings import AbstractPairing, Independent


class AbstractTimes(eqx.Module):
    """How the times of a batch are drawn, from uniform numbers."""

    @abstractmethod
    def __call__(self, uniform: Array) -> Array:
        """Times in (0, 1) from numbers in (0, 1), by the quantile function."""


class UniformTimes(AbstractTimes):
    """Every time alike."""

    def __call__(self, uniform: Array) -> Array:
        return uniform


class LogitNormalTimes(AbstractTimes):
    r"""$t = \operatorname{sigmoid}(m + s\,\epsilon)$: more of the times in between, where the velocity is hard.

    Args:
        loc: $m$.
        scale: $s$.

    Source: Esser et al., 2024, section 3.1, arXiv 2403.03206.
    """

    loc: float = eqx.field(static=True)
    scale: float = eqx.field(static=True)

    def __init__(self, loc: float = 0.0, scale: float = 1.0):
        if not scale > 0:
            raise ValueError(message("LogitNormalTimes", "scale > 0", repr(scale), "1 is usual."))
        self.loc, self.scale = float(loc), float(scale)

    def __call__(self, uniform: Array) -> Array:
        return jax.nn.sigmoid(self.loc + self.scale * jax.scipy.special.ndtri(uniform))


class FlowMatching(AbstractObjective):
    r"""$\mathbb{E}\,|v_\theta(t, x_t) - \dot x_t|^2$ with $x_t = \alpha(t) x_1 + \sigma(t) x_0$.

    Here $x_1$ are rows of data and $x_0$ noise. The minimum is the velocity that carries the noise to the data; the
    loss itself is no density, and `fit` computes log-densities of the held-out rows when training is done. A field
    that predicts noise, data or a score is trained to predict that, on its own path.

    The times of a batch are stratified: one uniform number decides them all, so that each stretch of time has its rows.

    Args:
        path: of a field that predicts velocities (`NetworkField`); a `PredictionField` brings its own.
        pairing: `Independent()` or `OptimalTransport()`.
        times: `UniformTimes()` or `LogitNormalTimes()`.

    Raises:
        TypeError: the flow is not a `Continuous` one over a standard normal, with nothing else to train.

    Source: Lipman, Chen, Ben-Hamu, Nickel, Le, 2023, eq. 14, arXiv 2210.02747; Liu, Gong, Liu, 2023, arXiv 2209.03003.

    Example:
        >>> import jax, pushforward as pf
        >>> net = pf.nets.TimeMLP(jax.random.key(0), 2, width=8)
        >>> flow = pf.Flow(pf.StandardNormal((2,)), pf.bijections.Continuous(pf.dynamics.NetworkField(net)))
        >>> loss = pf.objectives.FlowMatching()(flow, jax.numpy.zeros((4, 2)), None, None, jax.random.key(1))
        >>> loss.shape
        ()
    """

    path: AbstractPath
    pairing: AbstractPairing
    times: AbstractTimes
    in_nats: bool = eqx.field(static=True)

    def __init__(
        self,
        path: AbstractPath | None = None,
        pairing: AbstractPairing | None = None,
        times: AbstractTimes | None = None,
    ):
        self.path = LinearPath() if path is None else path
        self.pairing = Independent() if pairing is None else pairing
        self.times = UniformTimes() if times is None else times
        self.in_nats = False

    def __call__(
        self,
        flow: AbstractDistribution,
        x: Rows,
        condition: Rows | None = None,
        weights: Rows | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Array:
        """The weighted mean of the squared errors of a batch, a scalar."""
        return weighted_mean(self.per_row(flow, x, condition, key), weights)

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The squared error of each row at one time, with one draw of noise, `(n,)`."""
        layer, units = _split(flow)
        rows = jnp.moveaxis(split_batch("FlowMatching", "x", x, flow.event_shape)[0], 0, -1)
        given = None if condition is None else jnp.moveaxis(jnp.asarray(condition), 0, -1)
        for member in reversed(units):
            rows = run_batch(member, rows, given, None, False)[0]
        time_key, noise_key = jax.random.split(as_key("FlowMatching", key))
        n = rows.shape[-1]
        start = jax.random.uniform(time_key, (), rows.dtype)
        # Strictly inside: quantile functions are infinite at 0 and 1.
        uniform = (jnp.arange(n) + 0.5 * (1 + start)) / (n + 1)
        noise = self.pairing(jax.random.normal(noise_key, rows.shape, rows.dtype), rows, given)
        field = layer.field
        path = field.path if isinstance(field, PredictionField) else self.path
        t = path.start + (path.end - path.start) * self.times(uniform.astype(rows.dtype))
        where, velocity = path.between(t, noise, rows)
        if isinstance(field, PredictionField):
            true = {"velocity": velocity, "noise": noise, "data": rows, "score": noise}[field.predicts]
            got = field.predict(t, where, given)
            # The error of a score, times sigma: that of the noise it stands for.
            got = -path.sigma(t) * got if field.predicts == "score" else got
        else:
            true, got = velocity, field(t, where, given)
        return jnp.sum((got - true) ** 2, axis=tuple(range(rows.ndim - 1)))


def _split(flow: AbstractDistribution) -> tuple[Continuous, tuple[AbstractBijection, ...]]:
    """The continuous layer of a flow, and the fixed bijections from its data to the user's."""
    expected = "a Flow of StandardNormal and Continuous, perhaps followed by fixed bijections"
    fix = "Build one, or train by maximum likelihood."
    if isinstance(flow, Flow) and isinstance(flow.base, StandardNormal):
        members: Any = flow.bijection.bijections if isinstance(flow.bijection, Chain) else (flow.bijection,)
        if isinstance(members[0], Continuous) and not jax.tree.leaves(trainable(members[1:])[0]):
            return members[0], tuple(members[1:])
    raise TypeError(message("FlowMatching", expected, type(flow).__name__, fix))
