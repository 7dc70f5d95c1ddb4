#!/usr/bin/env python3
"""Measure pushforward and its peers on the same work, in turn, in one run; print and write the tables of ratios.

    python3 benchmarks/run.py                    everything; README.md and results/ are rewritten
    python3 benchmarks/run.py --only steps fit   some figures; only their tables are rewritten
    python3 benchmarks/run.py --quick            a look: fewer rounds and models, nothing is written
    python3 benchmarks/run.py --only speed --rows maf:784 grid:128
                                                 some rows of the page of speed anew, after a change that touches them
    python3 benchmarks/run.py --only speed --device gpu --libraries pushforward --python PYTHON
                                                 the column of a GPU, with an environment that has JAX for it

Needs nothing but Python and its package index: the first run builds benchmarks/.env.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from suite import env, report
from suite.adapters import LIBRARIES
from suite.continuous import continuous
from suite.figures import FIGURES, Run
from suite.rounds import Library
from suite.speed import speed

FIGURES |= {"continuous": continuous, "speed": speed}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    some = {"nargs": "+", "metavar": "NAME"}
    parser.add_argument("--only", choices=list(FIGURES), default=list(FIGURES), help=", ".join(FIGURES), **some)
    parser.add_argument("--libraries", choices=LIBRARIES, default=list(LIBRARIES), help=", ".join(LIBRARIES), **some)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and models; writes nothing")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="of pushforward, for the page of speed")
    parser.add_argument(
        "--rows", help="of the page of speed alone, measured anew: maf:784, grid:128", default=[], **some
    )
    parser.add_argument("--python", type=Path, help="interpreter of an environment of your own")
    parser.add_argument("--rebuild", action="store_true", help="build benchmarks/.env anew")
    return parser.parse_args()


def print_line(line: str) -> None:
    print(line, flush=True)


def main() -> None:
    asked = arguments()
    if asked.device == "gpu" and (asked.only != ["speed"] or asked.libraries != ["pushforward"]):
        raise SystemExit("benchmarks: --device gpu goes with --only speed --libraries pushforward")
    if asked.rows and (asked.only != ["speed"] or asked.quick or asked.device == "gpu"):
        raise SystemExit("benchmarks: --rows goes with --only speed")
    os.environ["PUSHFORWARD_BENCHMARK_DEVICE"] = asked.device
    python = asked.python or env.ensure(asked.rebuild)
    machine = report.machine()
    print(machine, flush=True)
    write = not asked.quick and asked.libraries == list(LIBRARIES)
    libraries = {name: Library(name, python) for name in asked.libraries}
    try:
        versions = {name: library.do("versions") for name, library in libraries.items()}
        run = Run(python, libraries, asked.quick, print_line, versions, tuple(asked.rows))
        for name in asked.only:
            print(f"\n{name}", flush=True)
            start = time.perf_counter()
            figure, text = FIGURES[name](run)
            print(f"\n{text}\n\n({time.perf_counter() - start:.0f} s)", flush=True)
            if asked.device == "gpu" and not asked.quick:
                report.save(f"{name}_gpu", {"machine": machine, "versions": versions} | figure)
            elif write:
                report.save(name, {"machine": machine, "versions": versions} | figure)
                machine = figure.get("machine", machine)  # that of the run whose rows were measured anew in part
                cores = f"{machine['cores_used']} of {machine['cores']} cores"
                load = machine["load_at_start"]
                note = f"Measured {machine['date']} on {machine['cpu']}, {cores}; load before it: {load}."
                report.paste(name, f"{text}\n\n{note}")
    finally:
        for library in libraries.values():
            library.close()


if __name__ == "__main__":
    main()
