"""A flow on its way: against the matrix exponential at every time, and against chains of the layers so far."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.stats import multivariate_normal

import pushforward as pf
from pushforward._types import Array
from pushforward.bijections import Continuous
from pushforward.bijections.elementwise import ColumnUnits, Unit
from pushforward.distributions import Evolution, stages
from pushforward.dynamics import AbstractField, Adaptive, FixedSteps, NetworkField
from pushforward.nets import TimeMLP
from pushforward.numerics.trace_estimators import Hutchinson
from pushforward.testing import randomise

KEY = jax.random.key(3)
MATRIX = np.array([[0.4, -1.5], [1.0, -0.9]])
LOC, SCALE = np.array([20.0, -3.0]), np.array([5.0, 0.1])
Z = np.random.default_rng(0).standard_normal((6, 2))


class Linear(AbstractField):
    """v = A x, whose flow is the matrix exponential and whose densities are normal at every time."""

    matrix: Array
    shape: tuple[int, ...] = eqx.field(static=True)
    cond_shape: tuple[int, ...] | None = eqx.field(static=True)
    start: float = eqx.field(static=True)
    end: float = eqx.field(static=True)

    def __init__(self, matrix: Any):
        self.matrix = jnp.asarray(matrix)
        self.shape, self.cond_shape, self.start, self.end = (len(matrix),), None, 0.0, 1.0

    def __call__(self, t: Array, x: Array, condition: Array | None = None) -> Array:
        return self.matrix @ x

    def closed_form(self) -> None:
        return None

    def value_and_divergence(self, t: Array, x: Array, condition: Array | None, closed: Any) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def linear() -> pf.Flow:
    """The field between a fixed map before it and the units of data after it."""
    layer = Continuous(Linear(MATRIX), solver=Adaptive(rtol=1e-9, atol=1e-9))
    parts = [pf.Standardize([0.5, 0.0], [2.0, 1.0]), layer, pf.Standardize(LOC, SCALE)]
    return pf.Flow(pf.StandardNormal((2,)), pf.Chain(parts))


def truth(t: float) -> Any:
    """Mean and covariance at time t, in the data's units."""
    spread = np.diag(SCALE) @ expm(t * MATRIX) @ np.diag([2.0, 1.0])
    return LOC + SCALE * (expm(t * MATRIX) @ [0.5, 0.0]), spread


@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_the_normal_of_a_linear_field_at_every_time(linear: pf.Flow, t: float) -> None:
    evolution = Evolution(linear)
    mean, spread = truth(t)
    states = np.asarray(evolution.states(Z, [0.0, t, 1.0]))
    np.testing.assert_allclose(states[1], mean + Z @ spread.T, rtol=1e-7)
    np.testing.assert_allclose(states[2], linear.decode(Z), rtol=1e-12)
    expected = multivariate_normal(mean, spread @ spread.T).logpdf(states[1])
    np.testing.assert_allclose(evolution.log_prob(t, states[1]), expected, atol=1e-6)
    velocity = SCALE * (((states[1] - LOC) / SCALE) @ MATRIX.T)
    np.testing.assert_allclose(evolution.velocity(t, states[1]), velocity, rtol=1e-9)
    if t < 1:  # the broken twin: the density of another time
        assert np.abs(np.asarray(evolution.log_prob(1.0, states[1])) - expected).max() > 0.1


@pytest.mark.thorough
def test_the_last_time_is_the_flow_however_coarse_its_steps() -> None:
    field = NetworkField(randomise(TimeMLP(KEY, 2, width=8, cond_shape=(1,)), KEY, 0.5))
    flow = pf.Flow(pf.StandardNormal((2,)), Continuous(field, solver=FixedSteps("rk4", 3)))
    condition = np.array([0.7])
    evolution = Evolution(flow, condition)
    np.testing.assert_allclose(evolution.states(Z, [0.1, 1.0])[1], flow.decode(Z, condition), rtol=1e-12)
    np.testing.assert_allclose(evolution.log_prob(1.0, Z), flow.log_prob(Z, condition), rtol=1e-12)
    assert np.abs(np.asarray(Evolution(flow, -condition).log_prob(1.0, Z) - evolution.log_prob(1.0, Z))).max() > 1e-3


def test_random_traces_become_exact() -> None:
    field = NetworkField(randomise(TimeMLP(KEY, 2, width=8), KEY, 0.5))
    flows = [pf.Flow(pf.StandardNormal((2,)), Continuous(field, trace)) for trace in (None, Hutchinson())]
    exact, random = (Evolution(flow).log_prob(0.5, Z) for flow in flows)
    np.testing.assert_array_equal(exact, random)


