"""Build the wheel, and use it: the README's first steps in a clean environment, and each extra installed alone.

    python3 scripts/release.py                    the wheel and every extra, half a minute each
    python3 scripts/release.py --extras tune mcp  some extras
    python3 scripts/release.py --wheel-only       the README's commands and Python, as a user of the wheel
    python3 scripts/release.py --python PATH      with another interpreter, such as Python 3.13

Every extra gets a virtual environment of its own, in which a few lines use what the extra is for. Nothing of the
checkout is importable there: the working folder is a temporary one. Each environment is deleted after its test.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import tomllib
from pathlib import Path

from environment import ROOT, say

FLOW = "import jax, pushforward as pf; flow = pf.flows.realnvp(jax.random.key(0), dim=2, n_layers=2, width=8)\n"
FIT = "pushforward fit weather.csv --columns temp_max,temp_min --max-epochs 1 --no-verify"
TRACKED = f"{FIT} --out tracked"
# What each extra is for, in a few lines of Python, or in a command line after "$ ".
USES: dict[str, str] = {
    "export": FLOW + "assert pf.export.export_stablehlo(flow, 'exported', names=['a', 'b']).ok",
    "onnx": "$ pushforward export model --to onnx --out exported",
    "tensorboard": f"$ {TRACKED} --track tensorboard:runs",
    "mlflow": f"$ {TRACKED} --track mlflow:runs",
    "wandb": f"$ {TRACKED} --track wandb:runs",
    "tune": "$ pushforward tune weather.csv --columns temp_max,temp_min --max-minutes 0.2 --out best.toml",
    "ott": "import jax, pushforward as pf; x, y = jax.random.normal(jax.random.key(0), (2, 8, 2))\n"
    "assert pf.paths.Sinkhorn()(x, y, None, jax.random.key(1)).shape == (8, 2)",
    "inference": "import jax, pushforward as pf\n"
    "target = pf.Target(lambda x: -0.5 * x @ x, 2)\n"
    "answer = pf.infer(target, key=jax.random.key(0), budget=20_000, n_draws=100, progress=False)\n"
    "assert len(answer.summary()) and answer.to_arviz() is not None",
    "compression": "import jax, numpy as np, pushforward as pf\n"
    "model = pf.images.made(jax.random.key(0), shape=(1, 4, 4), n_levels=2, width=8)\n"
    "x = np.random.default_rng(0).integers(0, 2, (5, 1, 4, 4)).astype(np.uint8)\n"
    "assert (pf.images.decompress(model, pf.images.compress(model, x)) == x).all()",
    "numpyro": "import numpyro, numpyro.distributions as dist, pushforward as pf\n"
    "target = pf.Target.from_numpyro(lambda: numpyro.sample('x', dist.Normal(0.0, 1.0)))",
    "explore": "import fastapi, nicegui, uvicorn, pushforward as pf; pf.explore.conditional",
    "browser": "import nicegui, playwright.sync_api",
    "mcp": "$ pushforward mcp --help",
    "docs": "import jupytext, latex2mathml, material, mkdocs, nbclient",
    "images": "import numpy as np, PIL.Image; from pathlib import Path\n"
    "Path('pictures').mkdir()\n"
    "for i in range(20):\n"
    "    pixels = np.random.default_rng(i).integers(0, 256, (4, 4)).astype(np.uint8)\n"
    "    PIL.Image.fromarray(pixels).save(f'pictures/{i}.png')\n"
    "import pushforward as pf\n"
    "pf.images.ImageDensity('gaussian').fit('pictures')",
    "ray": "$ pushforward score model weather.csv --out scored --engine ray",
    "remote": "import fsspec",
    "test": "import hypothesis, pandas, polars, pytest, xdist",
    "dev": "import importlinter; import subprocess, sys; subprocess.run(['ruff', '--version'], check=True)",
}
README = [
    "$ pushforward fit weather.csv --max-epochs 3 --out fitted",
    "$ pushforward sample fitted -n 100 --out samples.csv",
    "$ pushforward score fitted weather.csv --parts --out scores.csv",
    "$ pushforward plot fitted weather.csv --out weather.png",
    "$ pushforward check fitted",
    "import pushforward as pf; from pyarrow import csv\n"
    "weather = csv.read_csv('weather.csv')\n"
    "density = pf.FlowDensity(random_state=0, verify=False, max_epochs=3).fit(weather)\n"
    "assert density.sample(5, random_state=1).column_names == weather.column_names\n"
    "assert density.score_samples(weather).shape == (len(weather),)",
]


def extras() -> list[str]:
    """The names of all extras of pyproject.toml."""
    return list(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])


class Environment:
    """A virtual environment with the wheel, and a working folder that holds the weather and a model."""

    def __init__(self, folder: Path, wheel: Path, extra: str, python: str):
        self.folder, self.bin = folder, folder / "venv" / "bin"
        self.call([python, "-m", "venv", str(folder / "venv")])
        wanted = f"pushforward[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
        self.call([str(self.bin / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wanted])
        (folder / "work").mkdir()
        shutil.copy(ROOT / "examples" / "data" / "seattle_weather.csv", folder / "work" / "weather.csv")

    def call(self, command: list[str]) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
        environment |= {"PATH": f"{self.bin}{os.pathsep}{environment['PATH']}", "WANDB_MODE": "offline"}
        place = self.folder / "work" if (self.folder / "work").exists() else self.folder
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")

    def use(self, lines: str) -> None:
        """Run a command line, or lines of Python."""
        if lines.startswith("$ "):
            self.call(lines[2:].split())
        else:
            self.call([str(self.bin / "python"), "-c", lines])


def build(folder: Path) -> Path:
    """The wheel of the checkout."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--wheel-dir", str(folder), str(ROOT)], check=True)
    return next(folder.glob("pushforward-*.whl"))


def tried(name: str, uses: list[str], wheel: Path, python: str) -> str | None:
    """Use the wheel with an extra, or without one; what went wrong, if anything."""
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="pushforward-release-") as folder:
        try:
            environment = Environment(Path(folder), wheel, name, python)
            if any("model" in use.split() for use in uses):
                environment.use(f"$ {FIT} --out model")
            for use in uses:
                environment.use(use)
        except RuntimeError as error:
            say(f"FAILED {name or 'the wheel'}\n{textwrap.indent(str(error), '    ')}")
            return name or "the wheel"
    say(f"{name or 'the wheel'}: works ({time.monotonic() - start:.0f} s)")
    return None


def main() -> int:
    """Try the wheel and the extras that are asked for; the exit status counts those that fail."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extras", nargs="+", choices=extras(), default=extras(), metavar="NAME")
    parser.add_argument("--wheel-only", action="store_true")
    parser.add_argument("--python", default=sys.executable)
    asked = parser.parse_args()
    if missing := sorted(set(extras()) - set(USES)):
        names = ", ".join(missing)
        raise SystemExit(f"scripts/release.py: USES says nothing of the extras {names}. Add lines that use them.")
    with tempfile.TemporaryDirectory(prefix="pushforward-wheel-") as folder:
        wheel = build(Path(folder))
        failed = [tried("", README, wheel, asked.python)]
        failed += [] if asked.wheel_only else [tried(name, [USES[name]], wheel, asked.python) for name in asked.extras]
    return sum(name is not None for name in failed)


if __name__ == "__main__":
    sys.exit(main())
