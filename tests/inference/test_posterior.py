"""`NPE`: the posterior of simulators whose posterior is known."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import pushforward as pf
from pushforward.inference import SimulationWarning
from pushforward.inference.saved import is_inference
from pushforward.io.files import DETECTOR, says_of_itself

SMALL = {"n_layers": 2, "width": 24, "bins": 6}
NOISE = 0.1


def simulate(theta: np.ndarray, seed: int = 1) -> np.ndarray:
    return theta + NOISE * np.random.default_rng(seed).normal(size=theta.shape)


@pytest.fixture(scope="module")
def bounded() -> pf.NPE:
    """A uniform prior, so that the posterior is a normal distribution that the bounds cut off."""
    theta = np.random.default_rng(0).uniform(0, 1, (4000, 2))
    posterior = pf.NPE({"a": (0, 1), "b": (0, 1)}, flow_options=SMALL, n_members=2, max_epochs=60)
    return posterior.fit(theta, simulate(theta))


def exact(theta: np.ndarray, x: np.ndarray) -> np.ndarray:
    ends: Any = stats.norm(x, NOISE)
    mass = ends.cdf(1) - ends.cdf(0)
    return (ends.logpdf(theta) - np.log(mass)).sum(axis=-1)


def test_a_posterior_on_the_edge_is_as_good_as_one_in_the_middle(bounded: pf.NPE) -> None:
    rng = np.random.default_rng(3)
    for x in (np.array([0.5, 0.5]), np.array([1.0, 0.02])):
        u = rng.uniform(size=(400, 2))
        ends = stats.norm(x, NOISE)
        theta = ends.ppf(ends.cdf(0) + u * (ends.cdf(1) - ends.cdf(0)))
        gap = exact(theta, x) - bounded.log_prob(theta, x=x)
        assert gap.mean() < 0.12  # nats of divergence; a logit map loses half a nat on the edge


def test_no_mass_leaves_the_support(bounded: pf.NPE) -> None:
    x = np.array([[1.05, -0.05], [0.5, 0.5]])
    draws = bounded.sample(500, x=x)
    assert draws.shape == (2, 500, 2)
    assert draws.min() >= 0
    assert draws.max() <= 1
    assert np.isneginf(bounded.log_prob(np.array([[1.0001, 0.5], [0.5, -1e-9]]), x=x[0])).all()
    side = (np.arange(150) + 0.5) / 150
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    assert np.exp(bounded.log_prob(grid, x=x[0])).mean() == pytest.approx(1, abs=0.02)


def test_many_observations_are_one_call_with_the_same_answers(bounded: pf.NPE) -> None:
    x = np.array([[0.2, 0.3], [0.7, 0.9], [0.5, 0.5]])
    theta = np.random.default_rng(0).uniform(size=(3, 4, 2))
    together = bounded.log_prob(theta, x=x)
    apart = np.stack([bounded.log_prob(own, x=one) for own, one in zip(theta, x, strict=True)])
    np.testing.assert_allclose(together, apart, rtol=1e-6)
    again = bounded.sample(7, x=x)
    np.testing.assert_array_equal(again, bounded.sample(7, x=x))
    other = bounded.sample(7, x=x, key=jax.random.key(5))
    assert not np.array_equal(again, other)


def test_the_mode_is_found_within_the_bounds(bounded: pf.NPE) -> None:
    x = np.array([0.4, 0.6])
    best = bounded.map(x=x)
    np.testing.assert_allclose(best, x, atol=0.1)
    assert bounded.log_prob(best, x=x) >= bounded.log_prob(bounded.sample(1000, x=x), x=x).max() - 1e-9


def test_a_folder_brings_the_same_posterior_back(bounded: pf.NPE, tmp_path: Path) -> None:
    bounded.save(tmp_path / "model")
    again = pf.NPE.load(tmp_path / "model")
    theta, x = np.array([[0.3, 0.4], [0.9, 0.1]]), np.array([0.5, 0.5])
    np.testing.assert_array_equal(again.log_prob(theta, x=x), bounded.log_prob(theta, x=x))
    np.testing.assert_array_equal(again.sample(5, x=x), bounded.sample(5, x=x))
    config = tmp_path / "model" / "config.json"
    config.write_text(config.read_text().replace('"x_shape": [2]', '"x_shape": [3]'))
    with pytest.raises(pf.UntrustedModelError):
        pf.NPE.load(tmp_path / "model")


def test_a_truncated_proposal_is_the_prior_where_the_posterior_is(bounded: pf.NPE) -> None:
    x = np.array([0.5, 0.5])
    theta = bounded.next_proposal(x).sample(800)
    assert theta.shape == (800, 2)
    assert np.abs(theta - 0.5).max() < 6 * NOISE
    inner = theta[(np.abs(theta - 0.5) < 2 * NOISE).all(axis=1)]
    assert stats.kstest(inner[:, 0], stats.uniform(0.3, 0.4).cdf).pvalue > 1e-3


def test_failed_simulations_are_counted_dropped_or_modelled() -> None:
    theta = np.random.default_rng(0).uniform(0, 1, (300, 1))
    x = simulate(theta)
    x[theta[:, 0] > 0.8] = np.nan
    n_failed = int((theta > 0.8).sum())
    options = {"flow_options": {"n_layers": 1, "width": 8, "bins": 4}, "n_members": 1, "max_epochs": 1}
    with pytest.warns(SimulationWarning, match=f"{n_failed} of 300"):
        dropped = pf.NPE([(0, 1)], **options).fit(theta, x)
    assert dropped.n_failed_ == n_failed
    with pytest.raises(ValueError, match="a model of failures"):
        dropped.failure_probability(theta)
    modelled = pf.NPE([(0, 1)], failed="model", **options).fit(theta, x)
    guess = modelled.failure_probability(np.array([[0.1], [0.95]]))
    assert guess[0] < 0.05
    assert guess[1] > 0.8
    with pytest.raises(ValueError, match="NaN or infinity in"):
        pf.NPE([(0, 1)], failed="error").fit(theta, x)


class DeepSet(eqx.Module):
    """The mean of a network over the members of a set."""

    inner: eqx.nn.MLP

    def __init__(self, key: jax.Array):
        self.inner = eqx.nn.MLP(1, 4, 8, 1, key=key)

    def __call__(self, x: jax.Array) -> jax.Array:
        return jnp.mean(jax.vmap(self.inner)(x), axis=0)


def test_an_embedding_is_trained_along_and_saved(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(600, 1))
    x = theta[:, :, None] + rng.normal(size=(600, 10, 1))
    start = DeepSet(jax.random.key(0))
    options = {"flow_options": {"n_layers": 1, "width": 8}, "n_members": 2, "max_epochs": 30}
    posterior = pf.NPE([stats.norm(0, 1)], embedding=start, **options).fit(theta, x)
    draws = posterior.sample(200, x=x[:40])
    assert np.corrcoef(draws.mean(axis=1)[:, 0], x[:40].mean(axis=(1, 2)))[0, 1] > 0.9
    turned = x[0][::-1]
    np.testing.assert_allclose(
        posterior.log_prob(theta[:3], x=turned), posterior.log_prob(theta[:3], x=x[0]), rtol=1e-6
    )
    posterior.save(tmp_path / "set")
    again = pf.NPE.load(tmp_path / "set", embedding=start)
    np.testing.assert_array_equal(again.log_prob(theta[:3], x=x[0]), posterior.log_prob(theta[:3], x=x[0]))
    with pytest.raises(ValueError, match="an embedding"):
        pf.NPE.load(tmp_path / "set")


def test_a_linear_simulator_is_right_from_the_start() -> None:
    """Without bounds the flow starts as the linear regression: a thousand pairs are enough for ten parameters."""
    rng = np.random.default_rng(0)
    theta = rng.normal(size=(1000, 4))
    x = theta + rng.normal(size=theta.shape)
    options = {"flow_options": {"n_layers": 1, "width": 8}, "n_members": 1, "max_epochs": 1}
    posterior = pf.NPE([stats.norm(0, 1)] * 4, **options).fit(theta, x)
    fresh = rng.normal(size=(500, 4))
    seen = fresh + rng.normal(size=fresh.shape)
    law: Any = stats.norm(seen / 2, np.sqrt(0.5))
    right = law.logpdf(fresh).sum(axis=1)
    assert (right - posterior.log_prob(fresh, x=seen)).mean() < 0.1


def test_errors_say_what_to_do(bounded: pf.NPE) -> None:
    with pytest.raises(ValueError, match=r"Call fit\(theta, x\) first"):
        pf.NPE([(0, 1)]).sample(3, x=[0.0])
    with pytest.raises(ValueError, match="one observation of shape"):
        bounded.sample(3, x=[0.0])
    with pytest.raises(ValueError, match="finite observation"):
        bounded.sample(3, x=[0.0, np.nan])
    with pytest.raises(ValueError, match="within the support of the prior"):
        pf.NPE([(0, 1)]).fit(np.full((30, 1), 2.0), np.zeros((30, 1)))
    with pytest.raises(ValueError, match="flow one of"):
        pf.NPE([(0, 1)], flow="nfs")


def test_a_pipe_in_the_place_of_a_model_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "config.json")
    assert not is_inference(tmp_path)
    assert not says_of_itself(tmp_path, DETECTOR)
