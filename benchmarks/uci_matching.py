#!/usr/bin/env python3
"""Test nats of flow matching, by the exact trace, on the tables by which flows are compared.

    python benchmarks/uci_matching.py --tables bsds300 --whiten --seconds 600
    python benchmarks/uci_matching.py --tables abalone wine_white magic --seconds 120 --paste

Needs pushforward and the tables of `PUSHFORWARD_DATA` (default ../shared/data). The five published tables have the
published splits and preprocessing (`suite/uci.py`); the others have those of tables.py, whose `nsf` stands beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bsds300 import Preparation
from suite import report
from suite.data import SOURCES, data_folder, gaussian_nats, tables
from suite.uci import LOADERS, PUBLISHED

import pushforward as pf
from pushforward.objectives import FlowMatching, LogitNormalTimes, UniformTimes

RESULTS = report.RESULTS / "uci_matching.json"
CHUNK = 5_000  # rows scored at once
TIMES = {"uniform": UniformTimes, "logit": LogitNormalTimes}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*LOADERS, *SOURCES]
    parser.add_argument("--tables", nargs="+", choices=names, default=list(LOADERS), metavar="TABLE")
    parser.add_argument("--seconds", type=float, default=600, help="budget of one fit, compilation included")
    parser.add_argument("--epochs", type=int, default=None)
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--decay", type=float, default=0.0, help="weight decay")
    parser.add_argument("--ema", type=float, default=0.999)
    parser.add_argument("--patience", type=int, default=100, help="epochs without a lower held-out loss")
    parser.add_argument("--times", choices=list(TIMES), default="uniform")
    parser.add_argument("--whiten", action="store_true", help="by the root of the covariance, not a scale per column")
    parser.add_argument("--rows", type=int, default=6_000, help="of an unpublished table, as in results/tables.json")
    parser.add_argument("--test", type=int, default=20_000, help="test rows scored at most, the first of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--look", action="store_true", help="writes nothing")
    parser.add_argument("--paste", action="store_true", help="paste the table of all results into README.md")
    return parser.parse_args()


def load(name: str, rows: int) -> tuple[np.ndarray, np.ndarray, np.ndarray] | str:
    """Training, validation and test rows in the units that densities are quoted in; or what is missing."""
    if name in LOADERS:
        try:
            return LOADERS[name]()
        except FileNotFoundError as error:
            return (
                f"{name}: not measured, `{Path(error.filename).relative_to(data_folder())}` is not in PUSHFORWARD_DATA."
            )
    table = next(tables([name]))
    if isinstance(table, str):
        return table
    train, validation, test = table.split(0, rows)
    loc, scale = train.mean(axis=0), train.std(axis=0)
    return (train - loc) / scale, (validation - loc) / scale, (test - loc) / scale


def nats_of(flow: pf.Flow, rows: np.ndarray, log_det: float) -> tuple[float, float]:
    """The mean log-density and its standard error."""
    parts = [np.asarray(flow.log_prob(rows[i : i + CHUNK]), np.float64) for i in range(0, len(rows), CHUNK)]
    nats = np.concatenate(parts) + log_det
    return float(nats.mean()), float(nats.std() / np.sqrt(len(nats)))


def fit_one(asked: argparse.Namespace, train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> dict[str, Any]:
    """Test nats of flow matching on one table."""
    prepare = Preparation(train, asked.whiten)
    flow = pf.flows.flow_matching(
        jax.random.key(asked.seed),
        dim=train.shape[1],
        width=asked.width,
        depth=asked.depth,
        tolerance=1e-5,
        whiten=False,  # which `Preparation` does, where it is asked to
    )
    start = time.perf_counter()
    result = pf.fit(
        flow,
        prepare(train),
        key=jax.random.key(asked.seed),
        objective=FlowMatching(times=TIMES[asked.times]()),
        validation=prepare(validation),
        max_epochs=asked.epochs or 10_000,
        progress=False,
        optimizer=pf.training.Adam(asked.rate, weight_decay=asked.decay),
        options=[
            pf.training.Stopping(max_seconds=asked.seconds, patience=asked.patience),
            pf.training.Steps(batch_size=asked.batch, ema=asked.ema),
        ],
    )
    seconds, scored = time.perf_counter() - start, test[: asked.test]
    mean, error = nats_of(result.flow, prepare(scored), prepare.log_det)
    gaussian = gaussian_nats(train, scored)
    return {
        "dim": train.shape[1],
        "n_train": len(train),
        "n_test": len(scored),
        "test": mean,
        "error": error,
        "gaussian": gaussian[0],
        "validation": nats_of(result.flow, prepare(validation[: asked.test]), prepare.log_det)[0],
        "steps": int(result.verdict.steps),
        "seconds": seconds,
        "status": result.verdict.status,
        "n_params": sum(leaf.size for leaf in jax.tree.leaves(pf.trainable(flow)[0])),
        "settings": {k: v for k, v in vars(asked).items() if k not in ("tables", "look", "paste")},
    }


def own_spline_flow(name: str, n_rows: int) -> str | None:
    """Test nats of our `nsf` on the same rows, where tables.py has measured it."""
    path = report.RESULTS / "tables.json"
    entry = json.loads(path.read_text())["tables"].get(name, {}) if path.exists() else {}
    fit = entry.get("fits", {}).get("nsf")
    return f"{fit['test']:.2f} ± {fit['error']:.2f}" if fit and entry["n"] == n_rows else None


def show(found: dict[str, dict[str, Any]], missing: list[str]) -> str:
    """A line per table."""
    lines = []
    for name in (name for name in [*LOADERS, *SOURCES] if name in found):
        row = found[name]
        published = PUBLISHED.get(name, (None, None))
        settings = row["settings"]
        how = f"{settings['width']} x {settings['depth']}, {settings['rate']:g}, decay {settings['decay']:g}"
        lines.append(
            [
                f"{name}, {row['dim']} columns",
                f"{row['n_train']:,} / {row['n_test']:,}",
                f"{row['gaussian']:.2f}",
                f"**{row['test']:.2f}** ± {row['error']:.2f}",
                own_spline_flow(name, settings["rows"]) or own_spline_flow(name, row["n_rows"]),
                *published,
                how + (", whitened" if settings["whiten"] else ""),
                f"{row['steps']:,}",
                round(row["seconds"]),
            ]
        )
    head = ["test nats", "rows, trained on / scored", "full-covariance Gaussian", "flow matching", "our `nsf`"]
    head += ["RQ-NSF (AR), published", "FFJORD, published", "width x depth, rate", "steps", "seconds"]
    return "\n".join([report.table(head, lines), "", *[f"- {line}" for line in missing]]).strip()


def main() -> None:
    asked = arguments()
    figure: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"tables": {}}
    missing = []
    for name in asked.tables:
        parts = load(name, asked.rows)
        if isinstance(parts, str):
            print(parts, flush=True)
            missing.append(parts)
            continue
        row = fit_one(asked, *parts) | {"n_rows": sum(map(len, parts)), "machine": report.machine()}
        end = f"{row['steps']} steps, {row['seconds']:.0f} s, {row['status']}"
        print(
            f"{name:12s} test {row['test']:.3f} +- {row['error']:.3f}, validation {row['validation']:.3f}, "
            f"Gaussian {row['gaussian']:.3f} ({end})",
            flush=True,
        )
        if not asked.look:
            figure = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"tables": {}}
            figure["tables"][name] = row
            report.save("uci_matching", figure)
    text = show(figure["tables"], missing)
    print(f"\n{text}")
    if asked.paste:
        report.paste("uci_matching", text)


if __name__ == "__main__":
    main()
