"""Every method against posteriors in closed form: normals and mixtures of normals seen through a matrix with noise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import pushforward as pf
from inverse_problems.exact_fields import field_flow
from marks import thorough
from pushforward.inverse_problems import (
    DPS,
    HMC,
    MALA,
    MAP,
    TDS,
    Function,
    GaussianNoise,
    Importance,
    Mask,
    Matrix,
    PiGDM,
    PoissonNoise,
    solve,
)
from pushforward.paths import LinearPath, VarianceExplodingPath, VariancePreservingPath

KEY = jax.random.key(4)
COV = np.array([[1.0, 0.7, 0.4], [0.7, 1.2, 0.6], [0.4, 0.6, 0.8]])
MEANS = np.array([[1.5, 1.0, 0.5], [-1.5, -0.5, 0.5]])
WEIGHTS, SHRINK = np.array([0.6, 0.4]), 0.3
A = np.array([[0.3, 1.0, -0.4], [0.8, 0.2, 1.0], [0.1, -0.7, 0.5]])
SD = 0.4
# Between the two components, so that the posterior has two modes.
Y = np.array([0.1, 0.2])
N = 2000


def posterior(y: np.ndarray, matrix: np.ndarray, sd: float, mixture: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean, covariance and log-evidence by Bayes' rule for each component."""
    parts = [(w, m, SHRINK * COV) for w, m in zip(WEIGHTS, MEANS, strict=True)] if mixture else [(1.0, MEANS[0], COV)]
    masses, means, covs = [], [], []
    normal: Any = multivariate_normal
    for weight, mean, cov in parts:
        total = matrix @ cov @ matrix.T + sd**2 * np.eye(len(y))
        masses.append(weight * normal.pdf(y, matrix @ mean, total))
        covs.append(np.linalg.inv(np.linalg.inv(cov) + matrix.T @ matrix / sd**2))
        means.append(covs[-1] @ (np.linalg.solve(cov, mean) + matrix.T @ y / sd**2))
    share = np.array(masses) / sum(masses)
    mean = share @ np.array(means)
    spread = np.sum(
        [s * (c + np.outer(m - mean, m - mean)) for s, m, c in zip(share, means, covs, strict=True)], axis=0
    )
    return mean, spread, float(np.log(sum(masses)))


def apart(answer: Any, mean: np.ndarray, cov: np.ndarray) -> float:
    """By how many of its own standard errors the answer's means and covariances differ from the exact ones at most."""
    gaps = answer.draws - mean
    products = gaps[:, :, None] * gaps[:, None, :]
    first = np.abs(gaps.mean(axis=0)) / answer.standard_error()
    second = np.abs(products.mean(axis=0) - cov) / answer.standard_error(products)
    return float(max(first.max(), second.max()))


def prior_of(mixture: bool) -> Any:
    if not mixture:
        return pf.MultivariateNormal(MEANS[0], COV)
    return pf.Mixture([pf.MultivariateNormal(mean, SHRINK * COV) for mean in MEANS], WEIGHTS)


@pytest.fixture(scope="module")
def normal_flow():
    """A normal as a flow with latents."""
    factor = pf.MultivariateNormal(MEANS[0], COV)
    from pushforward.inference.dependence import NormalFactor

    return pf.Flow(pf.StandardNormal((3,)), NormalFactor(factor))


@pytest.mark.parametrize("mixture", [False, True])
def test_the_closed_form(mixture: bool) -> None:
    mean, cov, evidence = posterior(Y, A[:2], SD, mixture)
    answer = solve(prior_of(mixture), Y, Matrix(A[:2]), SD, key=KEY, n_draws=N)
    assert answer.method == "exact"
    assert answer.trustworthy
    assert apart(answer, mean, cov) < 3
    assert answer.log_evidence == pytest.approx(evidence, abs=1e-9)


