"""Conditions after training: every method against the exact conditional of normals and of mixtures of normals."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal, norm

import pushforward as pf
from pushforward.inference.dependence import dependence, pairs_of
from pushforward.inference.flow_walk import order_of, over_independent

MEAN = np.array([0.0, 1.0, -1.0])
COV = np.array([[1.0, 0.8, 0.3], [0.8, 1.5, 0.2], [0.3, 0.2, 2.0]])
N = 2000


def conditional(given: dict[int, float], mean: np.ndarray = MEAN, cov: np.ndarray = COV):
    """Free places, means and covariance of a normal given some of its numbers."""
    known, free = [*given], [i for i in range(len(mean)) if i not in given]
    slope = cov[np.ix_(free, known)] @ np.linalg.inv(cov[np.ix_(known, known)])
    centre = mean[free] + slope @ (np.array([*given.values()]) - mean[known])
    return free, centre, cov[np.ix_(free, free)] - slope @ cov[np.ix_(known, free)]


def apart(rows: np.ndarray, centre: np.ndarray, cov: np.ndarray, ess: float) -> float:
    """By how many standard errors the means, and the variances, of rows differ from those at most."""
    sd = np.sqrt(np.diag(cov))
    means = np.abs(rows.mean(axis=0) - centre) / sd * np.sqrt(ess)
    spreads = np.abs(rows.var(axis=0) / sd**2 - 1) / np.sqrt(2 / ess)
    return float(max(means.max(), spreads.max()))


@pytest.fixture(scope="module")
def normal():
    return pf.MultivariateNormal(MEAN, COV)


@pytest.fixture(scope="module")
def turned():
    """A normal without an order, seen through exponentials; its factor is known."""
    linear = pf.bijections.FullLinear(jax.random.key(1), 3)
    flow = pf.Flow(pf.StandardNormal((3,)), pf.Chain([linear, pf.bijections.Exp(shape=(3,))]))
    factor = np.asarray(jax.jacfwd(linear.forward)(jnp.zeros(3)), float)
    return flow, np.asarray(linear.forward(jnp.zeros(3)), float), factor @ factor.T


@pytest.mark.parametrize(
    ("given", "method"),
    [
        ({0: 0.5}, "exact"),
        ({2: 1.0}, "importance"),
        pytest.param({0: 1.0, 2: -3.0}, "mcmc", marks=pytest.mark.thorough),
    ],
)
def test_every_method_gives_the_conditional_of_a_normal(normal, given, method):
    draws = pf.condition_on(normal, given, method=method).draw(jax.random.key(0), N)
    free, centre, cov = conditional(given)
    assert draws.report.method == method
    worth = min(N, draws.report.ess / (1 + draws.report.ess / N))
    assert apart(draws.rows[:, free], centre, cov, worth) < 4
    assert (draws.rows[:, [*given]] == [*given.values()]).all()
    # The twin is conditioned on values that are off by 1.
    off = conditional({place: value + 1.0 for place, value in given.items()})
    assert apart(draws.rows[:, free], off[1], off[2], worth) > 4


def test_a_flow_without_an_order_is_weighed(turned):
    flow, mean, cov = turned
    inner = over_independent(flow)
    assert inner is not None
    assert order_of(inner) is None
    given = pf.condition_on(flow, {1: 1.7})
    draws = given.draw(jax.random.key(0), N)
    free, centre, own = conditional({1: np.log(1.7)}, mean, cov)
    assert draws.report.method == "importance"
    assert draws.report.pareto_k < 0.5
    assert apart(np.log(draws.rows[:, free]), centre, own, N / 2) < 4
    truth = norm.logpdf(np.log(1.7), mean[1], np.sqrt(cov[1, 1])) - np.log(1.7)
    found = given.log_evidence(jax.random.key(1))
    assert abs(found.value - truth) < 4 * found.error < 0.2


def test_mixtures_of_normals_keep_the_shares_of_their_parts():
    far = [pf.MultivariateNormal([c, c], [[1.0, s], [s, 1.0]]) for c, s in ((-3.0, 0.5), (3.0, -0.5))]
    mixture = pf.Mixture(far, weights=[0.4, 0.6])
    draws = pf.condition_on(mixture, {0: 0.3}).draw(jax.random.key(0), N)
    shares = np.array([0.4 * norm.pdf(0.3, -3), 0.6 * norm.pdf(0.3, 3)])
    shares /= shares.sum()
    # The conditional of each part is a normal: -3 + 0.5 * 3.3 and 3 + 0.5 * 2.7.
    centres = np.array([-3 + 0.5 * 3.3, 3 + 0.5 * 2.7])
    mean, second = shares @ centres, shares @ (centres**2 + 0.75)
    sd = np.sqrt(second - mean**2)
    assert abs(draws.rows[:, 1].mean() - mean) < 4 * sd / np.sqrt(N / 2)
    assert abs(draws.rows[:, 1].mean() - centres.mean()) > 4 * sd / np.sqrt(N / 2)


def test_ranges_and_sets(normal):
    ranged = pf.condition_on(normal, {0: (1.0, None)}).draw(jax.random.key(0), N)
    assert ranged.report.exact
    assert ranged.rows[:, 0].min() >= 1
    tail = norm.pdf(1) / norm.sf(1)
    assert abs(ranged.rows[:, 0].mean() - tail) < 4 * 0.45 / np.sqrt(N)
    assert abs(ranged.report.log_evidence - norm.logsf(1)) < 1e-6
    both = pf.condition_on(normal, {0: {-1.0, 2.0}}).draw(jax.random.key(0), N)
    assert set(np.unique(both.rows[:, 0])) == {-1.0, 2.0}
    share = norm.pdf(2) / (norm.pdf(2) + norm.pdf(1))
    assert abs((both.rows[:, 0] == 2).mean() - share) < 4 * np.sqrt(share / N)


def test_the_same_key_gives_the_same_rows(normal):
    given = pf.condition_on(normal, {2: 1.0})
    one, two, other = (given.sample(jax.random.key(seed), 50) for seed in (0, 0, 1))
    assert (one == two).all()
    assert (one != other).any()


def test_the_structure_says_what_depends_on_what():
    flows = {
        "maf": pf.flows.maf(jax.random.key(0), dim=3, n_layers=1, width=8, linear=None),
        "nsf": pf.flows.nsf(jax.random.key(0), dim=3, n_layers=2, width=8, linear="reverse"),
        "graph": pf.flows.maf(jax.random.key(0), dim=3, n_layers=1, width=8, adjacency=np.eye(3, k=-2, dtype=int)),
    }
    for name, flow in flows.items():
        x = np.asarray(flow.sample(jax.random.key(1), 64))
        seen = np.any(np.asarray(jax.vmap(jax.jacfwd(flow.bijection.inverse))(x)) != 0, axis=0)
        pattern = dependence(flow.bijection, False)
        assert not (seen & ~pattern).any()
        assert (pairs_of(pattern) is None) == (name == "nsf")
    order = order_of(flows["graph"])
    assert order is not None
    # The last number has the first for its only parent, so that the second may be known or not.
    assert order.exact_for(np.array([True, False, True]))
    assert not order.exact_for(np.array([False, True, True]))


def test_marginals_have_the_densities_of_normals(normal, turned):
    x = np.array([[0.3, 2.0], [-1.0, 0.0]])
    exact = pf.marginal(normal, [0, 1]).score(x)
    truth: Any = multivariate_normal(MEAN[:2], COV[:2, :2])  # pyright: ignore[reportArgumentType]
    assert np.allclose(exact.log_prob, truth.logpdf(x), atol=1e-6)
    assert (exact.error == 0).all()
    last = pf.marginal(normal, [2])
    scores = last.score([0.5, -2.0])
    truth = norm.logpdf([0.5, -2.0], -1, np.sqrt(2))
    assert (np.abs(scores.log_prob - truth) < 4 * scores.error).all()
    assert np.abs(last.cdf(0.5) - norm(-1, np.sqrt(2)).cdf(0.5)) < 0.02
    first = pf.marginal(normal, [0])
    assert np.allclose(first.quantile([0.1, 0.9]), norm.ppf([0.1, 0.9]), atol=1e-6)
    assert np.allclose(first.interval(0.9), norm.ppf([0.05, 0.95]), atol=1e-6)
    flow, mean, cov = turned
    one = pf.marginal(flow, [0])
    grid = np.exp(mean[0] + np.sqrt(cov[0, 0]) * np.array([-1.0, 0.5]))
    truth = norm.pdf(np.log(grid), mean[0], np.sqrt(cov[0, 0])) / grid
    assert np.allclose(one.pdf(grid), truth, rtol=0.1)


def test_a_marginal_of_a_conditional(normal):
    free, centre, cov = conditional({0: 0.5})
    own = pf.marginal(pf.condition_on(normal, {0: 0.5}), [1])
    sd = np.sqrt(cov[0, 0])
    assert free[0] == 1
    assert np.allclose(own.quantile([0.2, 0.7]), norm(centre[0], sd).ppf([0.2, 0.7]), atol=1e-6)
    assert np.allclose(own.log_prob([1.0]), norm.logpdf(1.0, centre[0], sd), atol=1e-6)


def test_refusals_say_why(normal):
    with pytest.raises(pf.ConditioningError, match="places from 0 to 2") as found:
        pf.condition_on(normal, {7: 1.0})
    assert found.value.code == "column"
    with pytest.raises(pf.ConditioningError, match="a range low < high") as found:
        pf.condition_on(normal, {0: (2.0, 1.0)})
    assert found.value.code == "value"
    with pytest.raises(pf.ConditioningError, match="comes first") as found:
        pf.condition_on(normal, {2: 1.0}, method="exact").sample(jax.random.key(0), 5)
    assert found.value.code == "not-exact"
    with pytest.raises(pf.ConditioningError) as found:
        pf.condition_on(normal, {0: (60.0, 61.0)}).sample(jax.random.key(0), 5)
    assert found.value.code == "impossible"
    conditional_flow = pf.flows.maf(jax.random.key(0), dim=2, condition_dim=1, n_layers=1, width=8)
    with pytest.raises(pf.ConditioningError, match=r"flow\.given") as found:
        pf.condition_on(conditional_flow, {0: 1.0})
    assert found.value.code == "unsupported"
