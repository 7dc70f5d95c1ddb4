"""Guidance against two classes whose velocities are known, and conditions dropped row by row in training."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Chain, Continuous
from pushforward.dynamics import (
    Ancestral,
    GuidedNet,
    MaskedCondition,
    NetworkField,
    NullableCondition,
    PredictionField,
    draw,
    guided,
)
from pushforward.nets import TimeMLP
from pushforward.objectives import FlowMatching
from pushforward.paths import VariancePreservingPath

KEY = jax.random.key(4)
CENTRE, SD = 1.0, 0.6


class TwoClasses(eqx.Module):
    """The velocity of N(c, s^2) for c = -1 or 1, and of both alike where there is no condition; straight paths."""

    dim: int = eqx.field(static=True, default=1)
    cond_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))

    def __call__(self, t: Array, x: Array, condition: Array) -> Array:
        variance = t**2 * SD**2 + (1 - t) ** 2

        def velocity(centre: Any) -> Array:
            return centre + (t * SD**2 - (1 - t)) / variance * (x - t * centre)

        right = jax.nn.sigmoid(2 * x * t * CENTRE / variance)  # of the two classes, given x
        none = right * velocity(CENTRE) + (1 - right) * velocity(-CENTRE)
        return jnp.where(condition[1:] > 0, velocity(condition[:1]), none)


EXACT = pf.Flow(pf.StandardNormal((1,)), Continuous(NetworkField(NullableCondition(TwoClasses()))))


def nullable(dim: int = 3, cond: int = 2, depth: int = 2) -> NullableCondition:
    net = NullableCondition(TimeMLP(KEY, dim, width=8, depth=depth, cond_shape=(cond + 1,)))
    return jax.tree.map(lambda a: a + 0.3 if eqx.is_array(a) else a, net)


def test_weights_0_and_minus_1() -> None:
    """The conditional field, and that without a condition; in between and beyond it is affine."""
    net = nullable()
    t, x, condition = jnp.asarray(0.4), jax.random.normal(KEY, (3, 5)), jax.random.normal(jax.random.key(1), (2, 5))
    given, none = net(t, x, condition), net(t, x, None)
    assert not np.allclose(given, none)
    np.testing.assert_array_equal(GuidedNet(net, 0.0)(t, x, condition), given)
    np.testing.assert_array_equal(GuidedNet(net, -1.0)(t, x, condition), none)
    np.testing.assert_allclose(GuidedNet(net, 1.5)(t, x, condition), 2.5 * given - 1.5 * none, rtol=1e-9)
    keep = jnp.array([True, False, True, True, False])
    mixed = net(t, x, MaskedCondition(condition.at[:, 1].set(jnp.nan), keep))
    np.testing.assert_allclose(mixed, jnp.where(keep, given, none), rtol=1e-12)


def test_zeros_that_mean_no_condition() -> None:
    """Without the entry that tells, a one-hot condition is the network's own, and zeros are none."""
    net = NullableCondition(TimeMLP(KEY, 3, width=8, cond_shape=(2,)), told=False)
    t, x, condition = jnp.asarray(0.4), jax.random.normal(KEY, (3, 2)), jnp.eye(2)
    assert net.cond_shape == (2,)
    np.testing.assert_array_equal(net(t, x, None), net(t, x, jnp.zeros((2, 2))))
    mixed = net(t, x, MaskedCondition(condition, jnp.array([True, False])))
    np.testing.assert_array_equal(mixed, net(t, x, condition.at[:, 1].set(0)))
    with pytest.raises(ValueError, match="shape \\(k,\\)"):
        NullableCondition(TimeMLP(KEY, 3), told=False)


@pytest.mark.parametrize("weight", [0.0, -1.0, 2.0])
def test_the_divergence_in_closed_form(weight: float) -> None:
    field = guided(NetworkField(nullable()), weight)
    t, x, condition = jnp.asarray(0.3), jnp.array([0.5, -1.0, 2.0]), jnp.array([1.0, -1.0])
    value, divergence = field.value_and_divergence(t, x, condition, field.closed_form())
    np.testing.assert_allclose(value, field(t, x, condition), rtol=1e-12)
    jacobian = jax.jacfwd(lambda x: field(t, x, condition))(x)
    np.testing.assert_allclose(divergence, jnp.trace(jacobian), rtol=1e-12)
    assert guided(NetworkField(nullable(depth=3)), weight).closed_form() is None


def test_what_is_predicted_makes_no_difference() -> None:
    """Guided noise is guided velocity, guided data and guided score: the table of conversions is affine."""
    net, path, w = nullable(), VariancePreservingPath(), 1.5
    x, condition = jnp.array([0.5, -1.0, 2.0]), jnp.array([1.0, -1.0])
    plain = PredictionField(net, path)
    for method in ("__call__", "score", "predicted_data"):
        values = [getattr(guided(plain, weight), method)(jnp.asarray(0.6), x, condition) for weight in (w, 0.0, -1.0)]
        np.testing.assert_allclose(values[0], (1 + w) * values[1] - w * values[2], rtol=1e-9)
    assert draw(guided(plain, w), KEY, 3, Ancestral(3), condition).shape == (3, 3)


