"""Reflow of a normal in closed form; and of a trained flow, whose paths become straight where other pairs do not."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Continuous
from pushforward.distributions import with_solver
from pushforward.dynamics import FixedSteps, NetworkField, PredictionField
from pushforward.nets import TimeMLP
from pushforward.objectives import FlowMatching, Reflow, reflow_pairs, straightness
from pushforward.paths import VariancePreservingPath

KEY = jax.random.key(6)
SD = 0.3


class Curved(eqx.Module):
    """The velocity of flow matching from N(0, 1) to N(c, s^2), whose paths are not straight."""

    dim: int = eqx.field(static=True, default=1)
    cond_shape: tuple[int, ...] = eqx.field(static=True, default=(1,))

    def __call__(self, t: Array, x: Array, condition: Array) -> Array:
        return condition + (t * SD**2 - (1 - t)) / (t**2 * SD**2 + (1 - t) ** 2) * (x - t * condition)


class Straight(eqx.Module):
    """Its pairs are x_1 = c + s x_0, and this carries them along straight lines; `shift` breaks it."""

    shift: Array
    dim: int = eqx.field(static=True)
    cond_shape: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shift: float = 0.0):
        self.shift, self.dim, self.cond_shape = jnp.asarray(shift), 1, (1,)

    def __call__(self, t: Array, x: Array, condition: Array) -> Array:
        return condition + (SD - 1) * (x - t * condition) / (t * SD + 1 - t) + self.shift


def flow_of(net: Any, dim: int = 1) -> pf.Flow:
    return pf.Flow(pf.StandardNormal((dim,)), Continuous(NetworkField(net)))


@pytest.mark.thorough
def test_the_straight_field_is_the_minimum() -> None:
    """Its loss is 0, for pairs do not cross; moved by 0.5 it is 0.25, and that of the teacher's own field is more."""
    teacher, x = flow_of(Curved()), jnp.zeros((50, 1))
    condition = jax.random.normal(KEY, (50, 1))
    reflow = Reflow(teacher)
    loss = eqx.filter_jit(reflow.per_row)
    losses = [np.asarray(loss(flow_of(net), x, condition, KEY)) for net in (Straight(), Straight(0.5))]
    np.testing.assert_allclose(losses[0], 0, atol=1e-6)
    np.testing.assert_allclose(losses[1], 0.25, atol=1e-3)
    assert float(jnp.mean(loss(teacher, x, condition, KEY))) > 0.01


def test_straightness_of_known_paths() -> None:
    r"""Of $x_t = \sqrt{V(t)}\,x_0$ it is $\int \dot{\sqrt V}^2 dt - (s-1)^2$; of straight lines 0."""
    condition = jnp.array([0.7])
    t = (np.arange(4000) + 0.5) / 4000
    spread = t**2 * SD**2 + (1 - t) ** 2
    expected = np.mean((t * SD**2 - (1 - t)) ** 2 / spread) - (SD - 1) ** 2
    n = 4000
    square = np.asarray(reflow_pairs(flow_of(Curved()), KEY, n, condition)[0]) ** 2
    # The deviation along a path is x_0^2 times that number; what is drawn is the mean of x_0^2.
    assert straightness(flow_of(Curved()), KEY, n, condition) == pytest.approx(expected * square.mean(), abs=1e-4)
    assert abs(straightness(flow_of(Straight()), KEY, n, condition)) < 1e-4
    one = FixedSteps("euler", 1)
    assert abs(straightness(flow_of(Curved()), KEY, n, condition, one)) < 1e-9  # and why it is not the default


def test_pairs_are_what_the_flow_carries() -> None:
    flow = flow_of(Curved())
    condition = jax.random.normal(KEY, (6, 1))
    noise, data = reflow_pairs(flow, KEY, 6, condition)
    np.testing.assert_allclose(data, flow.decode(noise, condition), atol=1e-6)
    np.testing.assert_allclose(data, condition + SD * noise, atol=1e-3)
    np.testing.assert_array_equal(noise[:3], reflow_pairs(flow, KEY, 3, condition[:3])[0])


@pytest.mark.thorough
def test_reflow_straightens_a_trained_flow() -> None:
    """Ten times straighter, and one step of Euler ten times nearer; more of the same training changes neither."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1.5, 1.5], (2000, 1)) * [[1.0, 0.0]] + 0.3 * rng.standard_normal((2000, 2))
    start = flow_of(TimeMLP(KEY, 2, width=32, n_frequencies=1), 2)

    def train(flow: Any, objective: Any, epochs: int) -> Any:
        options: dict[str, Any] = {"key": KEY, "progress": False, "options": pf.training.Steps(batch_size=500)}
        return pf.fit(flow, x, objective=objective, max_epochs=epochs, **options).flow

    teacher = train(start, FlowMatching(), 150)
    student = train(teacher, Reflow(teacher, FixedSteps("heun", 8)), 60)
    twin = train(teacher, FlowMatching(), 60)
    one = FixedSteps("euler", 1)
    bent, far = [], []
    for flow in (teacher, student, twin):
        noise, fine = reflow_pairs(flow, KEY, 2000)
        bent.append(straightness(flow, KEY, 2000))
        far.append(float(jnp.mean((with_solver(flow, one).decode(noise) - fine) ** 2)))
    assert bent[1] < 0.1 * bent[0]
    assert far[1] < 0.1 * far[0]
    assert bent[2] > 0.7 * bent[0]
    assert far[2] > 0.7 * far[0]
    # The distribution stays: two clusters, in one step.
    rows = np.abs(np.asarray(with_solver(student, one).sample(KEY, 2000))[:, 0])
    assert abs(rows.mean() - 1.5) < 0.3
    assert abs(float(jnp.mean(student.log_prob(x))) - float(jnp.mean(teacher.log_prob(x)))) < 0.15


def test_errors() -> None:
    teacher = flow_of(TimeMLP(KEY, 2, width=4), 2)
    with pytest.raises(TypeError, match="one Continuous"):
        Reflow(pf.flows.realnvp(KEY, dim=2, linear="reverse"))
    diffusion = PredictionField(TimeMLP(KEY, 2, width=4), VariancePreservingPath())
    with pytest.raises(TypeError, match="whose network is its velocity"):
        Reflow(teacher)(pf.Flow(pf.StandardNormal((2,)), Continuous(diffusion)), jnp.zeros((4, 2)), None, None, KEY)
    with pytest.raises(ValueError, match="the teacher's shape"):
        Reflow(teacher)(flow_of(TimeMLP(KEY, 3, width=4), 3), jnp.zeros((4, 3)), None, None, KEY)
    with pytest.raises(ValueError, match="n_times"):
        Reflow(teacher, n_times=0)
    with pytest.raises(TypeError, match="a Flow"):
        straightness(pf.StandardNormal((2,)), KEY, 3)  # type: ignore[arg-type]