@pytest.mark.parametrize("method", [HMC(), *thorough(MALA()), Importance()], ids=lambda m: m.name)
def test_chains_and_weights_find_both_modes(method: Any) -> None:
    mean, cov, evidence = posterior(Y, A[:2], SD, True)
    answer = solve(prior_of(True), Y, Matrix(A[:2]), SD, method=method, key=KEY, n_draws=N)
    assert answer.trustworthy, answer.verdict
    assert apart(answer, mean, cov) < 3
    assert abs(answer.log_evidence - evidence) < 3 * answer.log_evidence_error
    # The broken twins: the exact answers for another noise, and for the operator transposed.
    assert apart(answer, *posterior(Y, A[:2], 2 * SD, True)[:2]) > 3
    assert apart(answer, *posterior(Y, A.T[:2], SD, True)[:2]) > 3


@pytest.mark.parametrize("method", [*thorough(HMC(n_rounds=4)), MAP(), Importance()], ids=lambda m: m.name)
def test_latents_of_a_flow(normal_flow: pf.Flow, method: Any) -> None:
    mean, cov, evidence = posterior(Y, A[:2], SD, False)
    answer = solve(normal_flow, Y, Matrix(A[:2]), SD, method=method, key=KEY, n_draws=N)
    assert answer.trustworthy, answer.verdict
    assert apart(answer, mean, cov) < 3
    if answer.map is not None:
        np.testing.assert_allclose(answer.map, mean, atol=1e-4)
    if not isinstance(method, MAP):
        assert abs(answer.log_evidence - evidence) < 3 * answer.log_evidence_error


def test_laplace_tells_its_bias() -> None:
    """Counts of an exponential are not normal: the verdict says by how much, and importance sampling agrees."""
    prior = pf.StandardNormal((2,))
    operator = Function(lambda x: jnp.exp(2 * x), (2,))
    arguments: Any = (prior, np.array([0.0, 3.0]), operator, PoissonNoise())
    plain = solve(*arguments, method="map", key=KEY, n_draws=N)
    exact = solve(*arguments, method="importance", key=KEY, n_draws=N)
    assert plain.bias is not None
    assert plain.bias.source == "weights"
    assert not plain.trustworthy
    assert "off by up to" in plain.verdict
    assert exact.trustworthy
    gap = np.abs(plain.mean - exact.mean) / exact.sd
    assert plain.bias.mean == pytest.approx(gap.max(), abs=0.1)
    # By quadrature, for each number on its own.
    grid = np.linspace(-6, 4, 4001)
    for n, y in enumerate((0.0, 3.0)):
        weights = np.exp(-0.5 * grid**2 + 2 * y * grid - np.exp(2 * grid))
        mean = weights @ grid / weights.sum()
        assert abs(exact.mean[n] - mean) < 3 * exact.standard_error()[n]


@pytest.mark.parametrize("mixture", [*thorough(False), True])
def test_nothing_but_the_constraint_without_noise(mixture: bool) -> None:
    """Chains in what a mask or a matrix leaves open, against the closed form of the noise's limit."""
    matrix = np.array([[0.0, 1.0, 0.0]])
    y = np.array([0.3])
    operator = Mask(np.array([False, True, False]))
    mean, cov, evidence = posterior(y, matrix, 1e-5, mixture)
    exact = solve(prior_of(mixture), y, operator, None, key=KEY, n_draws=N)
    assert exact.method == "exact"
    assert exact.consistency.largest < 1e-9
    assert exact.log_evidence == pytest.approx(evidence, abs=1e-4)
    answer = solve(prior_of(mixture), y, operator, None, method=HMC(n_rounds=8), key=KEY, n_draws=N)
    for found in (exact, answer):
        free = found.draws[:, [0, 2]]
        errors = found.standard_error()[[0, 2]]
        assert np.all(np.abs(free.mean(axis=0) - mean[[0, 2]]) < 3 * errors)
        squares = (free - mean[[0, 2]]) ** 2
        assert np.all(np.abs(squares.mean(axis=0) - np.diag(cov)[[0, 2]]) < 3 * found.standard_error(squares))
    assert answer.consistency.largest < 1e-9
    assert answer.trustworthy
    assert abs(answer.log_evidence - evidence) < 3 * answer.log_evidence_error


