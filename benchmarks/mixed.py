"""Tables of mixed columns, with defaults: held-out nats beside simple densities, marginals, bounds, a classifier.

    python benchmarks/mixed.py [--only weather,adult] [--seed 0]

A fifth of the rows (of adult: the test file) is kept for testing; nothing of it is seen in the fit. Models, simple
densities and samples are all judged on these rows. The simple densities are fitted to what the flow trained on: the
training rows but for those that it held out to stop early by. `gains_all_rows` has them fitted to those too.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pandas as pd

import pushforward as pf
from pushforward.metrics import compare, marginal_tests
from pushforward.tables.encoding import encode
from pushforward.tables.estimators.verify import compare_with_simple
from pushforward.tables.reading.cells import read_cells

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("PUSHFORWARD_DATA", HERE.parent.parent / "shared/data")) / "uci_small"
KINDS = {"category": "category", "boolean": "category", "circular": "circular"}


def weather() -> tuple[pd.DataFrame, pd.DataFrame | None]:
    return pd.read_csv(HERE.parent / "examples/data/seattle_weather.csv"), None


def adult() -> tuple[pd.DataFrame, pd.DataFrame | None]:
    file = np.load(DATA / "adult.npz")
    words = ["workclass", "education", "marital", "occupation", "relationship", "race", "sex", "country", "income"]

    def part(name: str) -> pd.DataFrame:
        numbers = {str(n): file[f"x_num_{name}"][:, i] for i, n in enumerate(file["num_names"])}
        return pd.DataFrame({**numbers, **{w: file[f"levels_{w}"][file[f"{w}_{name}"]].astype(object) for w in words}})

    return part("train"), part("test")


def california() -> tuple[pd.DataFrame, pd.DataFrame | None]:
    names = ["longitude", "latitude", "age", "rooms", "bedrooms", "population", "households", "income", "value"]
    frame = pd.DataFrame(np.load(DATA / "california_housing.npz")["x"], columns=names)
    frame["ocean"] = np.array([f"ocean_{i}" for i in range(5)], object)[
        np.load(DATA / "california_housing_ocean.npz")["x"]
    ]
    return frame, None


def wine(colour: str) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    names = [
        "fixed_acidity",
        "volatile_acidity",
        "citric_acid",
        "sugar",
        "chlorides",
        "free_so2",
        "total_so2",
        "density",
        "ph",
        "sulphates",
        "alcohol",
        "quality",
    ]
    return pd.DataFrame(np.load(DATA / f"wine_{colour}.npz")["x"], columns=names), None


def abalone() -> tuple[pd.DataFrame, pd.DataFrame | None]:
    names = ["sex", "length", "diameter", "height", "whole", "shucked", "viscera", "shell", "rings"]
    frame = pd.DataFrame(np.load(DATA / "abalone.npz")["x"], columns=names)
    frame["sex"] = np.array(["M", "F", "I"], object)[frame["sex"].to_numpy().astype(int)]
    frame["rings"] = frame["rings"].astype(int)
    return frame, None


TABLES = {
    "weather": weather,
    "abalone": abalone,
    "wine_red": lambda: wine("red"),
    "wine_white": lambda: wine("white"),
    "california": california,
    "adult": adult,
}


def run(name: str, seed: int) -> dict:
    train, test = TABLES[name]()
    if test is None:
        order = np.random.default_rng(seed).permutation(len(train))
        n = len(train) // 5
        train, test = train.iloc[order[n:]].reset_index(drop=True), train.iloc[order[:n]].reset_index(drop=True)
    start = time.perf_counter()
    density = pf.FlowDensity(missing="model", verify=False, random_state=seed).fit(train)
    seconds = time.perf_counter() - start
    model = density.model_
    cells = {part: read_cells(rows).select(model.needed) for part, rows in (("train", train), ("test", test))}
    encoded = {part: encode(model.layout, rows) for part, rows in cells.items()}
    kept = np.delete(np.arange(len(train)), density.held_out_)
    compared = compare_with_simple(model, encoded["train"].take(kept), encoded["test"])
    gains = compare(compared.model, compared.baselines)
    more = compare_with_simple(model, encoded["train"], encoded["test"])
    samples = density.sample(len(test), random_state=seed)
    kinds = {c.name: KINDS.get(c.kind, "numeric") for c in model.schema.modelled}
    parts = {"test": test, "train": train, "samples": samples}
    columns = {part: {c: rows[c].to_numpy() for c in kinds} for part, rows in parts.items()}
    for part in columns.values():
        for c, kind in kinds.items():
            if model.schema.column(c).kind == "datetime":
                part[c] = pd.to_datetime(part[c]).astype("int64").to_numpy() / 1e9
            elif kind == "numeric":
                part[c] = part[c].astype(float)
    marginals = marginal_tests(columns["test"], columns["samples"], kinds, seed=seed)
    beside_training = marginal_tests(columns["train"], columns["samples"], kinds, seed=seed)
    result = {
        "table": name,
        "rows": len(train),
        "test_rows": len(test),
        "seconds": round(seconds, 1),
        "nats": float(compared.model.mean()),
        "standard_error": float(compared.model.std() / np.sqrt(len(compared.model))),
        "simple": {b.name: b.nats for b in compared.baselines},
        "gains": {g.name: [round(g.gain, 4), round(g.standard_error, 4)] for g in gains},
        "gains_all_rows": {g.name: round(g.gain, 4) for g in compare(more.model, more.baselines)},
        "columns": len(kinds),
        "marginals_rejected_at_1_percent": list(marginals.rejected),
        "rejected_beside_training_rows": list(beside_training.rejected),
        "outside": outside(train, samples, model),
        "verdict": density.result_.verdict.text,
    }
    if name == "adult":
        result["classifier"] = classifier(train, test, density.sample(len(train), random_state=seed + 1))
    return result


def outside(train: pd.DataFrame, samples: pd.DataFrame, model) -> int:
    """Cells of samples outside the bounds or levels of their column."""
    bad = 0
    for column in model.schema.modelled:
        values = samples[column.name].dropna()
        if column.levels:
            bad += int((~values.isin(train[column.name].unique())).sum())
        elif column.kind != "datetime":
            low, high = column.support
            bad += int(((values < low) | (values > high)).sum())
    return bad


def classifier(train: pd.DataFrame, test: pd.DataFrame, samples: pd.DataFrame) -> dict:
    """Accuracy on the test file of gradient boosting trained on the data, and on as many samples."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    def design(rows: pd.DataFrame) -> pd.DataFrame:
        x = rows.drop(columns="income").copy()
        for name in x.columns:
            if x[name].dtype == object or str(x[name].dtype).startswith("str"):
                x[name] = pd.Categorical(x[name], categories=sorted(train[name].unique()))
        return x

    scores = {}
    for name, rows in (("data", train), ("samples", samples)):
        found = HistGradientBoostingClassifier(categorical_features="from_dtype", random_state=0)
        found.fit(design(rows), rows["income"].astype(str))
        scores[name] = float(found.score(design(test), test["income"].astype(str)))
    return scores


def markdown(results: dict) -> str:
    """The table of benchmarks/README.md."""
    head = ["table", "rows, test", "nats", "over Gaussian", "over mixture (BIC)", "over kernel density"]
    head += ["columns not rejected", "outside", "fit"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for name, r in results.items():
        gains = [f"{gain:+.2f} ± {error:.2f}" for gain, error in r["gains"].values()]
        kept = f"{r['columns'] - len(r['marginals_rejected_at_1_percent'])} of {r['columns']}"
        nats = f"{r['nats']:.2f} ± {r['standard_error']:.2f}"
        cells = [name, f"{r['rows']}, {r['test_rows']}", nats, *gains, kept, str(r["outside"]), f"{r['seconds']:.0f} s"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(TABLES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results/mixed.json")
    options = parser.parse_args()
    if not DATA.exists() and options.only != "weather":
        parser.error(f"{DATA} is missing: set PUSHFORWARD_DATA, or run --only weather.")
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    for name in options.only.split(","):
        results[f"{name}, seed {options.seed}"] = result = run(name, options.seed)
        print(json.dumps(result, indent=1), flush=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")
    print(markdown(results))


if __name__ == "__main__":
    main()
