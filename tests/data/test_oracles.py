"""The oracles: densities against scipy or by their factors, entropies against their own draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats as scipy_stats

from pushforward.data import Banana, Funnel, Gaussian, GaussianMixture, MultivariateT
from pushforward.data.oracles import random_covariance

stats: Any = scipy_stats  # its type stubs do not know frozen distributions
MEAN, COVARIANCE = np.array([1.0, -2.0, 0.5]), random_covariance(3, seed=1)
MIXTURE = GaussianMixture(np.array([0.3, 0.7]), np.stack([MEAN, -MEAN]), np.stack([COVARIANCE, np.eye(3)]))
ORACLES = {
    "gaussian": Gaussian(MEAN, COVARIANCE),
    "banana": Banana(dim=3),
    "funnel": Funnel(dim=3, scale=1.5),
    "student-t": MultivariateT(4.0, MEAN, COVARIANCE),
    "heavy student-t": MultivariateT(2.0, MEAN, COVARIANCE),
}


def test_densities_against_scipy() -> None:
    x = np.random.default_rng(0).standard_normal((50, 3)) * 3
    gaussian = stats.multivariate_normal(MEAN, COVARIANCE)
    np.testing.assert_allclose(ORACLES["gaussian"].log_prob(x), gaussian.logpdf(x), rtol=1e-10)
    student = stats.multivariate_t(MEAN, COVARIANCE, df=4)
    np.testing.assert_allclose(ORACLES["student-t"].log_prob(x), student.logpdf(x), rtol=1e-10)
    mixture = np.log(0.3 * gaussian.pdf(x) + 0.7 * stats.multivariate_normal(-MEAN, np.eye(3)).pdf(x))
    np.testing.assert_allclose(MIXTURE.log_prob(x), mixture, rtol=1e-10)
    factors = stats.norm(0, 1.5).logpdf(x[:, 0]) + stats.norm(0, np.exp(x[:, :1] / 2)).logpdf(x[:, 1:]).sum(1)
    np.testing.assert_allclose(ORACLES["funnel"].log_prob(x), factors, rtol=1e-10)
    centre = 0.5 * (x[:, 0] ** 2 - 1.5**2)
    factors = stats.norm(0, 1.5).logpdf(x[:, 0]) + stats.norm(centre).logpdf(x[:, 1]) + stats.norm().logpdf(x[:, 2])
    np.testing.assert_allclose(ORACLES["banana"].log_prob(x), factors, rtol=1e-10)


@pytest.mark.parametrize("name", ORACLES)
def test_entropy_and_draws_agree(name: str) -> None:
    oracle = ORACLES[name]
    log_prob = oracle.log_prob(oracle.sample(20000, seed=2))
    error = log_prob.std() / np.sqrt(20000)
    assert abs(log_prob.mean() + oracle.entropy) < 4 * error
    shifted = oracle.log_prob(oracle.sample(20000, seed=2) + 0.5)  # the broken twin
    assert abs(shifted.mean() + oracle.entropy) > 4 * shifted.std() / np.sqrt(20000)


def test_closed_form_entropies_against_scipy() -> None:
    assert ORACLES["gaussian"].entropy == pytest.approx(stats.multivariate_normal(MEAN, COVARIANCE).entropy())
    assert ORACLES["student-t"].entropy == pytest.approx(stats.multivariate_t(MEAN, COVARIANCE, df=4).entropy())


def test_mixture_draws() -> None:
    x = MIXTURE.sample(20000, seed=0)
    expected = 0.3 * MEAN - 0.7 * MEAN
    assert np.all(np.abs(x.mean(0) - expected) < 4 * x.std(0) / np.sqrt(20000))
    np.testing.assert_array_equal(x, MIXTURE.sample(20000, seed=0))


def test_wrong_shapes_are_named() -> None:
    for oracle in (*ORACLES.values(), MIXTURE):
        with pytest.raises(ValueError, match=r"\(n, 3\)"):
            oracle.log_prob(np.zeros((4, 2)))
