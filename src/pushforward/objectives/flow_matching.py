"""Flow matching: a velocity field, or any prediction of a diffusion, by regression along paths."""

from __future__ import annotations

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from pushforward._checks import as_key, message
from pushforward._types import Array, PRNGKeyArray
from pushforward.distributions import AbstractDistribution
from pushforward.dynamics import BridgeField, MaskedCondition, NetworkField, NullableCondition, PredictionField
from pushforward.objectives.base import AbstractObjective, Rows
from pushforward.objectives.drawn_times import AbstractTimes, UniformTimes, stratified
from pushforward.objectives.field_view import view
from pushforward.objectives.regression import prediction_error
from pushforward.paths import AbstractPath, LinearPath, OptimalTransport
from pushforward.paths.pairings import AbstractPairing, Independent


class FlowMatching(AbstractObjective):
    r"""Regression on velocity, $\mathbb{E}\,|v_\theta(t, x_t) - \dot x_t|^2$ at $x_t = \alpha(t) x_1 + \sigma(t) x_0$.

    Here $x_1$ are rows of data and $x_0$ noise. The minimum is the velocity that carries the noise to the data; the
    loss itself is no density, and `fit` computes log-densities of the held-out rows when training is done. A field
    that predicts noise, data or a score is trained to predict that, on its own path.

    The times of a batch are stratified: one uniform number decides them all, so that each stretch of time has its rows.

    Args:
        path: Path of a field that predicts velocities (`NetworkField`); a `PredictionField` brings its own.
        pairing: Pairing of noise and data: `Independent()`, `OptimalTransport()` or `Sinkhorn()`.
        times: Law of the times: `UniformTimes()` or `LogitNormalTimes()`.
        drop_condition: The probability with which a row is trained without its condition, for `dynamics.guided`; more
            than 0 needs a network that is a `dynamics.NullableCondition`.

    Raises:
        ValueError: `drop_condition` is no probability.
        TypeError: The flow is not a `Continuous` one with nothing else to train, or its field is a bridge.

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
    drop_condition: float = eqx.field(static=True)
    in_nats: ClassVar[bool] = False
    is_regression: ClassVar[bool] = True
    trains: ClassVar = "field"
    names: ClassVar = {
        "flow_matching": lambda field: FlowMatching(),
        "optimal_transport": lambda field: FlowMatching(pairing=OptimalTransport()),
    }

    def __init__(
        self,
        path: AbstractPath | None = None,
        pairing: AbstractPairing | None = None,
        times: AbstractTimes | None = None,
        drop_condition: float = 0.0,
    ):
        if not 0 <= drop_condition <= 1:
            fix = "0.1 is usual."
            raise ValueError(message("FlowMatching", "0 <= drop_condition <= 1", repr(drop_condition), fix))
        self.drop_condition = float(drop_condition)
        self.path = LinearPath() if path is None else path
        self.pairing = Independent() if pairing is None else pairing
        self.times = UniformTimes() if times is None else times

    def per_row(
        self, flow: AbstractDistribution, x: Rows, condition: Rows | None = None, key: PRNGKeyArray | None = None
    ) -> Array:
        """The squared error of each row at one time, with one draw of noise, `(n,)`."""
        seen = view("FlowMatching", flow, x, condition, as_key("FlowMatching", key))
        time_key, noise_key, pair_key, drop_key = jax.random.split(seen.key, 4)
        rows, field = seen.x, seen.layer.field
        if isinstance(field, BridgeField):
            fix = "Train it by BridgeMatching: this loss would leave its score as it is."
            raise TypeError(message("FlowMatching", "a field of one network", "a BridgeField", fix))
        path = field.path if isinstance(field, PredictionField) else self.path
        t = path.start + (path.end - path.start) * self.times(stratified(time_key, rows.shape[-1], rows.dtype))
        scale = path.sigma(jnp.asarray(path.start, rows.dtype))
        noise = seen.draw(noise_key) / scale
        noise = self.pairing(noise, rows, seen.condition, pair_key)
        where, velocity = path.between(t, noise, rows)
        given: Any = seen.condition
        if self.drop_condition > 0:
            net = field.net if isinstance(field, NetworkField | PredictionField) else field
            if not isinstance(net, NullableCondition) or given is None:
                fix = "Build the field over dynamics.NullableCondition(net), or leave drop_condition out."
                expected = "a NullableCondition, to drop conditions of"
                raise TypeError(message("FlowMatching", expected, type(net).__name__, fix))
            given = MaskedCondition(given, jax.random.bernoulli(drop_key, 1 - self.drop_condition, t.shape))
        if isinstance(field, PredictionField):
            error = prediction_error(field, t, where, velocity, noise, rows, given)
        else:
            error = jnp.sum((field(t, where, given) - velocity) ** 2, axis=tuple(range(rows.ndim - 1)))
        return error - seen.log_prob
