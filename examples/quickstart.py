"""Set up everything, fit a flow to four years of Seattle's weather, then sample, score and plot it.

Prints each command before running it: they are what you would type yourself.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "scripts"))

from environment import BIN, ready, say, step

DATA = "examples/data/seattle_weather.csv"
OUT = "examples/out"
COMMANDS = (
    f"fit {DATA} --out {OUT}/model",
    f"sample {OUT}/model -n 1461 --out {OUT}/samples.csv",
    f"score {OUT}/model {DATA} --parts --out {OUT}/scores.csv",
    f"plot {OUT}/model {DATA} --out {OUT}/weather.png",
)


def main() -> None:
    """Run the four commands of `pushforward` one after the other."""
    ready()
    out = Path(__file__).resolve().parent / "out"
    shutil.rmtree(out, ignore_errors=True)  # of an earlier run: `pushforward` replaces nothing without --force
    out.mkdir()
    for command in COMMANDS:
        step([str(BIN / "pushforward"), *command.split()], f"`pushforward {command.split()[0]}` failed")
    say(f"\nThe model, the samples, the scores and the figure are in {OUT}/.")


if __name__ == "__main__":
    main()
