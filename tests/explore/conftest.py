"""One small model of a mixed table, whose names and levels hold markup, for all tests of the explorer."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest

import pushforward as pf

LEVEL = "<img src=x onerror=alert(1)>"
NAME = "<script>alert('x')</script>"


class Made(NamedTuple):
    folder: Path
    other: Path
    data: Path
    table: pd.DataFrame


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    a = rng.normal(size=700)
    return pd.DataFrame({
        NAME: a,
        "b": 0.8 * a + 0.6 * rng.normal(size=700),
        "rain": np.where(rng.random(700) < 0.4, 0.0, np.round(np.exp(rng.normal(size=700)), 3)),
        "kind": np.where(a + rng.normal(size=700) > 0, LEVEL, "dry"),
        "day": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 365, size=700), unit="D"),
    })  # fmt: skip


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    home, table = tmp_path_factory.mktemp("explore"), rows()
    options = {"n_layers": 1, "width": 8, "n_members": 1, "max_epochs": 25, "verify": False}
    for name, seed in (("model", 0), ("other", 1)):
        pf.FlowDensity("realnvp", random_state=seed, **options).fit(table).save(home / name)
    table.to_csv(home / "rows.csv", index=False)
    return Made(home / "model", home / "other", home / "rows.csv", table)


@pytest.fixture(scope="session")
def density(made: Made) -> pf.FlowDensity:
    return pf.FlowDensity.load(made.folder)
