"""Importance weights are refused for a heavy tail that matters, and not for the tail of weights that hardly differ."""

from __future__ import annotations

import numpy as np

from pushforward.metrics import effective_sample_size, pareto_k
from pushforward.metrics.weights import heavy_tailed

N = 4096


def judged(log_weights: np.ndarray) -> tuple[float, bool]:
    k = pareto_k(log_weights)
    return k, bool(heavy_tailed(k, effective_sample_size(log_weights), len(log_weights)))


def test_weights_that_hardly_differ_are_believed_whatever_their_tail_index() -> None:
    rng = np.random.default_rng(0)
    # The tail is Pareto's with k = 0.9, but so small that nearly all of the sum lies in equal weights.
    weights = 1.0 + 0.001 * (rng.pareto(1 / 0.9, N) + 1.0)
    k, heavy = judged(np.log(weights))
    assert k > 0.7
    assert not heavy
    # The mean of a bounded function under these weights is that under equal ones.
    values = rng.uniform(size=N)
    assert abs(np.average(values, weights=weights) - values.mean()) < 0.02


def test_the_same_tail_alone_is_refused() -> None:
    k, heavy = judged(np.log(np.random.default_rng(0).pareto(1 / 0.9, N) + 1.0))
    assert k > 0.7
    assert heavy
