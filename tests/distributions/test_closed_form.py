"""Means, variances, entropies, distribution functions and quantiles: scipy's, and those of samples."""

# Pyright takes a frozen distribution of scipy for a discrete one.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.testing import LawError, check_mean, check_samples

KEY = jax.random.key(5)
N = 20_000
LOC, SCALE = np.array([1.0, -20.0]), np.array([0.5, 30.0])
LOW, HIGH = np.array([-1.0, 10.0]), np.array([2.0, 10.5])
DF = np.array([4.5, 70.0])
COV = np.array([[0.25, -12.0], [-12.0, 900.0]])
NORMAL, T, UNIFORM = stats.norm(LOC, SCALE), stats.t(DF), stats.uniform(LOW, HIGH - LOW)
NET = eqx.nn.MLP(in_size=3, out_size=4, width_size=8, depth=1, key=jax.random.key(1))
CONDITION = np.array([0.5, -1.0, 2.0])
GIVEN = np.asarray(NET(jnp.asarray(CONDITION)))
CONDITIONAL = stats.norm(GIVEN[:2], np.exp(GIVEN[2:]))
PAIR = (stats.norm(-2.0, 1.0), stats.uniform(0.0, 3.0))

# Name: (the distribution, its condition, scipy's of each coordinate, the entropy of all).
CASES: dict[str, tuple[Callable[[], Any], Any, Any, Any]] = {
    "StandardNormal": (lambda: pf.StandardNormal((2,)), None, stats.norm([0, 0], 1), 2 * stats.norm.entropy()),
    "DiagonalNormal": (lambda: pf.DiagonalNormal(LOC, SCALE), None, NORMAL, NORMAL.entropy().sum()),
    "UniformBox": (lambda: pf.UniformBox(LOW, HIGH), None, UNIFORM, UNIFORM.entropy().sum()),
    "StudentT": (lambda: pf.StudentT(DF), None, T, T.entropy().sum()),
    "MultivariateNormal": (
        lambda: pf.MultivariateNormal(LOC, COV),
        None,
        NORMAL,
        stats.multivariate_normal(LOC, COV).entropy(),
    ),
    "ConditionalNormal": (
        lambda: pf.ConditionalNormal(NET, (2,), (3,)),
        CONDITION,
        CONDITIONAL,
        CONDITIONAL.entropy().sum(),
    ),
}
UNITS = np.array([[0.5, 0.5], [1e-12, 1 - 1e-12], [0.2, 0.999], [0.0, 1.0]])


