"""A small model of a mixed table, fitted once for the tests of what is known of rows and of what is missing."""

from __future__ import annotations

import pytest

import pushforward as pf
from tables.mixed_weather import table


@pytest.fixture(scope="session")
def density() -> pf.FlowDensity:
    return pf.FlowDensity(
        n_layers=2, width=16, max_epochs=8, n_members=1, missing="model", verify=False, random_state=0
    ).fit(table())
