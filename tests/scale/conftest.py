"""One small model and a table in files, for all tests of this folder."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

import pushforward as pf
from scale_rows import rows

HOW = {"n_layers": 2, "width": 8, "bins": 4, "max_epochs": 2, "verify": False, "random_state": 0}


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    """The folder of a fitted density of x, y and word."""
    folder = tmp_path_factory.mktemp("scale") / "model"
    pf.FlowDensity(**HOW).fit(rows(300, 9).drop_columns(["id"])).save(folder)
    return folder


@pytest.fixture
def shards(tmp_path):
    """The folder of three Parquet files of one table."""
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        pq.write_table(rows(300, i), folder / f"{i}.parquet", row_group_size=100)
    return folder
