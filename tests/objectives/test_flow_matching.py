"""Flow matching: its minimum in closed form, pairings, times, and what `fit` makes of a loss that is no density."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Continuous
from pushforward.dynamics import NetworkField, PredictionField
from pushforward.nets import TimeMLP
from pushforward.objectives import FlowMatching, LogitNormalTimes
from pushforward.paths import LinearPath, OptimalTransport, VariancePreservingPath, convert

KEY = jax.random.key(3)


class Known(eqx.Module):
    """The conditional mean for data from N(0, v): of the noise, or what a path makes of it."""

    variance: Array
    path: Any
    wants: str = eqx.field(static=True)
    shift: float = eqx.field(static=True)
    dim: int = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)

    def __init__(self, variance: float, path: Any, wants: Any, shift: float = 0.0):
        self.variance, self.path, self.wants, self.shift = jnp.asarray(variance), path, wants, shift
        self.dim, self.cond_shape = 1, None

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        c = self.path.at(t)
        noise = c.sigma * x / (c.alpha**2 * self.variance + c.sigma**2)
        return convert(self.path, t, x, noise, "noise", self.wants) + self.shift  # type: ignore[arg-type]


@pytest.mark.parametrize("shift", [0.0, 0.5])
def test_the_best_field_has_the_smallest_loss(shift: float) -> None:
    r"""Of N(0, v) the loss of the best velocity is E Var(velocity given x); a field moved by 0.5 loses 0.25 more."""
    variance, path = 4.0, LinearPath()
    flow = pf.Flow(pf.StandardNormal((1,)), Continuous(NetworkField(Known(variance, path, "velocity", shift))))
    n = 40_000
    x = 2 * jax.random.normal(KEY, (n, 1))
    rows = np.asarray(FlowMatching()(flow, x, None, None, jax.random.key(1)))
    t = (np.arange(1000) + 0.5) / 1000
    # Var(x1 - x0) - Cov(x1 - x0, x_t)^2 / Var(x_t), by hand.
    spread, together = t**2 * variance + (1 - t) ** 2, t * variance - (1 - t)
    expected = np.mean(variance + 1 - together**2 / spread)
    each = np.asarray(FlowMatching().per_row(flow, x, None, jax.random.key(1)))
    error = each.std() / np.sqrt(n)
    assert abs(rows - expected - shift**2) < 4 * error
    assert bool(abs(rows - expected) < 4 * error) is (shift == 0.0)


def test_a_diffusion_learns_what_it_predicts() -> None:
    """The noise's error of the exact predictor is that of a normal: E sigma^2 ... over the path."""
    variance, path = 0.5, VariancePreservingPath(0.1, 8.0)

    class Scaled(eqx.Module):
        inner: Known
        dim: int = eqx.field(static=True, default=1)
        cond_shape: tuple[int, ...] | None = eqx.field(static=True, default=None)

        def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
            c = path.at(t)
            return self.inner(t, x * jnp.sqrt(c.alpha**2 + c.sigma**2))

    field = PredictionField(Scaled(Known(variance, path, "noise")), path, "noise")
    flow = pf.Flow(pf.StandardNormal((1,)), Continuous(field))
    x = variance**0.5 * jax.random.normal(KEY, (20_000, 1))
    each = np.asarray(FlowMatching().per_row(flow, x, None, jax.random.key(1)))
    c = path.at(path.end * (jnp.arange(1000) + 0.5) / 1000)
    expected = float(jnp.mean(1 - c.sigma**2 / (c.alpha**2 * variance + c.sigma**2)))
    assert abs(each.mean() - expected) < 4 * each.std() / np.sqrt(len(each))


def test_optimal_transport_is_the_assignment_of_scipy() -> None:
    rng = np.random.default_rng(0)
    noise, data = rng.standard_normal((2, 3, 20))
    got = np.asarray(jax.jit(OptimalTransport())(noise, data, None, KEY))
    cost = ((data[:, :, None] - noise[:, None, :]) ** 2).sum(axis=0)
    np.testing.assert_allclose(got, noise[:, linear_sum_assignment(cost)[1]])
    assert not np.allclose(got, noise)


def test_conditions_in_the_cost_keep_the_noise_independent_of_them() -> None:
    """With two conditions whose rows lie apart, plain pairing gives each its own half of the noise: the bias."""
    rng = np.random.default_rng(0)
    condition = np.repeat([0.0, 1.0], 100)[None]
    data, noise = 5 * condition + rng.standard_normal((1, 200)), rng.standard_normal((1, 200))
    for weight, biased in ((0.0, True), (None, False)):
        rows = [jnp.asarray(part) for part in (noise, data, condition)]
        got = np.asarray(OptimalTransport(weight)(rows[0], rows[1], rows[2], KEY))
        apart = got[condition == 1].mean() - got[condition == 0].mean()
        assert bool(apart > 1.0) is biased
    assert abs(apart) < 0.5


def test_logit_normal_times() -> None:
    t = np.asarray(LogitNormalTimes(1.0, 0.5)((jnp.arange(2000) + 0.5) / 2000))
    logit = np.log(t / (1 - t))
    np.testing.assert_allclose([logit.mean(), logit.std()], [1.0, 0.5], atol=5e-3)


@pytest.mark.thorough
def test_fit_ends_with_a_density_in_the_units_of_the_data() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2000, 2)) @ [[20.0, 0.0], [15.0, 0.1]] + [100.0, -1.0]
    net = TimeMLP(KEY, 2, width=32, depth=2, n_frequencies=1)
    flow = pf.Flow(pf.StandardNormal((2,)), Continuous(NetworkField(net)))
    result = pf.fit(
        flow,
        x,
        key=KEY,
        objective=FlowMatching(),
        max_epochs=60,
        progress=False,
        options=pf.training.Preprocess(pf.Standardize.fit(x)),
    )
    truth = -1 - np.log(2 * np.pi) - 0.5 * np.linalg.slogdet(np.cov(x.T))[1]
    assert result.verdict.held_out_nats == pytest.approx(truth, abs=0.2)
    assert np.mean(np.asarray(result.flow.log_prob(x))) == pytest.approx(truth, abs=0.1)
    assert result.verdict.standard_error is not None
    # The history has the loss, which is no density.
    assert result.history["held_out_nats"][-1] < 0


def test_other_flows_are_refused() -> None:
    with pytest.raises(TypeError, match="one Continuous"):
        FlowMatching()(pf.flows.realnvp(KEY, dim=2, linear="reverse"), jnp.zeros((4, 2)), None, None, KEY)
    with pytest.raises(ValueError, match="scale > 0"):
        LogitNormalTimes(0.0, 0.0)
    with pytest.raises(ValueError, match="condition_weight >= 0"):
        OptimalTransport(-1.0)
