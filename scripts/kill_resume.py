"""Kill a fit at random moments, resume it each time, and compare the end with that of a fit that was left alone.

`kill` ends a child process by kill -9, `term` by SIGTERM, `disk` takes its disk away for a while (by a limit on the
size of files) and then kills it. Weights, history, learning curve and verdict must be the same bit for bit, but for
the seconds, and no checkpoint that was once committed may be lost. The exit status is 1 on any difference.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

SECONDS = 0.2  # between two commits
SMALL_FILES = 1000  # bytes: what a file may have while the disk is full
OUTAGE = (4, 9)  # the commits between which it is
PHASES = {"S": "start-up", "T": "training", "C": "committing"}


def child(folder: str, out: str, curve: str, epochs: int, outage: bool, pipe: int) -> int:
    """One process of the fit; it tells its phases through the pipe."""
    import jax
    import numpy as np

    import pushforward as pf
    from pushforward.training import checkpoint, loop

    def tell(text: str) -> None:
        os.write(pipe, f"{text}\n".encode())

    commit, read, restore = checkpoint.Checkpoints._commit, loop.Loop.read, checkpoint.Checkpoints.restore
    phase, commits, failed, told = "S", 0, 0, []

    def telling_commit(self: Any, reached: Any) -> None:
        nonlocal commits, failed
        commits += 1
        if outage and commits in OUTAGE:
            _limit(SMALL_FILES if commits == OUTAGE[0] else None)
        tell(f"C {reached.step}")
        try:
            commit(self, reached)
            tell(f"D {reached.step}")
        except OSError:
            failed += 1
            tell(f"F {reached.step}")
            if failed == OUTAGE[1] - OUTAGE[0]:
                _limit(None)
            raise
        finally:
            tell(phase)

    def telling_read(self: Any) -> None:
        nonlocal phase
        read(self)
        if phase == "S":
            phase = "T"
            tell(phase)

    def telling_restore(self: Any, *arguments: Any) -> Any:
        reached = restore(self, *arguments)
        tell(f"R {-1 if reached is None else reached.step}")
        return reached

    checkpoint.Checkpoints._commit, loop.Loop.read = telling_commit, telling_read
    checkpoint.Checkpoints.restore = telling_restore
    x = np.random.default_rng(0).normal(size=(1000, 2))
    x[:, 1] += x[:, 0] ** 2
    flow = pf.flows.realnvp(jax.random.key(1), dim=2, n_layers=2, width=16)
    options: list[Any] = [pf.training.Stopping(patience=epochs), pf.training.Steps(batch_size=64)]
    if folder:
        options.append(pf.training.Checkpoint(folder, seconds=SECONDS, resume=True))
    if not outage:  # the tracker's file would suffer from the limit too
        options.append(pf.training.Reporting(tracker=pf.training.JsonLines(curve)))
    with warnings.catch_warnings(record=outage) as caught:
        warnings.simplefilter("always" if outage else "error", RuntimeWarning)
        result = pf.fit(
            flow,
            x,
            key=jax.random.key(2),
            max_epochs=epochs,
            progress=False,
            options=options,
        )
        told = [str(warning.message) for warning in caught or () if "checkpoint" in str(warning.message)]
    if outage:
        _limit(None)  # the fit may have ended while the disk was full
    tell(f"E {result.verdict.steps} {result.verdict.status}")
    if outage and len(told) != (failed > 0):
        raise RuntimeError(f"expected one warning of a full disk, got {told} for {failed} commits that failed")
    if result.verdict.status == "interrupted":
        return 0
    verdict = {k: v for k, v in vars(result.verdict).items() if k not in ("seconds", "text")}
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(result.flow)]
    record = {
        "weights": [array.tobytes().hex() for array in arrays],
        "history": {k: v.tobytes().hex() for k, v in result.history.items() if k != "seconds"},
        "verdict": verdict,
    }
    temporary = Path(out + ".part")
    temporary.write_text(json.dumps(record))
    temporary.rename(out)
    return 0


def _limit(size: int | None) -> None:
    import resource

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard if size is None else size, hard))


class Child:
    """A process of the fit, seen from outside."""

    def __init__(self, folder: Path | None, work: Path, epochs: int, outage: bool = False):
        read, write = os.pipe()
        os.set_blocking(read, False)
        self.pipe: int | None = read
        arguments = [
            str(folder or ""),
            str(work / "out.json"),
            str(work / "curve.jsonl"),
            str(epochs),
            str(int(outage)),
        ]
        command = [sys.executable, __file__, "--child", *arguments, str(write)]
        with (work / "child.log").open("ab") as log:
            self.process = subprocess.Popen(command, pass_fds=[write], stdout=log, stderr=log)
        os.close(write)
        self.begun, self.lines, self.rest = time.monotonic(), [], b""

    def listen(self) -> None:
        """Read what it has told so far."""
        if self.pipe is None:
            return
        try:
            while data := os.read(self.pipe, 65536):
                *whole, self.rest = (self.rest + data).split(b"\n")
                self.lines += [line.decode() for line in whole]
        except BlockingIOError:
            pass

    def count(self, letter: str) -> int:
        """How often it was in a phase."""
        self.listen()
        return sum(line.startswith(letter) for line in self.lines)

    def wait(self, letter: str, times: int = 1) -> bool:
        """Wait until it has been in a phase some times; False if it ended before."""
        while self.count(letter) < times:
            if self.process.poll() is not None:
                return False
            time.sleep(0.0005)
        return True

    def end(self) -> int:
        """Wait for its end; the exit status."""
        status = self.process.wait()
        self.listen()
        if self.pipe is not None:
            os.close(self.pipe)
        self.pipe = None
        return status

    @property
    def phase(self) -> str:
        """The phase it was last in."""
        told = [line[0] for line in self.lines if line[0] in "SDTC"]
        return PHASES["T" if told and told[-1] == "D" else told[-1] if told else "S"]

    def steps(self, letter: str) -> list[int]:
        """The steps it told with a letter."""
        return [int(line.split()[1]) for line in self.lines if line[0] == letter]


class Trial:
    """Many fits, each ended again and again until it has come through."""

    def __init__(self, mode: str, work: Path, epochs: int, seed: int):
        self.mode, self.work, self.epochs = mode, work, epochs
        self.rng, self.phases, self.faults = random.Random(f"{mode} {seed}"), Counter(), []
        self.rounds, self.resumed, self.failed, self.startup, self.commit_seconds = 0, 0, 0, 3.0, 0.02
        self.expected: Any = None
        self.fresh()

    def fresh(self) -> None:
        """Forget the fit, to begin another."""
        self.folder, self.durable = self.work / "checkpoints", -1
        for path in (self.folder, self.work / "curve.jsonl", self.work / "out.json"):
            if path.is_dir():
                shutil.rmtree(path)
            path.unlink(missing_ok=True)

    def reference(self) -> float:
        """The fit that is left alone; how long it took."""
        lone = Child(None, self.work, self.epochs)
        if lone.end() != 0:
            raise SystemExit(f"the fit itself fails:\n{(self.work / 'child.log').read_text()[-3000:]}")
        self.expected = self.result()
        seconds = time.monotonic() - lone.begun
        self.fresh()
        return seconds

    def result(self) -> dict[str, Any]:
        """What a fit left behind, without its seconds."""
        record = json.loads((self.work / "out.json").read_text())
        if self.mode != "disk":  # there the tracker is left out
            lines = [json.loads(line) for line in (self.work / "curve.jsonl").read_text().splitlines()]
            record["curve"] = [{k: v for k, v in line.items() if k not in ("seconds", "text")} for line in lines]
        return record

    def compare(self) -> None:
        """A fit has come through: hold it against the reference."""
        got = self.result()
        for name, value in got.items():
            if value != self.expected[name]:
                self.faults.append(f"round {self.rounds}: {name} differs")
        self.rounds += 1
        self.fresh()

    def wait_for_moment(self, process: Child) -> bool:
        """Wait for a random moment; False if the fit ended before."""
        kind = self.rng.choices(["S", "T", "C"], [0.2, 0.45, 0.35])[0]
        if kind == "S":
            delay = self.rng.uniform(0, self.startup)
        else:
            if not process.wait("T"):
                return False
            self.startup = time.monotonic() - process.begun
            delay = self.rng.uniform(0, 1.2)
            if kind == "C":
                if not process.wait("C", process.count("C") + self.rng.randint(1, 3)):
                    return False
                delay = self.rng.uniform(0, self.commit_seconds)
        until = time.monotonic() + delay
        while time.monotonic() < until:
            if process.process.poll() is not None:
                return False
            time.sleep(min(0.002, max(0.0, until - time.monotonic())))
        return process.process.poll() is None

    def attempt(self) -> bool:
        """Start or resume the fit and end it at a random moment; whether it was ended."""
        outage = self.mode == "disk"
        process = Child(self.folder, self.work, self.epochs, outage)
        if outage:
            ended = process.wait("C", self.rng.randint(OUTAGE[0], OUTAGE[1] + 2)) and self.rng.random() < 0.7
            time.sleep(self.rng.uniform(0, 0.05))
        else:
            ended = self.wait_for_moment(process)
        if ended:
            process.process.send_signal(signal.SIGTERM if self.mode == "term" else signal.SIGKILL)
        status = process.end()
        restored, done, ends = process.steps("R"), process.steps("D"), process.steps("E")
        if restored:
            self.resumed += restored[0] >= 0
            if restored[0] < self.durable:
                self.faults.append(f"committed step {self.durable}, but step {restored[0]} was restored")
        self.durable, self.failed = max([self.durable, *done]), self.failed + process.count("F")
        interrupted = any(line.startswith("E") and line.endswith("interrupted") for line in process.lines)
        if interrupted and (not done or done[-1] != ends[-1]):
            self.faults.append(f"stopped at step {ends[-1]}, but the last commit is of {done[-1:]}")
        # SIGTERM ends a process that is starting, or has ended its fit, as it does any other.
        fine = {0} | ({-signal.SIGKILL} if ended and self.mode != "term" else set())
        if self.mode == "term" and ended and (ends or not process.count("T")):
            fine.add(-signal.SIGTERM)
        if status not in fine:
            self.faults.append(f"a child ended with status {status} while {process.phase}: see child.log")
        came_through = status == 0 and not interrupted
        if came_through:
            self.compare()
        self.phases[process.phase] += ended and not came_through
        return ended and not came_through

    def run(self, times: int) -> None:
        """As many ends as asked for, and then to the end of the last fit."""
        while sum(self.phases.values()) < times and len(self.faults) < 5:
            if self.attempt() and sum(self.phases.values()) % 10 == 0:
                print(
                    f"  {self.mode}: {sum(self.phases.values())} of {times}, {self.rounds} fits came through",
                    flush=True,
                )
        last = Child(self.folder, self.work, self.epochs)
        if last.end() != 0:
            self.faults.append("the last child failed: see child.log")
        else:
            if last.steps("R")[0] < self.durable:
                self.faults.append(f"committed step {self.durable}, but step {last.steps('R')[0]} was restored")
            self.compare()
        if self.mode == "disk" and not self.failed:
            self.faults.append("no commit failed: the disk was taken away too late, so nothing was tested")

    def report(self) -> str:
        """The summary in a line or two."""
        where = ", ".join(f"{self.phases[name]} {name}" for name in PHASES.values())
        text = f"{self.mode}: {sum(self.phases.values())} times ended ({where}); {self.resumed} resumes; "
        text += f"{self.failed} commits failed; " if self.mode == "disk" else ""
        text += f"{self.rounds} fits came through; {len(self.faults)} faults"
        return "\n".join([text, *(f"  {fault}" for fault in self.faults)])


def main(arguments: list[str]) -> int:
    """Run the modes and say how they went; the exit status."""
    if arguments[:1] == ["--child"]:
        folder, out, curve, epochs, outage, pipe = arguments[1:]
        return child(folder, out, curve, int(epochs), outage == "1", int(pipe))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="by kill -9")
    parser.add_argument("--terms", type=int, default=15, help="by SIGTERM")
    parser.add_argument("--outages", type=int, default=8, help="of the disk")
    parser.add_argument("--epochs", type=int, default=1500, help="length of the fit")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    base = Path(tempfile.mkdtemp(prefix="kill_resume."))
    os.environ["JAX_PLATFORMS"] = "cpu"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(base / "cache")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    faults, begun = 0, time.monotonic()
    for mode, times in (("kill", options.kills), ("term", options.terms), ("disk", options.outages)):
        if times == 0:
            continue
        work = base / mode
        work.mkdir()
        trial = Trial(mode, work, options.epochs, options.seed)
        seconds = trial.reference()
        print(f"{mode}: the fit alone took {seconds:.1f} s, start-up included", flush=True)
        trial.run(times)
        faults += len(trial.faults)
        print(trial.report(), flush=True)
    print(f"{time.monotonic() - begun:.0f} s, {faults} faults" + (f"; see {base}" if faults else ""))
    if not faults:
        shutil.rmtree(base)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
