"""Mixed tables of a known law, and the ways in which synthetic ones go wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd


def table(n: int, seed: int) -> pd.DataFrame:
    """Numbers that depend on one another, levels, whole numbers, a date, an angle and gaps."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    group = np.array(["red", "green", "blue"])[np.clip(np.rint(x + rng.normal(0, 0.5, n)), -1, 1).astype(int)]
    y = np.exp(0.6 * x + 0.4 * rng.normal(size=n))
    y[rng.uniform(size=n) < 0.1] = np.nan
    day = np.datetime64("2020-01-01") + (300 + 120 * x + 60 * rng.normal(size=n)).astype("timedelta64[D]")
    angle = (180 + 60 * x + 30 * rng.normal(size=n)) % 360
    count = rng.poisson(np.exp(1 + 0.3 * x))
    return pd.DataFrame(
        {"x": x, "y": y, "group": group, "day": day, "wind_direction": angle, "count": count, "yes": x + y > 0.5}
    )


def shuffled(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The same columns, without their dependence."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame({name: frame[name].to_numpy()[rng.permutation(len(frame))] for name in frame})


def jittered(frame: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """The same rows, with a little noise on numbers."""
    rng = np.random.default_rng(seed)
    made = frame.copy()
    for name in ("x", "y", "wind_direction"):
        made[name] = frame[name] + 0.01 * frame[name].std() * rng.normal(size=len(frame))
    return made