@pytest.mark.parametrize("name", CASES)
def test_they_are_those_of_scipy(name: str) -> None:
    make, condition, known, entropy = CASES[name]
    distribution = make()
    np.testing.assert_allclose(distribution.mean(condition), known.mean(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(distribution.variance(condition), known.var(), rtol=1e-11)
    np.testing.assert_allclose(distribution.entropy(condition), entropy, rtol=1e-11)
    np.testing.assert_allclose(distribution.quantile(UNITS, condition), known.ppf(UNITS), rtol=1e-9, atol=1e-11)
    x = np.concatenate([known.ppf(UNITS[:3]), known.mean() + known.std() * np.array([[0.0], [1e-9], [-30.0], [8.0]])])
    np.testing.assert_allclose(distribution.cdf(x, condition), known.cdf(x), rtol=1e-9, atol=1e-300)


@pytest.mark.parametrize("name", CASES)
def test_the_slope_of_the_distribution_function_is_the_density(name: str) -> None:
    make, condition, known, _ = CASES[name]
    x = np.concatenate([known.ppf(UNITS[[0, 2]]), known.mean() + known.std() * np.array([[1e-3], [-0.4]])])
    slope = jax.vmap(jax.jacfwd(lambda row: make().cdf(row, condition)))(x)
    np.testing.assert_allclose(np.diagonal(slope, axis1=1, axis2=2), known.pdf(x), rtol=1e-8)
    back = jax.vmap(jax.jacrev(lambda p: make().quantile(p, condition)))(known.cdf(x))
    np.testing.assert_allclose(np.diagonal(back, axis1=1, axis2=2), 1 / known.pdf(x), rtol=1e-7)


def checks(distribution: Any, condition: Any) -> list[Callable[[float], None]]:
    """The checks of samples, each of which takes a shift in standard deviations of what it expects."""
    x, log_prob = (np.asarray(part) for part in distribution.sample_and_log_prob(KEY, N, condition))
    mean, variance = np.asarray(distribution.mean(condition)), np.asarray(distribution.variance(condition))
    wrong, entropy = np.sqrt(variance)[0], float(distribution.entropy(condition))

    def uniform(shift: float) -> None:
        check_samples(distribution.cdf(x + shift * np.sqrt(variance), condition)[:, 0], stats.uniform.cdf, "cdf")

    return [
        lambda shift: check_mean(x[:, 0], mean[0] + shift * wrong, "mean"),
        lambda shift: check_mean((x[:, 0] - mean[0]) ** 2, (1 + shift) * variance[0], "variance"),
        uniform,
        *([] if np.ptp(log_prob) < 1e-9 else [lambda shift: check_mean(-log_prob, entropy + shift, "entropy")]),
    ]


@pytest.mark.parametrize("name", CASES)
def test_they_are_those_of_samples_and_a_tenth_is_found(name: str) -> None:
    make, condition, _, _ = CASES[name]
    for check in checks(make(), condition):
        check(0.0)
        with pytest.raises(LawError):  # the broken twin
            check(0.1)


def test_mixture() -> None:
    mixture = pf.Mixture([pf.DiagonalNormal([-2.0], [1.0]), pf.UniformBox([0.0], [3.0])], [0.3, 0.7])
    mean = 0.3 * -2.0 + 0.7 * 1.5
    np.testing.assert_allclose(mixture.mean(), [mean], rtol=1e-12)
    second = 0.3 * (1 + 4) + 0.7 * (9 / 12 + 1.5**2)
    np.testing.assert_allclose(mixture.variance(), [second - mean**2], rtol=1e-12)
    x = np.linspace(-6, 6, 25)
    expected = 0.3 * PAIR[0].cdf(x) + 0.7 * PAIR[1].cdf(x)
    np.testing.assert_allclose(mixture.cdf(x[:, None])[:, 0], expected, rtol=1e-12)
    draws = np.asarray(mixture.sample(KEY, N))
    check_samples(mixture.cdf(draws), stats.uniform.cdf, "mixture")
    with pytest.raises(LawError):
        check_samples(mixture.cdf(draws + 0.1 * np.sqrt(mixture.variance())), stats.uniform.cdf, "mixture")
    for method in (mixture.entropy, lambda: mixture.quantile(0.5 * np.ones(1))):
        with pytest.raises(NotImplementedError, match="closed form"):
            method()


def test_joint() -> None:
    parts = [pf.MultivariateNormal(LOC, COV), pf.ConditionalNormal(NET, (2,), (3,)), pf.UniformBox([0.0], [2.0])]
    joint = pf.Joint(parts, indices=[[4, 0], [1, 2], [3]])
    condition = np.stack([CONDITION, -CONDITION])
    assert joint.cond_shape == (3,)
    assert joint.sample(KEY, 3, condition).shape == (3, 2, 5)
    for method in ("mean", "variance"):
        got = getattr(joint, method)(condition)
        assert got.shape == (2, 5)
        np.testing.assert_allclose(got[:, [4, 0]], np.tile(getattr(parts[0], method)(), (2, 1)), rtol=1e-12)
        np.testing.assert_allclose(got[:, [1, 2]], getattr(parts[1], method)(condition), rtol=1e-12)
    total = parts[0].entropy() + parts[1].entropy(condition) + parts[2].entropy()
    np.testing.assert_allclose(joint.entropy(condition), total, rtol=1e-12)
    x, log_prob = joint.sample_and_log_prob(KEY, 4, condition)
    own = [x[..., [4, 0]], x[..., [1, 2]], x[..., [3]]]
    np.testing.assert_allclose(
        log_prob,
        parts[0].log_prob(own[0]) + parts[1].log_prob(own[1], condition) + parts[2].log_prob(own[2]),
        rtol=1e-12,
    )
    np.testing.assert_allclose(joint.log_prob(x, condition), log_prob, rtol=1e-9)
    np.testing.assert_allclose(joint.quantile(joint.cdf(x, condition), condition), x, rtol=1e-7, atol=1e-9)
    plain = pf.Joint([pf.StandardNormal((2,)), pf.flows.realnvp(KEY, dim=2, n_layers=1, width=4)])
    np.testing.assert_allclose(plain.log_prob(np.ones(4)), sum(p.log_prob(np.ones(2)) for p in plain.parts))
    with pytest.raises(NotImplementedError, match="parts with closed forms, got Flow"):
        plain.mean()


def test_a_base_that_depends_on_a_network_is_trained_along() -> None:
    """p(x | c) of a flow over a conditional base, against the same written by hand; and the gradient of the network."""
    base = pf.ConditionalNormal(pf.MLP(KEY, 3, (2, 2), width=8, depth=1), (2,), (3,))
    flow = pf.Flow(base, pf.Affine([1.0, 2.0], 3.0))
    x, condition = np.array([[0.0, 1.0], [2.0, -4.0]]), np.array([[1.0, 0.0, -1.0], [0.2, 0.3, 5.0]])
    loc, log_scale = jnp.moveaxis(jax.vmap(base.net)(jnp.asarray(condition)), 1, 0)
    expected = stats.norm(loc, np.exp(log_scale)).logpdf((x - [1.0, 2.0]) / 3).sum(1) - 2 * np.log(3)
    np.testing.assert_allclose(flow.log_prob(x, condition), expected, rtol=1e-10)
    np.testing.assert_allclose(flow.given(condition[0]).log_prob(x[0]), expected[0], rtol=1e-10)
    params, rest = pf.trainable(flow)
    gradient = jax.grad(lambda p: pf.combine(p, rest).log_prob(x, condition).sum())(params)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradient))