@pytest.mark.thorough
def test_guidance_moves_away_from_the_other_class() -> None:
    n = 4000
    condition = jnp.array([CENTRE])
    rows = {w: np.asarray(guided(EXACT, w).sample(KEY, n, condition)) for w in (-1.0, 0.0, 2.0)}
    error = 4 / np.sqrt(n)
    assert abs(rows[0.0].mean() - CENTRE) < SD * error
    assert abs(rows[0.0].std() - SD) < SD * error
    both = np.sqrt(CENTRE**2 + SD**2)
    assert abs(rows[-1.0].mean()) < both * error
    assert abs(rows[-1.0].std() - both) < both * error
    # The same noise, row by row: guidance moves it to the right, and the fewer are on the other side.
    assert rows[2.0].mean() > CENTRE + 0.2
    assert (rows[2.0] < 0).mean() < 0.5 * (rows[0.0] < 0).mean()


def test_the_density_of_a_guided_flow_is_that_of_its_samples() -> None:
    flow = guided(EXACT, 2.0)
    grid = jnp.linspace(-4, 6, 2001)[:, None]
    density = np.exp(np.asarray(flow.log_prob(grid, jnp.array([CENTRE]))))
    step = 10 / 2000
    assert density.sum() * step == pytest.approx(1, abs=1e-3)
    rows = np.asarray(flow.sample(KEY, 4000, jnp.array([CENTRE])))
    mean = (density * np.asarray(grid)[:, 0]).sum() * step
    assert abs(rows.mean() - mean) < 4 * rows.std() / np.sqrt(len(rows))
    # The twin: the density of the conditional flow has another mean.
    assert abs(rows.mean() - CENTRE) > 10 * rows.std() / np.sqrt(len(rows))


class Told(eqx.Module):
    """Large where a condition is there, larger where its value is although it was dropped."""

    dim: int = eqx.field(static=True, default=1)
    cond_shape: tuple[int, ...] = eqx.field(static=True, default=(2,))

    def __call__(self, t: Array, x: Array, condition: Array) -> Array:
        value, keep = condition[:1], condition[1:]
        return 1e4 * keep + 1e8 * (1 - keep) * value


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0])
def test_conditions_are_dropped_row_by_row(rate: float) -> None:
    """Within one batch; one coin for all rows, as some libraries throw it, would drop all or none."""
    n = 4000
    flow = pf.Flow(pf.StandardNormal((1,)), Continuous(NetworkField(NullableCondition(Told()))))
    loss = FlowMatching(drop_condition=rate).per_row(flow, jnp.zeros((n, 1)), jnp.ones((n, 1)), KEY)
    assert float(jnp.max(loss)) < 1e9  # none sees the value that was dropped
    share = float(jnp.mean(loss < 1e6))
    assert abs(share - rate) <= 4 * np.sqrt(rate * (1 - rate) / n)


@pytest.mark.thorough
def test_training_with_dropped_conditions_learns_both() -> None:
    """The conditional moments, and those of the marginal where there is no condition.

    The broken twin: zeros in the place of the condition without saying that there is none.
    """
    rng = np.random.default_rng(0)
    condition = rng.choice([-1.0, 1.0], (2000, 1))
    x = 2 * condition + 0.5 * rng.standard_normal((2000, 1)) + 1
    net = NullableCondition(TimeMLP(KEY, 1, width=32, n_frequencies=1, cond_shape=(2,)))
    start = pf.Flow(pf.StandardNormal((1,)), Chain([Continuous(NetworkField(net)), pf.Standardize([1.0], [2.0])]))
    flow = pf.fit(
        start,
        x,
        condition=condition,
        key=KEY,
        objective=FlowMatching(drop_condition=0.3),
        max_epochs=200,
        progress=False,
        options=pf.training.Steps(batch_size=500),
    ).flow
    none = np.asarray(guided(flow, -1.0).sample(KEY, 4000, jnp.ones(1)))
    assert abs(none.mean() - 1) < 0.2
    assert abs(none.std() - np.sqrt(4.25)) < 0.2
    given = np.asarray(flow.sample(KEY, 4000, jnp.ones(1)))
    assert abs(given.mean() - 3) < 0.1
    assert abs(given.std() - 0.5) < 0.1
    twin = np.asarray(flow.sample(KEY, 4000, jnp.zeros(1)))
    assert abs(twin.std() - np.sqrt(4.25)) > 0.2


def test_errors() -> None:
    with pytest.raises(ValueError, match=r"a condition of shape \(k \+ 1,\)"):
        NullableCondition(TimeMLP(KEY, 2, width=4, cond_shape=(1,)))
    plain = pf.Flow(pf.StandardNormal((1,)), Continuous(NetworkField(TimeMLP(KEY, 1, width=4, cond_shape=(1,)))))
    with pytest.raises(TypeError, match="a model with a NullableCondition"):
        guided(plain, 1.0)
    with pytest.raises(TypeError, match="a NullableCondition, to drop conditions of"):
        FlowMatching(drop_condition=0.1)(plain, jnp.zeros((4, 1)), jnp.zeros((4, 1)), None, KEY)
    with pytest.raises(ValueError, match="0 <= drop_condition <= 1"):
        FlowMatching(drop_condition=1.5)
    with pytest.raises(ValueError, match="a finite weight"):
        guided(EXACT, float("nan"))
    with pytest.raises(TypeError, match="a NullableCondition"):
        GuidedNet(TimeMLP(KEY, 1, width=4), 1.0)  # type: ignore[arg-type]
