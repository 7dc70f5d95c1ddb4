"""Five regression tables of the literature: test log p(y given x) in nats and in y's own units, with defaults.

    python benchmarks/uci_regression.py [--only concrete,yacht] [--splits 0,1,2]
    python benchmarks/uci_regression.py --paste

The fixed splits are those of Gal and Ghahramani (2016), nine tenths to fit and one tenth to test. Nothing of the test
rows is seen in a fit. Each split is a line of `results/uci_regression.json`, and a split that is there already is left
out, so that a run goes on where the last one stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import pushforward as pf
from pushforward.numerics.mean_error import mean_and_error

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("PUSHFORWARD_DATA", HERE.parent.parent / "shared/data")) / "uci_regression_splits"
RESULTS = HERE / "results" / "uci_regression.json"
FILES = {
    "concrete": "concrete",
    "energy": "energy",
    "kin8nm": "kin8nm",
    "naval": "naval-propulsion-plant",
    "yacht": "yacht",
}


def split(name: str, number: int) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """The rows to fit and to test on, and the names of the columns that are given."""
    file = np.load(DATA / f"{FILES[name]}.npz")
    test = np.unpackbits(file["test_mask"], axis=1)[number, : len(file["y"])].astype(bool)
    given = [f"x{i}" for i in range(file["X"].shape[1])]
    frame = pd.DataFrame(file["X"], columns=given).assign(y=file["y"])
    return frame.loc[~test].reset_index(drop=True), frame.loc[test].reset_index(drop=True), given


def measure(name: str, number: int) -> dict[str, object]:
    """Fit with defaults, and score the test rows."""
    train, test, given = split(name, number)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", pf.TableWarning)
        density = pf.FlowDensity(given=given, verify=False, progress=False, random_state=number).fit(train)
        nats = density.score_samples(test)
    return {
        "name": name,
        "split": number,
        "nats": float(np.mean(nats)),
        "worst": float(np.min(nats)),
        "rows": len(test),
        "seconds": round(time.perf_counter() - began, 1),
        "version": pf.__version__,
    }


def table(results: list[dict[str, object]]) -> str:
    """Mean and standard error over the splits of each table, as Markdown."""
    lines = ["| table | splits | log p(y given x), nats | worst row | seconds a fit |", "|---|---|---|---|---|"]
    for name in FILES:
        mine = [r for r in results if r["name"] == name]
        if mine:
            mean, error = (float(v) for v in mean_and_error(np.array([r["nats"] for r in mine], float)))
            worst, seconds = min(float(r["worst"]) for r in mine), np.median([float(r["seconds"]) for r in mine])  # type: ignore[arg-type]
            lines.append(f"| {name} | {len(mine)} | {mean:.3f} ± {error:.3f} | {worst:.1f} | {seconds:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(FILES), help="Names of tables, separated by commas.")
    parser.add_argument("--splits", default=",".join(map(str, range(20))), help="Numbers of splits, 0 to 19.")
    parser.add_argument("--paste", action="store_true", help="Print the table of the results, and measure nothing.")
    options = parser.parse_args()
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    done = {(r["name"], r["split"]) for r in results}
    for number in [] if options.paste else map(int, options.splits.split(",")):
        for name in options.only.split(","):
            if (name, number) not in done:
                results.append(measure(name, number))
                print(json.dumps(results[-1]), flush=True)
                RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
