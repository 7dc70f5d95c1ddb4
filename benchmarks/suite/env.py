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
MINIMUM = (3, 11)


def python() -> Path:
    """The environment's interpreter."""
    return ENV / "bin" / "python"


def _pip(*arguments: str) -> str:
    command = [python(), "-m", "pip", "--disable-pip-version-check", *arguments]
    return subprocess.run(command, check=True, text=True, stdout=subprocess.PIPE).stdout


def steps() -> list[list[str]]:
    """What is installed, one `pip install` after another.

    nflows and normflows ask for more than their flows need (tensorboard, umnn); what they import is matplotlib and
    tqdm. torchcfm asks for torchdyn, Lightning and pandas; what its matchers import is POT.
    """
    import tomllib  # Python 3.11, which `ensure` asks for

    needs = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]["dependencies"]
    return [
        [TORCH],
        ["-e", str(ROOT.parent), *needs, "flowjax", "zuko", "tqdm", "matplotlib"],
        ["--no-deps", "nflows", "normflows"],
        ["pot"],
        ["--no-deps", "torchcfm", "torchdiffeq"],
        ["jflows", "bijx"],
        ["--no-deps", "torchflows"],
    ]


def installed() -> dict[str, str]:
    """Package names and versions."""
    return {row["name"].lower(): row["version"] for row in json.loads(_pip("list", "--format", "json"))}


def ensure(rebuild: bool = False) -> Path:
    """The interpreter of a complete environment; built if it is not there (minutes).

    Steps are done from the first one that has changed since they were done last, such as by a new dependency.

    Raises:
        SystemExit: this Python is too old, or torch came with GPU libraries.
    """
    if sys.version_info < MINIMUM:
        raise SystemExit(f"benchmarks: Python {MINIMUM[0]}.{MINIMUM[1]} or newer is needed, this is {sys.version}")
    record, wanted = ENV / "complete.json", steps()
    done = json.loads(record.read_text()) if record.exists() and not rebuild else []
    if done == wanted:
        return python()
    same = next((i for i, (a, b) in enumerate(zip(done, wanted, strict=False)) if a != b), min(len(done), len(wanted)))
    print(f"building {ENV} (once, some minutes)", flush=True)
    if not same:
        venv.create(ENV, with_pip=True, clear=True)
    for packages in wanted[same:]:
        print("  pip install", *packages, flush=True)
        _pip("install", "--quiet", *packages)
        heavy = sorted(name for name in installed() if name.startswith(FORBIDDEN))
        if heavy:
            fix = "Point pip at torch's CPU wheels (PIP_INDEX_URL, PIP_FIND_LINKS), delete benchmarks/.env, run again."
            raise SystemExit(f"benchmarks: {TORCH} came with {', '.join(heavy)}. {fix}")
    record.write_text(json.dumps(wanted))
    return python()
