"""Jobs: a table to a folder fragment by fragment, killed and taken up again, with what fails set aside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pushforward.cli import main
from pushforward.scale import BatchFiller, BatchScorer, ManifestError, plan_numbers, plan_table, read_manifest, run_job
from pushforward.scale.engines import LocalEngine
from pushforward.scale.job_manifest import NAME
from scale_rows import rows

# A driver that kills itself before it has written so many lines of the log, or before so many results have their name.
DRIVER = """
import os, signal, sys
import pushforward.scale.fragment_work as work, pushforward.scale.job as job
from pushforward.scale import BatchScorer
model, source, out, where, count = sys.argv[1:]
calls = 0
def killing(function):
    def wrapped(*arguments):
        global calls
        calls += 1
        if calls == int(count):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)
    return wrapped
if where == "append":
    job.Manifest.append = killing(job.Manifest.append)
else:
    work._finish = killing(work._finish)
job.run_job(BatchScorer(model, keep=("id",)), source, out)
"""
# Children compile as the tests do, for the bits depend on the compiler's options.
ENVIRONMENT = {**os.environ, "JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}


def results(folder):
    """What is in a folder of results, by name; the log aside, which tells of times."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file() and p.name != NAME
    }


@pytest.fixture
def done(model, shards, tmp_path):
    """A job that nobody disturbed."""
    found = run_job(BatchScorer(str(model), keep=("id",)), shards, tmp_path / "whole")
    return found, results(tmp_path / "whole")


def test_a_killed_driver_is_taken_up_and_nothing_is_lost_or_double(model, shards, tmp_path, done):
    out, function = tmp_path / "out", BatchScorer(str(model), keep=("id",))
    found, expected = done
    for where, count, lines in (("finish", "2", 1), ("append", "2", 2)):
        child = [sys.executable, "-c", DRIVER, str(model), str(shards), str(out), where, count]
        assert subprocess.run(child, env=ENVIRONMENT, check=False).returncode == -signal.SIGKILL
        assert len(read_manifest(out).lines) == lines
        begun = [name for name in results(out) if name.startswith(".")]
        assert (len(begun), len(results(out)) - len(begun)) == ((1, 1) if where == "finish" else (0, 3))
        (out / NAME).write_bytes((out / NAME).read_bytes() + b'{"kind": "fragm')
    again = run_job(function, shards, out)
    assert (again.rows, again.written, again.done_before) == (900, 900, 2)
    assert results(out) == expected
    assert again.moments == found.moments
    table = pq.read_table(out)
    assert sorted(table["id"].to_pylist()) == sorted(i + 1000 * seed for seed in range(3) for i in range(300))


@pytest.mark.thorough
def test_a_driver_killed_at_twenty_random_moments_gives_the_same_bits(model, shards, tmp_path):
    for i in range(3, 300):
        pq.write_table(rows(300, i), shards / f"{i}.parquet")
    function, out = BatchScorer(str(model), keep=("id",)), tmp_path / "out"
    run_job(function, shards, tmp_path / "whole")
    rng, kills = np.random.default_rng(0), 0
    child = [sys.executable, "-c", DRIVER, str(model), str(shards), str(out), "append", "1000"]
    for _ in range(40):
        before = len(read_manifest(out).lines) if out.exists() else 0
        process = subprocess.Popen(child, env=ENVIRONMENT)
        while process.poll() is None and (not out.exists() or len(read_manifest(out).lines) == before):
            time.sleep(0.01)
        time.sleep(float(rng.uniform(0, 0.1)))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if kills == 20 or process.returncode == 0:
            break
    assert kills == 20
    found = run_job(function, shards, out)
    assert (found.rows, found.done_before > kills / 2) == (90_000, True)
    assert results(out) == results(tmp_path / "whole")


def test_rows_and_files_that_fail_do_not_stop_the_others(model, shards, tmp_path, capsys):
    (shards / "3.parquet").write_bytes(b"PAR1 this is no Parquet file PAR1")
    line = ["score", str(model), str(shards / "*"), "--out", str(tmp_path / "out"), "--keep", "id", "--json"]
    (shards / "4.csv").write_text("id,x,y,word\n1,1.5,2,a\n2,abc,1,b\n3,,3,a\n")
    assert main(line) == 3
    said = json.loads(capsys.readouterr().out)
    assert (said["rows"], said["rows_failed"], said["fragments"], said["complete"]) == (903, 2, 5, False)
    assert (said["ok"], said["exit_code"], said["failed_out"]) == (False, 3, str(tmp_path / "out/_failed"))
    assert said["unreadable"][0]["source"].endswith("3.parquet")
    lines = [json.loads(line) for line in (tmp_path / "out/_failed/part-00004.jsonl").read_text().splitlines()]
    assert [(line["row"], line["source"][-5:]) for line in lines] == [(2, "4.csv"), (3, "4.csv")]
    assert "abc" in lines[0]["reason"]
    table = pq.read_table(tmp_path / "out/part-00004.parquet")
    assert table["status"].to_pylist()[1:] == ["failed", "failed"]
    (shards / "3.parquet").unlink()
    assert main(line) == 2
    assert "3.parquet is now" in json.loads(capsys.readouterr().out)["error"]["message"]


