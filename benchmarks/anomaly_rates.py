#!/usr/bin/env python3
"""What a detector promises, measured: false-positive rates on clean rows, false discovery rates, and its speed.

    python benchmarks/anomaly_rates.py rates        # clean held-out rows of the 16 tables of adbench, at 1 %
    python benchmarks/anomaly_rates.py discoveries  # shuttle, 200 repetitions, at 10 % and 20 %
    python benchmarks/anomaly_rates.py time         # fit and score of shuttle, 49,097 x 9

Needs pushforward and adbench of `PUSHFORWARD_DATA` (default ../shared/data). The ordinary rows of a table are
shuffled, for a false-positive rate is promised for rows that could have stood in the place of the calibration rows;
half of them are fitted, the others are tested. Results go to results/anomaly_rates.json as they come.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))

from suite.data import data_folder

import pushforward as pf
from pushforward.anomalies import SCORES, AbstractScore, NegativeLogDensity
from pushforward.metrics import benjamini_hochberg, conformal_p_values
from pushforward.tables.errors import TableWarning

RESULTS = Path(__file__).resolve().parent / "results" / "anomaly_rates.json"
LEVEL = 0.01


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("rates", "discoveries", "time"))
    parser.add_argument(
        "--score", choices=("small", *SCORES), default="small", help="small: a flow of 3 x 32, one member"
    )
    parser.add_argument("--tables", nargs="*", help="names of tables; all without")
    parser.add_argument("--seeds", type=int, default=3, help="splits of each table")
    return parser.parse_args()


def score_of(name: str) -> AbstractScore:
    if name != "small":
        return SCORES[name]()
    flow = pf.FlowDensity(n_layers=3, width=32, n_members=1, max_seconds=10, verify=False)
    return NegativeLogDensity(flow)


def table(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as data:
        return data["X"].astype(float), data["y"].astype(bool)


def keep(part: str, name: str, record: dict[str, Any]) -> None:
    held = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    held.setdefault(part, {})[name] = record
    RESULTS.write_text(json.dumps(held, indent=1) + "\n")
    print(name, json.dumps(record), flush=True)


def rates(asked: argparse.Namespace, folder: Path) -> None:
    for path in sorted(folder.glob("*.npz"), key=lambda p: p.stat().st_size):
        name = path.stem.split("_", 1)[1]
        if asked.tables and name not in asked.tables:
            continue
        x, odd = table(path)
        flagged, tested, calibrated, kind = 0, 0, 0, ""
        for seed in range(asked.seeds):
            clean = x[~odd][np.random.default_rng(seed).permutation((~odd).sum())]
            half = len(clean) // 2
            detector = pf.FlowOutlierDetector(score_of(asked.score), random_state=seed).fit(clean[:half])
            flagged += int((detector.p_values(clean[half:]) <= LEVEL).sum())
            tested += len(clean) - half
            calibrated, kind = len(detector.calibration_), detector.calibration_.kind
        # Both the calibration rows and the tested rows of a split vary.
        error = float(np.sqrt(LEVEL * (1 - LEVEL) * (1 / (calibrated * asked.seeds) + 1 / tested)))
        floor = 1 / (calibrated + 1)
        record = {"rate": flagged / tested, "standard_error": error, "calibration_rows": calibrated, "kind": kind}
        keep(f"rates {asked.score}", name, {**record, "tested": tested, "reachable": floor <= LEVEL})


def discoveries(asked: argparse.Namespace, folder: Path) -> None:
    x, odd = table(folder / "32_shuttle.npz")
    rng = np.random.default_rng(0)
    clean, anomalies = x[~odd][rng.permutation((~odd).sum())], x[odd]
    fitted, rest = clean[:15_000], clean[15_000:]
    model = score_of(asked.score).fit(fitted, random_state=0)
    usual, unusual = model(rest), model(anomalies)
    for n_calibration in (1_000, 5_000):
        for q in (0.1, 0.2):
            false, found = [], []
            for _ in range(200):
                drawn = rng.choice(usual, n_calibration + 900, replace=False)
                own = np.append(drawn[n_calibration:], rng.choice(unusual, 100, replace=False))
                chosen = benjamini_hochberg(conformal_p_values(drawn[:n_calibration], own), q)
                false.append(chosen[:900].sum() / max(chosen.sum(), 1))
                found.append(chosen[900:].mean())
            error = float(np.std(false, ddof=1) / np.sqrt(200))
            record = {"fdr": float(np.mean(false)), "standard_error": error, "power": float(np.mean(found))}
            keep(f"discoveries {asked.score}", f"q={q} n={n_calibration}", record)


def timing(asked: argparse.Namespace, folder: Path) -> None:
    x, odd = table(folder / "32_shuttle.npz")
    start = time.perf_counter()
    detector = pf.FlowOutlierDetector(score_of(asked.score), random_state=0).fit(x)
    fit = time.perf_counter() - start
    start = time.perf_counter()
    scores = -detector.score_samples(x)
    first = time.perf_counter() - start
    many = np.concatenate([x] * 10)
    start = time.perf_counter()
    detector.score_samples(many)
    speed = len(many) / (time.perf_counter() - start)
    auroc = pf.metrics.detection_quality(scores, odd).auroc
    keep("time", asked.score, {"fit_s": fit, "score_s": first, "rows_per_s": speed, "auroc_of_its_own_rows": auroc})


def main() -> None:
    asked, folder = arguments(), data_folder() / "adbench"
    if not folder.is_dir():
        sys.exit(f"{folder}: expected the tables of adbench there. Set PUSHFORWARD_DATA.")
    warnings.simplefilter("ignore", TableWarning)
    {"rates": rates, "discoveries": discoveries, "time": timing}[asked.part](asked, folder)


if __name__ == "__main__":
    main()