def test_covariance_and_factor_are_the_same() -> None:
    factor = np.linalg.cholesky(COV)
    by_cov, by_factor = pf.MultivariateNormal(LOC, COV), pf.MultivariateNormal(LOC, scale_tril=factor)
    np.testing.assert_allclose(by_cov.covariance(), COV, rtol=1e-12)
    np.testing.assert_allclose(by_factor.scale_tril(), factor, rtol=1e-12)
    x = np.array([[0.0, 1.0], [-3.0, 20.0]])
    np.testing.assert_allclose(by_cov.log_prob(x), by_factor.log_prob(x), rtol=1e-11)
    samples = np.asarray(by_cov.sample(KEY, N)) - LOC
    check_mean(samples[:, 0] * samples[:, 1], COV[0, 1], "covariance")
    with pytest.raises(LawError):
        check_mean(samples[:, 0] * samples[:, 1], 1.1 * COV[0, 1], "covariance")


def test_moments_that_there_are_not() -> None:
    heavy = pf.StudentT([0.5, 1.0, 1.5, 2.0, 3.0])
    np.testing.assert_array_equal(heavy.mean(), [np.nan, np.nan, 0, 0, 0])
    np.testing.assert_allclose(heavy.variance(), [np.nan, np.nan, np.inf, np.inf, 3.0], rtol=1e-12)
    for known in (pf.StandardNormal((1,)), pf.UniformBox([0.0], [1.0]), heavy):
        outside = known.quantile(np.broadcast_to([[-0.1], [1.1], [np.nan]], (3, *known.event_shape)))
        assert np.all(np.isnan(outside))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: pf.MultivariateNormal(0.0, [[1.0, 2.0], [2.0, 1.0]]), "positive definite covariance, got"),
        (lambda: pf.MultivariateNormal(0.0, [[1.0, 0.5], [0.1, 1.0]]), "symmetric"),
        (lambda: pf.MultivariateNormal(0.0, [1.0, 2.0]), "a square matrix, got shape"),
        (lambda: pf.MultivariateNormal([0.0], np.eye(2)), r"loc of shape \(2,\)"),
        (lambda: pf.MultivariateNormal(0.0), "cov or scale_tril, got neither"),
        (lambda: pf.MultivariateNormal(0.0, np.eye(2), scale_tril=np.eye(2)), "got both"),
        (lambda: pf.MultivariateNormal(0.0, scale_tril=np.ones((2, 2))), "a lower triangle"),
        (lambda: pf.MultivariateNormal(0.0, scale_tril=-np.eye(2)), "a diagonal > 0"),
        (lambda: pf.ConditionalNormal(NET, (3,), (3,)), "a network with 6 outputs"),
        (lambda: pf.ConditionalNormal(NET, (2,), (5,)), r"one condition of shape \(5,\)"),
        (lambda: pf.Joint([]), "one part or more"),
        (lambda: pf.Joint([pf.StandardNormal((2,))], indices=[[0]]), r"\[2\] indices for the parts, got \[1\]"),
        (lambda: pf.Joint([pf.StandardNormal((2,))], indices=[[0, 0]]), "each place from 0 to 1 once"),
    ],
)
def test_errors(make: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make()
