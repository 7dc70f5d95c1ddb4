"""Fits of tables larger than memory: peak memory and CPU time beside a fit from memory, and of readers of Parquet.

    python benchmarks/streams.py [--only memory,speed,readers] [--rows 20000000] [--work DIR]

Every figure is taken in a process of its own. CPU seconds are those of all threads; the clock is bent by other work on
the machine. `readers` compares `pyarrow.dataset`, our own pieces, and grain where it is installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

COLUMNS, SHARD, GROUP = 12, 2_000_000, 250_000
START = """
import json, resource, sys, time
import numpy as np
def told(**figures):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak_mib": round(peak), "cpu_s": round(time.process_time() - began, 2), **figures}))
began = time.process_time()
"""
# A fit by the library's defaults, ended by the clock: the peak does not depend on how long it trains.
FIT = """
import warnings
warnings.simplefilter("ignore")
import pushforward as pf
density = pf.FlowDensity("realnvp", max_seconds={seconds}, max_epochs=1, random_state=0, verify=False)
began = time.process_time()
density.fit({path!r}, stream={stream})
verdict = density.result_.verdict
told(rows_met=verdict.n_rows_met or verdict.steps * 256, rows=density._n_rows, seconds=round(verdict.seconds, 1))
"""
# The training alone, one epoch, compilation included; rows from memory are float32 already.
SPEED = """
import jax
import pushforward as pf
from pushforward.tables.modelling.streamed import TableStream, prepare_streamed
from pushforward.tables.reading.shards import open_shards
real = {{"columns": [{{"name": f"c{{i}}", "kind": "real"}} for i in range({columns})]}}
shards = open_shards({path!r})
flow = pf.flows.realnvp(jax.random.key(0), dim={columns})
how = dict(key=jax.random.key(1), max_epochs=1, progress=False)
def stream():
    table = prepare_streamed(shards, None, seed=[1], validation=0.01, schema=real, given=None, missing="error")
    return TableStream(table, lambda rows: rows)
if {stream}:
    x = stream()
else:
    import pyarrow.dataset as dataset
    table = dataset.dataset({path!r}).to_table()
    x = np.stack([column.to_numpy() for column in table.columns], axis=1).astype(np.float32)
began = time.process_time()
result = pf.fit(flow, x, **how)
cpu, steps = time.process_time() - began, result.verdict.steps
told(steps=steps, us_per_row=round(1e6 * cpu / (256 * steps), 3))
"""
READ = {
    "pieces of ours, batches in order": """
from pushforward.tables.reading.shards import open_shards
shards = open_shards({path!r})
began, n = time.process_time(), 0
for piece in range(len(shards.pieces)):
    for cells in shards.read(piece):
        n += len(np.stack([column.to_numpy() for column in cells.table.columns], axis=1))
told(rows=n)
""",
    "TableStream: encoded and shuffled": """
from pushforward.tables.modelling.streamed import TableStream, prepare_streamed
from pushforward.tables.reading.shards import open_shards
real = {{"columns": [{{"name": f"c{{i}}", "kind": "real"}} for i in range({columns})]}}
how = dict(seed=[1], validation=0.1, schema=real, given=None, missing="error")
table = prepare_streamed(open_shards({path!r}), None, **how)
stream = TableStream(table, lambda rows: rows)
began, n = time.process_time(), 0
for batch in stream.blocks(np.array([1, 2]), 0, 0):
    n += len(batch.x)
told(rows=n)
""",
    "pyarrow.dataset, batches in order": """
import pyarrow.dataset as dataset
began, n = time.process_time(), 0
for batch in dataset.dataset({path!r}).to_batches(batch_readahead=1, fragment_readahead=1):
    n += len(np.stack([column.to_numpy() for column in batch.columns], axis=1))
told(rows=n)
""",
    "grain ParquetIterDataset, batches of 1024": """
import glob
from grain.experimental import ParquetIterDataset
import grain
began, n = time.process_time(), 0
for path in sorted(glob.glob({path!r} + "/*.parquet"))[:1]:
    rows = ParquetIterDataset(path)
    for batch in rows.batch(1024):
        n += len(np.stack([np.asarray(batch[name]) for name in batch], axis=1))
        if n >= 200_000:
            break
told(rows=n)
""",
}


def made(work: Path, rows: int) -> Path:
    """A folder of Parquet shards of dependent columns, made once."""
    folder = work / f"rows{rows}"
    if not folder.exists():
        part = folder.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        mix = np.random.default_rng(1).normal(size=(COLUMNS, COLUMNS)) / np.sqrt(COLUMNS)
        for i, start in enumerate(range(0, rows, SHARD)):
            rng = np.random.default_rng([0, i])
            x = 2 * np.tanh(rng.normal(size=(min(SHARD, rows - start), COLUMNS)) @ mix)
            x += 0.1 * rng.normal(size=x.shape)
            pq.write_table(
                pa.table({f"c{j}": x[:, j] for j in range(COLUMNS)}), part / f"{i:04}.parquet", row_group_size=GROUP
            )
        part.rename(folder)
    return folder


def child(program: str, **facts: object) -> dict:
    """What a process of its own tells of itself."""
    text = START + program.format(columns=COLUMNS, **facts)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:200]}
    return json.loads(done.stdout.strip().splitlines()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="memory,speed,readers")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "pushforward-streams")
    asked = parser.parse_args()
    only = asked.only.split(",")
    if "memory" in only:
        for rows in (10_000, asked.rows):
            folder = made(asked.work, rows)
            print(f"memory, stream, {rows:,} rows:", child(FIT, path=str(folder), seconds=asked.seconds, stream=True))
    if "speed" in only:
        folder = made(asked.work, 1_000_000)
        for stream in (False, True):
            print("speed,", "stream:" if stream else "memory:", child(SPEED, path=str(folder), stream=stream))
    if "readers" in only:
        folder = made(asked.work, 1_000_000)
        for name, program in READ.items():
            print(f"{name}:", child(program, path=str(folder)))


if __name__ == "__main__":
    main()
