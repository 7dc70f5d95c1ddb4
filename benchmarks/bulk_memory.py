"""The peak memory of each verb over the number of rows: it does not grow where a verb streams.

    python benchmarks/bulk_memory.py [--rows 500000,2000000] [--verbs score,detect,fill,sample,evaluate] [--work DIR]

The table and the model are those of `bulk_scoring.py`; results go to a file and to a folder. A row of `fill` costs a
hundred times a row of `score`, so that it has a twentieth of the rows.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from bulk import COLUMNS, command, table
from bulk_scoring import prepare

LINES = {
    "score": "score model {source} --out {out} --force -q",
    "detect": "detect model {source} --out {out} --force -q",
    "fill": "fill model {gaps} --out {out} --median --draws 10 --force -q",
    "sample": "sample model -n {rows} --out {out} --force -q",
    "evaluate": "evaluate model {source} --out report.json --force -q",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", default="500000,2000000")
    parser.add_argument("--verbs", default=",".join(LINES))
    parser.add_argument("--work", type=Path, default=None)
    asked = parser.parse_args()
    sizes = [int(text) for text in asked.rows.split(",")]
    work = asked.work or Path(tempfile.mkdtemp(prefix="bulk-memory-"))
    work.mkdir(exist_ok=True)
    prepare(work, 1)
    for verb in asked.verbs.split(","):
        for rows in sizes:
            rows = rows // 20 if verb == "fill" else rows
            source, gaps = work / f"rows-{rows}.parquet", work / f"gaps-{rows}.parquet"
            if not source.exists():
                pq.write_table(table(rows, COLUMNS, None, seed=3), source, row_group_size=2**18)
            if verb == "fill" and not gaps.exists():
                whole = pq.read_table(source)
                last = whole.column_names[-1]
                held = pc.if_else(pc.greater(whole[last], 1.0), pa.scalar(None, pa.float64()), whole[last])
                pq.write_table(whole.set_column(whole.num_columns - 1, last, held), gaps)
            for out in ("out.parquet", "out") if verb != "evaluate" else ("report.json",):
                line = LINES[verb].format(source=source.name, gaps=gaps.name, rows=rows, out=out)
                _, cpu, peak = command(work, line, timeout=7200)
                print(f"{verb} {rows:>9,} rows to {out}: {cpu:7.1f} CPU s, {peak:6.0f} MiB at the peak", flush=True)
    if asked.work is None:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
