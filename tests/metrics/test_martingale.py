"""Martingales of a stream: fair bets, uniform p-values, Ville's inequality, and twins that break it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from pushforward.metrics import DriftMartingale, PowerBets, SimpleJumper, SmoothedRanks, martingale

GRID = (np.arange(2_000) + 0.5) / 2_000


@pytest.mark.parametrize("bets", [PowerBets, SimpleJumper])
def test_bets_are_fair_at_every_step(bets):
    """The mean of the capital after a bet, over a uniform p-value, is the capital before it."""
    before = [0.9, 0.02, 0.4]
    capital = np.exp(bets().update(before)[-1])
    after = np.mean([np.exp(bets().update([*before, p])[-1]) for p in GRID])
    assert abs(after / capital - 1) < (1e-6 if bets is SimpleJumper else 0.05)  # a power has a pole at 0


def test_the_jumper_is_its_recursion():
    p, jump = np.random.default_rng(0).random(50), 0.01
    shares, path = np.full(3, 1 / 3), []
    for value in p:
        shares = ((1 - jump) * shares + jump / 3 * shares.sum()) * (1 + np.array([-1, 0, 1]) * (value - 0.5))
        path.append(np.log(shares.sum()))
    np.testing.assert_allclose(SimpleJumper(jump).update(p), path, rtol=1e-10)


@pytest.mark.parametrize("bins", [4096, 6])
def test_p_values_of_exchangeable_rows_are_uniform_and_independent(bins, monkeypatch):
    monkeypatch.setattr(martingale, "BINS", bins)
    monkeypatch.setattr(martingale, "BLOCK", 7)
    rng = np.random.default_rng(1)
    p = np.array([SmoothedRanks(rng.normal(size=15), seed=i).update(rng.normal(size=25)) for i in range(400)])
    assert kstest(p.ravel(), "uniform").pvalue > 0.01
    neighbours = [np.corrcoef(p[:, i], p[:, j])[0, 1] for i in range(5) for j in range(20, 25)]
    assert np.abs(neighbours).max() < 4 / 20


def test_p_values_of_scores_without_ties_are_ranks():
    """Up to the uniform number: the whole part counts the rows before that are more unusual."""
    rng = np.random.default_rng(2)
    known, own = rng.normal(size=40), rng.normal(size=300)
    p = SmoothedRanks(known).update(own)
    for t in (0, 5, 299):
        before = np.append(known, own[:t])
        same = np.searchsorted(np.sort(known), own[: t + 1])
        above, tied = (before[:40] > own[t]).sum() + (same[:t] > same[t]).sum(), 1 + (same[:t] == same[t]).sum()
        assert above <= p[t] * (41 + t) <= above + tied


def most_of(update, runs: int, seed: int, length: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.array([update(rng, i).update(rng.normal(size=length)).max() for i in range(runs)])


def test_ville_holds_for_exchangeable_rows_and_not_where_the_calibration_rows_differ():
    def share(mean: float) -> float:
        most = most_of(lambda rng, i: DriftMartingale(rng.normal(mean, 1, size=60), seed=i), 400, seed=3)
        return float((most >= np.log(10)).mean())

    error = 3 * np.sqrt(0.1 * 0.9 / 400)
    assert share(0.0) <= 0.1 + error
    assert share(-0.5) > 0.1 + error


def test_p_values_of_a_fixed_calibration_set_break_ville():
    """They depend on each other: a calibration set that is a little too usual makes every row look unusual."""

    class Fixed(SmoothedRanks):
        def update(self, scores):
            start = self._counts.copy()
            found = []
            for score in scores:
                found.append(super().update([score])[0])
                self._counts = start.copy()
            return np.array(found)

    rng = np.random.default_rng(4)
    most = [
        PowerBets().update(Fixed(rng.normal(size=20), seed=i).update(rng.normal(size=300))).max() for i in range(100)
    ]
    assert np.mean(np.array(most) >= np.log(10)) > 0.1 + 3 * np.sqrt(0.1 * 0.9 / 100)


def test_a_change_is_found_in_either_direction_and_in_pieces_of_any_size():
    rng = np.random.default_rng(5)
    known = rng.normal(size=500)
    for change in (1.0, -1.0):
        rows = np.append(rng.normal(size=300), rng.normal(change, 1, size=400))
        whole = DriftMartingale(known)
        path = whole.update(rows)
        assert whole.p_value < 1e-3
        assert 300 < whole.most_at <= 700
        assert (path[:300] < np.log(100)).all()
        pieces = DriftMartingale(known)
        again = np.concatenate([pieces.update(part) for part in np.split(rows, [1, 2, 256, 600])])
        np.testing.assert_allclose(again, path, atol=1e-9)
        assert (pieces.rows, pieces.most_at) == (700, whole.most_at)


def test_memory_does_not_grow_and_groups_are_averaged():
    rng = np.random.default_rng(6)
    ranks = SmoothedRanks(rng.normal(size=50_000))
    size = len(ranks._counts)
    ranks.update(rng.normal(size=5_000))
    assert len(ranks._counts) == size <= 2 * martingale.BINS + 1
    groups = DriftMartingale([rng.normal(size=50), rng.normal(size=50)])
    rows = rng.normal(size=(40, 2))
    alone = [DriftMartingale(known).update(rows[:, 0]) for known in (np.zeros(3), np.ones(3))]
    assert np.isfinite(alone).all()  # equal scores are ties
    assert groups.update(rows).shape == (40,)
    with pytest.raises(ValueError, match=r"scores \(m, 2\)"):
        groups.update(rows[:, 0])


def test_mistakes_are_explained():
    with pytest.raises(ValueError, match="p-values above 0"):
        PowerBets().update([0.0])
    with pytest.raises(ValueError, match="a jump from 0 to 1"):
        SimpleJumper(2.0)
    with pytest.raises(ValueError, match="NaN in 1 rows"):
        DriftMartingale([1.0, 2.0]).update([np.nan])
    assert DriftMartingale([1.0, 2.0]).update([]).shape == (0,)
