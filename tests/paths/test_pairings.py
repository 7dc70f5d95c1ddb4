"""Pairings against the assignment, against the entropic plan of two normals, and their bias with conditions."""

from __future__ import annotations

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from pushforward._types import Array
from pushforward.paths import Independent, OptimalTransport, Sinkhorn

KEY = jax.random.key(5)


def rows(n: int, dim: int = 3) -> tuple[Array, Array]:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.standard_normal((dim, n))), jnp.asarray(2 * rng.standard_normal((dim, n)))


def plan(pairing: Sinkhorn, noise: Array, data: Array) -> np.ndarray:
    return np.asarray(jnp.exp(jax.jit(pairing.log_plan)(noise, data)))


def test_the_plan_uses_each_row_and_each_noise_alike() -> None:
    noise, data = rows(40)
    found = 40 * plan(Sinkhorn(), noise, data)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(found.sum(axis=0), 1, atol=0.02)
    # The broken twin: probabilities by the cost alone, as a softmax gives them, leave some of the noise unused.
    cost = np.asarray(((data[:, :, None] - noise[:, None, :]) ** 2).sum(axis=0))
    alone = np.asarray(jax.nn.softmax(-cost / (0.05 * cost.mean()), axis=1))
    assert np.abs(alone.sum(axis=0) - 1).max() > 0.5


def test_from_the_assignment_to_independent_pairs() -> None:
    noise, data = rows(20)
    cost = ((data[:, :, None] - noise[:, None, :]) ** 2).sum(axis=0)
    assigned = linear_sum_assignment(cost)[1]
    np.testing.assert_allclose(20 * plan(Sinkhorn(0.01), noise, data)[np.arange(20), assigned], 1, atol=0.02)
    got = jax.jit(Sinkhorn(0.01))(noise, data, None, KEY)
    np.testing.assert_array_equal(got, noise[:, assigned])
    np.testing.assert_allclose(plan(Sinkhorn(1e6), noise, data), 1 / 400, rtol=1e-3)
    # The plan in between is neither.
    between = 20 * plan(Sinkhorn(2.0), noise, data)
    assert between.max() < 0.95
    assert between.max() > 0.3


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (0.25, False)])
def test_the_plan_of_two_normals(factor: float, right: bool) -> None:
    r"""Of N(0, a^2) and N(0, b^2) the covariance is $-\varepsilon/4 + \sqrt{\varepsilon^2/16 + a^2 b^2}$.

    For the plan is normal, and its precision off the diagonal is $-2/\varepsilon$. The twin takes a quarter of epsilon.
    Quantiles in the place of draws: what is left is the error of 400 rows in the place of infinitely many.
    """
    n, a, b, epsilon = 400, 1.0, 2.0, 8.0
    at = jax.scipy.special.ndtri((jnp.arange(n) + 0.5) / n)[None]
    found = plan(Sinkhorn(factor * epsilon), a * at, b * at)
    covariance = float(jnp.sum(found * (b * at[0])[:, None] * (a * at[0])[None]))
    true = -epsilon / 4 + np.sqrt(epsilon**2 / 16 + (a * b) ** 2)
    assert bool(abs(covariance - true) < 0.02) is right
    if right:  # and what is drawn has it, within 4 standard errors
        drawn = Sinkhorn(epsilon)(a * at, b * at, None, KEY)
        products = np.asarray(drawn[0] * b * at[0])
        assert abs(products.mean() - covariance) < 4 * products.std() / np.sqrt(n)


@pytest.mark.parametrize("pairing", [OptimalTransport, lambda weight: Sinkhorn(0.1, weight)], ids=["exact", "entropic"])
def test_conditions_in_the_cost_keep_the_noise_independent_of_them(pairing) -> None:
    """With two conditions whose rows lie apart, plain pairing gives each its own half of the noise: the bias."""
    rng = np.random.default_rng(0)
    condition = np.repeat([0.0, 1.0], 100)[None]
    data, noise = 5 * condition + rng.standard_normal((1, 200)), rng.standard_normal((1, 200))
    for weight, biased in ((0.0, True), (None, False)):
        got = np.asarray(pairing(weight)(*map(jnp.asarray, (noise, data, condition)), KEY))
        apart = got[condition == 1].mean() - got[condition == 0].mean()
        assert bool(apart > 1.0) is biased
        if not biased:
            assert abs(apart) < 0.5
            # Paired all the same: within a condition large goes to large.
            assert np.corrcoef(got[condition == 1], data[condition == 1])[0, 1] > 0.9


@pytest.mark.parametrize("pairing", [OptimalTransport(), Sinkhorn()], ids=["exact", "entropic"])
def test_one_condition_for_all_changes_nothing(pairing) -> None:
    """Also one whose squares rounding takes for different: then the pairs would be noise."""
    noise, data = rows(30)
    noise, data = noise.astype(jnp.float32), (data + 1000).astype(jnp.float32)
    same = pairing(noise, data, jnp.full((1, 30), 2024.3, jnp.float32), KEY)
    np.testing.assert_array_equal(same, pairing(noise, data, None, KEY))
    assert not np.allclose(same, noise)


def test_rows_that_are_not_finite() -> None:
    noise, data = (a.astype(jnp.float32) for a in rows(30))
    for pairing in (Independent(), OptimalTransport(), Sinkhorn()):
        np.testing.assert_array_equal(pairing(noise, data.at[0, 0].set(jnp.nan), None, KEY), noise)


def test_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for epsilon in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="a finite epsilon > 0"):
            Sinkhorn(epsilon)
    with pytest.raises(ValueError, match="condition_weight >= 0"):
        Sinkhorn(condition_weight=-1.0)
    with pytest.raises(ValueError, match="max_iterations"):
        Sinkhorn(max_iterations=0)
    for name in [name for name in sys.modules if name.split(".")[0] == "ott"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ott", None)
    with pytest.raises(ImportError, match=r"pip install 'pushforward\[ott\]'"):
        Sinkhorn()
