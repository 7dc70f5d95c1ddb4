"""AUROC of the default score over the 13 tables with published figures: clean rows, and anomalies among the rows.

    python benchmarks/anomalies.py [--setting clean without_flows mixed] [--seeds 5] [--only glass]

`clean` is the semi-supervised protocol: of the normal rows in the order of the file the first half is fitted, the
others and all anomalies are scored. `without_flows` is the same for `RankEnsemble(density=False)`. `mixed` fits all
rows and scores the same rows; a row is scored by the others. Nothing is chosen by the labels of a table. Results go to
`benchmarks/results/anomalies.json` as they are made, and a run goes on where the last one stopped. `PUSHFORWARD_DATA`
is the folder of the shared data.

Tables are as they are. The published figures of the two below 1,000 rows (breastw, glass) are of bootstrap samples, in
which rows of the test are rows of the fit; KNN is measured here on the tables themselves.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

DATA = Path(os.environ.get("PUSHFORWARD_DATA", "../shared/data")) / "adbench"
RESULTS = Path(__file__).parent / "results" / "anomalies.json"
PUBLISHED = {"clean": "semi-supervised", "without_flows": "semi-supervised", "mixed": "unsupervised"}
# Share of the rows that is left out where anomalies are among them, the same for all tables.
TRIM = 0.1


def published(setting: str) -> dict[str, dict[str, str]]:
    with open(DATA / "published_auroc.csv", newline="") as file:
        return {row["dataset"]: row for row in csv.DictReader(file) if row["setting"] == PUBLISHED[setting]}


def split(file: str, setting: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows to fit, rows to score and the labels of the latter."""
    with np.load(DATA / file) as table:
        x, y = table["X"].astype(float), table["y"].astype(int)
    if setting == "mixed":
        return x, x, y
    normal = np.flatnonzero(y == 0)
    first = round(len(normal) / 2)
    test = np.concatenate([normal[first:], np.flatnonzero(y == 1)])
    return x[normal[:first]], x[test], y[test]


def knn(train: np.ndarray, test: np.ndarray, setting: str) -> np.ndarray:
    """The distance to the fifth neighbour, of rows that are fitted too to the fifth other row."""
    scale = StandardScaler().fit(train)
    found = NearestNeighbors(n_neighbors=6).fit(scale.transform(train)).kneighbors(scale.transform(test))[0]
    return found[:, 5 if setting == "mixed" else 4]


def measure(file: str, setting: str, seed: int) -> dict[str, float]:
    from pushforward.anomalies import RankEnsemble

    train, test, y = split(file, setting)
    start = time.perf_counter()
    density = False if setting == "without_flows" else None
    score = RankEnsemble(density=density, trim=TRIM if setting == "mixed" else 0.0).fit(train, random_state=seed)
    fitted = time.perf_counter()
    values = score(test)
    found = {"auroc": 100 * roc_auc_score(y, values), "fit_s": fitted - start, "score_s": time.perf_counter() - fitted}
    each = score.each(test)
    found |= {words[:40]: 100 * roc_auc_score(y, own) for words, own in each.items()}
    if seed == 0:
        found["knn"] = 100 * roc_auc_score(y, knn(train, test, setting))
    return found


def table(results: dict, setting: str) -> None:
    known = published(setting)
    names = ("KNN", "DTE-NP", "IForest", "PlanarFlow")
    print(f"\n| {setting} | seeds | AUROC | sd | KNN here | " + " | ".join(names) + " |\n|" + "---|" * (5 + len(names)))
    rows = []
    for name, row in known.items():
        own = [v for k, v in results.items() if k.startswith(f"{setting}/{name}/")]
        if own:
            auroc = [v["auroc"] for v in own]
            here = next((v["knn"] for v in own if "knn" in v), np.nan)
            rows.append([len(own), np.mean(auroc), np.std(auroc), here, *(float(row[n]) for n in names)])
            print(f"| {name} | {len(own)} | " + " | ".join(f"{v:.2f}" for v in rows[-1][1:]) + " |")
    if rows:
        mean = np.mean(np.array(rows)[:, 1:], axis=0)
        print(f"| mean of {len(rows)} | | " + " | ".join(f"{v:.2f}" for v in mean) + " |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--setting", nargs="+", choices=PUBLISHED, default=list(PUBLISHED))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="tables")
    args = parser.parse_args()
    if not DATA.is_dir():
        raise SystemExit(f"{DATA} is not there: set PUSHFORWARD_DATA to the folder of the shared data.")
    warnings.simplefilter("ignore")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for setting in args.setting:
        for name, row in published(setting).items():
            for seed in range(args.seeds):
                key = f"{setting}/{name}/{seed}"
                if key in results or (args.only and name not in args.only):
                    continue
                results[key] = measure(row["file"], setting, seed)
                print(key, {k: round(v, 1) for k, v in results[key].items()}, flush=True)
                RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
        table(results, setting)


if __name__ == "__main__":
    main()