FLOWS = {
    "realnvp": lambda: pf.flows.realnvp(KEY, dim=2, n_layers=3, width=8, linear="reverse"),
    "iaf": lambda: pf.flows.iaf(KEY, dim=2, n_layers=2, width=8, linear="reverse"),
    "inverted": lambda: pf.Flow(
        pf.StandardNormal((2,)),
        pf.Chain(
            [
                pf.Invert(pf.flows.maf(KEY, dim=2, n_layers=2, width=8, linear="reverse").bijection),
                pf.Standardize(LOC, SCALE),
            ]
        ),
    ),
    "two fields": lambda: pf.Flow(
        pf.StandardNormal((2,)),
        pf.Chain([Continuous(Linear(MATRIX)), Continuous(Linear(-0.5 * MATRIX))]),
    ),
}


@pytest.mark.parametrize("name", [*list(FLOWS)[:3], pytest.param("two fields", marks=pytest.mark.thorough)])
def test_layers_one_after_the_other(name: str) -> None:
    flow = randomise(FLOWS[name](), KEY, 0.3)
    parts = stages(flow.bijection)
    whole = pf.Flow(flow.base, pf.Chain(parts))
    x = flow.decode(Z)
    np.testing.assert_allclose(whole.decode(Z), x, rtol=1e-10)
    np.testing.assert_allclose(whole.log_prob(x), flow.log_prob(x), rtol=1e-10)
    evolution = Evolution(flow)
    assert (evolution.continuous, evolution.start) == (False, 0.0)
    n = int(evolution.end)
    assert n == len(parts) - (name == "inverted")
    states = evolution.states(Z, range(n + 1))
    for k in range(1, n + 1):
        so_far = pf.Flow(flow.base, pf.Chain([*parts[:k], *parts[n:]]))
        np.testing.assert_allclose(states[k], so_far.decode(Z), rtol=1e-10)
        np.testing.assert_allclose(evolution.log_prob(k, states[k]), so_far.log_prob(states[k]), rtol=1e-9)
    np.testing.assert_allclose(evolution.log_prob(n, x), flow.log_prob(x), rtol=1e-9)
    undone = evolution.undone(x, range(n + 1))
    np.testing.assert_array_equal(undone[n], x)
    for k in range(n):
        np.testing.assert_allclose(undone[k], pf.Flow(flow.base, pf.Chain(parts[k:])).encode(x), atol=1e-9)


def test_errors(linear: pf.Flow) -> None:
    with pytest.raises(ValueError, match=r"a time from 0 to 1, got 1\.5"):
        Evolution(linear).log_prob(1.5, Z)
    with pytest.raises(TypeError, match="a flow of layers"):
        Evolution(linear).undone(Z, [0])
    layers = Evolution(pf.flows.realnvp(KEY, dim=2, n_layers=3, width=8, linear="reverse"))
    with pytest.raises(ValueError, match=r"a whole number of layers from 0 to 3, got 0\.5"):
        layers.states(Z, [0.5])
    with pytest.raises(TypeError, match="velocity field"):
        layers.velocity(0, Z)
    with pytest.raises(TypeError, match="a Flow"):
        Evolution(pf.StandardNormal((2,)))  # type: ignore[arg-type]
    conditional = pf.flows.realnvp(KEY, dim=2, condition_dim=1, n_layers=1, width=4, linear="reverse")
    with pytest.raises(ValueError, match="a condition of shape"):
        Evolution(conditional)


def test_beyond_the_support_of_units_there_is_no_density() -> None:
    units = ColumnUnits([Unit("interval", 2.0, 3.0)])
    flow = pf.Flow(pf.StandardNormal((1,)), pf.Chain([pf.Affine(loc=0.0, scale=1.0, shape=(1,)), units]))
    x = np.linspace(1, 6, 2001)[:, None]
    density = np.exp(Evolution(flow).log_prob(1, x))
    assert np.trapezoid(density, x[:, 0]) == pytest.approx(1, abs=0.01)
    assert not density[(x[:, 0] < 2) | (x[:, 0] > 5)].any()
    np.testing.assert_array_equal(density == 0, np.exp(flow.log_prob(x)) == 0)


def test_a_field_within_a_part_of_the_event():
    field = pf.dynamics.NetworkField(pf.nets.TimeMLP(KEY, 2, width=4))
    inner = pf.bijections.Continuous(field, solver=FixedSteps("heun", 8))
    flow = pf.Flow(
        pf.StandardNormal((3,)), pf.Chain([pf.Partial(inner, [2, 0], dim=3), pf.Affine(scale=2.0, shape=(3,))])
    )
    evolution = Evolution(flow)
    z = jax.random.normal(KEY, (4, 3))
    assert evolution.continuous
    np.testing.assert_allclose(evolution.states(z, [1.0])[0], flow.decode(z), rtol=1e-9)
    moved = evolution.velocity(0.5, z)
    want = jax.vmap(lambda row: field(jnp.array(0.5), row[jnp.array([2, 0])] / 2))(z)
    np.testing.assert_allclose(moved[:, [2, 0]], 2 * want, rtol=1e-9)
    np.testing.assert_allclose(moved[:, 1], 0)
    np.testing.assert_allclose(evolution.log_prob(1.0, z), flow.log_prob(z), rtol=1e-9)
