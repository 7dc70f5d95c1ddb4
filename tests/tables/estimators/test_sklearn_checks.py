"""scikit-learn's own checks. There are no exceptions: the dict below names each that would be one, with its reason."""

from __future__ import annotations

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from marks import split
from pushforward.tables.estimators import FlowDensity

# What a user runs: JAX's default precision. Small, because scikit-learn fits some forty times.
pytestmark = pytest.mark.float32
EXPECTED_FAILURES: dict[str, str] = {}


def expected_failures(estimator: FlowDensity) -> dict[str, str]:
    return EXPECTED_FAILURES


CHECKS = parametrize_with_checks(
    [FlowDensity("realnvp", n_layers=1, width=8, max_epochs=10, verify=False)],
    expected_failed_checks=expected_failures,
).mark
# These fit more often than the others.
LONG = ("sample_weight_equivalence_on_dense", "sample_weights_pandas", "dtype_object", "estimators_dtypes")


@pytest.mark.parametrize(
    CHECKS.args[0], split(CHECKS.args[1], lambda pair: not any(name in str(pair[1]) for name in LONG)), **CHECKS.kwargs
)
def test_scikit_learn(estimator, check):
    check(estimator)
