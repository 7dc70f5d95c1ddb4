"""The pieces that the checks are made of: reports, a mixture of normals, Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest

from pushforward.checking import CheckLine, CheckReport
from pushforward.checking.comparison_density import NormalMixture
from pushforward.checking.latent import holm


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"lines": "none"},
        {"lines": [{}]},
        {"lines": [{"name": "a", "figure": True, "threshold": None, "verdict": "pass", "sentence": ""}]},
        {"lines": [{"name": "a", "figure": None, "threshold": None, "verdict": "fine", "sentence": ""}]},
        {"lines": [{"name": "a" * 999, "figure": None, "threshold": None, "verdict": "pass", "sentence": ""}]},
        {"lines": [{}] * 2000},
        {"seconds": -1.0},
        {"seconds": "nan"},
        {"versions": {"jax": 1}},
    ],
)
def test_reports_from_elsewhere_are_read_strictly(change: dict):
    content = CheckReport((), 0.0, {}).to_json() | change
    with pytest.raises(ValueError, match=r"CheckReport\.from_json"):
        CheckReport.from_json(content)
    with pytest.raises(ValueError, match="verdict"):
        CheckLine("a", None, None, "fine", "")  # pyright: ignore[reportArgumentType] - refused


def test_the_mixture_is_normalised_and_close():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-3, 0.1, (700, 1)), rng.normal(2, 1, (800, 1))])
    mixture = NormalMixture.fit(x, rng)
    grid = np.linspace(-10, 10, 20001)[:, None]
    assert np.exp(mixture.log_prob(grid)).sum() * 1e-3 == pytest.approx(1, abs=1e-6)
    right = np.logaddexp(np.log(7 / 15) - 0.5 * ((x + 3) / 0.1) ** 2 - np.log(0.1), np.log(8 / 15) - 0.5 * (x - 2) ** 2)
    assert mixture.log_prob(x).mean() == pytest.approx(right.mean() - 0.5 * np.log(2 * np.pi), abs=0.05)


def test_holm_is_stricter_for_more_tests():
    assert holm(np.array([0.0004, 0.0006, 0.2]), 1e-3).tolist() == [False, False, False]
    assert holm(np.array([0.2, 0.0003, 0.0004]), 1e-3).tolist() == [False, True, True]
    assert holm(np.array([1e-9]), 1e-3).tolist() == [True]