class Nothing(LocalEngine):
    """An engine that must not be asked."""

    def run(self, work, fragments):
        raise AssertionError(fragments)


def test_what_is_done_is_skipped_and_what_was_changed_is_made_again(model, shards, tmp_path, done):
    out, function = tmp_path / "whole", BatchScorer(str(model), keep=("id",))
    assert run_job(function, shards, out, engine=Nothing()).done_before == 3
    (out / "part-00001.parquet").write_bytes(b"rubbish")
    found = run_job(function, shards, out)
    assert (found.done_before, results(out)) == (2, done[1])
    assert "part-00001" in found.notes[0]


def test_another_model_option_or_file_is_refused(model, shards, tmp_path, done):
    import shutil

    out = tmp_path / "whole"
    with pytest.raises(ManifestError, match=r"keep \['id'\], and this one has \[\].*--force"):
        run_job(BatchScorer(str(model)), shards, out)
    other = tmp_path / "other"
    shutil.copytree(model, other)
    manifest = other / "manifest.sha256"
    manifest.write_text("\n".join(reversed(manifest.read_text().splitlines())) + "\n")
    with pytest.raises(ManifestError, match="begun with another model"):
        run_job(BatchScorer(str(other), keep=("id",)), shards, out)
    os.utime(shards / "1.parquet")
    with pytest.raises(ManifestError, match=r"1\.parquet has changed"):
        run_job(BatchScorer(str(model), keep=("id",)), shards, out)
    found = run_job(BatchScorer(str(model), keep=("id",)), shards, out, force=True)
    assert (found.done_before, results(out)) == (0, done[1])


def test_a_damaged_log_and_a_foreign_folder_are_refused(model, shards, tmp_path, done):
    out, function = tmp_path / "whole", BatchScorer(str(model), keep=("id",))
    lines = (out / NAME).read_bytes().splitlines(keepends=True)
    (out / NAME).write_bytes(lines[0] + lines[1].replace(b"300", b"301", 1) + b"".join(lines[2:]))
    with pytest.raises(ManifestError, match="line 2 is damaged"):
        run_job(function, shards, out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("dear diary")
    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        run_job(function, shards, tmp_path / "mine", force=True)
    with pytest.raises(ValueError, match="save the table first"):
        run_job(function, "-", tmp_path / "stdin")


def test_one_process_at_a_time(model, shards, tmp_path, done):
    fcntl = pytest.importorskip("fcntl")
    with (tmp_path / "whole" / NAME).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError, match="another process"):
            run_job(BatchScorer(str(model), keep=("id",)), shards, tmp_path / "whole")


def test_fragments_are_runs_of_row_groups(shards):
    plan = plan_table(shards / "*.parquet", 250)
    assert [(f.groups, f.first, f.rows) for f in plan.fragments[:2]] == [((0, 2), 0, 200), ((2, 3), 200, 100)]
    assert len(plan.fragments) == 6
    whole = pa.concat_tables([pa.Table.from_batches([batch]) for f in plan.fragments for batch in f.batches(70)])
    assert whole.equals(pa.concat_tables([rows(300, i) for i in range(3)]))


def test_folders_make_columns_of_fragments(tmp_path):
    for year in (2023, 2024):
        (tmp_path / f"year={year}").mkdir()
        pq.write_table(rows(3, year), tmp_path / f"year={year}" / "a.parquet")
    plan = plan_table(tmp_path)
    assert [next(f.batches(9))["year"].to_pylist() for f in plan.fragments] == [[2023] * 3, [2024] * 3]
    plan = plan_table(f"file://{tmp_path}")
    assert [next(f.batches(9))["year"].to_pylist() for f in plan.fragments] == [[2023] * 3, [2024] * 3]


def test_draws_and_fills_are_jobs_too(model, shards, tmp_path, capsys):
    out = tmp_path / "drawn"
    assert main(["sample", str(model), "-n", "50", "--out", str(out)]) == 0
    assert main(["sample", str(model), "-n", "50", "--out", str(tmp_path / "drawn.parquet")]) == 0
    assert pq.read_table(out).equals(pq.read_table(tmp_path / "drawn.parquet"))
    assert [f.rows for f in plan_numbers(50, 20).fragments] == [20, 20, 10]
    found = run_job(BatchFiller(str(model)), shards / "0.parquet", tmp_path / "filled")
    assert (found.written, pq.read_table(tmp_path / "filled")) == (300, rows(300, 0))
    assert main(["detect", str(model), str(shards), "--out", str(tmp_path / "judged"), "--fpr", "0.1"]) == 0
    assert pq.read_table(tmp_path / "judged").column_names == ["score", "p_value", "anomaly"]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "scores.csv", "--engine", "local"], "a name without a suffix"),
        (["--out", "scores", "--workers", "2"], "--engine ray"),
    ],
)
def test_options_of_jobs_are_held_to_jobs(model, shards, tmp_path, words, message, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["score", str(model), str(shards), *words]) == 2
    assert message in capsys.readouterr().err
