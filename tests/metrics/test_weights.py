"""Statistics of importance weights against laws whose index, effective number and constant are known."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from pushforward.metrics import bridge_log_z, effective_sample_size, importance_log_z, pareto_k

RNG = np.random.default_rng(0)
LOG_Z = 3.0


def log_ratio(x: np.ndarray, scale: float, log_z: float = LOG_Z) -> np.ndarray:
    """A standard normal density times `exp(log_z)`, over that of a normal of this scale."""
    return log_z - 0.5 * x**2 + 0.5 * (x / scale) ** 2 + math.log(scale)


@pytest.mark.parametrize("index", [0.2, 0.5, 0.8, 1.2])
def test_the_index_of_a_pareto_law_is_found(index: float):
    """Weights u^(-k) have index k; the twin is an index 0.3 away."""
    found = [pareto_k(-index * np.log(RNG.uniform(size=5000))) for _ in range(20)]
    error = np.std(found, ddof=1) / math.sqrt(20)
    pull = 10 / (3 * math.sqrt(5000) + 10) * (0.5 - index)  # the prior's
    assert abs(np.mean(found) - index - pull) < 4 * error + 0.02
    assert abs(np.mean(found) - index - 0.3 - pull) > 4 * error + 0.02


@pytest.mark.parametrize("n", [30, 1000])
def test_the_index_is_that_of_arviz(n: int):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz = pytest.importorskip("arviz")
    weights = RNG.standard_t(3, size=n)
    if not hasattr(arviz, "psislw"):
        pytest.skip("this ArviZ smooths weights elsewhere")
    assert pareto_k(weights) == pytest.approx(float(arviz.psislw(weights)[1]), abs=1e-10)


def test_ends_of_the_index():
    assert math.isnan(pareto_k(np.zeros(20)))
    assert pareto_k(np.zeros(100)) == -math.inf
    assert pareto_k(np.where(np.arange(100) < 3, np.log(np.arange(100) + 1.0), -math.inf)) == math.inf
    assert pareto_k(np.where(np.arange(100) < 50, RNG.normal(size=100), -math.inf)) < 1
    assert pareto_k(1000 + RNG.normal(size=100)) < 1  # no overflow


def test_effective_sample_size():
    assert effective_sample_size(np.full(50, 900.0)) == pytest.approx(50)
    assert effective_sample_size(np.log([1.0, 3.0])) == pytest.approx(1.6)
    assert effective_sample_size([-math.inf, -2000.0]) == 1


def test_both_constants_lie_within_four_standard_errors():
    """200 estimates each: their mean, and their spread against the errors that they state."""
    own, drawn = RNG.normal(size=(200, 500)), 1.5 * RNG.normal(size=(200, 800))
    ratios = log_ratio(own, 1.5), log_ratio(drawn, 1.5)
    for estimates in (
        [importance_log_z(row) for row in ratios[1]],
        [bridge_log_z(*rows) for rows in zip(*ratios, strict=True)],
    ):
        values, errors = np.array(estimates).T
        standard = (values - LOG_Z) / errors
        assert abs(standard.mean()) < 4 / math.sqrt(200)
        assert 0.8 < standard.std() < 1.2
        assert abs((standard - 0.1 / errors).mean()) > 4 / math.sqrt(200)  # the twin: off by 0.1


def test_the_bridge_bears_a_proposal_with_light_tails():
    """The weights of a proposal of scale 0.6 have no variance; the bridge is right, and better than the weights."""
    own, drawn = RNG.normal(size=20_000), 0.6 * RNG.normal(size=20_000)
    value, error = bridge_log_z(log_ratio(own, 0.6), log_ratio(drawn, 0.6))
    assert abs(value - LOG_Z) < 4 * error < 0.05
    assert pareto_k(log_ratio(drawn, 0.6)) > 0.5
    correlated = bridge_log_z(log_ratio(own, 0.6), log_ratio(drawn, 0.6), n_effective=200)
    assert correlated.error > 3 * error


def test_the_bridge_of_an_exact_proposal_has_no_error():
    assert bridge_log_z(np.full(10, 2.5), np.full(30, 2.5)) == (pytest.approx(2.5), pytest.approx(0, abs=1e-9))


def test_no_overlap_is_said():
    value, error = bridge_log_z(np.zeros(5), np.full(5, -math.inf))
    assert math.isnan(value)
    assert error == math.inf
    far = bridge_log_z(np.full(5, 800.0) + RNG.normal(size=5), np.full(5, -800.0) + RNG.normal(size=5))
    assert math.isfinite(far.value)


@pytest.mark.parametrize("function", [effective_sample_size, pareto_k, importance_log_z])
@pytest.mark.parametrize("weights", [[0.0, math.nan], [math.inf, 0.0], [-math.inf, -math.inf]])
def test_refusals(function, weights: list[float]):
    with pytest.raises(ValueError, match=function.__name__):
        function(weights)


def test_refusals_of_the_bridge():
    with pytest.raises(ValueError, match="ratios above"):
        bridge_log_z([-math.inf, 0.0], [0.0, 0.0])
    with pytest.raises(ValueError, match="n_effective"):
        bridge_log_z([0.0, 0.0], [0.0, 0.0], n_effective=0)
