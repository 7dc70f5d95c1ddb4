"""Rows of the table that tests of jobs work on."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def rows(n: int, seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    table = {"id": 1000 * seed + np.arange(n), "x": rng.normal(size=n), "y": rng.normal(size=n)}
    return pa.table({**table, "word": rng.choice(["a", "b"], n)})
