#!/usr/bin/env python3
"""Held-out nats and costs of every flow of the zoo over real tables: what `FlowDensity`'s defaults are chosen by.

    python benchmarks/tables.py --seconds 30                       all tables, all settings
    python benchmarks/tables.py --flows --seconds 90               every flow as `FlowDensity(flow=...)` has it
    python benchmarks/tables.py --tables magic kin8nm --only maf_lu nsf_ar_lu
    python benchmarks/tables.py --list

Needs pushforward and the tables of `PUSHFORWARD_DATA` (default ../shared/data). Every setting fits the same 80 % of the
rows, stops early on the same 10 % and is scored on the same 10 %, in units of the training rows' standard deviations.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from suite import report
from suite.data import SOURCES, Table, gaussian_nats, tables

import pushforward as pf

RESULTS = report.RESULTS / "tables.json"
MAX_ROWS = 12_000  # of a table, chosen by the split's seed
TIMED_ROWS = 2_000  # scored and drawn at once

# Name -> (member of the zoo, its options, options of `fit`).
SETTINGS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "realnvp_reverse": ("realnvp", {"linear": "reverse"}, {}),
    "maf_reverse": ("maf", {"linear": "reverse"}, {}),
    "nsf_c": ("nsf", {"autoregressive": False, "linear": "reverse"}, {}),
    "nsf_c_lu": ("nsf", {"autoregressive": False}, {}),
    "nsf_c_lu_128": ("nsf", {"autoregressive": False, "width": 128}, {}),
    "nsf_ar": ("nsf", {"linear": "reverse"}, {}),
    "nsf_ar_lu": ("nsf", {}, {}),
    "nsf_ar_lu_3": ("nsf", {"n_layers": 3}, {}),
    "nsf_ar_lu_3_32": ("nsf", {"n_layers": 3, "width": 32}, {}),
    "maf_lu": ("maf", {}, {}),
}
# Flows over angles have no business with these tables.
FLOWS = {name: (name, {}, {}) for name, entry in pf.flows.ENTRIES.items() if entry.space == "line"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=list(SOURCES), default=list(SOURCES), metavar="TABLE")
    parser.add_argument("--only", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--flows", action="store_true", help="every flow of the zoo in place of the settings")
    parser.add_argument("--setting", nargs=3, action="append", default=[], metavar=("NAME", "FLOW", "JSON"))
    parser.add_argument("--seconds", type=float, default=30, help="budget of one fit, compilation included")
    rate, decay = pf.MaximumLikelihood.learning_rate, pf.MaximumLikelihood.weight_decay
    parser.add_argument("--rate", type=float, default=rate, help="learning rate; the library's")
    parser.add_argument("--decay", type=float, default=decay, help="weight decay; the library's")
    parser.add_argument("--rows", type=int, default=MAX_ROWS, help="of a table at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="also what results/tables.json has already")
    parser.add_argument("--list", action="store_true", help="the tables and what was done to them")
    parser.add_argument("--paste", action="store_true", help="paste the table into README.md")
    return parser.parse_args()


def wanted(asked: argparse.Namespace, flow: str, options: dict, training: dict) -> list[Any]:
    """All that decides a fit."""
    return [flow, options, training, asked.seconds, asked.rows, asked.seed, asked.rate, asked.decay]


def timed(function: Callable[[], Any]) -> float:
    """Microseconds per row of a compiled function of `TIMED_ROWS` rows: the best of three calls."""
    jax.block_until_ready(function())
    times = []
    for _ in range(3):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / TIMED_ROWS


def fit_one(asked: argparse.Namespace, table: Table, flow_name: str, options: dict, training: dict) -> dict[str, Any]:
    """Test nats of one setting on one table."""
    train, validation, test = table.split(asked.seed, asked.rows)
    loc, scale = train.mean(axis=0), train.std(axis=0)
    train, validation, test = (((part - loc) / scale).astype(np.float32) for part in (train, validation, test))
    training = {"learning_rate": asked.rate, "weight_decay": asked.decay} | training
    flow = pf.flows.ZOO[flow_name](jax.random.key(asked.seed), dim=train.shape[1], **options)
    start = time.perf_counter()
    result = pf.fit(
        flow,
        train,
        key=jax.random.key(asked.seed),
        validation=validation,
        progress=False,
        optimizer=pf.training.Adam(**training),
        options=pf.training.Stopping(max_seconds=asked.seconds),
    )
    seconds = time.perf_counter() - start
    nats = np.asarray(result.flow.log_prob(test), np.float64)
    rows = np.resize(test, (TIMED_ROWS, test.shape[1]))
    return {
        "test": float(nats.mean()),
        "error": float(nats.std() / np.sqrt(len(nats))),
        "validation": float(result.verdict.held_out_nats),
        "seconds": seconds,
        "score_us": timed(lambda: result.flow.log_prob(rows)),
        "sample_us": timed(lambda: result.flow.sample(jax.random.key(0), (TIMED_ROWS,))),
        "steps": int(result.verdict.steps),
        "status": result.verdict.status,
        "setting": wanted(asked, flow_name, options, training),
    }


def gaussian(asked: argparse.Namespace, table: Table) -> dict[str, float]:
    """The yardstick: a full-covariance Gaussian of the same rows, with a ridge that columns near to collinear need."""
    train, _, test = table.split(asked.seed, asked.rows)
    loc, scale = train.mean(axis=0), train.std(axis=0)
    mean, error = gaussian_nats((train - loc) / scale, (test - loc) / scale)
    return {"test": mean, "error": error}


def show(found: dict[str, dict[str, Any]], names: list[str]) -> str:
    """Gain over the Gaussian in nats per row, the best of each table in bold; and what each setting costs."""
    whole = [entry for entry in found.values() if all(name in entry["fits"] for name in names)]
    best = {id(e): max(e["fits"][n]["test"] for n in names if n in e["fits"]) for e in found.values()}
    columns = [f"{table}, {entry['n']} x {entry['d']}" for table, entry in found.items()]
    lines = []
    for name in names:
        cells = []
        for entry in found.values():
            test = entry["fits"].get(name, {"test": None})["test"]
            gain = None if test is None else f"{test - entry['gaussian']['test']:.2f}"
            cells.append(f"**{gain}**" if test == best[id(entry)] else gain)
        own = [entry["fits"][name] for entry in found.values() if name in entry["fits"]]
        behind = f"{np.mean([best[id(e)] - e['fits'][name]['test'] for e in whole]):.2f}" if whole else None
        costs = [f"{np.median([fit[what] for fit in own]):.3g}" for what in ("seconds", "score_us", "sample_us")]
        lines.append([name, *cells, behind, *costs])
    fits = [[fit["error"] for fit in entry["fits"].values()] for entry in found.values()]
    lines.append(["standard error", *(f"{np.median(errors):.2f}" for errors in fits), None, None, None, None])
    lines.append(["the Gaussian's nats", *(f"{e['gaussian']['test']:.2f}" for e in found.values()), *[None] * 4])
    costs = ["fit, s", "a score, us", "a sample, us"]
    return report.table(["gain over a Gaussian, nats", *columns, "behind the best, mean", *costs], lines)


def main() -> None:
    asked = arguments()
    settings = FLOWS if asked.flows else {name: SETTINGS[name] for name in asked.only}
    settings |= {name: (flow, json.loads(options), {}) for name, flow, options in asked.setting}
    found: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())["tables"] if RESULTS.exists() else {}
    missing = []
    for table in tables(asked.tables):
        if isinstance(table, str):
            print(table, flush=True)
            missing.append(table)
            continue
        rows, dim = min(len(table.rows), asked.rows), table.rows.shape[1]
        print(f"{table.name}: {rows} x {dim}; {'; '.join(table.notes) or 'as it is'}", flush=True)
        if asked.list:
            continue
        entry = found.setdefault(table.name, {"fits": {}})
        entry |= {"n": rows, "d": dim, "notes": table.notes, "gaussian": gaussian(asked, table)}
        for name, (flow, options, training) in settings.items():
            if entry["fits"].get(name, {}).get("setting") == wanted(asked, flow, options, training) and not asked.again:
                continue
            fit = entry["fits"][name] = fit_one(asked, table, flow, options, training)
            gain = fit["test"] - entry["gaussian"]["test"]
            end = f"{fit['steps']} steps, {fit['seconds']:.0f} s, {fit['status']}"
            print(f"  {name:18s} {fit['test']:9.3f} +- {fit['error']:.3f}, gain {gain:7.3f} ({end})", flush=True)
            report.save("tables", {"machine": report.machine(), "tables": found})
    if not asked.list:
        names = [n for n in settings if any(n in entry["fits"] for entry in found.values())]
        text = show({name: found[name] for name in asked.tables if name in found}, names)
        print(f"\n{text}")
        if asked.paste:
            notes = [f"{name}: {'; '.join(entry['notes']) or 'as it is'}." for name, entry in found.items()]
            report.paste("tables", "\n".join([text, "", *[f"- {note}" for note in notes + missing]]))


if __name__ == "__main__":
    main()
