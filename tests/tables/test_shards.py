"""Tables in folders, datasets and places on the network, and their pieces, which can be read in any order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from pushforward.tables import DataError, read_cells
from pushforward.tables.reading.batches import count_rows, iterate_cells
from pushforward.tables.reading.shard_writing import write_shards
from pushforward.tables.reading.shards import open_shards
from pushforward.tables.reading.writing import write_batches

N = 100
TABLE = pa.table({"a": np.arange(N, dtype=float), "word": ["red", "blue"] * (N // 2)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two years in folders of their own, each of row groups of 20 rows; and files that are none of its rows."""
    path = tmp_path_factory.mktemp("shards")
    for i, year in enumerate((2023, 2024)):
        (path / f"year={year}").mkdir()
        pq.write_table(TABLE.slice(50 * i, 50), path / f"year={year}" / "rows.parquet", row_group_size=20)
    (path / "_SUCCESS").write_text("")
    (path / ".hidden.parquet").write_text("no table")
    return path


def sources(folder: Path) -> list[Any]:
    return [
        folder,
        str(folder),
        f"file://{folder}",
        ds.dataset(str(folder), partitioning="hive", exclude_invalid_files=True),
    ]


@pytest.mark.parametrize("number", range(4))
def test_folders_urls_and_datasets_are_one_table(folder: Path, number: int):
    source = sources(folder)[number]
    table = read_cells(source).table
    assert table.column_names == ["a", "word", "year"]
    assert table["a"].to_pylist() == list(range(N))
    assert table["year"].to_pylist() == [2023] * 50 + [2024] * 50
    assert count_rows(source) == N
    batches = [cells.table for cells in iterate_cells(source, 30)]
    assert [len(batch) for batch in batches] == [30, 30, 30, 10]
    assert pa.concat_tables(batches).equals(table)
    assert read_cells(source, columns=["year", "a"]).names == ("year", "a")


def test_pieces_are_row_groups(folder: Path):
    for source in (folder, str(folder / "*" / "rows.parquet")):
        shards = open_shards(source, ["a"])
        assert shards is not None
        sizes = [sum(len(cells) for cells in shards.read(i)) for i in range(len(shards.pieces))]
        assert sizes == [20, 20, 10, 20, 20, 10]
        assert shards.size == 8 * N
        last = [value for cells in shards.read(5) for value in cells.table["a"].to_pylist()]
        assert last == list(range(90, 100))


@pytest.mark.parametrize("suffix", ["csv", "arrow", "npy"])
def test_other_files_are_a_piece_each(suffix: str, tmp_path: Path):
    for i in range(2):
        part = TABLE.slice(50 * i, 50)
        path = tmp_path / f"{i}.{suffix}"
        if suffix == "csv":
            part.to_pandas().to_csv(path, index=False)
        elif suffix == "arrow":
            pyarrow.feather.write_feather(part, path)
        else:
            np.save(path, np.stack([part["a"].to_numpy(), -part["a"].to_numpy()], axis=1))
    shards = open_shards(str(tmp_path / f"*.{suffix}"))
    assert shards is not None
    assert len(shards.pieces) == 2
    assert shards.size > 0
    first = "x0" if suffix == "npy" else "a"
    read = [v for i in range(2) for cells in shards.read(i) for v in cells.table[first].to_pylist()]
    assert read == list(range(N))
    if suffix == "npy":
        assert read_cells(str(tmp_path / "*.npy")).table["x1"].to_pylist() == [-v for v in range(N)]


def test_what_is_read_as_a_whole_has_no_pieces(tmp_path: Path):
    np.savez(tmp_path / "a.npz", values=np.asfortranarray(np.ones((3, 2))))
    assert open_shards(tmp_path / "a.npz") is None
    assert open_shards({"a": [1.0]}) is None


def test_folders_of_nothing_and_of_several_formats_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="got no file"):
        read_cells(tmp_path)
    (tmp_path / "a.csv").write_text("a\n1\n")
    (tmp_path / "b.txt").write_text("a\n1\n")
    with pytest.raises(DataError, match=r"a folder of files of one of .*, got files of \.csv, \.txt"):
        read_cells(tmp_path)


def test_places_that_cannot_be_opened_are_told_plainly(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DataError, match="there is nothing there"):
        read_cells("file:///nowhere/at/all")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(DataError, match=r"gopher://a/b: Arrow cannot open it .*pushforward\[remote\]"):
        read_cells("gopher://a/b")


def test_damage_in_a_dataset_is_told(folder: Path, tmp_path: Path):
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"x" * 50 + b"PAR1")
    with pytest.raises(DataError, match="damaged"):
        read_cells(tmp_path)
    with pytest.raises(DataError, match="damaged"):
        open_shards(tmp_path)


def test_a_dataset_beyond_the_limit_is_refused(folder: Path):
    with pytest.raises(DataError, match="more than the limit"):
        read_cells(folder, max_bytes=500)


def test_a_name_without_a_suffix_becomes_a_folder_of_shards(tmp_path: Path):
    pieces = [TABLE.slice(start, 30) for start in (0, 30, 60, 90)]
    write_shards(tmp_path / "out", pieces, force=False, shard_rows=50)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"part-{i:05d}.parquet" for i in range(3)]
    assert read_cells(tmp_path / "out").table.equals(TABLE)
    with pytest.raises(FileExistsError, match="--force"):
        write_batches(tmp_path / "out", pieces)
    assert write_batches(tmp_path / "out", [TABLE], force=True) == N
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["part-00000.parquet"]
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"no shards \('notes\.txt'\)"):
        write_batches(tmp_path / "out", [TABLE], force=True)
    with pytest.raises(FileNotFoundError, match="Make it first"):
        write_batches(tmp_path / "no" / "out", [TABLE])

    def broken() -> Iterator[pa.Table]:
        yield TABLE
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError, match="gone"):
        write_shards(tmp_path / "half", broken(), force=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
