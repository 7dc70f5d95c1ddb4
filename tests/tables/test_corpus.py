"""Densities are right everywhere in the support: at edges, seams and atoms, and just beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import pushforward as pf
from tables.corpus import CASES

IN_EVERY_RUN = ("von Mises", "half-Cauchy", "zero-inflated gamma")
ROWS = 20_000


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in IN_EVERY_RUN else pytest.mark.thorough) for name in CASES]
)
def test_density_is_the_truth_at_edges_seams_and_atoms(name: str) -> None:
    case = CASES[name]
    frame = pd.DataFrame({case.name: case.rows(np.random.default_rng(0), ROWS)})
    density = pf.FlowDensity(max_epochs=8, verify=False, random_state=0).fit(frame)
    kind: Any = frame[case.name].dtype
    found = density.score_samples(pd.DataFrame({case.name: case.grid.astype(kind)}))
    np.testing.assert_allclose(found, case.truth(case.grid), atol=case.tolerance)
    # A density that is a quarter wider is not the truth.
    wider = case.truth(case.grid / 1.25) - np.log(1.25)
    assert np.nanmax(np.abs(found - wider)) > case.tolerance


@pytest.mark.thorough
def test_density_of_many_independent_columns_is_the_product() -> None:
    names, rng = list(CASES), np.random.default_rng(0)
    train, test = (pd.DataFrame({CASES[n].name: CASES[n].rows(rng, ROWS) for n in names}) for _ in range(2))
    density = pf.FlowDensity(n_layers=2, width=32, max_epochs=20, verify=False, random_state=0).fit(train)
    truth = sum(CASES[n].truth(test[CASES[n].name].to_numpy()) for n in names)
    assert np.mean(truth - density.score_samples(test)) < 0.1
