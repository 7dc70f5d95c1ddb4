"""`FlowDensity` over flows of velocity fields: plain tables, mixed ones, weights and conditions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pushforward.tables.estimators import FlowDensity

pytestmark = pytest.mark.float32
TINY: dict[str, Any] = {
    "width": 8, "depth": 1, "max_epochs": 3, "verify": False, "random_state": 0, "flow_options": {"tolerance": 1e-3},
}  # fmt: skip
FLOWS = ("cnf", "ffjord", "flow_matching", "rectified_flow", "score_sde", "ncsn")


def table(n: int = 200) -> np.ndarray:
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    return np.stack([1e4 + 10 * x, 0.01 * (x**2 + 0.3 * rng.normal(size=n)), rng.normal(size=n)], axis=1)


@pytest.mark.thorough
@pytest.mark.parametrize("name", FLOWS)
def test_fit_sample_score_save_load(name: str, tmp_path: Path) -> None:
    x = table()
    density = FlowDensity(name, **TINY).fit(x)
    scores = density.score_samples(x)
    assert scores.shape == (200,)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(density.score_samples(x[7:8]), scores[7:8], atol=1e-5)
    drawn = density.sample(20, random_state=1)
    assert drawn.shape == (20, 3)
    assert np.isfinite(drawn).all()
    np.testing.assert_array_equal(density.sample(5, random_state=1), drawn[:5])
    density.save(tmp_path / "model")
    again = FlowDensity.load(tmp_path / "model")
    np.testing.assert_array_equal(again.score_samples(x), scores)
    np.testing.assert_array_equal(again.sample(20, random_state=1), drawn)
    found = again.model_.distribution.log_prob(x, with_error=True)
    assert (found.n_evaluations > 0).all()
    assert (found.solver_error < 0.1).all()
    assert not found.failed.any()


def mixed(n: int = 600, seed: int = 0) -> pd.DataFrame:
    """A category that says where the numbers are, one of them rounded, and gaps where the other is large."""
    rng = np.random.default_rng(seed)
    red = rng.uniform(size=n) < 0.5
    size = np.where(red, 2.0, -2.0) + 0.5 * rng.normal(size=n)
    share = np.round(size + 0.5 * rng.normal(size=n), 1)
    gap = rng.uniform(size=n) < np.where(red, 0.6, 0.05)
    return pd.DataFrame({"colour": np.where(red, "red", "green"), "share": share, "size": np.where(gap, np.nan, size)})


def independent(train: pd.DataFrame, test: pd.DataFrame) -> float:
    """Mean log-probability of columns that know nothing of each other: shares of levels and gaps, and normals."""
    total = np.mean([np.log((train["colour"] == colour).mean()) for colour in test["colour"]])
    gap = train["size"].isna().mean()
    total += np.where(test["size"].isna(), np.log(gap), np.log1p(-gap)).mean()
    for name in ("share", "size"):
        mean, std = train[name].mean(), train[name].std()
        normal = -0.5 * (((test[name] - mean) / std) ** 2 + np.log(2 * np.pi * std**2))
        total += np.where(test[name].isna(), 0.0, normal).mean()
    return float(total)


@pytest.mark.thorough
@pytest.mark.parametrize("name", ["flow_matching", pytest.param("cnf", marks=pytest.mark.thorough)])
def test_masses_are_trained_beside_the_field(name: str, tmp_path: Path) -> None:
    train, test = mixed(), mixed(300, 1)
    options = {**TINY, "width": 16, "max_epochs": 30, "learning_rate": 1e-2, "missing": "model"}
    density = FlowDensity(name, **options).fit(train)
    scores = density.score_parts(test)
    assert np.isfinite(scores.log_prob).all()
    assert scores.log_prob.mean() > independent(train, test) + 0.3
    # Colour and gap: 1.2 nats together; a half each, what masses say untrained, would be 1.4.
    assert scores.mass.mean() > -1.3
    drawn = density.sample(300, random_state=0)
    assert set(drawn["colour"]) == {"red", "green"}
    assert abs(drawn["size"].isna().mean() - train["size"].isna().mean()) < 0.12
    density.save(tmp_path / "model")
    np.testing.assert_array_equal(FlowDensity.load(tmp_path / "model").score_samples(test), scores.log_prob)
    where = drawn.groupby("colour")["share"].mean()
    assert where["red"] - where["green"] > 2


@pytest.mark.thorough
@pytest.mark.parametrize("name", FLOWS)
def test_weights_and_conditions(name: str) -> None:
    frame = mixed(300).drop(columns="size")
    weights = (frame["colour"] == "red").to_numpy(float) + 1e-3
    density = FlowDensity(name, **{**TINY, "max_epochs": 10}, given=["colour"])
    density.fit(frame, sample_weight=weights)
    assert np.isfinite(density.score_samples(frame)).all()
    drawn = density.sample(50, given=pd.DataFrame({"colour": ["red", "green"]}), random_state=0)
    assert list(drawn["colour"]) == ["red"] * 50 + ["green"] * 50
    assert np.isfinite(drawn["share"]).all()
