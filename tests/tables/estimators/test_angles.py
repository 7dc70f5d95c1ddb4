"""Columns that come round, by a flow over angles: hours and degrees in, hours and degrees out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pushforward.tables.errors import DataError
from pushforward.tables.estimators import FlowDensity
from pushforward.tables.schema import Column, TableSchema

pytestmark = pytest.mark.float32
SMALL: dict[str, Any] = {
    "flow": "ncsf", "n_layers": 1, "width": 8, "depth": 1, "bins": 4, "max_epochs": 30, "verify": False,
    "random_state": 0,
}  # fmt: skip
SCHEMA = TableSchema(
    columns=(
        Column(name="hour", kind="circular", type="double", low=0.0, period=24.0),
        Column(name="bearing", kind="circular", type="double", low=0.0, period=360.0),
    )
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    angle = rng.vonmises(3.0, 4.0, 400)  # across the cut of the hours
    return pd.DataFrame(
        {"hour": (angle * 12 / np.pi) % 24, "bearing": np.degrees(angle + 0.3 * rng.normal(size=400)) % 360}
    )


@pytest.mark.thorough
def test_hours_and_degrees(table: pd.DataFrame, tmp_path: Path) -> None:
    density = FlowDensity(**SMALL, schema=SCHEMA).fit(table)
    assert density.config_["base"] == "torus"
    samples = density.sample(500, random_state=0)
    assert ((samples >= 0) & (samples < [24, 360])).all().all()
    uniform = -np.log(24 * 360)
    assert density.score(table) > uniform + 0.5
    # Half an hour before and after midnight lie next to each other.
    near = pd.DataFrame({"hour": [23.9999, 0.0001], "bearing": [10.0, 10.0]})
    before, after = density.score_samples(near)
    assert abs(before - after) < 1e-2
    density.save(tmp_path / "model")
    np.testing.assert_array_equal(
        FlowDensity.load(tmp_path / "model").score_samples(table), density.score_samples(table)
    )


def test_what_is_no_angle_is_refused(table: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="goes beyond pi"):
        FlowDensity(**SMALL).fit(table.to_numpy())
    other = TableSchema(columns=(SCHEMA.columns[0], Column(name="length", kind="positive", type="double", low=0.0)))
    with pytest.raises(DataError, match="'length' is positive"):
        FlowDensity(**SMALL, schema=other).fit(table.rename(columns={"bearing": "length"}))
    with pytest.raises(ValueError, match="base of flow 'nsf' to be one of normal"):
        FlowDensity(**{**SMALL, "flow": "nsf"}, base="torus").fit(table)
