"""Tables of any kinds, sizes, gaps and containers are fitted, sampled, scored and compared, or refused with a code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import pushforward as pf

pytestmark = [pytest.mark.float32, pytest.mark.thorough]
MADE: dict[str, Any] = {
    "real": lambda rng, n: rng.normal(size=n),
    "positive": lambda rng, n: rng.exponential(size=n),
    "rounded": lambda rng, n: np.round(rng.normal(20, 5, n), 1),
    "count": lambda rng, n: rng.poisson(4, n),
    "zeros": lambda rng, n: np.where(rng.random(n) < 0.4, 0.0, rng.gamma(2.0, size=n)),
    "word": lambda rng, n: rng.choice(["red", "green", "blue"], n),
    "flag": lambda rng, n: rng.random(n) < 0.3,
    "wind_direction": lambda rng, n: rng.uniform(0, 360, n),
    "day": lambda rng, n: np.datetime64("2024-01-01") + rng.integers(0, 500, n).astype("timedelta64[D]"),
    "week": lambda rng, n: np.datetime64("2024-01-01") + 7 * rng.integers(0, 90, n).astype("timedelta64[D]"),
    "wait": lambda rng, n: rng.integers(0, 5000, n).astype("timedelta64[s]"),
    "constant": lambda rng, n: np.full(n, 3.0),
    "row_id": lambda rng, n: np.arange(n),
    "heavy": lambda rng, n: rng.standard_cauchy(n),
}
CONTAINERS: dict[str, Any] = {
    "pandas": lambda frame: frame,
    "polars": pl.from_pandas,
    "pyarrow": lambda frame: pa.Table.from_pandas(frame, preserve_index=False),
}


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    kinds=st.lists(st.sampled_from(sorted(MADE)), min_size=1, max_size=4, unique=True),
    n=st.sampled_from([2, 3, 12, 60, 300]),
    gaps=st.sampled_from([0.0, 0.2]),
    container=st.sampled_from(sorted(CONTAINERS)),
    seed=st.integers(0, 1000),
)
def test_a_table_is_fitted_or_refused_with_a_code(
    kinds: list[str], n: int, gaps: float, container: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({name: MADE[name](rng, n) for name in kinds})
    if gaps:
        frame = frame.mask(pd.DataFrame(rng.random(frame.shape) < gaps, columns=frame.columns))
    table = CONTAINERS[container](frame)
    options: dict[str, Any] = {"n_layers": 1, "width": 8, "n_members": 1, "max_epochs": 1, "verify": False}
    try:
        density = pf.FlowDensity(missing="model", random_state=0, **options).fit(table)
    except pf.DataError:  # which has a code by its type
        return
    scores = density.score_samples(table)
    assert scores.shape == (n,)
    assert not np.isnan(scores).any()
    samples = density.sample(50, random_state=0)
    assert type(samples) is type(table)
    assert not np.isnan(density.score_samples(samples)).any()
    if n >= 3:
        assert isinstance(pf.compare(table, samples).verdict, str)
