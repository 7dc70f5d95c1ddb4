"""Neural autoregressive flow, Flow++ and Gaussianization: they fit what no affine flow fits; their start from data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import pushforward as pf
from marks import split
from pushforward.bijections.elementwise import ColumnUnits, Unit
from pushforward.distributions.table import TableDistribution
from pushforward.numerics.normal_mixture import fit_mixtures
from pushforward.training.prepare import initialise_from
from pushforward.training.rows import Table

KEY = jax.random.key(3)
SMALL: dict[str, Any] = {"dim": 2, "n_layers": 1, "components": 3}


def two_bumps(seed: int, n: int = 300) -> np.ndarray:
    """A coordinate of two bumps, and one that follows a wave of it."""
    rng = np.random.default_rng(seed)
    first = np.where(rng.random(n) < 0.5, -1.0, 1.0) + 0.25 * rng.standard_normal(n)
    return np.stack([first, np.sin(3 * first) + 0.4 * rng.standard_normal(n)], axis=1)


def fitted(flow: pf.Flow, x: np.ndarray, steps: int = 150) -> pf.Flow:
    params, rest = pf.trainable(pf.initialise(flow, x))
    optimiser = optax.adam(3e-2)

    @jax.jit
    def run(params: Any) -> Any:
        def step(carry: Any, _: None) -> Any:
            params, state = carry
            gradient = jax.grad(lambda p: -jnp.mean(pf.combine(p, rest).log_prob(x)))(params)
            updates, state = optimiser.update(gradient, state)
            return (eqx.apply_updates(params, updates), state), None

        return jax.lax.scan(step, (params, optimiser.init(params)), None, length=steps)[0][0]

    return pf.combine(run(params), rest)


FLOWS: dict[str, Callable[[], pf.Flow]] = {
    "naf": lambda: pf.flows.naf(KEY, width=16, depth=1, **SMALL),
    "flowpp": lambda: pf.flows.flowpp(KEY, width=16, depth=1, split=[True, True], **SMALL),
    "gaussianization": lambda: pf.flows.gaussianization(KEY, **SMALL),
    "maf": lambda: pf.flows.maf(KEY, dim=2, n_layers=1, width=16, depth=1, linear="reverse"),
}


@pytest.mark.parametrize("name", split(FLOWS, lambda name: name in ("naf", "maf")))
def test_a_short_fit_beats_a_normal(name: str) -> None:
    """One layer sees the two bumps. The broken twin: an affine layer, whose first coordinate stays normal."""
    train, test = two_bumps(0), two_bumps(1)
    normal = -np.mean(pf.Flow(pf.StandardNormal((2,)), pf.Standardize.fit(train)).log_prob(test))
    covariance = np.cov(train.T)
    normal -= 0.5 * np.log(np.prod(np.diag(covariance)) / np.linalg.det(covariance))  # of the correlated normal
    reached = -float(np.mean(fitted(FLOWS[name](), train).log_prob(test)))
    assert (reached < normal - 0.35) == (name != "maf"), (reached, normal)


@pytest.mark.parametrize("conditional", [False, True])
def test_gaussianization_starts_from_data(conditional: bool) -> None:
    """Without rotations the start makes each coordinate normal; the broken twin has not seen the data."""
    x = two_bumps(2, 2000)
    condition = np.zeros((len(x), 1)) if conditional else None
    flow = pf.flows.gaussianization(KEY, condition_dim=1 if conditional else None, linear=None, **SMALL)
    grid = np.linspace(-2, 2, 9)
    for started, near in ((pf.initialise(flow, x, condition), True), (flow, False)):
        z = np.asarray(started.encode(x, condition))
        share = (z[:, :, None] < grid).mean(0)
        assert (np.abs(share - np.asarray(jax.scipy.special.ndtr(grid))).max() < 0.03) == near


def test_the_flow_within_a_table_starts_from_data() -> None:
    x = two_bumps(5, 500) * 3 + 1
    flow = pf.flows.gaussianization(KEY, linear=None, **SMALL)
    bounds = np.full((2, 2), np.inf) * [-1, 1]
    units = ColumnUnits([Unit("real", 1.0, 3.0)] * 2)
    table = TableDistribution(
        None, flow, units, steps=[0.0] * 2, counted=[False] * 2, bounds=bounds, state_of_value=[-1, -1]
    )
    started = initialise_from(table, Table(x, None, np.ones(len(x)), None), np.float64)  # pyright: ignore[reportArgumentType]
    assert np.mean(started.log_prob(x)) > np.mean(table.log_prob(x)) + 0.1
    plain = initialise_from(flow, Table((x - 1) / 3, None, np.ones(len(x)), None), np.float64)
    np.testing.assert_allclose(np.mean(started.log_prob(x)), np.mean(plain.log_prob((x - 1) / 3)) - 2 * np.log(3.0))


def test_mixtures_find_their_bumps() -> None:
    rng = np.random.default_rng(4)
    rows = np.where(rng.random((1, 4000)) < 0.25, -2.0, 1.0) + 0.3 * rng.standard_normal((1, 4000))
    loc, scale, weight = (np.asarray(a)[:, 0] for a in fit_mixtures(jnp.asarray(rows), 2))
    np.testing.assert_allclose(loc, [-2, 1], atol=0.05)
    np.testing.assert_allclose(scale, 0.3, atol=0.05)
    np.testing.assert_allclose(weight, [0.25, 0.75], atol=0.03)
    constant = [np.asarray(a) for a in fit_mixtures(jnp.ones((1, 50)), 3)]
    assert all(np.all(np.isfinite(a)) for a in constant)


def test_flowpp_needs_a_mixing_layer() -> None:
    with pytest.raises(ValueError, match="flowpp: expected a linear layer between couplings"):
        pf.flows.flowpp(KEY, dim=2, linear=None)
