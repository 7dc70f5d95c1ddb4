"""A comparison is as sure as its figures are: a large, uncertain gain is no reason for the simpler density."""

from __future__ import annotations

import numpy as np
import pytest

from pushforward.metrics import Baseline, compare


def gain(difference: np.ndarray, weights: np.ndarray | None = None):
    base = np.zeros(len(difference))
    return compare(difference, [Baseline("Gaussian", 0.0, 0.1, "", base)], weights=weights)[0]


def spread(mean: float, error: float, n: int = 200) -> np.ndarray:
    """Differences with this mean and standard error."""
    x = np.random.default_rng(0).normal(size=n)
    x = (x - x.mean()) / x.std(ddof=1)
    return mean + error * np.sqrt(n) * x


@pytest.mark.parametrize(
    ("mean", "error", "said", "not_said"),
    [
        (39.3, 20.5, "too few to be sure", "simpler"),
        (0.5, 0.1, "beats the Gaussian", "simpler"),
        (-0.5, 0.1, "worse than the Gaussian", "simpler"),
        (0.001, 0.003, "told apart from the Gaussian (+0.0010 +- 0.0030 nats per row): use the simpler", "sure"),
        (-0.1, 0.2, "use the simpler one", "sure"),
        (-39.3, 20.5, "use the simpler one", "sure"),
    ],
)
def test_the_verdict_follows_from_gain_and_error(mean: float, error: float, said: str, not_said: str) -> None:
    found = gain(spread(mean, error))
    assert (found.gain, found.standard_error) == pytest.approx((mean, error))
    assert said in found.sentence
    assert not_said not in found.sentence
    assert "variance" not in found.sentence  # no few rows dominate


def test_few_rows_need_a_larger_difference() -> None:
    """2.2 standard errors are enough for 200 rows and not for 4: Student's quantiles are 1.97 and 3.18."""
    assert "beats" in gain(spread(2.2, 1.0)).sentence
    assert "too few" in gain(spread(2.2, 1.0, n=4)).sentence


def test_rows_that_dominate_are_named() -> None:
    """All rows but two gain 1 +- 0.1; these two gain 2000 and 1500."""
    difference = spread(1.0, 0.01, n=300)
    difference[[3, 7]] = [2000.0, 1500.0]
    said = gain(difference).sentence
    assert "too few to be sure" in said
    assert "2 of 300 rows make up 99% of the variance of that difference; without them it is +0.99" in said
    # Its twin of even differences has no such sentence.
    assert "without" not in gain(spread(1.0, 0.1, n=300)).sentence


def test_rows_without_weight_are_no_rows() -> None:
    difference, weights = np.append(spread(2.2, 1.0, n=4), np.zeros(196)), np.repeat([1.0, 0.0], [4, 196])
    assert "4 held-out rows are too few" in gain(difference, weights).sentence
