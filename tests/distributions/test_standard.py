"""Base distributions against scipy, at the edges of their support too, and their samples against their densities."""

# Wrong arguments on purpose; and pyright takes a frozen distribution of scipy for a discrete one.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.testing import LawError, cast, check_mean, check_samples

KEY = jax.random.key(11)
N = 20_000
LOC, SCALE = np.array([1.0, -20.0]), np.array([0.5, 30.0])
LOW, HIGH = np.array([-1.0, 10.0]), np.array([2.0, 10.5])
COV = np.array([[0.25, -12.0], [-12.0, 900.0]])
DF = np.array([1.5, 7.0])
WEIGHTS = np.array([0.3, 0.7])


def mixture_cdf(x: np.ndarray) -> np.ndarray:
    return WEIGHTS[0] * stats.norm(-2, 1).cdf(x) + WEIGHTS[1] * stats.norm(2, 0.5).cdf(x)


def mixture_logpdf(x: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore"):
        logs = np.stack([stats.norm(-2, 1).logpdf(x), stats.norm(2, 0.5).logpdf(x)])
        return np.logaddexp(*(logs + np.log(WEIGHTS)[:, None]))


# Name: (the distribution, scipy's log-density of rows, the distribution function of each column).
CASES: dict[str, tuple[Callable[[], pf.AbstractDistribution], Callable, list[Callable]]] = {
    "StandardNormal": (
        lambda: pf.StandardNormal((2,)),
        lambda x: stats.norm.logpdf(x).sum(-1),
        [stats.norm.cdf, stats.norm.cdf],
    ),
    "DiagonalNormal": (
        lambda: pf.DiagonalNormal(LOC, SCALE),
        lambda x: stats.norm(LOC, SCALE).logpdf(x).sum(-1),
        [stats.norm(LOC[i], SCALE[i]).cdf for i in range(2)],
    ),
    "UniformBox": (
        lambda: pf.UniformBox(LOW, HIGH),
        lambda x: stats.uniform(LOW, HIGH - LOW).logpdf(x).sum(-1),
        [stats.uniform(LOW[i], HIGH[i] - LOW[i]).cdf for i in range(2)],
    ),
    "StudentT": (
        lambda: pf.StudentT(DF),
        lambda x: stats.t(DF).logpdf(x).sum(-1),
        [stats.t(DF[i]).cdf for i in range(2)],
    ),
    "MultivariateNormal": (
        lambda: pf.MultivariateNormal(LOC, COV),
        lambda x: stats.multivariate_normal(LOC, COV).logpdf(x),
        [stats.norm(LOC[i], SCALE[i]).cdf for i in range(2)],
    ),
    "Joint": (
        lambda: pf.Joint([pf.StudentT(DF[:1]), pf.DiagonalNormal(LOC[:1], SCALE[:1])], indices=[[1], [0]]),
        lambda x: stats.t(DF[0]).logpdf(x[..., 1]) + stats.norm(LOC[0], SCALE[0]).logpdf(x[..., 0]),
        [stats.norm(LOC[0], SCALE[0]).cdf, stats.t(DF[0]).cdf],
    ),
    "Mixture": (
        lambda: pf.Mixture([pf.DiagonalNormal([-2.0], [1.0]), pf.DiagonalNormal([2.0], [0.5])], WEIGHTS),
        lambda x: mixture_logpdf(x[..., 0]),
        [mixture_cdf],
    ),
}


def points(dim: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    values = [0.0, -0.0, 5e-324, 1e-8, -1.0, 2.0, 10.0, 10.5, np.nextafter(10.5, 11), 40.0, -1e3, 1e8]
    edges = np.concatenate([np.stack([LOW, HIGH, (LOW + HIGH) / 2, np.nextafter(HIGH, np.inf)])])
    return np.concatenate([3 * rng.standard_normal((40, 2)), np.stack([values, values], 1), edges])[:, :dim]


@pytest.mark.parametrize("name", CASES)
def test_log_prob_is_that_of_scipy(name: str) -> None:
    make, logpdf, _ = CASES[name]
    distribution = make()
    x = points(distribution.event_shape[0])
    got, expected = np.asarray(distribution.log_prob(x)), logpdf(x)
    np.testing.assert_array_equal(np.isneginf(got), np.isneginf(expected))
    inside = np.isfinite(expected)
    np.testing.assert_allclose(got[inside], expected[inside], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_infinite_rows_have_no_density_and_nan_stays_nan(name: str) -> None:
    distribution = CASES[name][0]()
    dim = distribution.event_shape[0]
    middle = np.full(dim, 0.5) if name != "UniformBox" else (LOW + HIGH) / 2
    rows = np.stack([middle] * 4)
    rows[1, 0], rows[2, -1], rows[3, 0] = np.inf, -np.inf, np.nan
    got = np.asarray(distribution.log_prob(rows))
    assert np.isfinite(got[0])
    assert np.isneginf(got[1])
    assert np.isneginf(got[2])
    assert np.isnan(got[3])
    if dim > 1:  # one NaN spoils the row, whatever stands beside it
        assert np.isnan(distribution.log_prob(np.array([np.nan, np.inf])))


@pytest.mark.parametrize("name", CASES)
def test_samples_follow_the_density(name: str) -> None:
    make, _, cdfs = CASES[name]
    samples = np.asarray(make().sample(KEY, N))
    for column, cdf in enumerate(cdfs):
        check_samples(samples[:, column], cdf, f"{name}, column {column}")


@pytest.mark.parametrize("name", CASES)
def test_a_shift_of_a_tenth_is_found(name: str) -> None:
    """The broken twin of the check above: every sampler shifted by 0.1 (robust) standard deviations."""
    make, _, cdfs = CASES[name]
    samples = np.asarray(make().sample(KEY, N))[:, 0]
    sigma = 0.5 * np.diff(np.quantile(samples, [0.16, 0.84]))[0]
    with pytest.raises(LawError, match="check_samples"):
        check_samples(samples + 0.1 * sigma, cdfs[0], name)


def test_check_mean_finds_a_shift_of_a_tenth() -> None:
    values = np.random.default_rng(0).standard_normal(N)
    check_mean(values, 0.0, "standard normal")
    with pytest.raises(LawError, match=r"expected 0\.1"):
        check_mean(values, 0.1, "shifted")
    with pytest.raises(LawError, match="check_mean"):
        check_mean([np.nan, 1.0], 0.0, "NaN")


@pytest.mark.parametrize("name", CASES)
def test_coordinates_are_independent_draws(name: str) -> None:
    samples = np.asarray(CASES[name][0]().sample(KEY, N))
    ranks = stats.rankdata(samples, axis=0)
    check_mean((ranks[1:, 0] - N / 2) * (ranks[:-1, 0] - N / 2), 0.0, f"{name}: neighbouring rows")
    if samples.shape[1] > 1:
        # The correlated normal is the broken twin of the others.
        with pytest.raises(LawError) if name == "MultivariateNormal" else contextlib.nullcontext():
            check_mean((ranks[:, 0] - N / 2) * (ranks[:, 1] - N / 2), 0.0, f"{name}: columns")


@pytest.mark.parametrize("name", CASES)
def test_batches_and_prefixes(name: str) -> None:
    distribution = CASES[name][0]()
    event = distribution.event_shape
    drawn, log_prob = distribution.sample_and_log_prob(KEY, 6)
    assert drawn.shape == (6, *event)
    np.testing.assert_array_equal(drawn, distribution.sample(KEY, (3, 2)).reshape(6, *event))
    np.testing.assert_array_equal(drawn[:4], distribution.sample(KEY, 4))
    np.testing.assert_allclose(distribution.log_prob(drawn.reshape(3, 2, *event)).reshape(6), log_prob, rtol=1e-12)


def test_one_row_and_no_row() -> None:
    normal = pf.StandardNormal((2,))
    assert normal.sample(KEY).shape == (2,)
    np.testing.assert_array_equal(normal.sample(KEY), normal.sample(KEY, 1)[0])
    assert normal.log_prob(np.zeros(2)).shape == ()
    assert normal.log_prob(np.zeros((0, 2))).shape == (0,)
    assert normal.sample(KEY, 0).shape == (0, 2)
    assert not np.array_equal(normal.sample(KEY, 5), normal.sample(jax.random.key(12), 5))


@pytest.mark.parametrize("name", CASES)
def test_gradients_reach_the_parameters(name: str) -> None:
    distribution = CASES[name][0]()
    params, rest = pf.trainable(distribution)
    x = points(distribution.event_shape[0])[:40]

    def mean(params: Any) -> jax.Array:
        log_prob = pf.combine(params, rest).log_prob(x)
        return jnp.mean(jnp.where(jnp.isfinite(log_prob), log_prob, 0.0))

    for leaf in jax.tree.leaves(jax.grad(mean)(params)):
        assert np.all(np.isfinite(leaf))
        assert np.any(leaf != 0)


@pytest.mark.parametrize("name", CASES)
def test_float32_scores_close_to_float64(name: str) -> None:
    distribution = CASES[name][0]()
    x = np.asarray(distribution.sample(KEY, 100))
    single = np.asarray(cast(distribution, jnp.float32).log_prob(x.astype(np.float32)))
    assert single.dtype == np.float32
    double = np.asarray(distribution.log_prob(x.astype(np.float32).astype(float)))
    inside = np.isfinite(double) & np.isfinite(single)
    assert inside.mean() > 0.95
    np.testing.assert_allclose(single[inside], double[inside], rtol=1e-4, atol=1e-4)


def test_heavy_tails_far_out_do_not_overflow() -> None:
    heavy = pf.StudentT(2.0, shape=(1,))
    x = np.array([[1e100], [-1e160], [1e300]])
    # The log-density is -1.5 log 2 - 1.5 log(1 + x^2 / 2), with the 1 below rounding; scipy's own overflows.
    expected = -1.5 * np.log(2.0) - 1.5 * (2 * np.log(np.abs(x[:, 0])) - np.log(2.0))
    np.testing.assert_allclose(heavy.log_prob(x), expected, rtol=1e-10)


def test_nested_and_conditional_mixture() -> None:
    parts = [
        pf.flows.maf(jax.random.key(i), dim=2, condition_dim=1, n_layers=1, width=4, depth=1, linear="reverse")
        for i in range(2)
    ]
    mixture = pf.Mixture([*parts, pf.StandardNormal((2,))], [1.0, 2.0, 1.0])
    x, condition = np.zeros((4, 2)), np.ones((4, 1))
    expected = np.log(
        0.25 * np.exp(parts[0].log_prob(x, condition))
        + 0.5 * np.exp(parts[1].log_prob(x, condition))
        + 0.25 * np.exp(pf.StandardNormal((2,)).log_prob(x))
    )
    np.testing.assert_allclose(mixture.log_prob(x, condition), expected, rtol=1e-10)
    assert mixture.sample(KEY, 3, condition).shape == (3, 4, 2)


@pytest.mark.parametrize(
    ("make", "kind", "match"),
    [
        (lambda: pf.StandardNormal(3), TypeError, "Write shape=\\(3,\\)"),
        (lambda: pf.DiagonalNormal(0.0, 0.0), ValueError, "DiagonalNormal: expected finite scales > 0"),
        (lambda: pf.DiagonalNormal(0.0, np.nan), ValueError, "finite scales > 0"),
        (lambda: pf.UniformBox(1.0, 1.0), ValueError, "UniformBox: expected finite low < high"),
        (lambda: pf.UniformBox(0.0, np.inf), ValueError, "finite low < high"),
        (lambda: pf.StudentT(0.0), ValueError, "StudentT: expected finite df > 0"),
        (lambda: pf.Mixture([]), ValueError, "one component or more"),
        (lambda: pf.Mixture([pf.StandardNormal((1,)), pf.StandardNormal((2,))]), ValueError, "one event shape"),
        (lambda: pf.Mixture([pf.StandardNormal((1,))], [0.0]), ValueError, "weights > 0"),
        (lambda: pf.StandardNormal((2,)).log_prob(np.zeros(3)), ValueError, r"x of shape \(\*batch, \*\(2,\)\)"),
        (lambda: pf.StandardNormal((2,)).log_prob(np.zeros(2), np.zeros(1)), ValueError, "no condition"),
        (lambda: pf.StandardNormal((2,)).sample(0), TypeError, "Make one with jax.random.key"),
    ],
)
def test_errors(make: Callable[[], Any], kind: type[Exception], match: str) -> None:
    with pytest.raises(kind, match=match):
        make()
