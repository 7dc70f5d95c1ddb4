"""Tables in bulk and one row at a time: the figures of `benchmarks/README.md`, section "Tables in bulk", in one go.

    python benchmarks/bulk.py [--only score,sample] [--rows 1000000] [--work DIR]

Each figure is the best of three, taken by the command line in a process of its own where users would do so; CPU seconds
are given beside it, since other work on the machine bends the clock. Tables and models are made once, in `--work`.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
COLUMNS = 12
WEATHER = HERE.parent / "examples/data/seattle_weather.csv"


def table(rows: int, columns: int, step: float | None, seed: int = 0) -> pa.Table:
    """Dependent columns, rounded to a step or not."""
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(1).normal(size=(columns, columns)) / np.sqrt(columns)
    x = 2 * np.tanh(rng.normal(size=(rows, columns)) @ mix) + 0.1 * rng.normal(size=(rows, columns))
    x = x if step is None else np.round(x / step) * step
    return pa.table({f"c{i}": x[:, i] for i in range(columns)})


def command(work: Path, line: str, *, timeout: float = 900) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and MiB at the peak of a command line."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    words = [sys.executable, "-c", CHILD, *line.split()]
    done = subprocess.run(words, cwd=work, capture_output=True, text=True, timeout=timeout, check=False)
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"pushforward {line}: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, float(done.stderr.strip().splitlines()[-1])


CHILD = """
import resource, sys
from pushforward.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, file=sys.stderr)
sys.exit(code)
"""


def made(work: Path, rows: int) -> None:
    """The tables and models that are not there yet."""
    for name, step in (("plain", None), ("steps", 0.01)):
        if not (work / name).exists():
            pq.write_table(table(4000, COLUMNS, step), work / f"{name}-fit.parquet")
            command(work, f"fit {name}-fit.parquet --out {name} --max-minutes 1 -q")
        if not (work / f"{name}-{rows}.parquet").exists():
            pq.write_table(table(rows, COLUMNS, step, seed=2), work / f"{name}-{rows}.parquet")


def best(work: Path, line: str, times: int = 3) -> tuple[float, float, float]:
    """The quickest of some runs of a command line."""
    return min(command(work, line) for _ in range(times))


def score(work: Path, rows: int) -> None:
    for name in ("plain", "steps"):
        line = f"score {name} {name}-{rows}.parquet --out scores.parquet --force -q"
        say(f"score {rows:,} x {COLUMNS}, {name}", rows, ">= 150,000 rows/s", best(work, line))


def sample(work: Path, rows: int) -> None:
    for name in ("plain", "steps"):
        line = f"sample {name} -n {rows} --out samples.parquet --force -q"
        say(f"sample {rows:,} x {COLUMNS}, {name}", rows, ">= 120,000 rows/s", best(work, line))


def one_row(work: Path, rows: int) -> None:
    import pandas as pd

    import pushforward as pf

    for name in ("plain", "steps"):
        density = pf.FlowDensity.load(work / name)
        frame: pd.DataFrame = pq.read_table(work / f"{name}-{rows}.parquet").slice(0, 1).to_pandas()
        density.score_samples(frame)
        seconds = []
        for _ in range(100):
            start = time.perf_counter()
            density.score_samples(frame)
            seconds.append(time.perf_counter() - start)
        print(f"one row of a data frame, warm, {name}: {1000 * np.median(seconds):.2f} ms (goal: <= 2 ms)", flush=True)


def schema(work: Path, rows: int) -> None:
    path = work / f"long-{10 * rows}.parquet"
    if not path.exists():
        first = table(rows, COLUMNS, None)
        with pq.ParquetWriter(path, first.schema) as writer:
            for seed in range(10):
                writer.write_table(table(rows, COLUMNS, None, seed))
    say(f"schema of {10 * rows:,} x {COLUMNS}", None, "<= 5 s, <= 500 MB", command(work, f"schema {path} -q"))


def wide(work: Path, rows: int) -> None:
    for columns in (300, 1000):
        path = work / f"wide-{columns}.parquet"
        if not path.exists():
            pq.write_table(table(5000, columns, None), path)
        say(f"dry run of 5,000 x {columns}", None, "<= 5 s", command(work, f"fit {path} --out none --dry-run -q"))
        line = f"fit {path} --out wide-{columns} --max-minutes 1 --force -q"
        say(f"fit of 5,000 x {columns} for a minute", None, "<= 4 GB", command(work, line))


def again(work: Path, rows: int) -> None:
    line = f"fit {WEATHER.resolve()} --out weather --force -q"
    command(work, line)
    say("default fit of the weather table, warm", None, "<= 10 s", best(work, line))


def grid(work: Path, rows: int) -> None:
    import pushforward as pf

    x = np.stack([column.to_numpy() for column in table(300, 5, None).columns], axis=1)
    start, cpu = time.perf_counter(), time.process_time()
    for i in range(13):
        how = {"learning_rate": 1e-3 * (1 + i), "weight_decay": 0.01 * i, "random_state": i, "verify": False}
        pf.FlowDensity(max_epochs=30, **how).fit(x[: 300 - 3 * i])
    say("13 tiny fits", None, "<= 30 s", (time.perf_counter() - start, time.process_time() - cpu, 0.0))


def judged(work: Path, rows: int) -> None:
    pq.write_table(table(10, COLUMNS, None, seed=3), work / "ten.parquet")
    say("evaluate of ten rows", None, "<= 5 s", best(work, "evaluate plain ten.parquet -q"))
    fit = command(work, f"fit {WEATHER.resolve()} --out weather --force --no-verify -q")
    say("fit of the weather table without checks, warm", None, "three times the next", fit)
    say("check of it", None, "<= a third of the fit", best(work, f"check weather {WEATHER.resolve()} -q"))


FIGURES = {
    "score": score,
    "sample": sample,
    "one_row": one_row,
    "schema": schema,
    "wide": wide,
    "again": again,
    "grid": grid,
    "judged": judged,
}


def say(what: str, rows: int | None, goal: str, measured: tuple[float, float, float]) -> None:
    seconds, cpu, peak = measured
    speed = "" if rows is None else f"{rows / seconds:,.0f} rows/s; "
    memory = f", {peak:,.0f} MiB" if peak else ""
    print(f"{what}: {speed}{seconds:.1f} s, {cpu:.1f} CPU s{memory} (goal: {goal})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FIGURES), help="figures to take, by name")
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the long tables")
    parser.add_argument("--work", type=Path, help="folder for tables and models; a temporary one by default")
    options = parser.parse_args()
    work = options.work or Path(tempfile.mkdtemp(prefix="pushforward-bulk-"))
    work.mkdir(parents=True, exist_ok=True)
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores; tables in {work}", flush=True)
    made(work, options.rows)
    for name in options.only.split(","):
        FIGURES[name](work, options.rows)


if __name__ == "__main__":
    main()
