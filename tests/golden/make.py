"""Writes the model of the present format that `test_golden.py` reads.

    .venv/bin/python tests/golden/make.py tests/golden/format1

Before a release the format changes freely: remove the folder and run this again.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from pushforward.tables.estimators import FlowDensity
from pushforward.tables.schema import Column, TableSchema

SCHEMA = TableSchema(
    columns=(
        Column(name="id", kind="identifier", type="string"),
        Column(
            name="colour", kind="category", type="string", levels=("red", "green"), rare=("teal",), rare_counts=(9,)
        ),
        Column(name="size", kind="real", missing=True, tail_index=4.0),
        Column(name="share", kind="bounded", low=0.0, high=10.0, step=0.5),
        Column(name="visits", kind="count", type="int64", step=1.0),
        Column(name="rain", kind="positive", low=0.0, atoms=(0.0,), scale="log"),
        Column(name="day", kind="datetime", type="timestamp[ms]", step=86400.0),
        Column(name="unit", kind="constant", type="string", value="kg"),
    )
)


def table(n: int = 300) -> pd.DataFrame:
    """Rows with every kind of column."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    days = np.timedelta64(86_400_000, "ms") * rng.integers(0, 700, size=n)
    return pd.DataFrame(
        {
            "id": [f"row {i}" for i in range(n)],
            "colour": np.array(["red", "green", "teal"])[np.minimum((2 * np.abs(x)).astype(int), 2)],
            "size": np.where(np.arange(n) % 4 == 0, np.nan, 1e6 + 10 * x),
            "share": np.floor(20 * rng.beta(2, 3, size=n)) / 2,
            "visits": rng.poisson(np.exp(1 + 0.5 * x)),
            "rain": np.where(rng.uniform(size=n) < 0.3, 0.0, np.exp(x)),
            "day": np.datetime64("2024-01-01", "ms") + days,
            "unit": "kg",
        }
    )


if __name__ == "__main__":
    folder, rows = Path(sys.argv[1]), table()
    density = FlowDensity(
        n_layers=1, width=8, bins=4, max_epochs=3, verify=False, random_state=0, missing="model", schema=SCHEMA
    )
    density.fit(rows, sample_weight=np.ones(len(rows))).save(folder)
    given = json.loads(str(rows.head(5).to_json(orient="columns", date_format="iso", double_precision=6)))
    columns = {name: list(cells.values()) for name, cells in given.items()}
    # Of the numbers as they are written there.
    again = pd.DataFrame(columns)
    again["day"] = pd.to_datetime(again["day"])
    expected = {"columns": columns, "log_prob": density.score_samples(again).tolist()}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
