"""`JointPosterior`: every conditional of a linear-Gaussian simulator, and that densities are densities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.inference.interval_map import HALF_WIDTH
from pushforward.inference.joint_network import AnyConditional

NAMES = ("theta_0", "theta_1", "x_0", "x_1")
SLOPE = np.array([[1.0, 0.5], [0.0, 1.0]])
NOISE = 0.5


def joint_law() -> np.ndarray:
    """The covariance of parameters and simulations."""
    cross = SLOPE.T
    return np.block([[np.eye(2), cross], [cross.T, SLOPE @ SLOPE.T + NOISE**2 * np.eye(2)]])


def conditional(free: list[int], known: list[int], values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    law = joint_law()
    gain = law[np.ix_(free, known)] @ np.linalg.inv(law[np.ix_(known, known)]) if known else np.zeros((len(free), 0))
    return gain @ values, law[np.ix_(free, free)] - gain @ law[np.ix_(known, free)]


@pytest.fixture(scope="module")
def linear() -> pf.JointPosterior:
    return fitted(6000, 128, 200, depth=2)


@pytest.fixture(scope="module")
def quick() -> pf.JointPosterior:
    """One that has hardly learned, but whose answers must agree with each other all the same."""
    return fitted(300, 16, 2, depth=1)


def test_a_folder_brings_the_same_model_back(quick: pf.JointPosterior, tmp_path: Path) -> None:
    quick.save(tmp_path / "model")
    again = pf.JointPosterior.load(tmp_path / "model")
    theta, x = np.array([[0.3, 0.4], [0.9, 0.1]]), np.array([0.5, np.nan])
    np.testing.assert_array_equal(again.log_prob(theta, x=x), quick.log_prob(theta, x=x))
    np.testing.assert_array_equal(again.sample(5, x=x), quick.sample(5, x=x))
    assert again.names_ == NAMES


def fitted(n: int, width: int, epochs: int, depth: int) -> pf.JointPosterior:
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(n, 2))
    x = theta @ SLOPE.T + NOISE * rng.normal(size=theta.shape)
    joint = pf.JointPosterior([stats.norm(0, 1)] * 2, width=width, depth=depth, bins=4, max_epochs=epochs)
    return joint.fit(theta, x)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("free", "known"),
    [([0, 1], [2, 3]), ([2, 3], [0, 1]), ([0, 1], [2]), ([0], [1, 2, 3]), ([3], [0]), ([0, 1, 2, 3], [])],
    ids=["posterior", "likelihood", "missing x", "part of theta", "one of x", "joint"],
)
def test_every_conditional_of_a_linear_simulator(linear: pf.JointPosterior, free: list[int], known: list[int]) -> None:
    values = np.array([0.3, -0.5, 0.8, -0.4])[known]
    mean, covariance = conditional(free, known, values)
    law: Any = stats.multivariate_normal(mean, covariance)  # type: ignore[arg-type]
    draws = law.rvs(600, random_state=1).reshape(600, len(free))
    right = law.logpdf(draws)
    given = {NAMES[i]: float(v) for i, v in zip(known, values, strict=True)}
    found = linear.log_prob_given({NAMES[i]: draws[:, n] for n, i in enumerate(free)}, given)
    assert np.mean(right - found) < 0.06  # nats of divergence
    own = linear.sample_given(1500, given)
    sd = np.sqrt(np.diag(covariance))
    rest = [i for i in range(4) if i not in known]
    mean, covariance = conditional(rest, known, values)
    sd = np.sqrt(np.diag(covariance))
    for n, i in enumerate(rest):
        assert abs(own[NAMES[i]].mean() - mean[n]) < 0.2 * sd[n]
        assert abs(own[NAMES[i]].std() / sd[n] - 1) < 0.15


def test_the_posterior_as_npe_has_it_and_with_missing_numbers(quick: pf.JointPosterior) -> None:
    x = np.array([[0.8, -0.4], [0.8, np.nan]])
    draws = quick.sample(300, x=x)
    assert draws.shape == (2, 300, 2)
    theta = np.array([[0.1, 0.2], [0.5, -0.3]])
    nats = quick.log_prob(theta, x=x[1])
    expected = quick.log_prob_given({"theta_0": theta[:, 0], "theta_1": theta[:, 1]}, {"x_0": 0.8})
    np.testing.assert_allclose(nats, expected, rtol=1e-6)
    likelihood = quick.log_likelihood(np.tile(x[0], (2, 1)), theta=theta)
    given = {"theta_0": 0.1, "theta_1": 0.2}
    one = quick.log_prob_given({"x_0": [0.8], "x_1": [-0.4]}, given)
    np.testing.assert_allclose(likelihood[0], one[0], rtol=1e-6)


def test_densities_are_normalised_and_draws_follow_them() -> None:
    """With any weights: a bounded number and one on the line, whose second depends on the first."""
    model = AnyConditional(jax.random.key(0), (True, False), bins=4, width=16, depth=1)
    model = jax.tree.map(lambda leaf: leaf * 3 if isinstance(leaf, jax.Array) else leaf, model)
    first = np.linspace(-HALF_WIDTH, HALF_WIDTH, 121)
    second = np.linspace(-30, 30, 801)
    grid = np.stack(np.meshgrid(first, second, indexing="ij"), axis=-1).reshape(-1, 2).astype(np.float32)
    density = np.exp(np.asarray(model.log_prob(grid), np.float64)).reshape(121, 801)
    mass = np.trapezoid(np.trapezoid(density, second, axis=1), first)
    assert mass == pytest.approx(1, abs=5e-3)
    draws = np.asarray(model.sample(jax.random.key(1), 4000))
    marginal = np.trapezoid(density, second, axis=1)
    cdf = np.concatenate([[0], np.cumsum((marginal[1:] + marginal[:-1]) / 2) * (first[1] - first[0])])
    assert stats.kstest(draws[:, 0], lambda v: np.interp(v, first, cdf)).pvalue > 1e-3


def test_errors(quick: pf.JointPosterior) -> None:
    with pytest.raises(ValueError, match="names among"):
        quick.sample_given(3, {"y": 1.0})
    with pytest.raises(ValueError, match="values that are not given"):
        quick.log_prob_given({"x_0": [1.0]}, {"x_0": 1.0})
    with pytest.raises(ValueError, match=r"Call fit\(theta, x\) first"):
        pf.JointPosterior([(0, 1)]).sample(3, x=[0.0])
    with pytest.raises(ValueError, match="NaN stands for"):
        quick.sample(3, x=[0.0])
