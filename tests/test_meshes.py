"""Every flow of the zoo under a mesh with explicit axes, and within `jax.shard_map` with all its checks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from marks import thorough
from pushforward.flows import ZOO

PROGRAM = Path(__file__).with_name("mesh_program.py")
# The loops of diffrax begin with numbers that are the same on every device: within a `shard_map` these need
# `check_vma=False`.
UNCHECKED = ("cnf", "ffjord", "flow_matching", "rectified_flow", "score_sde", "ncsn")
OF_EACH_KIND = ("realnvp", "planar", "iresnet")


def check(mode: str, *names: str) -> None:
    # First, because XLA reads no further than the first word without dashes, which the tests' own flags have.
    flags = f"--xla_force_host_platform_device_count=2 {os.environ.get('XLA_FLAGS', '')}"
    run = subprocess.run(
        [sys.executable, str(PROGRAM), mode, *names],
        env={**os.environ, "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    for name, gaps in json.loads(run.stdout.splitlines()[-1]).items():
        assert max(gaps.values()) < 1e-6, (name, gaps)


@pytest.mark.parametrize("names", [OF_EACH_KIND, *thorough(*(((n,),) for n in sorted(ZOO) if n not in OF_EACH_KIND))])
def test_flows_under_explicit_axes(names):
    check("explicit", *names)


@pytest.mark.parametrize(
    "names", [OF_EACH_KIND, *thorough(*(((n,),) for n in sorted(ZOO) if n not in (*OF_EACH_KIND, *UNCHECKED)))]
)
def test_flows_within_a_shard_map(names):
    check("manual", *names)
