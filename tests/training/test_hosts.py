"""Fits on several hosts: processes that meet by `jax.distributed`, network namespaces, and hosts that are killed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pushforward as pf
from pushforward.training.hosts import HOST_LOST

PROGRAM = Path(__file__).with_name("hosts_program.py")
LOST_SECONDS = 60  # the bound of the issue


def free_port() -> int:
    with socket.socket() as own:
        own.bind(("127.0.0.1", 0))
        return own.getsockname()[1]


def start(n: int, out: Path, *more: Any, address: str = "127.0.0.1", within: Sequence[Sequence[str]] = ()) -> list:
    """The processes of a fit; `within` has the words before the command of each."""
    place = f"{address}:{free_port()}"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    started = []
    for i in range(n):
        words = [*(within[i] if within else ()), sys.executable, str(PROGRAM), place, str(i), str(n), str(out)]
        started.append(
            subprocess.Popen(
                [*words, *map(str, more)],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        )
    return started


def finished(n: int, out: Path, *more: Any, **how: Any) -> dict[str, np.ndarray]:
    processes = start(n, out, *more, **how)
    for own in processes:
        said, _ = own.communicate(timeout=300)
        assert own.returncode == 0, said[-3000:]
    with np.load(out) as arrays:
        return dict(arrays)


def check_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    for name, column in one.items():
        np.testing.assert_allclose(other[name], column, rtol=1e-6 if name != "weights" else 1e-9, atol=1e-9)


@pytest.mark.thorough
def test_two_processes_train_the_weights_of_one(tmp_path):
    one = finished(1, tmp_path / "one.npz")
    check_same(one, finished(2, tmp_path / "two.npz"))


@pytest.mark.thorough
@pytest.mark.parametrize(("victim", "later"), [(0, (2,)), (1, (1, 3))])
def test_a_host_is_killed_and_the_fit_goes_on_with_one_two_or_three(tmp_path, victim, later):
    one = finished(1, tmp_path / "one.npz")
    processes = start(2, tmp_path / "lost.npz", tmp_path / "fit", 0.2)
    for line in processes[victim].stdout:
        if line.startswith("step"):
            break
    processes[victim].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    said, _ = processes[1 - victim].communicate(timeout=LOST_SECONDS + 60)
    assert processes[1 - victim].returncode == HOST_LOST, said[-3000:]
    assert time.monotonic() - killed < LOST_SECONDS
    assert "another host is gone" in said
    assert "resume=True" in said
    processes[victim].communicate()
    for n in later:
        shutil.copytree(tmp_path / "fit", tmp_path / f"fit {n}")
        check_same(one, finished(n, tmp_path / f"{n}.npz", tmp_path / f"fit {n}"))


@pytest.mark.thorough
def test_two_network_namespaces_are_two_hosts(tmp_path):
    names, address = ("pushforward-a", "pushforward-b"), "10.77.0.1"
    script = [
        f"ip netns add {names[0]}",
        f"ip netns add {names[1]}",
        f"ip link add pf-a netns {names[0]} type veth peer name pf-b netns {names[1]}",
        f"ip -n {names[0]} addr add {address}/24 dev pf-a",
        f"ip -n {names[1]} addr add 10.77.0.2/24 dev pf-b",
        *(
            f"ip -n {name} link set {link} up"
            for name, link in zip(names * 2, ("pf-a", "pf-b", "lo", "lo"), strict=True)
        ),
    ]
    # gloo talks by the address that a host's own name has: each namespace gets a file of names of its own.
    files = [Path("/etc/netns") / name / "hosts" for name in names]
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("network namespaces need ip and root")
    try:
        for line in script:
            made = subprocess.run(line.split(), capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"no network namespaces here: {made.stderr}")
        for file, own in zip(files, (address, "10.77.0.2"), strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"127.0.0.1 localhost\n{own} {socket.gethostname()}\n")
        within = [["ip", "netns", "exec", name] for name in names]
        two = finished(2, tmp_path / "two.npz", address=address, within=within)
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
        for file in files:
            shutil.rmtree(file.parent, ignore_errors=True)
    check_same(finished(1, tmp_path / "one.npz"), two)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("node:1", None, 2), "together"),
        (("node", 0, 2), "node1:5000"),
        (("node:1", 2, 2), "below 2"),
        (("node:1", 0, 0), "n_processes"),
    ],
)
def test_errors_name_what_is_missing(arguments, words):
    with pytest.raises(ValueError, match=words):
        pf.training.connect(*arguments)
