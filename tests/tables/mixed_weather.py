"""A table of levels, gaps, atoms and counts, whose columns depend on each other."""

from __future__ import annotations

import numpy as np
import pandas as pd


def table(n: int = 1500) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    kind = rng.choice(["rain", "sun", "snow"], n, p=[0.3, 0.5, 0.2])
    warm = np.where(kind == "snow", 0.0, 12.0) + rng.normal(size=n) * 3
    wet = np.where(kind == "sun", 0.0, np.round(rng.gamma(2.0, 2.0, n), 1))
    wet = np.where(rng.random(n) < 0.05, np.nan, wet)
    wind = warm * 0.3 + rng.normal(size=n)
    count = rng.poisson(3 + (kind == "rain") * 4, n)
    return pd.DataFrame({"kind": kind, "warm": warm, "wet": wet, "wind": wind, "count": count})