def test_exact_conditionals_of_an_autoregressive_prior() -> None:
    flow = pf.flows.maf(jax.random.key(0), dim=3, n_layers=1, width=8, linear="reverse")
    # The last number comes first in the order, so that the others are drawn given it.
    answer = solve(flow, np.array([0.4]), Mask(np.array([False, False, True])), None, key=KEY, n_draws=200)
    assert answer.method == "exact"
    assert answer.consistency.largest < 1e-9
    assert answer.log_evidence_error == 0


@pytest.mark.parametrize(
    "path",
    [
        LinearPath(),
        pytest.param(VariancePreservingPath(), marks=pytest.mark.thorough),
        pytest.param(VarianceExplodingPath(0.01, 20.0), marks=pytest.mark.thorough),
    ],
    ids=lambda p: type(p).__name__,
)
def test_twisted_particles_are_exact_and_guides_tell_their_bias(path: Any) -> None:
    mean, cov, evidence = posterior(Y, A[:2], SD, True)
    prior = field_flow(prior_of(True), path)
    answer = solve(prior, Y, Matrix(A[:2]), SD, method=TDS(n_steps=100), key=KEY, n_draws=N)
    assert answer.trustworthy, answer.verdict
    assert apart(answer, mean, cov) < 3
    assert abs(answer.log_evidence - evidence) < 3 * answer.log_evidence_error + 0.02
    assert answer.particle_ess is not None
    assert answer.particle_ess.shape == (100,)
    assert apart(answer, *posterior(Y, A[:2], 2 * SD, True)[:2]) > 3
    assert apart(answer, *posterior(Y, A.T[:2], SD, True)[:2]) > 3
    for method in (DPS(n_steps=100), PiGDM(n_steps=100)):
        found = solve(prior, Y, Matrix(A[:2]), SD, method=method, key=KEY, n_draws=N)
        assert not found.trustworthy
        assert found.verdict.startswith("approximate")
        assert found.bias is not None
        true = float((np.abs(found.mean - mean) / np.sqrt(np.diag(cov))).max())
        if found.bias.source == "weights":
            assert found.bias.mean == pytest.approx(true, abs=4 * found.bias.mean_error + 0.05)


def test_pseudo_inverse_guidance_is_right_for_a_standard_normal() -> None:
    """Its one variance is then that of the prior, and the verdict says that the bias is small."""
    prior = field_flow(pf.StandardNormal((2,)), LinearPath())
    y, operator = np.array([0.8]), Matrix([[1.0, 0.5]])
    answer = solve(prior, y, operator, SD, method=PiGDM(n_steps=100), key=KEY, n_draws=N)
    cov = np.linalg.inv(np.eye(2) + np.array([[1.0, 0.5], [0.5, 0.25]]) / SD**2)
    mean = cov @ np.array([1.0, 0.5]) * y[0] / SD**2
    assert answer.bias is not None
    assert answer.bias.mean < 0.15
    assert np.abs((answer.mean - mean) / np.sqrt(np.diag(cov))).max() < 0.15


def test_same_key_same_answer_and_full_covariances() -> None:
    noise = GaussianNoise(covariance=[[0.2, 0.1], [0.1, 0.3]])
    arguments: Any = (prior_of(False), Y, Matrix(A[:2]), noise)
    first, second, third = (
        solve(*arguments, method=Importance(n_proposals=512), key=jax.random.key(seed), n_draws=50)
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.draws, second.draws)
    assert not np.array_equal(first.draws, third.draws)
    precision = np.linalg.inv(COV) + A[:2].T @ np.linalg.inv([[0.2, 0.1], [0.1, 0.3]]) @ A[:2]
    sd = np.sqrt(np.diag(np.linalg.inv(precision)))
    exact = solve(*arguments, key=KEY, n_draws=N)
    np.testing.assert_allclose(exact.sd, sd, rtol=0.1)
