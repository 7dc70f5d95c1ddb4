"""AUROC and average precision beside scikit-learn's, and their standard errors beside repeated draws."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from pushforward.metrics import detection_quality


@pytest.mark.parametrize("decimals", [8, 0])
def test_the_figures_are_those_of_scikit_learn(decimals):
    rng = np.random.default_rng(0)
    odd = rng.random(500) < 0.1
    scores = np.round(rng.normal(size=500) + odd, decimals)
    found = detection_quality(scores, odd)
    assert found.auroc == pytest.approx(roc_auc_score(odd, scores))
    assert found.average_precision == pytest.approx(average_precision_score(odd, scores))
    assert (found.n_anomalies, found.n_rows) == (odd.sum(), 500)


def test_the_errors_are_the_spread_over_new_data():
    rng = np.random.default_rng(1)
    found = []
    for _ in range(200):
        odd = np.arange(300) < 60
        found.append(detection_quality(rng.normal(size=300) + odd, odd))
    for figure, error in (("auroc", "auroc_error"), ("average_precision", "average_precision_error")):
        spread = np.std([getattr(each, figure) for each in found])
        claimed = np.mean([getattr(each, error) for each in found])
        assert claimed == pytest.approx(spread, rel=0.2)


def test_scores_that_point_the_wrong_way_are_told():
    odd = np.arange(50) < 10
    assert detection_quality(-odd.astype(float), odd).worse_than_chance
    assert not detection_quality(np.where(odd, np.inf, 0.0), odd).worse_than_chance
    assert np.isnan(detection_quality([0.0, 1.0], [False, True]).auroc_error)


def test_labels_of_one_kind_are_refused():
    with pytest.raises(ValueError, match="only ordinary rows"):
        detection_quality([1.0, 2.0], [0, 0])
    with pytest.raises(ValueError, match=r"expected labels \(2,\)"):
        detection_quality([1.0, 2.0], [0])
