"""Priors of every origin under one contract, and the coordinates in which flows see them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.inference.coordinates import ObservationUnits, ParameterCoordinates
from pushforward.inference.interval_map import HALF_WIDTH, IntervalMap
from pushforward.inference.priors import IndependentPrior, WholePrior, prior_from


def numpyro_priors() -> dict[str, Any]:
    dist = pytest.importorskip("numpyro.distributions")
    return {
        "uniform box": dist.Uniform(np.array([-1.0, 0.0]), np.array([1.0, 3.0])).to_event(1),
        "batch": dist.Normal(np.array([1.0, -2.0]), 0.5),
        "joint": dist.MultivariateNormal(np.zeros(2), np.array([[1.0, 0.5], [0.5, 2.0]])),
    }


PRIORS: dict[str, Any] = {
    "bounds": {"a": (0, 1), "b": (-3.0, 3.0)},
    "list": [stats.norm(1, 2), stats.gamma(2.0)],
    "mixed": {"a": (0, 1), "b": stats.norm(0, 1), "c": stats.lognorm(0.5), "d": stats.beta(0.5, 0.5)},
    "joint": stats.multivariate_normal(np.array([0.0, 1.0]), np.array([[1.0, 0.3], [0.3, 0.5]])),  # type: ignore[arg-type]
    "box": pf.UniformBox(np.array([-1.0, 2.0]), np.array([1.0, 5.0])),
    "ours": pf.DiagonalNormal(np.zeros(3), np.ones(3)),
}


@pytest.mark.parametrize("cube", [True, False])
@pytest.mark.parametrize("name", PRIORS)
def test_coordinates_come_back_and_their_log_det_is_the_slope(name: str, cube: bool) -> None:
    prior = prior_from(PRIORS[name])
    coordinates = ParameterCoordinates(prior, cube)
    theta = prior.sample(200, np.random.default_rng(0))
    assert prior.inside(theta).all()
    w, log_det = coordinates.to(theta)
    np.testing.assert_allclose(coordinates.back(w), theta, rtol=1e-6, atol=1e-6)
    step = 1e-6 * np.maximum(np.abs(theta), 1e-2)
    low, high = (np.clip(theta + s * step, prior.low, prior.high) for s in (-1, 1))
    slopes = (coordinates.to(high)[0] - coordinates.to(low)[0]) / (high - low)
    np.testing.assert_allclose(np.log(slopes).sum(axis=1), log_det, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("name", PRIORS)
def test_draws_follow_the_density(name: str) -> None:
    """On the cube a prior of independent numbers is uniform, whatever it was."""
    prior = prior_from(PRIORS[name])
    if not isinstance(prior, IndependentPrior):
        assert isinstance(prior, WholePrior)
        return
    coordinates = ParameterCoordinates(prior)
    theta = prior.sample(2000, np.random.default_rng(1))
    if coordinates.on_cube:
        w, log_det = coordinates.to(theta)
        np.testing.assert_allclose(prior.log_prob(theta), log_det - prior.dim * np.log(2 * HALF_WIDTH), atol=1e-9)
        assert min(stats.kstest(w[:, i] / HALF_WIDTH, stats.uniform(-1, 2).cdf).pvalue for i in range(prior.dim)) > 1e-3


def test_numpyro_priors() -> None:
    for name, prior in numpyro_priors().items():
        ours = prior_from(prior)
        theta = ours.sample(50, np.random.default_rng(0))
        expected = np.asarray(prior.log_prob(theta.astype(np.float32))).reshape(50, -1).sum(axis=1)
        np.testing.assert_allclose(ours.log_prob(theta), expected, rtol=1e-4, atol=1e-4, err_msg=name)
    assert np.isneginf(prior_from(numpyro_priors()["uniform box"]).log_prob(np.array([[0.0, 4.0]]))).all()


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        ({"a": (1, 0)}, "finite bounds low < high of a"),
        ({"a": (0, np.inf)}, "finite bounds"),
        ({}, "one parameter or more"),
        ("uniform", "expected a prior"),
        ({"a": "x"}, "bounds or a distribution for a"),
    ],
)
def test_errors(prior: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        prior_from(prior)


def test_the_interval_map_keeps_the_interval_and_is_its_own_inverse() -> None:
    own = IntervalMap(6)
    x = jnp.linspace(-HALF_WIDTH, HALF_WIDTH, 402)
    for scale in (0.0, 1.0, 4.0):
        params = scale * jax.random.normal(jax.random.key(0), (own.n_params, 1)) * jnp.ones((1, len(x)))
        y, log_det = own.forward_and_log_det(x, params)
        back, other = own.inverse_and_log_det(y, params)
        np.testing.assert_allclose(y[np.array([0, -1])], x[np.array([0, -1])], atol=1e-9)
        np.testing.assert_allclose(back, x, atol=1e-8)
        np.testing.assert_allclose(other, -log_det, atol=1e-5)
        slopes = jax.vmap(jax.grad(lambda v, p: own.forward_and_log_det(v, p)[0]), in_axes=(0, 1))(x, params)
        np.testing.assert_allclose(np.log(slopes[1:-1]), log_det[1:-1], atol=1e-6)


def test_units_of_heavy_tails_are_bent_and_come_back() -> None:
    x = np.random.default_rng(0).standard_t(1.2, (500, 2)) * 3 + 5
    units = ObservationUnits.of(x)
    z = units.to(x)
    assert np.abs(z).max() < 15
    assert units.heavy.all()
    np.testing.assert_allclose(units.back(z), x, rtol=1e-9)
    step = 1e-6
    np.testing.assert_allclose(np.log((units.to(x + step) - z) / step), units.log_slope(x), atol=1e-3)
