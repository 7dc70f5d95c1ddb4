"""The environment of the benchmarks: a venv with the CPU build of torch, the peers, and this checkout.

Standard library only.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
ENV = ROOT / ".env"
TORCH = "torch==2.13.0"
FORBIDDEN = ("nvidia", "cuda", "triton")  # what a build of torch for GPUs would bring, gigabytes of it
# nflows and normflows ask for more than their flows need (tensorboard, umnn); what they import is matplotlib and tqdm.
STEPS = (
    [TORCH],
    ["-e", str(ROOT.parent), "flowjax", "zuko", "tqdm", "matplotlib"],
    ["--no-deps", "nflows", "normflows"],
)
MINIMUM = (3, 11)


def python() -> Path:
    """The environment's interpreter."""
    return ENV / "bin" / "python"


def _pip(*arguments: str) -> str:
    command = [python(), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def installed() -> dict[str, str]:
    """Package names and versions."""
    return {row["name"].lower(): row["version"] for row in json.loads(_pip("list", "--format", "json"))}


def ensure(rebuild: bool = False) -> Path:
    """The interpreter of a complete environment; built if it is not there (minutes).

    Raises:
        SystemExit: this Python is too old, or torch came with GPU libraries.
    """
    done = ENV / "complete.json"
    wanted = json.dumps(STEPS)
    if done.exists() and done.read_text() == wanted and not rebuild:
        return python()
    if sys.version_info < MINIMUM:
        raise SystemExit(f"benchmarks: Python {MINIMUM[0]}.{MINIMUM[1]} or newer is needed, this is {sys.version}")
    print(f"building {ENV} (once, some minutes)", flush=True)
    venv.create(ENV, with_pip=True, clear=True)
    for packages in STEPS:
        print("  pip install", *packages, flush=True)
        _pip("install", "--quiet", *packages)
        heavy = sorted(name for name in installed() if name.startswith(FORBIDDEN))
        if heavy:
            fix = "Point pip at torch's CPU wheels (PIP_INDEX_URL, PIP_FIND_LINKS), delete benchmarks/.env, run again."
            raise SystemExit(f"benchmarks: {TORCH} came with {', '.join(heavy)}. {fix}")
    done.write_text(wanted)
    return python()
