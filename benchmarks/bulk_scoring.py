"""Jobs that score millions of rows: CPU seconds and peak memory over the number of rows, and from the slope a billion.

    python benchmarks/bulk_scoring.py [--rows 1000000,5000000,20000000] [--work DIR] [--verb score]

The table has 12 columns of float64 in files of a million rows, which are links to one file, so that the disk holds it
once. The model is the default one, fitted for a minute to 4,000 rows. Each job runs by the command line in a process
of its own. CPU seconds hold when other work bends the clock; the times of 100 million and of a billion rows are
computed from the slope, as that many cores would take which do nothing else, and are not measured.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from bulk import COLUMNS, command, table

FILE_ROWS = 1_000_000
LINES = {
    "score": "score model {source} --out out --force -q",
    "detect": "detect model {source} --out out --force -q",
    "fill": "fill model {source} --out out --median --draws 10 --force -q",
    "sample": "sample model -n {rows} --out out --force -q",
}


def prepare(work: Path, most: int) -> None:
    """The model, and links to one file that make tables of any length."""
    if not (work / "model").exists():
        pq.write_table(table(4000, COLUMNS, None), work / "fit.parquet")
        command(work, "fit fit.parquet --out model --max-minutes 1 -q")
    whole = work / "million.parquet"
    if not whole.exists():
        pq.write_table(table(FILE_ROWS, COLUMNS, None, seed=2), whole, row_group_size=2**18)
    for i in range(-(-most // FILE_ROWS)):
        link = work / f"part-{i:05d}.parquet"
        if not link.exists():
            os.link(whole, link)


def measured(work: Path, verb: str, rows: int) -> tuple[float, float, float]:
    """Seconds, CPU seconds and MiB at the peak of one job."""
    folder = work / f"in-{rows}"
    folder.mkdir(exist_ok=True)
    for i in range(rows // FILE_ROWS):
        link = folder / f"{i:05d}.parquet"
        if not link.exists():
            os.link(work / f"part-{i:05d}.parquet", link)
    try:
        return command(work, LINES[verb].format(source=folder.name, rows=rows), timeout=7200)
    finally:
        shutil.rmtree(work / "out", ignore_errors=True)
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="1000000,5000000,20000000")
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--verb", choices=LINES, default="score")
    asked = parser.parse_args()
    sizes = [int(text) for text in asked.rows.split(",")]
    work = asked.work or Path(tempfile.mkdtemp(prefix="bulk-scoring-"))
    work.mkdir(exist_ok=True)
    prepare(work, max(sizes))
    command(work, LINES[asked.verb].format(source="part-00000.parquet", rows=4096))  # compiles
    found = []
    for rows in sizes:
        seconds, cpu, peak = measured(work, asked.verb, rows)
        found.append((rows, cpu))
        print(
            f"{asked.verb} {rows:>11,} rows: {cpu:8.1f} CPU s, {seconds:8.1f} s, {peak:6.0f} MiB at the peak",
            flush=True,
        )
    if len(found) > 1:
        slope, start = np.polyfit(*np.array(found, float).T, 1)
        print(f"slope: {1e6 * slope:.2f} CPU us per row, {1 / slope:,.0f} rows/s per core; start: {start:.1f} CPU s")
        for rows in (10**8, 10**9):
            for machines in (1, 32):
                hours = (start + slope * rows / machines) / 2 / 3600
                print(
                    f"extrapolated, not measured: {rows:>13,} rows on {machines:>2} machines of 2 cores: {hours:.2f} h"
                )
    if asked.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
