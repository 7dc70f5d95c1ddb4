"""Large, wide and packed tables cost memory and time in proportion to what they hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pushforward.tables.detect import detect_schema
from pushforward.tables.encoding import Layout, encode
from pushforward.tables.reading.cells import read_cells

RNG = np.random.default_rng(0)


def test_wide_tables_cost_in_proportion() -> None:
    """Ten thousand columns took minutes when each was found among all others."""
    names = [f"c{i}" for i in range(3000)]
    cells = read_cells(pa.table({name: RNG.integers(0, 2, 8).astype(bool) for name in names}))
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event == "call"

    schema, _, _ = detect_schema(cells)
    layout = Layout(schema.modelled)
    sys.setprofile(count)
    try:
        rows = encode(layout, cells).rows
    finally:
        sys.setprofile(None)
    assert rows.shape[1] > 2000
    assert calls < 300 * len(names)


BOMBS = """
import gzip, io, resource, sys, zipfile
import numpy as np, pyarrow as pa
from pushforward.tables import DataError
from pushforward.tables.reading.cells import read_cells
from pushforward.tables.detect import detect_schema

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

folder, before = sys.argv[1], peak()
with gzip.open(folder + "/bomb.csv.gz", "wb", 6) as file:
    file.write(b"a\\n")
    for _ in range(24):
        file.write(b"1\\n" * 2**21)
header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (200000000, 8), }".ljust(117) + b"\\n"
with zipfile.ZipFile(folder + "/bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.npy", "w") as member:
    member.write(b"\\x93NUMPY\\x01\\x00" + len(header).to_bytes(2, "little") + header)
    for _ in range(8):
        member.write(bytes(2**22))
codes = []
for name in ("bomb.csv.gz", "bomb.npz"):
    try:
        read_cells(folder + "/" + name, max_bytes=2**26)
    except DataError as error:
        codes.append(error.code)
# One long word must not make all others as long.
words = pa.array([f"w{i}" for i in range(59_999)] + ["y" * 4000])
detect_schema(read_cells(pa.table({"a": pa.DictionaryArray.from_arrays(np.tile(np.arange(60_000), 4), words)})))
print(*codes, int(peak() - before))
"""


def test_bombs_take_little_memory(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    first, second, megabytes = done.stdout.split()
    assert (first, second) == ("too-large", "too-large")
    assert int(megabytes) < 450


def test_levels_as_many_as_a_third_of_the_rows() -> None:
    words = pa.array([f"w{i}" for i in range(20_000)])
    cells = read_cells(pa.table({"a": pa.DictionaryArray.from_arrays(np.tile(np.arange(20_000), 4), words)}))
    schema, _, notes = detect_schema(cells)
    (column,) = schema.columns
    assert (len(column.levels), len(column.rare)) == (32, 4096)
    assert "20,000 levels" in notes[0]
    assert len(schema.to_json()) < 2**18
    encoded = encode(Layout(schema.modelled), cells)
    assert np.isfinite(encoded.within).all()
