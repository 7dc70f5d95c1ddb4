"""Jobs on Ray: workers and drivers that are killed, and the bits of one process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pushforward.cli import main
from pushforward.scale import BatchScorer, read_manifest, run_job
from pushforward.scale.job_manifest import NAME
from scale_rows import rows

pytest.importorskip("ray")
pytestmark = [pytest.mark.thorough, pytest.mark.filterwarnings("ignore")]

DRIVER = """
import sys
from pushforward.scale import BatchScorer, run_job
from pushforward.scale.ray_engine import RayEngine
model, source, out = sys.argv[1:]
run_job(BatchScorer(model, keep=("id",)), source, out, engine=RayEngine(workers=2))
"""
# Children compile as the tests do, for the bits depend on the compiler's options.
ENVIRONMENT = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
FILES, KILLS = 60, 20


def results(folder):
    return {p.name: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != NAME}


def children(pid):
    """The processes below one, with the first word of their command lines."""
    parents, words = {}, {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                words[int(place.name)] = (place / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
                parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
    found = {pid}
    while more := {each for each, parent in parents.items() if parent in found} - found:
        found |= more
    return {each: words[each] for each in found - {pid}}


def begun(out):
    return len(read_manifest(out).lines) if (out / NAME).exists() else 0


@pytest.fixture
def table(model, shards, tmp_path):
    """The folder of many files, and what one process makes of them."""
    for i in range(3, FILES):
        pq.write_table(rows(300, i), shards / f"{i}.parquet")
    run_job(BatchScorer(str(model), keep=("id",)), shards, tmp_path / "whole")
    return shards, results(tmp_path / "whole")


@pytest.fixture
def child(model, shards, tmp_path):
    line = [sys.executable, "-c", DRIVER, str(model), str(shards), str(tmp_path / "out")]
    running = []

    def start():
        running.append(subprocess.Popen(line, env=ENVIRONMENT, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
        return running[-1]

    yield start
    for process in running:
        below = children(process.pid)
        process.kill()
        process.wait()
        for pid in below:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_killed_workers_lose_and_double_nothing(table, child, tmp_path):
    """A worker is killed at twenty random moments of one job."""
    expected, out = table[1], tmp_path / "out"
    process, rng, kills = child(), np.random.default_rng(0), 0
    while process.poll() is None and kills < KILLS:
        last, start = begun(out), time.monotonic()
        while begun(out) == last and time.monotonic() < start + 8:  # seldom while it loads
            time.sleep(0.02)
        time.sleep(float(rng.uniform(0, 0.2)))
        workers = [pid for pid, words in children(process.pid).items() if words.startswith("ray::Worker")]
        if workers:
            os.kill(int(rng.choice(workers)), signal.SIGKILL)
            kills += 1
    assert process.wait(timeout=600) == 0
    assert kills == KILLS
    assert results(out) == expected
    lines = read_manifest(out).lines
    assert sorted(line["fragment"] for line in lines) == list(range(FILES))


def test_killed_drivers_lose_and_double_nothing(model, table, child, tmp_path):
    """The driver is killed at random moments, and called again."""
    expected, (out, rng) = table[1], (tmp_path / "out", np.random.default_rng(1))
    for _ in range(3):
        process, before = child(), begun(out)
        while process.poll() is None and begun(out) < before + 5:
            time.sleep(0.02)
        time.sleep(float(rng.uniform(0, 0.1)))
        process.kill()
        assert process.wait() == -signal.SIGKILL
    found = run_job(BatchScorer(str(model), keep=("id",)), table[0], out)
    assert found.done_before >= 15
    assert results(out) == expected


def test_the_command_line_starts_ray(model, shards, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
    line = ["score", str(model), str(shards / "*"), "--keep", "id", "--json"]
    (shards / "bad.csv").write_text("id,x,y,word\n1,1.5,2,a\n2,abc,1,b\n")
    assert main([*line, "--out", str(tmp_path / "ray"), "--engine", "ray", "--workers", "1"]) == 3
    assert main([*line, "--out", str(tmp_path / "local")]) == 3
    one, other = (json.loads(text) for text in capsys.readouterr().out.splitlines())
    assert {**one, "out": ""} == {**other, "out": "", "warnings": one["warnings"]}
    assert results(tmp_path / "ray") == results(tmp_path / "local")
