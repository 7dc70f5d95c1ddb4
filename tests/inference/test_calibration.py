"""`calibrate`: an exact posterior passes, its broken twins fail, and each result is a sentence."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

import pushforward as pf

N = 2600


class Conjugate:
    """The posterior of theta ~ N(0, 1), x ~ N(theta, 1) in two dimensions, perhaps shifted or narrowed."""

    def __init__(self, shift: float = 0.0, width: float = 1.0):
        self.shift, self.sd = shift * np.sqrt(0.5), width * np.sqrt(0.5)

    def sample(self, n: int, *, x: Any, key: Any) -> np.ndarray:
        x = np.asarray(x)
        rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
        centre = x / 2 + self.shift
        return centre[..., None, :] + self.sd * rng.normal(size=(*x.shape[:-1], n, x.shape[-1]))

    def log_prob(self, theta: Any, *, x: Any) -> np.ndarray:
        law: Any = stats.norm(np.asarray(x)[..., None, :] / 2 + self.shift, self.sd)
        return law.logpdf(theta).sum(axis=-1)


@pytest.fixture(scope="module")
def pairs() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    theta = rng.normal(size=(N, 2))
    return theta, theta + rng.normal(size=theta.shape)


def found(pairs: tuple[np.ndarray, np.ndarray], posterior: Conjugate, **options: Any) -> pf.inference.Calibration:
    return pf.calibrate(posterior, *pairs, key=jax.random.key(0), **options)


def test_the_exact_posterior_passes_and_broken_twins_fail(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    right = found(pairs, Conjugate())
    assert right.passed, str(right)
    assert len(right.tests) == 4
    assert right.n_pairs >= right.n_needed
    shifted, narrow = found(pairs, Conjugate(shift=0.1)), found(pairs, Conjugate(width=0.9))
    assert not shifted.passed
    assert "too high" in shifted["ranks of theta_0"].sentence + shifted["ranks of theta_1"].sentence
    assert not narrow["ranks of theta_0"].passed
    assert "too narrow" in narrow["ranks of theta_0"].sentence
    assert not narrow["coverage"].passed
    assert "overconfident" in narrow["coverage"].sentence


def test_the_prior_as_posterior_is_seen_by_tarp_alone(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    class Prior(Conjugate):
        def sample(self, n: int, *, x: Any, key: Any) -> np.ndarray:
            return np.sqrt(2) * (super().sample(n, x=0 * np.asarray(x), key=key))

        def log_prob(self, theta: Any, *, x: Any) -> np.ndarray:
            return stats.norm(0, 1).logpdf(theta).sum(axis=-1)  # type: ignore[union-attr]

    result = found(pairs, Prior())
    assert result["ranks of theta_0"].passed
    assert result["coverage"].passed
    assert not result["tarp"].passed
    assert [test.name for test in result] == [test.name for test in result.tests]
    with pytest.raises(KeyError, match=r"expected one of.*tarp"):
        result["rank"]


@pytest.mark.thorough
def test_tests_at_an_observation(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    few = pairs[0][:1200], pairs[1][:1200]
    rng = np.random.default_rng(0)

    def simulate(theta: np.ndarray) -> np.ndarray:
        return theta + rng.normal(size=theta.shape)

    near = found(few, Conjugate(), observed=np.array([0.3, -0.2]), simulate=simulate)
    assert near.passed, str(near)
    assert {test.name for test in near.tests} >= {"local c2st", "distance", "predictive"}
    assert any("2" in note and "would show" in note for note in near.notes)
    far = found(few, Conjugate(), observed=np.array([9.0, -9.0]), simulate=simulate)
    assert not far["distance"].passed
    assert "misspecified" in far["distance"].sentence
    assert not far["predictive"].passed
    assert "not calibrated" in str(far)


def test_the_figure_has_a_panel_for_each_test(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    result = found((pairs[0][:200], pairs[1][:200]), Conjugate())
    figure, axes = pf.plotting.plot_calibration(result)
    assert len(axes) == len(result.tests)
    del figure


def test_errors(pairs: tuple[np.ndarray, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="100 held-out pairs or more"):
        found((pairs[0][:50], pairs[1][:50]), Conjugate())
    with pytest.raises(ValueError, match="an observation to compare"):
        found(pairs, Conjugate(), simulate=lambda theta: theta)
