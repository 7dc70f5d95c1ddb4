"""scikit-learn's own checks of the detector, without exceptions."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from marks import split
from pushforward.anomalies import FlowOutlierDetector, NegativeLogDensity
from pushforward.tables.estimators import FlowDensity

# What a user runs: JAX's default precision. Small, because scikit-learn fits some forty times.
pytestmark = pytest.mark.float32

FLOW = FlowDensity("realnvp", n_layers=1, width=8, max_epochs=10, n_members=1, verify=False)


CHECKS = parametrize_with_checks([FlowOutlierDetector(NegativeLogDensity(FLOW), calibration="split")]).mark
# These fit more often than the others.
LONG = ("data_not_an_array", "dtype_object", "estimators_dtypes")


@pytest.mark.parametrize(
    CHECKS.args[0], split(CHECKS.args[1], lambda pair: not any(name in str(pair[1]) for name in LONG)), **CHECKS.kwargs
)
def test_scikit_learn(estimator, check):
    check(estimator)
