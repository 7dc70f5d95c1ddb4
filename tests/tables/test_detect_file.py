"""Schemas of long files: column by column, the same as of the whole table."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushforward.tables import detect_file as module
from pushforward.tables.detect import detect_schema
from pushforward.tables.detect_file import detect_file
from pushforward.tables.errors import DataError
from pushforward.tables.reading.cells import read_cells

N = 6000


def table() -> pa.Table:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 4))
    return pa.table(
        {
            "any": x[:, 0],
            "steps": np.round(x[:, 1], 2),
            "gaps": pa.array(np.where(x[:, 2] > 2.5, np.nan, x[:, 2]), from_pandas=True),
            "size": np.exp(x[:, 3]).astype(np.float32),
            "share": rng.uniform(size=N),
            "zeros": np.where(x[:, 0] < 0, 0.0, np.exp(x[:, 0])),
            "words": pa.array(np.array(list("abc"))[rng.integers(3, size=N)]),
            "id": np.arange(N),
            "codes": np.where(x[:, 1] > 2, -999.0, np.abs(x[:, 1])),
            "constant": np.full(N, 7.0),
            "nothing": pa.array([None] * N, pa.float64()),
        }
    )


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "LONG", 1)
    pq.write_table(table(), tmp_path / "long.parquet", row_group_size=1000)
    return tmp_path / "long.parquet"


@pytest.mark.parametrize("bounds", ["natural", "observed", "none"])
def test_a_long_file_has_the_schema_of_the_whole_table(path: Path, bounds: Any) -> None:
    expected, _, notes = detect_schema(read_cells(path), missing=True, bounds=bounds)
    found, remarks = detect_file(path, missing=True, bounds=bounds)
    assert found == expected
    assert remarks == notes


def test_of_a_sample_the_kinds_ends_and_gaps_are_those_of_all_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLED", 700)
    whole = []
    monkeypatch.setattr(module, "read_cells", lambda source, names: whole.append(names) or read_cells(source, names))
    expected, _, _ = detect_schema(read_cells(path), missing=True, bounds="observed")
    found, _ = detect_file(path, missing=True, bounds="observed")
    for one, other in zip(found.columns, expected.columns, strict=True):
        assert (one.name, one.kind, one.step, one.low, one.high, one.missing) == (
            *(other.name, other.kind, other.step),
            *(other.low, other.high, other.missing),
        )
    # What has steps, codes or levels is looked at as a whole.
    assert ["any"] not in whole
    assert ["gaps"] not in whole
    assert {"steps", "words", "id", "codes", "zeros"} <= {name for (name,) in whole}


def test_an_infinite_number_in_a_long_file_is_told_with_its_row(path: Path) -> None:
    own = table().slice(0, 3000)
    values = own["any"].to_numpy().copy()
    values[1234] = np.inf
    pq.write_table(own.set_column(0, "any", pa.array(values)), path, row_group_size=1000)
    with pytest.raises(DataError, match="the first is row 1235"):
        detect_file(path)
    assert detect_file(path, ["size"])[0].names == ("size",)
