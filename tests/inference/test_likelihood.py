"""`NLE`, rounds, and posteriors that are trained by regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import pushforward as pf

NOISE = 0.5


@pytest.fixture(scope="module")
def linear() -> pf.NLE:
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(1500, 2))
    x = theta + NOISE * rng.normal(size=theta.shape)
    nle = pf.NLE([stats.norm(0, 1)] * 2, flow_options={"n_layers": 1, "width": 8}, n_members=1, max_epochs=2)
    return nle.fit(theta, x)


def test_the_likelihood_of_a_linear_simulator_is_right_from_the_start(linear: pf.NLE) -> None:
    rng = np.random.default_rng(1)
    theta = rng.normal(size=(400, 2))
    x = theta + NOISE * rng.normal(size=theta.shape)
    law: Any = stats.norm(theta, NOISE)
    assert (law.logpdf(x).sum(axis=1) - linear.log_likelihood(x, theta=theta)).mean() < 0.05
    prior: Any = stats.norm(0, 1)
    expected = prior.logpdf(theta).sum(axis=1) + linear.log_likelihood(x, theta=theta)
    np.testing.assert_allclose(linear.log_prob(theta[:, None], x=x)[:, 0], expected, rtol=1e-6)
    target = linear.target(x[0])
    z = theta[:2]
    gap = np.diff([float(target(row)) for row in z]) - np.diff(linear.log_prob(z, x=x[0]))
    np.testing.assert_allclose(gap, 0, atol=1e-3)


def test_a_folder_brings_the_same_likelihood_back(linear: pf.NLE, tmp_path: Path) -> None:
    linear.save(tmp_path / "model")
    again = pf.NLE.load(tmp_path / "model")
    theta = np.array([[0.3, 0.4], [0.9, 0.1]])
    np.testing.assert_array_equal(again.log_prob(theta, x=theta[0]), linear.log_prob(theta, x=theta[0]))
    with pytest.raises(pf.UntrustedModelError, match="expected NPE, got NLE"):
        pf.NPE.load(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"x_shape": [2]', '"x_shape": [3]'))
    with pytest.raises(pf.UntrustedModelError):
        pf.NLE.load(tmp_path / "model")


@pytest.mark.thorough
def test_many_observations_of_the_same_parameters_are_one_posterior(linear: pf.NLE) -> None:
    x = np.array([[0.5, -0.4], [0.9, 0.1], [0.7, -0.3]])
    draws = linear.sample(1000, x=x, together=True)
    variance = 1 / (1 + 3 / NOISE**2)
    assert draws.shape == (1000, 2)
    np.testing.assert_allclose(draws.mean(axis=0), variance * x.sum(axis=0) / NOISE**2, atol=0.08)
    np.testing.assert_allclose(draws.std(axis=0), np.sqrt(variance), rtol=0.2)


@pytest.mark.thorough
def test_rounds_narrow_the_prior_to_where_the_posterior_is() -> None:
    rng = np.random.default_rng(0)
    x = np.array([0.3, 0.7])

    def simulate(theta: np.ndarray) -> np.ndarray:
        return theta + 0.02 * rng.normal(size=theta.shape)

    options = {"flow_options": {"n_layers": 2, "width": 32, "bins": 6}, "n_members": 2, "max_epochs": 500}
    npe = pf.NPE({"a": (0, 1), "b": (0, 1)}, **options)
    npe.rounds(simulate=simulate, x=x, n_rounds=3, n_simulations=500)
    draws = npe.sample(1000, x=x)
    np.testing.assert_allclose(draws.mean(axis=0), x, atol=0.02)
    assert (draws.std(axis=0) < 0.04).all()


@pytest.mark.thorough
@pytest.mark.parametrize("flow", ["flow_matching", "score_sde"])
def test_posteriors_by_regression(flow: str) -> None:
    rng = np.random.default_rng(0)
    theta = rng.uniform(0, 1, (1500, 1))
    x = theta + 0.2 * rng.normal(size=theta.shape)
    npe = pf.NPE({"a": (0, 1)}, flow, flow_options={"width": 32}, max_epochs=60).fit(theta, x)
    draws = npe.sample(300, x=[[0.2], [0.8]])
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert draws[0].mean() < 0.4 < 0.6 < draws[1].mean()
    grid = np.linspace(0.001, 0.999, 200)[:, None]
    assert np.trapezoid(np.exp(npe.log_prob(grid, x=[0.5])), grid[:, 0]) == pytest.approx(1, abs=0.05)


def test_errors() -> None:
    with pytest.raises(ValueError, match="trained by likelihood"):
        pf.NLE([(0, 1)], "flow_matching")
    with pytest.raises(ValueError, match="independent parameters"):
        pf.NLE(stats.multivariate_normal(np.zeros(2)))
    with pytest.raises(ValueError, match="n_members None or 1"):
        pf.NPE([(0, 1)], "flow_matching", n_members=3)
